"""Kill a run again and again, and resume it each time: `kill_and_resume.py SPEC STORE SEED MOMENT…`.

A moment is `starting`, `training`, or the path in the run folder of a file that is being written. After the last one
the run goes on to its end. Prints where each kill found the training: [epoch, step] of its last checkpoint, or null.

The processes that train are forked from this one, which has imported everything and started no thread: importing takes
longer than all the rest.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from engine import run as engine_run
from engine.runs import Run, Store
from engine.spec import Spec
from engine.training import checkpoints, loop
from engine.training.checkpoints import LAST

LOOK_S, LOOK_AT_FILES_S = 0.01, 0.0005  # a file is being written for some milliseconds
LONGEST_START_S, LONGEST_STEP_S = 1.5, 0.02  # how long after its sign a moment may be
MOST_RECORDS = 4


def main(spec: Spec, store: Store, chance: random.Random, moments: list[str]) -> None:
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads can't be forked safely"
    run = store.create(spec, {})
    found = []
    for moment in moments:
        KilledTraining(run, start(run), chance).kill_when(moment)
        found.append(position(run))
    _, status = os.waitpid(start(run), 0)
    assert status == 0, run.log.read_text()
    sys.stdout.write(json.dumps(found))


def start(run: Run) -> int:
    """The process id of a process that trains the run."""
    run.forget_heartbeats()
    return os.fork() or work(run)


def work(run: Run) -> NoReturn:
    log = os.open(run.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    loop.CHUNK_S, checkpoints.CHECKPOINT_S = 0.01, 0.0  # a checkpoint after every epoch
    code = 1
    try:
        engine_run.work(run)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


@dataclass
class KilledTraining:
    """A process that trains, and how to end it at a given moment."""

    run: Run
    pid: int
    chance: random.Random

    def kill_when(self, moment: str) -> None:
        if moment == "starting":
            self._wait(lambda: self.run.heartbeats())
            time.sleep(self.chance.uniform(0, LONGEST_START_S))
        elif moment == "training":
            offset, wanted = self.run.progress()[1], self.chance.randint(1, MOST_RECORDS)
            self._wait(lambda: len(self.run.progress(offset)[0]) >= wanted)
            time.sleep(self.chance.uniform(0, LONGEST_STEP_S))
        else:
            self._wait(lambda: self._holds_while_writing(self.run.folder / moment), LOOK_AT_FILES_S)
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        assert os.WIFSIGNALED(status), f"it had ended before it could be killed while {moment}"

    def _holds_while_writing(self, path: Path) -> bool:
        """True if the process was halted while a temporary sibling of the file existed, so before it was in place."""
        if not _siblings(path):
            return False
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)
        if _siblings(path):
            return True
        os.kill(self.pid, signal.SIGCONT)
        return False

    def _wait(self, condition: Callable[[], object], look_s: float = LOOK_S) -> None:
        while not condition():
            ended, _ = os.waitpid(self.pid, os.WNOHANG)
            assert not ended, f"it ended too early:\n{self.run.log.read_text()}"
            time.sleep(look_s)


def _siblings(path: Path) -> list[str]:
    return [name for name in os.listdir(path.parent) if name.startswith(f".{path.name}")]


def position(run: Run) -> list[int] | None:
    """Epoch and step of the last checkpoint."""
    path = run.folder / "checkpoints" / LAST
    if not path.exists():
        return None
    _, state = checkpoints.load(path)
    return [state["epoch"], state["step"]]


if __name__ == "__main__":
    spec, store, seed, *moments = sys.argv[1:]
    main(Spec.read(Path(spec)), Store(Path(store)), random.Random(int(seed)), moments)
