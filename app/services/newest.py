"""The newest request wins: answers to older requests are dropped, requests that were overtaken are skipped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable


class Newest:
    """Numbers requests of one kind, so that a late answer of an older one is recognised."""

    def __init__(self) -> None:
        self._number = 0

    def begin(self) -> Callable[[], bool]:
        """Count a request; the function returned is true as long as no newer one has begun."""
        self._number += 1
        mine = self._number
        return lambda: mine == self._number


class Rerun:
    """Runs a coroutine one at a time; requests that come meanwhile lead to one more run after it."""

    def __init__(self, work: Callable[[], Awaitable[None]]):
        self._work = work
        self._running = self._due = False

    async def run(self) -> None:
        self._due = True
        if self._running:
            return
        self._running = True
        try:
            while self._due:
                self._due = False
                await self._work()
        finally:
            self._running = False
