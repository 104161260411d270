"""Runs on this machine: a supervisor, detached from whoever started it, watches over the ranks.

The supervisor is `python -m engine supervise FOLDER`. It starts one process, or `horovodrun` for several, records how
they begin and end, and outlives the dashboard.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from engine.errors import LaunchError
from engine.runs import Run, describe_error

ROOT = Path(__file__).resolve().parents[2]
GRACE_S = 10.0  # between asking processes to end and ending them
FIRST_TO_END = re.compile(r"first process to do so was:\s+Process name: (\d+)")  # horovodrun's last words
KEPT_VARIABLES = re.compile(
    r"^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|VIRTUAL_ENV|CONDA_\w+|MESOSCOPE_\w+|"
    r"TF_\w+|XLA_\w+|OMP_\w+|MKL_\w+|CUDA_\w+|NVIDIA_\w+|NCCL_\w+|HOROVOD_\w+|ECCODES_\w+|PROJ_\w+)$"
)


def start(run: Run) -> None:
    """Start the run's supervisor, in a session of its own that outlives this process."""
    command = [sys.executable, "-m", "engine", "supervise", str(run.folder)]
    run.forget_heartbeats()
    with open(run.log, "ab") as log:
        try:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(os.environ, run.spec.launch.processes),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise LaunchError(f"{command[0]} can't be started ({error.strerror}): check the installation") from error
    run.record_launch("submitted", **identity(process.pid))


def supervise(run: Run) -> int:
    """Start the ranks, wait for their end, and record it; returns their exit code."""
    me, log_from = identity(os.getpid()), run.log.stat().st_size
    run.record_launch("started", **me)
    try:
        ranks = subprocess.Popen(rank_command(run), cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
    except (OSError, LaunchError) as error:
        run.record_launch("ended", rc=None, reason=describe_error(error), **me)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: end_tree(ranks.pid))
    rc = ranks.wait()
    run.record_launch("ended", rc=rc, **how_it_ended(run, rc, log_from), **me)
    return rc


def stop(run: Run) -> None:
    """End the processes of a run at once; what the last checkpoint holds is kept."""
    launches = run.launches()
    last = launches[-1]
    if last["host"] != socket.gethostname():
        raise LaunchError(f"run {run.id} runs on {last['host']}, not here: cancel it from there")
    for pid in (last["pid"], *run.ranks_here()):  # ranks outlive a supervisor that was killed
        end_tree(pid)
    if run.state().word != "cancelled":  # the supervisor itself was killed before it could say so
        run.record_launch("ended", rc=None, cancelled=True, reason="cancelled", **identity(last["pid"]))


def rank_command(run: Run) -> list[str]:
    """The ranks' command: one process is started as it is, several by horovodrun."""
    worker = [sys.executable, "-m", "engine", "work", str(run.folder)]
    processes = run.spec.launch.processes
    if processes == 1:
        return worker
    launcher = Path(sys.executable).with_name("horovodrun")
    return [str(launcher), "-np", str(processes), controller(launcher), *worker]


def controller(launcher: Path) -> str:
    """--gloo, or --mpi where Horovod was built without Gloo (as conda-forge does)."""
    try:
        answer = subprocess.run([launcher, "--check-build"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise LaunchError(
            f"{launcher} doesn't work ({error}): install Horovod (make install), or use one process"
        ) from error
    built = set(re.findall(r"\[X\]\s+(\w+)", answer))
    if not built & {"Gloo", "MPI"}:
        raise LaunchError(f"{launcher} was built without Gloo and MPI: build Horovod with one of them")
    return "--gloo" if "Gloo" in built else "--mpi"


def environment(outer: Mapping[str, str], processes: int) -> dict[str, str]:
    """What the ranks see of the environment: nothing that might be secret, and their share of the cores."""
    kept = {name: value for name, value in outer.items() if KEPT_VARIABLES.match(name)}
    threads = max(1, (os.cpu_count() or 1) // processes)
    defaults = {
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **kept, "PYTHONPATH": str(ROOT)}


def how_it_ended(run: Run, rc: int, log_from: int = 0) -> dict[str, Any]:
    """Why the ranks ended, from what they told last; of several, the rank counts that ended first.

    log_from : where the log of this launch begins, in bytes.
    """
    if (run.folder / "DONE").exists():
        return {"reason": "done"}
    beats = run.heartbeats()
    stopped = [beat for beat in beats if beat.get("end") == "stopped"]
    if rc == 0 and stopped:
        reason = stopped[0].get("reason", "stopped")
        return {"cancelled": True, "reason": f"{reason}: resume continues from here"}
    if run.cancel_file.exists():
        return {"cancelled": True, "reason": "cancelled"}
    first = FIRST_TO_END.findall(run.log.read_bytes()[log_from:].decode(errors="replace"))
    beats = [beat for beat in beats if str(beat["rank"]) in first] or beats
    for beat in beats:
        if beat.get("end") == "failed":
            return {"reason": beat["reason"]}
    silent = [str(beat["rank"]) for beat in beats if "end" not in beat]
    if silent:
        died = f"rank {', '.join(silent)} died without a word (killed, or out of memory)"
        return {"reason": f"{died}: resume continues from the last checkpoint"}
    return {"reason": f"it ended with exit code {rc} before it began: see the log"}


def end_tree(pid: int | None) -> None:
    """End a process and all that it started: asked first, then made to."""
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


def identity(pid: int) -> dict[str, Any]:
    """What tells a process from any other: host, id, and when it began."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        started = None
    return {"pid": pid, "pid_started": started, "host": socket.gethostname()}
