"""One rank of two trainings, the second of which is stopped and taken up: `interrupted.py WHOLE STOPPED STEPS`.

WHOLE and STOPPED are run folders of the same spec; STEPS is after how many steps the second stops.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from engine import run as engine_run
from engine.runs import Run
from engine.training import loop
from engine.training.workers import join
from tests.engine.stop_and_resume import StopAfter


def main(whole: Run, stopped: Run, steps: int) -> None:
    loop.CHUNK_S, loop.FIRST_CHUNK = 0.0, 1  # look up after every step
    engine_run.work(whole)
    ask_nobody = engine_run.StopRequest.of
    engine_run.StopRequest.of = lambda run: StopAfter(steps)
    engine_run.work(stopped)
    assert not (stopped.folder / "DONE").exists()
    join().allreduce_array(np.zeros(1))  # no rank goes on before the chief has written its checkpoint
    engine_run.StopRequest.of = ask_nobody
    engine_run.work(stopped)


main(Run(Path(sys.argv[1])), Run(Path(sys.argv[2])), int(sys.argv[3]))
