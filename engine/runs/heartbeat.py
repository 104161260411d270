"""Signs of life: each rank writes its own every few seconds."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Any, Self

import psutil

from engine.files import to_json, write_whole
from engine.periodic import PeriodicThread
from engine.runs.failure import describe_error
from engine.runs.folder import Run

HEARTBEAT_S = 2.0


class Heartbeat:
    """A rank's sign of life: status/rank-<n>.json, written anew every few seconds until the rank ends."""

    def __init__(self, run: Run, rank: int, size: int):
        self.path = run.folder / "status" / f"rank-{rank}.json"
        self.facts: dict[str, object] = {
            "rank": rank,
            "size": size,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "pid_started": psutil.Process().create_time(),
            "phase": "starting",
        }
        self._thread = PeriodicThread("heartbeat", HEARTBEAT_S, self._write)

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._thread.stop()
        if error is not None and "end" not in self.facts:
            self.facts |= {"end": "failed", "reason": describe_error(error)}
        with contextlib.suppress(OSError):  # a full disk must not hide the error that is on its way up
            self._write()

    def phase(self, words: str) -> None:
        """Set the phase, in words for the user."""
        self.facts["phase"] = words

    def end(self, word: str, **facts: Any) -> None:
        """Set the end: done or stopped, with more facts."""
        self.facts |= {"end": word, **facts}

    def _write(self) -> None:
        self.facts["time"] = time.time()
        write_whole(self.path, to_json(dict(self.facts)))
