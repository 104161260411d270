"""A scheduler's text: the job script, the commands, and what they say. Pure functions; nothing is run here.

The text is made and read by qtoolkit. It doesn't look at what stands in a header: only words, whole numbers and paths
of ours come here, checked where they are declared.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from qtoolkit.core.data_objects import QState, SubmissionStatus
from qtoolkit.core.exceptions import QTKError
from qtoolkit.io import PBSIO, SlurmIO
from qtoolkit.io.slurm import SlurmState

from engine.errors import UnreachableError
from engine.launch.remote.protocol import CommandResult
from engine.launch.sites import Site
from engine.spec import LaunchOptions

IOS = {"slurm": SlurmIO, "pbs": PBSIO}
SCRIPT = "job.sh"
TIMEOUT_S = 30.0  # for a scheduler to answer
OVER = (QState.FAILED, QState.DONE)
WAITING = (QState.QUEUED, QState.QUEUED_HELD, QState.REQUEUED, QState.SUSPENDED)


@dataclass(frozen=True)
class Job:
    """A job as the scheduler lists it: its id, whether it waits or runs, and the scheduler's own reason."""

    id: str
    waiting: bool
    reason: str = ""


def job_name(token: str) -> str:
    """The token stands in the job's name, so that a job is found though its submission's reply was lost."""
    return f"mesoscope-{token}"


def job_script(target: Site, launch: LaunchOptions, token: str, run: str, engine: str) -> str:
    """The batch script of a run.

    Parameters
    ----------
    run, engine : folders there, absolute.
    """
    made = {"slurm": _slurm_header, "pbs": _pbs_header}[target.kind](target, launch, token, run)
    command = f"exec {target.python_word} -m engine supervise {shlex.quote(run)} --token {token}"
    body = [*filter(None, [target.prelude.rstrip("\n")]), f"cd {shlex.quote(engine)} || exit", "umask 077", command, ""]
    return IOS[target.kind]().get_submission_script("\n".join(body), made)


def submit_command(kind: str) -> list[str]:
    """To be run in the run folder; {run} stands for it."""
    return [*str(IOS[kind].SUBMIT_CMD).split(), f"{{run}}/{SCRIPT}"]


def list_command(kind: str) -> str:
    """A line of bash that lists the user's jobs; {user} stands for the user."""
    if kind == "pbs":
        return "qstat -f -u {user}"  # qtoolkit quotes the name, which isn't known here
    return IOS[kind]().get_jobs_list_cmd(None, "USER").replace("-u USER", "-u {user}")


def cancel_command(kind: str, job: str) -> list[str]:
    return shlex.split(IOS[kind]().get_cancel_cmd(job))


def end_command(kind: str, job: str) -> str:
    """A line of bash that prints how a job ended, while the scheduler has a record of it."""
    return IOS[kind]().get_job_cmd(job)


def submitted(kind: str, said: CommandResult) -> str | None:
    """The job's id by what the submit command said; None if it said no such thing."""
    result = IOS[kind]().parse_submit_output(1 if said.rc is None else said.rc, said.out, said.err)
    return str(result.job_id) if result.status == SubmissionStatus.SUCCESSFUL else None


def jobs(kind: str, said: CommandResult) -> dict[str, Job]:
    """Name → job, of all of the user's jobs; raises UnreachableError if the scheduler didn't answer."""
    if said.rc != 0:
        lines = said.err.strip().splitlines() or [f"exit code {said.rc}"]
        raise UnreachableError(f"the scheduler doesn't answer ({lines[-1]})")
    return {"slurm": _slurm_jobs, "pbs": _pbs_jobs}[kind](said)


def ended(kind: str, said: CommandResult) -> str:
    """End of a job in the scheduler's own word; '' if there is no record, or the job hasn't ended."""
    if kind != "slurm" or said.rc != 0:
        return ""
    state = re.search(r"\bJobState=(\w+)", said.out)
    return state[1] if state and _slurm_state(state[1]) in OVER else ""


def _slurm_header(target: Site, launch: LaunchOptions, token: str, run: str) -> dict[str, object]:
    minutes = target.minutes(launch)
    header = {
        "job_name": job_name(token),
        "partition": launch.partition or next(iter(target.partitions), None),
        "account": launch.account or next(iter(target.accounts), None),
        "nodes": launch.nodes,
        "ntasks": launch.processes,
        "ntasks_per_node": launch.processes // launch.nodes,
        "cpus_per_task": launch.threads or target.threads,
        "gpus_per_node": launch.gpus * launch.processes // launch.nodes or None,
        "time": f"{minutes // 60}:{minutes % 60:02d}:00" if minutes else None,
        "qout_path": f"{run}/log.txt",
        "qerr_path": f"{run}/log.txt",
        "qverbatim": "\n".join(
            [
                "#SBATCH --open-mode=append",
                "#SBATCH --requeue",
                f"#SBATCH --signal=B:USR1@{target.warning_s}",
                f"#SBATCH --chdir={run}",
                *(["#SBATCH --no-kill"] if launch.is_elastic else []),  # when a node fails
            ]
        ),
    }
    return {name: value for name, value in header.items() if value is not None}


def _pbs_header(target: Site, launch: LaunchOptions, token: str, run: str) -> dict[str, object]:
    minutes, each = target.minutes(launch), launch.processes // launch.nodes
    cores = each * (launch.threads or target.threads)
    gpus = f":ngpus={launch.gpus * each}" if launch.gpus else ""
    header = {
        "job_name": job_name(token),
        "queue": launch.partition or next(iter(target.partitions), None),
        "account": launch.account or next(iter(target.accounts), None),
        "select": f"select={launch.nodes}:ncpus={cores}:mpiprocs={each}{gpus}",
        "place": "scatter" if launch.nodes > 1 else None,
        "walltime": f"{minutes // 60}:{minutes % 60:02d}:00" if minutes else None,
        "rerunnable": "y",
        "qout_path": f"{run}/log.txt",
        "qverbatim": "#PBS -j oe",
    }
    return {name: value for name, value in header.items() if value is not None}


def _slurm_jobs(said: CommandResult) -> dict[str, Job]:
    io = SlurmIO()
    names = [name for _, name in io.squeue_fields]
    found = {}
    for line in said.out.splitlines():
        parts = [part.strip() for part in line.split(io.split_separator)]
        if len(parts) == len(names):
            row = dict(zip(names, parts, strict=True))
            state = _slurm_state(row["state_raw"])
            if state not in OVER:  # SQUEUE_STATES in the user's environment lists these too
                reason = "" if row["annotation"] == "None" else row["annotation"]
                found[row["job_name"]] = Job(row["job_id"], state in WAITING, reason)
    return found


def _slurm_state(word: str) -> QState:
    """A word unknown to qtoolkit, of a newer Slurm, say, is a job's that is there and doesn't wait."""
    try:
        state: QState = SlurmState(word).qstate
    except ValueError:
        return QState("RUNNING")
    return state


def _pbs_jobs(said: CommandResult) -> dict[str, Job]:
    try:
        listed = PBSIO().parse_jobs_list_output(0, said.out, said.err)
    except (QTKError, ValueError, KeyError) as error:
        raise UnreachableError(f"the scheduler's answer isn't understood ({error})") from error
    return {str(job.name): Job(str(job.job_id), job.state in WAITING) for job in listed if job.state not in OVER}
