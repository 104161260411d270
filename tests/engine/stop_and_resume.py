"""Runs that stop after some steps and are taken up again: `stop_and_resume.py SPEC STORE N…` makes one for each N."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from engine import run as engine_run
from engine.runs import Run, Store
from engine.spec import Spec
from engine.training import loop
from engine.training.checkpoints import position_of


@dataclass
class StopAfter:
    """Asked once before each step; says stop the time after the last one wanted."""

    steps: int
    reason: str = "cancelled"

    def __call__(self) -> bool:
        self.steps -= 1
        return self.steps < 0


def main(spec: Spec, store: Store, steps: list[int]) -> None:
    loop.CHUNK_S, loop.FIRST_CHUNK = 0.0, 1  # look up after every step
    ask_nobody = engine_run.StopRequest.of
    for number in steps:
        run = store.create(spec, {})
        engine_run.StopRequest.of = lambda run, number=number: StopAfter(number)
        engine_run.work(run)
        assert stopped_after(run) == number
        engine_run.StopRequest.of = ask_nobody
        engine_run.work(run)


def stopped_after(run: Run) -> int:
    (beat,) = run.heartbeats()
    assert beat.end == "stopped"
    steps = run.latest()["steps"] if run.latest() else 0
    begun = [path for number in run.spec.trainings if (path := run.last_of(number)).exists()]
    positions = [position_of(path) for path in begun]
    return sum(epoch * steps + step for epoch, step in positions)


if __name__ == "__main__":
    main(Spec.read(Path(sys.argv[1])), Store(Path(sys.argv[2])), [int(word) for word in sys.argv[3:]])
