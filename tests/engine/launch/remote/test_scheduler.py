"""Job scripts to the letter, and what a scheduler's own words mean."""

from __future__ import annotations

import subprocess

import pytest

from engine.errors import UnreachableError
from engine.launch.remote import scheduler
from engine.launch.remote.protocol import CommandResult
from engine.launch.remote.scheduler import Job
from engine.launch.sites import Site
from engine.spec import LaunchOptions

TOKEN = "0123456789abcdef"
RUN, ENGINE = "/scratch/me/runs/20260101-000000-run-0001", "/scratch/me/engine/abc"
GIVEN = {
    "host": "login",
    "python": "~/env/bin/python",
    "prelude": "module load cuda\nexport A='b c'\n",
    "partitions": ["main", "gpu"],
    "accounts": ["climate"],
    "threads": 3,
    "warning_s": 90,
    "limits": {"minutes": 1500},
}
ASKED = {"nodes": 2, "processes": 8, "gpus": 1, "partition": "gpu", "time_limit": 90, "threads": 4}

SLURM_FULL = f"""\
#!/bin/bash
#SBATCH --partition=gpu
#SBATCH --job-name=mesoscope-{TOKEN}
#SBATCH --nodes=2
#SBATCH --ntasks=8
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=1:30:00
#SBATCH --account=climate
#SBATCH --output={RUN}/log.txt
#SBATCH --error={RUN}/log.txt
#SBATCH --gpus-per-node=4
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@90
#SBATCH --chdir={RUN}

module load cuda
export A='b c'
cd {ENGINE} || exit
umask 077
exec "$HOME"/env/bin/python -m engine supervise {RUN} --token {TOKEN}
"""
SLURM_PLAIN = f"""\
#!/bin/bash
#SBATCH --job-name=mesoscope-{TOKEN}
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --output={RUN}/log.txt
#SBATCH --error={RUN}/log.txt
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --chdir={RUN}

cd {ENGINE} || exit
umask 077
exec python3 -m engine supervise {RUN} --token {TOKEN}
"""
PBS_FULL = f"""\
#!/bin/bash
#PBS -q gpu
#PBS -N mesoscope-{TOKEN}
#PBS -A climate
#PBS -l select=2:ncpus=16:mpiprocs=4:ngpus=4
#PBS -l walltime=1:30:00
#PBS -l place=scatter
#PBS -o {RUN}/log.txt
#PBS -r y
#PBS -j oe

module load cuda
export A='b c'
cd {ENGINE} || exit
umask 077
exec "$HOME"/env/bin/python -m engine supervise {RUN} --token {TOKEN}
"""


@pytest.mark.parametrize(
    ("target", "asked", "text"),
    [
        ({"kind": "slurm", **GIVEN}, ASKED, SLURM_FULL),
        ({"kind": "slurm"}, {}, SLURM_PLAIN),
        ({"kind": "pbs", **GIVEN}, ASKED, PBS_FULL),
    ],
    ids=["slurm, all asked for", "slurm, nothing asked for", "pbs"],
)
def test_a_job_script_to_the_letter(target, asked, text):
    made = scheduler.job_script(Site.called("big", target), LaunchOptions(**asked), TOKEN, RUN, ENGINE)
    assert made.rstrip() == text.rstrip()
    assert subprocess.run(["bash", "-n"], input=made, text=True, check=True).returncode == 0


def test_what_is_not_asked_for_is_as_the_target_says():
    made = scheduler.job_script(Site.called("big", {"kind": "slurm", **GIVEN}), LaunchOptions(), TOKEN, RUN, ENGINE)
    assert "--partition=main\n" in made  # its first
    assert "--account=climate\n" in made
    assert "--cpus-per-task=3\n" in made
    assert "--time=25:00:00\n" in made  # 1,500 minutes
    assert "--gpus" not in made


def said(out: str = "", err: str = "", rc: int | None = 0) -> CommandResult:
    return CommandResult(rc, out, err)


@pytest.mark.parametrize(
    ("kind", "answer", "job"),
    [
        ("slurm", said("Submitted batch job 17\n"), "17"),
        ("slurm", said("sbatch: Welcome\nSubmitted batch job 17\n", rc=1), None),
        ("slurm", said("", "sbatch: error: Socket timed out on send/recv operation", rc=1), None),
        ("slurm", said("nothing that is known"), None),
        ("slurm", said(rc=None), None),
        ("pbs", said("17.server\n"), "17.server"),
        ("pbs", said("", "qsub: Unknown queue", rc=170), None),
    ],
)
def test_the_number_of_a_job_is_known_only_where_the_scheduler_said_it(kind, answer, job):
    assert scheduler.submitted(kind, answer) == job


def line(*parts: str) -> str:
    """As squeue prints it: number, state, reason, name, user, partition, limit, nodes, cores, time, memory."""
    rest = ("me", "main", "1:00:00", "1", "1", "0:00", "0")
    return "<><> ".join([*parts, *rest]) + "\n"


def test_jobs_of_slurm():
    listed = [
        line("1", "PD", "Priority", "a"),
        line("2", "R", "None", "b"),
        line("3", "CG", "None", "c"),
        line("4", "S", "None", "d"),
        line("5", "CA", "None", "e"),  # listed where SQUEUE_STATES=all stands in the user's environment
        line("6", "QQ", "New", "f"),  # a state that nobody knows yet
        "slurm_load_jobs: a warning on standard output\n",
    ]
    assert scheduler.jobs("slurm", said("".join(listed))) == {
        "a": Job("1", True, "Priority"),
        "b": Job("2", False, ""),
        "c": Job("3", False, ""),
        "d": Job("4", True, ""),
        "f": Job("6", False, "New"),
    }


PBS_JOBS = """\
Job Id: 17.server
    Job_Name = a
    Job_Owner = me@login
    job_state = Q
    queue = main
    Resource_List.ncpus = 1
    Resource_List.nodect = 1
    Resource_List.walltime = 01:00:00

Job Id: 18.server
    Job_Name = b
    Job_Owner = me@login
    job_state = F
    queue = main
    Resource_List.ncpus = 1
    Resource_List.nodect = 1
    Resource_List.walltime = 01:00:00
"""


def test_jobs_of_pbs():
    assert scheduler.jobs("pbs", said(PBS_JOBS)) == {"a": Job("17.server", True)}


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [
        ("slurm", said("", "slurm_load_jobs error: Unable to contact slurm controller", rc=1), "Unable to contact"),
        ("slurm", said("", "squeue didn't answer within 30 s", rc=None), "didn't answer within 30 s"),
        ("slurm", said("", "", rc=3), "exit code 3"),
        ("pbs", said("", "qstat: cannot connect to server", rc=111), "cannot connect"),
        ("pbs", said(PBS_JOBS.replace("= Q", "= ?")), "isn't understood"),
    ],
)
def test_a_scheduler_that_does_not_answer_is_no_empty_queue(kind, answer, words):
    with pytest.raises(UnreachableError, match=words):
        scheduler.jobs(kind, answer)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (said("JobId=17 JobName=x JobState=CANCELLED Reason=None"), "CANCELLED"),
        (said("JobId=17 JobState=TIMEOUT Reason=TimeLimit"), "TIMEOUT"),
        (said("JobId=17 JobState=RUNNING Reason=None"), ""),
        (said("JobId=17 JobState=MYSTERY Reason=None"), ""),
        (said("", "slurm_load_jobs error: Invalid job id specified", rc=1), ""),
    ],
)
def test_how_a_job_ended(answer, word):
    assert scheduler.ended("slurm", answer) == word


def test_commands_are_lists_or_quoted():
    assert scheduler.submit_command("slurm") == ["sbatch", "{run}/job.sh"]
    assert scheduler.cancel_command("slurm", "17") == ["scancel", "-v", "17"]
    assert scheduler.list_command("slurm").endswith("-u {user}")
    assert scheduler.list_command("pbs").endswith("-u {user}")
