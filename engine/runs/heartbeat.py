"""Heartbeats: each rank writes its own every few seconds."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import asdict, replace
from typing import Self

import psutil

from engine.files import to_json, write_whole
from engine.periodic import PeriodicThread
from engine.runs.failure import describe_error
from engine.runs.folder import Run
from engine.runs.records import HeartbeatRecord, RankEnd

HEARTBEAT_S = 2.0


class Heartbeat:
    """Heartbeat of a rank: status/rank-<n>.json, written anew every few seconds until the rank ends."""

    def __init__(self, run: Run, rank: int, size: int):
        self.path = run.folder / "status" / f"rank-{rank}.json"
        self.record = HeartbeatRecord(
            rank=rank,
            time=time.time(),
            size=size,
            host=socket.gethostname(),
            pid=os.getpid(),
            pid_started=psutil.Process().create_time(),
            phase="starting",
        )
        self._thread = PeriodicThread("heartbeat", HEARTBEAT_S, self._write)

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._thread.stop()
        if error is not None and self.record.end is None:
            self.end(RankEnd.FAILED, reason=describe_error(error))
        with contextlib.suppress(OSError):  # a full disk must not hide the error that is on its way up
            self._write()

    def phase(self, words: str) -> None:
        """Set the phase, in words for the user."""
        self.record = replace(self.record, phase=words)

    def end(self, end: RankEnd, *, reason: str | None = None, weights: str | None = None) -> None:
        """Set the end, with its reason, or with the fingerprint of the weights."""
        self.record = replace(self.record, end=end, reason=reason, weights=weights)

    def _write(self) -> None:
        write_whole(self.path, to_json(asdict(replace(self.record, time=time.time()))))
