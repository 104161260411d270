"""Check of a site, step by step: what was found, and how to fix what doesn't work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import LaunchError, MesoscopeError, SiteError
from engine.launch.machine import Machine, gpu_devices
from engine.launch.ranks import command
from engine.launch.remote import agent, scheduler, staging
from engine.launch.remote.client import ask, run_engine
from engine.launch.remote.protocol import DescribeSite, Poll, RunCommand
from engine.launch.sites import Site
from engine.training.precision import cpuinfo, has_amx

PACKAGES = (
    "tensorflow", "keras", "horovod", "numpy", "pandas", "scipy", "xarray", "netCDF4", "cfgrib", "zarr",
    "cftime", "cf_xarray", "pint", "pyproj", "param", "psutil", "yaml",
)  # fmt: skip
FIND = "import importlib.util as u; print(*[p for p in {names!r} if u.find_spec(p) is None])"
COUNT_GPUS = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
PATIENCE_S = 100  # for a command; importing TensorFlow from a slow file system takes its time


@dataclass(frozen=True)
class Step:
    """One thing that has to work: what was found, and, if it doesn't, how to fix it."""

    name: str
    works: bool
    found: str
    remedy: str = ""

    def plain(self) -> dict[str, object]:
        return {"step": self.name, "works": self.works, "found": self.found, "mend": self.remedy}


def check(target: Site) -> Iterator[Step]:
    """The steps, in order; ends with the first that doesn't work, for the next ones need it."""
    asked = target if target.remote else target.replace(python=sys.executable)  # what this process runs with
    for name, action in _steps(target):
        try:
            yield Step(name, True, action(asked))
        except MesoscopeError as error:
            yield Step(name, False, error.problem, error.remedy)
            return


def _steps(target: Site) -> list[tuple[str, Callable[[Site], str]]]:
    if not target.remote:
        return [("machine", _machine), ("packages", _packages), ("Horovod", _build), ("training", _training)]
    steps: list[tuple[str, Callable[[Site], str]]] = [("login", _login)] if target.host else []
    steps += [("folder and Python", _folder), ("packages", _packages), ("Horovod", _build)]
    steps += [("scheduler", _scheduler)] if target.scheduled else []
    return [*steps, ("engine", _engine)]


def _login(target: Site) -> str:
    target.connection.shell("true")
    return f"{target.host} lets you in, and its host key is known"


def _folder(target: Site) -> str:
    there = ask(target, DescribeSite())
    return f"{there.folder} on {there.host}, {there.free_bytes / 1e9:.0f} GB free; Python {there.python}"


def _machine(target: Site) -> str:
    devices = gpu_devices()
    amx = "with AMX" if has_amx(cpuinfo()) else "without AMX"
    gpus = f"{devices} NVIDIA GPUs are there" if devices else "no NVIDIA GPU is there"
    return f"{Machine.here().text}; processor {amx}; {gpus}; a run may have {target.most_processes} processes"


def _training(target: Site) -> str:
    """Device and network of a training, as TensorFlow and Horovod themselves report them."""
    gpus = int(_output_of(target, [target.python, "-c", COUNT_GPUS]).split()[-1])
    if not gpus:
        why = "; its GPUs need TensorFlow with CUDA: make install GPU=1" if gpu_devices() else ""
        return f"on the processor{why}; with mixed_bfloat16 it uses AMX where there is AMX"
    parts = _parts(target)
    way = "NCCL" if "NCCL" in parts else "Gloo, by way of the processor's memory: Horovod was built without NCCL"
    return f"one process on each of {gpus} GPUs; these average gradients with {way}"


def _packages(target: Site) -> str:
    said = _output_of(target, [target.python, "-c", FIND.format(names=PACKAGES)])
    if lacking := said.split():
        raise SiteError(
            f"{target.python} lacks {', '.join(lacking)}", action="install them there, or fix prelude or python"
        )
    return f"all {len(PACKAGES)} are there"


def _build(target: Site) -> str:
    parts = _parts(target)
    if "TensorFlow" not in parts:
        raise SiteError("Horovod was built without TensorFlow", action="build it with HOROVOD_WITH_TENSORFLOW=1")
    if not parts & {"Gloo", "MPI"}:
        raise SiteError("Horovod was built without Gloo and MPI", action="build it with one of them")
    return f"built with {', '.join(sorted(parts))}"


def _parts(target: Site) -> set[str]:
    """Parts that the target's Horovod was built with."""
    return command.built(_output_of(target, [target.python, "-m", "horovod.runner.launch", "--check-build"]))


def _scheduler(target: Site) -> str:
    said = ask(target, Poll({}, scheduler.list_command(target.kind), scheduler.TIMEOUT_S)).listing
    assert said
    jobs = scheduler.jobs(target.kind, said)
    if target.kind == "slurm" and target.partitions:
        known = {word.rstrip("*") for word in _output_of(target, ["sinfo", "--noheader", "--format=%P"]).split()}
        if lacking := [name for name in target.partitions if name not in known]:
            raise SiteError(
                f"no partition {lacking[0]}", hint=f"known are {', '.join(sorted(known))}", action="fix partitions"
            )
    return f"{target.kind} answers; {len(jobs)} of your jobs wait or run"


def _engine(target: Site) -> str:
    checksum, _ = staging.engine_archive()
    done = run_engine(target, f"{ask(target, DescribeSite()).folder}/engine/{checksum}", "check --help")
    if done.rc:
        lines = done.err.strip().splitlines() or [f"exit code {done.rc}"]
        raise SiteError(f"the engine doesn't run ({lines[-1]})", action="fix prelude or python")
    return f"version {checksum[:12]} is there and runs"


def _output_of(target: Site, command: list[str]) -> str:
    """Standard output of a command in the target's environment."""
    request = RunCommand(tuple(command), PATIENCE_S)
    said = ask(target, request) if target.remote else agent.run_command(Path(), request)
    if said.rc != 0:
        lines = said.err.strip().splitlines() or [f"exit code {said.rc}"]
        raise LaunchError(
            f"{command[0]} doesn't work ({lines[-1]})", action="fix prelude or python in the targets file"
        )
    return said.out
