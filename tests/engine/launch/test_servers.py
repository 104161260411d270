"""The servers that other tests stand on: that they are real, can be disturbed, and leave nothing behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest

from tests.engine.launch import servers
from tests.engine.launch.conftest import need
from tests.engine.launch.daemons import lives, name_of, traces_of
from tests.engine.launch.engine_processes import wait
from tests.engine.launch.servers import NODES, Slurm, Sshd

pytestmark = pytest.mark.cluster

SSH_FAILED = 255  # exit code of ssh itself


def test_commands_run_on_the_server(sshd):
    connection = sshd.command("printenv", "SSH_CONNECTION").split()
    assert (connection[2], int(connection[3])) == ("127.0.0.1", sshd.port)
    assert sshd.command("printf", "%s", "two words; $HOME") == "two words; $HOME"
    assert sshd.command("sh", "-c", "exit 3", code=3) == ""


def test_another_key_is_refused(sshd, tmp_path):
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    config = tmp_path / "ssh_config"
    config.write_text(sshd.config.read_text().replace(f"{sshd.folder}/client_key", str(key)))
    refused = ssh(sshd, "true", config)
    assert refused.returncode == SSH_FAILED
    assert "Permission denied (publickey)" in refused.stderr


def test_a_host_that_shows_another_key_is_not_trusted(sshd):
    sshd.new_host_key()
    refused = ssh(sshd, "true")
    assert refused.returncode == SSH_FAILED
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr
    sshd.trust()
    assert ssh(sshd, "true").returncode == 0


def test_a_server_that_is_away_comes_back_at_the_same_place(sshd):
    sshd.stop()
    refused = ssh(sshd, "true")
    assert refused.returncode == SSH_FAILED
    assert "Connection refused" in refused.stderr
    sshd.start()
    assert ssh(sshd, "true").returncode == 0


def test_a_cut_ends_the_connection_and_neither_the_command_nor_the_server(sshd, tmp_path):
    ready = tmp_path / "ready"
    with ssh_started(sshd, f"echo $$ > {ready}.new && mv {ready}.new {ready} && exec sleep 1000") as client:
        command = psutil.Process(int(wait(lambda: ready.exists() and ready.read_text(), "the command")))
        sshd.cut()
        assert client.wait(timeout=600) == SSH_FAILED
    assert lives(command)
    assert ssh(sshd, "true").returncode == 0
    sshd.restore()
    assert not lives(command)


def test_a_session_from_before_another_environment_is_cut_too(sshd, tmp_path):
    ready = tmp_path / "ready"
    with ssh_started(sshd, f"touch {ready} && exec sleep 1000") as client:
        wait(ready.exists, "the command")
        sshd.set_environment({"COLOUR": "green"})
        assert client.poll() is None
        assert sshd.command("printenv", "COLOUR") == "green\n"
        sshd.cut()
        assert client.wait(timeout=600) == SSH_FAILED


def test_commands_see_the_environment_and_programs_of_a_test(sshd, tmp_path):
    fake = tmp_path / "squeue"
    fake.write_text("#!/bin/sh\necho $COLOUR\n")
    fake.chmod(0o755)
    sshd.set_environment({"COLOUR": "light green", "PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert sshd.command("squeue") == "light green\n"
    sshd.restore()
    assert sshd.command("printenv", "COLOUR", code=1) == ""


def test_a_job_runs_on_both_nodes(slurm):
    job = slurm.submit("srun printenv SLURMD_NODENAME", "--nodes=2", "--ntasks=2")
    end_of(slurm, job)
    assert sorted((slurm.folder / f"{job}.out").read_text().split()) == list(NODES)


def test_a_login_node_knows_the_jobs(login, slurm):
    job = login.command("sbatch", "--parsable", "--output=/dev/null", "--wrap", "sleep 1000").strip()
    assert slurm.job(job, "%i") == job
    assert login.command("squeue", "--noheader", "--format=%i").split() == [job]


def test_a_job_survives_a_restart_of_the_controller(slurm):
    job = running(slurm, "sleep 1000")
    slurm.stop_controller()
    slurm.command("scontrol", "ping", code=1)
    slurm.start_controller()
    assert slurm.job(job) == "RUNNING"


def test_a_drained_node_says_why_and_takes_no_job(slurm):
    slurm.drain("node2", reason="new cables")
    assert "new cables" in slurm.command("sinfo", "--list-reasons")
    job = slurm.submit("sleep 1000", "--nodes=2")
    wait(lambda: "node2" in slurm.job(job, "%R"), "a reason to wait")
    assert slurm.job(job) == "PENDING"
    slurm.undrain("node2")
    wait(lambda: slurm.job(job) == "RUNNING", "the start of the job")


def test_the_job_of_a_lost_node_runs_again(slurm):
    job = running(slurm, "echo $SLURM_RESTART_COUNT; exec sleep 1000", "--nodelist=node1")
    (work,) = wait(lambda: [trace for trace in traces_of(slurm.folder) if name_of(trace) == "sleep"], "the job's work")
    slurm.kill_node("node1")
    assert not lives(work)
    wait(lambda: slurm.job(job) == "PENDING", "the job's return to the queue")
    slurm.start_node("node1")
    wait(lambda: slurm.job(job) == "RUNNING", "the second start of the job")
    wait(lambda: (slurm.folder / f"{job}.out").read_text() == "1\n", "the word of the second start")


def test_what_a_test_leaves_is_put_right(slurm):
    running(slurm, "trap '' TERM; sleep 1000", "--nodes=2", "--exclusive")
    slurm.submit("sleep 1000")
    slurm.drain("node1")
    slurm.kill_node("node2", noticed=False)
    slurm.stop_controller()
    slurm.restore()
    assert slurm.command("squeue", "--noheader") == ""
    assert slurm.command("sinfo", "--noheader", "--Node", "--format=%N %T").split() == [
        "node1", "idle", "node2", "idle",
    ]  # fmt: skip


def test_a_queue_can_forget_a_job(forgetful_slurm):
    job = forgetful_slurm.submit("true")
    end_of(forgetful_slurm, job)
    wait(lambda: known(forgetful_slurm, job) == "Invalid job id specified", "the job's leave from the queue")


def test_nothing_is_left_after_a_test_that_fails():
    seen = []
    with pytest.raises(ZeroDivisionError):
        fail_beside_servers(seen)
    assert {"munged", "slurmctld", "slurmd", "slurmstepd", "srun", "sleep", "sshd"} <= {name for name, _ in seen}
    assert not [process for _, process in seen if lives(process)]


def fail_beside_servers(seen: list[tuple[str, psutil.Process]]) -> None:
    with servers.slurm() as cluster, servers.sshd() as server:
        running(cluster, "trap '' TERM; srun env --ignore-environment sleep 1000", "--nodes=2")
        server.command("sh", "-c", "setsid sleep 1000 < /dev/null > /dev/null 2>&1 &")
        seen += wait(lambda: named_traces(cluster.folder, sleeping=2), "the work of the job")
        seen += wait(lambda: named_traces(server.folder, sleeping=1), "the work of the command")
        raise ZeroDivisionError


def named_traces(folder: Path, sleeping: int) -> list[tuple[str, psutil.Process]]:
    """What runs in a folder, with names, once so many of it sleep."""
    found = [(name_of(trace), trace) for trace in traces_of(folder)]
    return found if [name for name, _ in found].count("sleep") == sleeping else []


def test_a_server_that_does_not_start_says_why(sshd):
    sshd.stop()
    (sshd.folder / "sshd_config").write_text("Colour green\n")
    with pytest.raises(AssertionError, match="sshd ended:\n.*Bad configuration option: Colour"):
        sshd.start()


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_missing_programs_are_told_by_their_package(ci, outcome, monkeypatch):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="apt-get install --no-install-recommends some-package$"):
        need({"no-such-program": "some-package", "sh": "dash"})
    need({"sh": "dash"})


def running(cluster: Slurm, script: str, *options: str) -> str:
    """A job that has begun."""
    job = cluster.submit(script, *options)
    wait(lambda: cluster.job(job) == "RUNNING", "the start of the job")
    return job


def end_of(cluster: Slurm, job: str) -> None:
    wait(lambda: cluster.job(job) not in ("PENDING", "RUNNING", "COMPLETING"), "the end of the job", is_costly=True)
    assert cluster.job(job) == "COMPLETED"


def known(cluster: Slurm, job: str) -> str:
    """What Slurm's complaint about a job is, if any."""
    words = ["squeue", f"--jobs={job}"]
    asked = subprocess.run(words, env=cluster.environment, capture_output=True, text=True)
    return asked.stderr.strip().rpartition(": ")[2]


def ssh(server: Sshd, command: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = ["ssh", "-F", str(config or server.config), server.alias, command]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)


def ssh_started(server: Sshd, command: str) -> subprocess.Popen[bytes]:
    words = ["ssh", "-F", str(server.config), server.alias, command]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
