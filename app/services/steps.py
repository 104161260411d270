"""Fields of time steps, read ahead of the reader."""

from __future__ import annotations

import asyncio

import xarray as xr

from app.services.comparison import Comparison

MOST_BYTES = 64 * 2**20  # kept for each tab, and one more step: that read ahead; larger steps aren't

Fields = dict[str, xr.DataArray]  # of two components: complex, the first + i times the second


class Steps:
    """Reads the fields of a comparison in threads and keeps the last steps and the next one."""

    def __init__(self, comparison: Comparison):
        self.comparison = comparison
        self._reading: dict[int, asyncio.Task[Fields]] = {}
        self._last = -1
        self._step_bytes = 0

    async def read(self, step: int) -> Fields:
        """The fields of a step, and begin to read the one that the reader will want next."""
        fields = await self._begin(step)
        self._step_bytes = sum(field.nbytes for field in fields.values())
        following = step + (1 if step >= self._last else -1)
        self._last = step
        keep = 1 + MOST_BYTES // max(self._step_bytes, 1)
        if keep > 1 and 0 <= following < self.comparison.n_steps:
            self._begin(following)
        for old in list(self._reading)[: max(len(self._reading) - keep, 0)]:
            del self._reading[old]
        return fields

    def _begin(self, step: int) -> asyncio.Task[Fields]:
        task = self._reading.pop(step, None)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            both = bool(self.comparison.first.components)
            task = asyncio.ensure_future(asyncio.to_thread(self.comparison.fields, step, both))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # raised where it is awaited
        self._reading[step] = task  # the newest last
        return task
