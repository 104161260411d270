"""Token of a launch: checks whether it is still the one in the run folder.

A scheduler may start a job long after its submission seemed to fail, when the run was revoked, or submitted again:
two trainings in one folder. So each launch has its token, and the newest token in the folder is the one that counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass

from engine.errors import RecordError
from engine.launch.remote.agent import is_revoked
from engine.periodic import PeriodicThread
from engine.runs import Run

CHECK_INTERVAL_S = 2.0


@dataclass(frozen=True)
class LaunchToken:
    """Validity of the launch with that token; without one, on this machine, none can come late."""

    run: Run
    token: str = ""

    @property
    def replaced(self) -> bool:
        """True if the folder names another launch; not so if the request can't be read."""
        with suppress(OSError, RecordError):
            now = self.run.request.token
            return bool(self.token and now and now != self.token)
        return False

    def refusal(self) -> str:
        """Reason why this launch must not begin; '' if it may."""
        if self.replaced:
            return "the run was submitted again since"
        if self.token and is_revoked(self.run.folder, self.token):
            return "the launch was revoked before"
        return ""

    def log(self, words: str) -> None:
        """A line in the log, and nowhere else: the records are those of another launch."""
        with open(self.run.log, "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%H:%M:%S')} launch {self.token} {words}\n")

    @contextmanager
    def watched(self, end: Callable[[], None]) -> Iterator[None]:
        """Call `end`, in a thread, once another launch stands in the folder."""

        def watch() -> None:
            if self.replaced:
                thread.stop()
                end()

        thread = PeriodicThread("launch token", CHECK_INTERVAL_S, watch)
        with thread if self.token else nullcontext():
            yield
