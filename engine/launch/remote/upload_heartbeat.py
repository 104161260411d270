"""Heartbeat of a submission, which may take long: the inputs of a run are uploaded to its site."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Self

from engine.errors import LaunchError
from engine.files import to_json, write_whole
from engine.periodic import PeriodicThread
from engine.runs import Run

BEAT_S = 2.0


class UploadHeartbeat:
    """Writes `run.upload_file` every few seconds until the submission has ended: the time, and how much was sent."""

    def __init__(self, run: Run, token: str):
        self.run, self.token = run, token
        self._sent = self._total = 0  # bytes
        self._thread = PeriodicThread("upload heartbeat", BEAT_S, self._write)

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.stop()
        with suppress(OSError):
            if self._is_current():
                self.run.upload_file.unlink(missing_ok=True)

    def expect(self, total: int) -> None:
        """Set the number of bytes to be sent from now on; 0: that is over."""
        self._sent, self._total = 0, total

    def count(self, content: Iterable[bytes]) -> Iterator[bytes]:
        """The same content; raises LaunchError if it isn't wanted any more."""
        for block in content:
            self.check()
            yield block
            self._sent += len(block)

    def check(self) -> None:
        """Raise LaunchError if the run was cancelled meanwhile, or is submitted by another process."""
        if self.run.cancel_file.exists():
            raise LaunchError("cancelled before it was submitted")
        if not self._is_current():
            raise LaunchError(f"run {self.run.id} is submitted by another process, which took this one for dead")

    def _write(self) -> None:
        sign = {"token": self.token, "time": time.time(), "how_far": how_far(self._sent, self._total)}
        with suppress(OSError):  # a full disk, say, is found by whoever has something to lose
            if self._is_current():
                write_whole(self.run.upload_file, to_json(sign))

    def _is_current(self) -> bool:
        return bool(self.run.request.token == self.token)


def how_far(sent: int, total: int) -> str:
    """'3.1 of 12.3 MB (25 %)'; '' where there is nothing to send. A folder's archive is longer than its files."""
    sent = min(sent, total)
    return f"{sent / 1e6:.1f} of {total / 1e6:.1f} MB ({100 * sent // total} %)" if total else ""
