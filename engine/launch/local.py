"""Runs on this machine: a supervisor, detached from whoever started it, watches over the ranks.

The supervisor is `python -m engine supervise FOLDER` (supervisor.py) and outlives the dashboard.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

from engine.errors import LaunchError
from engine.files import private
from engine.launch.marked_processes import end_marked, mark_of
from engine.launch.priority import lower
from engine.launch.ranks.command import threads
from engine.runs import LaunchEvent, Run, RunState
from engine.runs.records import ProcessIdentity

ROOT = Path(__file__).resolve().parents[2]
GRACE_S = 10.0  # between asking processes to end and ending them
KEPT_VARIABLES = re.compile(
    r"^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|VIRTUAL_ENV|CONDA_\w+|MESOSCOPE_\w+|"
    r"TF_\w+|XLA_\w+|OMP_\w+|MKL_\w+|CUDA_\w+|NVIDIA_\w+|NCCL_\w+|HOROVOD_\w+|ECCODES_\w+|PROJ_\w+|"
    r"NETRC|AWS_(ENDPOINT_URL|REGION|DEFAULT_REGION|PROFILE|CONFIG_FILE|SHARED_CREDENTIALS_FILE|CA_BUNDLE))$"
)


def start(run: Run, nice: int = 0) -> None:
    """Start the run's supervisor, in a session of its own that outlives this process, so much nicer than this one."""
    run.forget_heartbeats()
    process = detach(["supervise", str(run.folder)], run.spec.launch.processes, run.log)
    lower(process.pid, nice)
    run.record_launch(LaunchEvent.SUBMITTED, **asdict(identity(process.pid)), token=run.request.token)


def detach(words: Sequence[str], processes: int, log: Path) -> subprocess.Popen[bytes]:
    """Start `python -m engine WORDS` in a session of its own, which outlives this process.

    Parameters
    ----------
    processes : ranks that share the cores.
    log : file to which the output is appended.

    Raises
    ------
    LaunchError
        If no process starts.
    """
    with open(log, "ab", opener=private) as file:
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "engine", *words],
                cwd=ROOT,
                env=environment(os.environ, processes),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            raise LaunchError(
                f"{sys.executable} can't be started ({error.strerror})", action="check the installation"
            ) from error


def stop(run: Run) -> None:
    """End the processes of a run at once; what the last checkpoint holds is kept."""
    last = run.launches()[-1]
    if last.host != socket.gethostname():
        raise LaunchError(f"run {run.id} runs on {last.host}, not here", action="cancel it from there")
    end_tree(last.pid)
    if last.pid is not None:
        end_marked(mark_of(run.folder, last.pid))  # ranks outlive a supervisor that was killed
    if run.status().state is not RunState.CANCELLED:  # the supervisor itself was killed before it could say so
        end = {"rc": None, "cancelled": True, "reason": "cancelled"}
        process = {"host": last.host, "pid": last.pid, "pid_started": last.pid_started}
        run.record_launch(LaunchEvent.ENDED, **end, **process, token=last.token)


def environment(outer: Mapping[str, str], processes: int) -> dict[str, str]:
    """Environment of the ranks: nothing that might be secret, and their share of the cores."""
    kept = {name: value for name, value in outer.items() if KEPT_VARIABLES.match(name)}
    defaults = {**threads((os.cpu_count() or 1) // processes), "PYTHONUNBUFFERED": "1"}
    return {**defaults, **kept, "PYTHONPATH": str(ROOT)}


def end_tree(pid: int | None) -> None:
    """End a process and all that it started: asked first, then made to; None, no process, isn't this one."""
    if pid is None:
        return
    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for send in ("terminate", "kill"):
        for process in family:
            try:
                getattr(process, send)()
            except psutil.NoSuchProcess:
                continue
        _, family = psutil.wait_procs(family, timeout=GRACE_S)


def identity(pid: int) -> ProcessIdentity:
    """Identify a process of this host."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        started = None
    return ProcessIdentity(socket.gethostname(), pid, started)
