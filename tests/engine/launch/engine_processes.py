"""Real processes for tests: the command line, runs that are waited for, and what is left of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from engine.runs import Run, RunStatus
from tests.engine.data.mock import write_field

CHECKOUT = Path(__file__).parents[3]
TIMEOUT_S = 3600.0  # what takes so long hangs, however slow and busy the machine
LOOK_S = 0.02
LONGEST_LOOK_S = 1.0
GRACE_S = 300.0  # for processes that have done their work to end, on a slow and busy machine

# Everything that a resume has to bring back: order of samples, dropout, running statistics, course of learning.
DATA = {"target": {"path": "hr.nc"}, "scale": 2}
MODEL = {"n_filters": 4, "n_blocks": 1, "normalization": "batch", "dropout_rate": 0.1}
TRAINING = {"epochs": 120, "batch_size": 7, "early_stopping": False}


@dataclass(frozen=True)
class CommandLine:
    """`python -m engine` as a process of its own, with a store."""

    store: Path

    def __call__(self, *words: str, code: int = 0) -> str:
        """Standard output, once the command has ended as it should."""
        command = [sys.executable, "-m", "engine", *words, "--store", str(self.store)]
        ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert ended.returncode == code, f"{words} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        return json.loads(self(*words, "--json", code=code))

    def submit(self, spec: Path, *settings: str) -> Run:
        options = [word for setting in settings for word in ("--set", setting)]
        return Run(Path(self.json("submit", str(spec), *options)["folder"]))


def write_spec(folder: Path, *, model: dict[str, Any] = MODEL, training: dict[str, Any] = TRAINING) -> Path:
    """A field of 8 × 12 cells with gaps, 40 days of it, and the spec of a training that lasts some seconds."""
    write_field(folder / "hr.nc", ny=8, nx=12, times=40, missing=0.2)
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "data": DATA, "model": model, "training": training}))
    return path


def wait(condition: Callable[[], Any], what: str, *, is_costly: bool = False) -> Any:
    """Poll a condition until it is true; returns its value.

    is_costly : it takes time on the processor that what is waited for could use, so it is looked at ever less often.
    """
    began = time.monotonic()
    while (waited := time.monotonic() - began) < TIMEOUT_S:
        if found := condition():
            return found
        time.sleep(min(LOOK_S + waited / 10, LONGEST_LOOK_S) if is_costly else LOOK_S)
    raise AssertionError(f"{what} didn't happen within {TIMEOUT_S:.0f} s")


def end_of(run: Run) -> RunStatus:
    """The state in which a run ends, once none of its processes lives."""
    wait(lambda: not run.status().state.is_active, f"the end of {run.id}")
    wait(lambda: not processes_of(run.folder), f"the end of the processes of {run.id}", is_costly=True)
    return run.status()


def processes_of(folder: Path) -> list[psutil.Process]:
    """All live processes that were given a folder, or what is in it, on their command line."""
    return [process for process in psutil.process_iter() if str(folder) in _command(process)]


def _command(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


@contextmanager
def no_processes_left(folder: Path) -> Iterator[None]:
    """Ends what is left of the processes of a folder, and says so: there should be nothing."""
    try:
        yield
    finally:
        psutil.wait_procs(processes_of(folder), timeout=GRACE_S)
        left = processes_of(folder)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    assert not left, f"processes were left over: {left}"


def kill(pid: int) -> None:
    psutil.Process(pid).kill()


def rank_pid(run: Run, rank: int = 0) -> int:
    """The process of a rank that trains."""

    def training() -> int | None:
        beats = {beat.rank: beat for beat in run.heartbeats()}
        return beats[rank].pid if rank in beats and run.latest() else None

    return wait(training, f"training of rank {rank} of {run.id}")


def weights_of(run: Run) -> dict[str, np.ndarray]:
    """The best weights, by name."""
    with np.load(run.folder / "checkpoints" / "best.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name.startswith("weights/")}


def same_weights(one: Run, other: Run) -> bool:
    """True if the best weights are equal bit for bit."""
    a, b = weights_of(one), weights_of(other)
    return list(a) == list(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)


def kill_after_a_checkpoint(run: Run, rank: int = 0) -> None:
    """Kill a rank in the midst of its training, some epochs after its first checkpoint: see `checkpoint_each_epoch`."""
    process = psutil.Process(rank_pid(run, rank))
    wait(run.last.exists, "a checkpoint")
    saved = run.latest()["seq"]
    wait(lambda: run.latest()["seq"] > saved + 1, "two more records of progress")
    process.kill()


def resumed_epoch(run: Run) -> int:
    """The epoch in which the run was resumed, from the log."""
    _, found, rest = run.log.read_text().partition("resumed in epoch ")
    return int(rest.split()[0]) if found else 0
