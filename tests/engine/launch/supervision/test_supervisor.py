"""What a supervisor does when ranks die, when it gets a signal, and when Slurm answers; ranks and Slurm are played."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from engine.files import to_json, write_whole
from engine.launch import local
from engine.launch.local import ROOT, identity
from engine.launch.supervision.launch_token import LaunchToken
from engine.launch.supervision.requeue import UNREACHED
from engine.runs import Run, Store
from engine.spec import Spec
from tests.engine.launch.engine_processes import TIMEOUT_S, no_processes_left, wait

DIED = "rank 0 died without a word (killed, or out of memory): resume continues from the last checkpoint"
PAUSED = "the job's time is nearly up"


class Stage:
    """A run, its supervisor as a process, and a Slurm with given answers."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()

    def run(self, *, warning_s: float = 2.0, **launch: Any) -> Run:
        spec = {"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}, "launch": launch}
        request = {"token": "a-token", "ranks": {"warning_s": warning_s}}
        return Store(self.folder / "runs").create(Spec.from_plain(spec), request)

    def slurm(self, lines: str) -> None:
        """What `scontrol` does."""
        (self.bin / "scontrol").write_text(f"#!/bin/sh\necho $* >> {self.folder}/asked\n{lines}\n")
        (self.bin / "scontrol").chmod(0o755)

    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def supervise(self, run: Run, *acts: str, **job: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(Path(__file__).with_name("supervise_fake_ranks.py")), str(run.folder), *acts]
        path = f"{self.bin}:{os.environ['PATH']}"
        return subprocess.Popen(command, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **job})


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with no_processes_left(tmp_path):
        yield Stage(tmp_path)


def end(process: subprocess.Popen[bytes]) -> int:
    return process.wait(timeout=TIMEOUT_S)


def starts(run: Run) -> int:
    return len(list(run.folder.glob("start-*")))


def events(run: Run) -> list[str]:
    return [record.event for record in run.launches()]


def test_a_rank_that_died_is_started_again_so_often_as_allowed(stage):
    run = stage.run(restarts=2)
    assert end(stage.supervise(run, "killed", "killed", "done")) == 0
    assert events(run) == ["started", "restarted", "restarted", "ended"]
    assert [(record.number, record.reason) for record in run.launches()[1:3]] == [(1, DIED), (2, DIED)]
    assert f"{DIED}; restart 2 of 2" in run.log.read_text()
    assert run.status().state == "done"


def test_and_not_more_often(stage):
    run = stage.run(restarts=1)
    assert end(stage.supervise(run, "killed")) != 0
    assert events(run) == ["started", "restarted", "ended"]
    assert starts(run) == 2
    assert (run.status().state, run.status().reason) == ("failed", DIED)


def test_an_error_of_our_own_is_no_reason_to_start_again(stage):
    run = stage.run(restarts=5)
    assert end(stage.supervise(run, "fails=the loss is nan")) == 1
    assert events(run) == ["started", "ended"]
    assert run.status().reason == "the loss is nan"


def test_a_job_that_runs_again_has_used_up_its_restarts(stage):
    run = stage.run(restarts=1)
    end(stage.supervise(run, "killed", "killed", SLURM_JOB_ID="7"))
    end(stage.supervise(run, "killed", SLURM_JOB_ID="7"))
    assert events(run) == ["started", "restarted", "ended", "started", "ended"]
    end(stage.supervise(run, "killed", "killed", "killed", "killed", "done", SLURM_JOB_ID="8"))
    assert events(run)[5:] == ["started", "restarted", "ended"]
    assert run.status().state == "done"


def test_every_record_tells_token_and_job(stage):
    run = stage.run(restarts=1)
    end(stage.supervise(run, "killed", "done", SLURM_JOB_ID="7", SLURM_RESTART_COUNT="3"))
    assert {(record.token, record.job) for record in run.launches()} == {("a-token", "7")}
    assert run.launches()[0].requeues == 3
    first = stage.run()
    end(stage.supervise(first, "done"))
    assert {record.token for record in first.launches()} == {"a-token"}
    assert not any(record.job for record in first.launches())


def test_asked_to_end_the_ranks_end_and_the_reason_is_told(stage):
    run = stage.run(restarts=5)
    supervisor = stage.supervise(run, "stays")
    wait(lambda: starts(run), "the ranks")
    supervisor.send_signal(signal.SIGTERM)
    end(supervisor)
    assert events(run) == ["started", "ended"]
    reason = "it was ended from outside (SIGTERM): resume continues from the last checkpoint"
    assert (run.status().state, run.status().reason) == ("failed", reason)


def test_asked_to_end_after_a_cancel_it_is_cancelled(stage):
    run = stage.run(restarts=5)
    supervisor = stage.supervise(run, "stays")
    wait(lambda: starts(run), "the ranks")
    run.ask_to_cancel()
    supervisor.send_signal(signal.SIGTERM)
    end(supervisor)
    assert (run.status().state, run.status().reason) == ("cancelled", "cancelled")


def test_what_was_cancelled_while_it_waited_does_not_begin(stage):
    run = stage.run()
    run.ask_to_cancel()
    end(stage.supervise(run, "done"))
    assert starts(run) == 0
    assert run.status().state == "cancelled"


def pause(stage: Stage, run: Run, act: str, **job: str) -> int:
    before = starts(run)
    supervisor = stage.supervise(run, *["-"] * before, act, **job)
    wait(lambda: starts(run) > before and (run.last.exists() or "save" not in act), "the ranks")
    supervisor.send_signal(signal.SIGUSR1)
    return end(supervisor)


def test_a_job_whose_time_is_nearly_up_is_queued_again(stage):
    stage.slurm("exit 0")
    run = stage.run()
    assert pause(stage, run, "save=3,stops", SLURM_JOB_ID="7") == 0
    assert stage.asked() == ["requeue 7"]
    assert events(run) == ["started", "paused"]
    last = run.launches()[-1]
    assert (last.reason, last.epoch, last.step, last.job) == (PAUSED, 4, 0, "7")
    assert (run.status().state, run.status().reason) == ("queued", f"{PAUSED}: queued again")
    assert end(stage.supervise(run, "-", "done", SLURM_JOB_ID="7")) == 0  # without what asked it to pause
    assert not run.pause_file.exists()
    assert run.status().state == "done"


def test_slurm_may_end_the_job_while_it_is_asked_to_queue_it_again(stage):
    stage.slurm("kill -TERM $PPID; kill -TERM $$")
    run = stage.run()
    assert pause(stage, run, "save=3,stops", SLURM_JOB_ID="7") == 0
    assert events(run) == ["started", "paused"]


def test_slurm_may_refuse(stage):
    stage.slurm("echo 'Requested operation is presently disabled for job 7' >&2; exit 1")
    run = stage.run()
    pause(stage, run, "save=3,stops", SLURM_JOB_ID="7")
    assert stage.asked() == ["requeue 7"]
    assert events(run) == ["started", "paused", "ended"]
    assert run.status().state == "cancelled"
    assert run.status().reason == (
        f"{PAUSED}, and Slurm didn't queue the job again (Requested operation is presently disabled for job 7): "
        "resume continues from the last checkpoint"
    )


AWAY = "Unexpected message received for job 7"  # what scontrol 22.05 says of a controller that is away


def test_slurm_is_asked_again_while_it_does_not_answer(stage):
    stage.slurm(f'[ "$(wc -l < {stage.folder}/asked)" -gt 2 ] && exit 0\necho "{AWAY}" >&2; exit 1')
    run = stage.run(warning_s=600)
    assert pause(stage, run, "save=3,stops", SLURM_JOB_ID="7") == 0
    assert stage.asked() == ["requeue 7"] * 3
    assert events(run) == ["started", "paused"]
    (line,) = run.log.read_text().splitlines()
    assert f"Slurm doesn't answer ({AWAY}): it is asked for " in line


def test_and_no_longer_than_the_warning_time(stage):
    stage.slurm(f'echo "{AWAY}" >&2; exit 1')
    run = stage.run(warning_s=4)
    pause(stage, run, "save=3,stops", SLURM_JOB_ID="7")
    assert len(stage.asked()) > 1
    assert events(run) == ["started", "paused", "ended"]
    reason = f"{PAUSED}, and Slurm didn't queue the job again ({AWAY}): resume continues from the last checkpoint"
    assert run.status().reason == reason


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("Unexpected message received for job 7", True),  # Slurm 22.05 with its controller away
        ("slurm_requeue error: Unable to contact slurm controller (receive failure)", True),
        ("slurm_requeue error: Socket timed out on send/recv operation", True),
        ("slurm_requeue error: Communication connection failure", True),
        ("slurm_requeue error: Zero Bytes were transmitted or received", True),
        ("No answer within 10 s", True),
        ("Requested operation is presently disabled for job 7", False),
        ("Job has already finished", False),
        ("Access/permission denied", False),
        ("Invalid job id specified", False),
        ("exit code -15", False),
        ("FileNotFoundError: No such file or directory: 'scontrol'", False),
        ("", False),
    ],
)
def test_only_what_is_no_answer_is_asked_again(said, again):
    assert bool(UNREACHED.search(said)) == again


def test_ranks_that_take_too_long_to_pause_are_ended(stage):
    stage.slurm("exit 0")
    run = stage.run(restarts=5)
    assert pause(stage, run, "save=3,stays", SLURM_JOB_ID="7") == 0
    assert events(run) == ["started", "paused"]


def test_a_job_that_never_gets_on_is_not_queued_for_ever(stage):
    stage.slurm("exit 0")
    run = stage.run()
    pause(stage, run, "save=3,stops", SLURM_JOB_ID="7")
    pause(stage, run, "stops", SLURM_JOB_ID="7")
    assert stage.asked() == ["requeue 7"]
    assert run.status().state == "failed"
    assert run.status().reason == (
        f"{PAUSED}, and no step was done since the job began: raise launch.time_limit, then resume"
    )


def test_a_cancel_goes_before_a_pause(stage):
    stage.slurm("exit 0")
    run = stage.run()
    supervisor = stage.supervise(run, "save=3,stops", SLURM_JOB_ID="7")
    wait(run.last.exists, "the ranks")
    run.ask_to_cancel()
    supervisor.send_signal(signal.SIGUSR1)
    end(supervisor)
    assert (run.status().state, stage.asked()) == ("cancelled", [])


def test_without_slurm_a_pause_is_a_stop(stage):
    run = stage.run()
    pause(stage, run, "save=3,stops")
    assert events(run) == ["started", "paused", "ended"]
    assert run.status().state == "cancelled"
    assert run.status().reason == f"{PAUSED}: resume continues from the last checkpoint"


# A launch that comes late


def test_a_launch_that_was_replaced_before_it_began_says_so_and_does_nothing(stage):
    run = stage.run()
    run.ask_to_pause("another launch was asked to")
    before = files_of(run)
    assert end(stage.supervise(run, "done", LAUNCH="an-old-token", SLURM_JOB_ID="7")) == 0
    assert starts(run) == 0
    line = run.log.read_text()
    assert line.endswith("launch an-old-token comes late (the run was submitted again since): it does nothing\n")
    assert files_of(run) == {**before, "log.txt": line.encode()}


def test_a_launch_that_was_given_up_does_nothing(stage):
    run = stage.run()
    write_whole(run.folder / "status" / "begun.json", to_json({"token": "a-token", "past": ["a-token"]}))
    assert end(stage.supervise(run, "done", LAUNCH="a-token")) == 0
    assert (starts(run), run.launches()) == (0, [])
    assert "comes late (the launch was revoked before): it does nothing" in run.log.read_text()


def test_a_launch_whose_token_is_that_of_the_folder_goes_on(stage):
    run = stage.run()
    write_whole(run.folder / "status" / "begun.json", to_json({"token": "a-token", "past": ["an-old-token"]}))
    assert end(stage.supervise(run, "done", LAUNCH="a-token")) == 0
    assert events(run) == ["started", "ended"]


def test_a_launch_that_is_replaced_ends_its_ranks_and_records_nothing(stage):
    run = stage.run(restarts=5)
    supervisor = stage.supervise(run, "stays", LAUNCH="a-token", SLURM_JOB_ID="7")
    wait(lambda: starts(run) and run.heartbeats(), "the ranks")
    run.update_request(token="a-newer-token")
    assert end(supervisor) == 0
    assert not run.ranks_here()
    assert (starts(run), events(run)) == (1, ["started"])
    assert "launch a-token has ended its ranks: the run was submitted again" in run.log.read_text()


def test_a_launch_that_is_replaced_leaves_the_ranks_of_the_other_alone(stage):
    run = stage.run()
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", str(run.folder)])
    try:
        write_whole(run.folder / "other.json", to_json({"rank": 0, "time": time.time(), **asdict(identity(other.pid))}))
        supervisor = stage.supervise(run, "yields", LAUNCH="a-token")
        wait(lambda: starts(run) and run.heartbeats(), "the ranks")
        run.update_request(token="a-newer-token")
        assert end(supervisor) == 0
        assert run.ranks_here() == [other.pid]
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("way", ["SIGTERM", "cancel --now", "cancel --now after SIGKILL"])
def test_ranks_that_are_still_being_started_are_all_ended(stage, way):
    run = stage.run()
    supervisor = stage.supervise(run, "spreads")
    wait(lambda: len(list(run.folder.glob("spread-*"))) > 10, "the first ranks")  # `stage` finds what is left of them
    launcher = run.heartbeats()[0].pid
    if way == "SIGTERM":  # of both, as when a whole group of processes is ended: those already started are orphans
        os.kill(launcher, signal.SIGTERM)
        supervisor.terminate()
        end(supervisor)
        return
    if way.endswith("SIGKILL"):
        supervisor.kill()
        end(supervisor)
    local.stop(run)
    if not way.endswith("SIGKILL"):
        end(supervisor)


def test_a_request_that_cannot_be_read_for_a_while_ends_nothing(stage):
    run = stage.run()
    fence = LaunchToken(run, "a-token")
    assert not fence.replaced
    (run.folder / "request.json").write_text('{"token": "a-ne')
    assert not fence.replaced
    (run.folder / "request.json").unlink()
    assert not fence.replaced
    (run.folder / "request.json").mkdir()  # any error of the system
    assert not fence.replaced
    (run.folder / "request.json").rmdir()
    run.update_request(token="a-newer-token")
    assert fence.replaced


def files_of(run: Run) -> dict[str, bytes]:
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
