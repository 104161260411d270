"""Processes of one launch: they inherit a variable that names it, and are found and ended by it.

Neither a process group nor the tree of processes holds them together: horovodrun gives each rank a session of its own,
and when it is ended while it still starts ranks, these become orphans.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil

VARIABLE = "MESOSCOPE_LAUNCH"
GRACE_S = 10.0  # between asking processes to end and ending them
ROUND_S = 1.0  # then those that were started meanwhile are looked for
LONGEST_S = 60.0  # a process that waits for a dead file system can't be ended


def mark_of(folder: Path, supervisor: int) -> dict[str, str]:
    """Variable for all that the supervisor with that process id starts for the run in `folder`."""
    return {VARIABLE: f"{folder.resolve()} {supervisor}"}


def end_marked(mark: dict[str, str]) -> None:
    """End every process that carries the mark, and those that they start meanwhile: asked first, then made to."""
    begin, asked = time.monotonic(), set[psutil.Process]()
    while (found := marked(mark)) and time.monotonic() < begin + LONGEST_S:
        is_patient = time.monotonic() < begin + GRACE_S
        for process in found:
            with contextlib.suppress(psutil.Error):
                if not is_patient:
                    process.kill()
                elif process not in asked:
                    process.terminate()
        asked.update(found)
        psutil.wait_procs(found, timeout=ROUND_S)


def marked(mark: dict[str, str]) -> list[psutil.Process]:
    """Living processes of this user that carry the mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if mark.items() <= process.environ().items():
                found.append(process)
    return found
