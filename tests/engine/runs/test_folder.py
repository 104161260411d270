"""The run folder: the state of a run in each case, heartbeats, progress, inputs and results."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.errors import DivergedError, StoreError
from engine.files import append_line, write_whole
from engine.runs import Heartbeat, RankEnd, Run, Store, describe_error, describe_inputs, process_alive
from engine.runs.records import RunRequest
from engine.spec import Spec

HERE = socket.gethostname()


def spec(**launch: Any) -> Spec:
    return Spec.from_plain({"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}, "launch": launch})


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def run(store) -> Run:
    return store.create(spec(), {"target": "local"})


@pytest.fixture
def gone() -> dict[str, Any]:
    """A process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(process.pid).create_time()
    process.wait()
    return {"pid": process.pid, "pid_started": started, "host": HERE}


def alive() -> dict[str, Any]:
    return {"pid": os.getpid(), "pid_started": psutil.Process().create_time(), "host": HERE}


def beat(run: Run, rank: int = 0, *, ago_s: float = 0.0, **facts: Any) -> None:
    facts = {"rank": rank, "size": 1, "time": time.time() - ago_s, "phase": "training", **facts}
    write_whole(run.folder / "status" / f"rank-{rank}.json", json.dumps(facts))


def test_a_new_run_has_its_folders_and_is_queued(run):
    assert {p.name for p in run.folder.iterdir()} == {
        *("spec.yaml", "request.json"),
        *("status", "control", "checkpoints", "results"),
    }
    assert run.spec == spec()
    written = hashlib.sha256(run.spec_file.read_bytes()).hexdigest()
    labels = {"title": "resnet · spc · LCB", "field": "hr.nc", "spec_sha256": written}
    assert run.request == RunRequest(target="local", **labels)
    assert run.folder.stat().st_mode & 0o077 == 0  # data may be confidential
    state = run.status()
    assert (state.state, state.reason, state.state.is_active) == ("queued", "not started yet", True)
    assert state.since == run.created
    assert (run.scores(), run.latest(), run.progress(), run.heartbeats()) == (None, {}, ([], 0), [])


def test_a_launcher_that_lives_is_starting_until_a_rank_tells_what_it_does(run):
    run.record_launch("submitted", **alive())
    assert (run.status().state, run.status().reason) == ("queued", "starting")
    run.record_launch("started", **alive())
    beat(run, 0, phase="reading")
    beat(run, 1, phase="training")
    assert (run.status().state, run.status().reason) == ("running", "reading")
    assert run.status().since == run.launches()[-1].time


def test_a_launcher_that_is_gone_without_a_word_was_killed(run, gone):
    run.record_launch("started", **gone)
    state = run.status()
    assert (state.state, state.state.is_active) == ("failed", False)
    assert state.reason == "its launcher was killed: resume continues from the last checkpoint"


def test_a_launcher_that_nobody_has_waited_for_is_gone_too(run):
    process = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(process.pid).create_time()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    run.record_launch("submitted", pid=process.pid, pid_started=started, host=HERE)
    assert run.status().state == "failed"
    process.wait()


def test_a_process_id_given_again_is_another_process(run):
    run.record_launch("started", **(alive() | {"pid_started": alive()["pid_started"] - 100}))
    assert run.status().state == "failed"
    assert process_alive(os.getpid(), None)
    assert not process_alive(None, None)


@pytest.mark.parametrize(
    ("ended", "word", "reason"),
    [
        ({"rc": 1, "reason": "the loss is nan"}, "failed", "the loss is nan"),
        ({"rc": 3}, "failed", "exit code 3"),
        ({"rc": 0, "cancelled": True, "reason": "cancelled"}, "cancelled", "cancelled"),
        ({"rc": 0, "cancelled": False, "reason": "the time limit was reached"}, "failed", "the time limit was reached"),
    ],
)
def test_a_launcher_that_told_its_end(run, gone, ended, word, reason):
    run.record_launch("submitted", **gone)
    run.record_launch("started", **gone)
    run.record_launch("ended", **ended, **gone)
    assert (run.status().state, run.status().reason) == (word, reason)


def test_the_order_of_submitted_and_ended_does_not_matter(run, gone):
    run.record_launch("ended", rc=1, reason="no such file", **gone)  # quicker than who submitted it
    run.record_launch("submitted", **gone)
    assert (run.status().state, run.status().reason) == ("failed", "no such file")


def test_a_run_cancelled_before_it_began(run):
    run.record_launch("ended", rc=None, cancelled=True, reason="cancelled before it began")
    assert (run.status().state, run.status().reason) == ("cancelled", "cancelled before it began")
    run.record_launch("submitted", **alive())  # resumed
    assert run.status().state == "queued"


def test_a_resumed_run_is_what_its_last_launcher_is(run, gone):
    run.record_launch("started", **gone)
    run.record_launch("ended", rc=1, reason="killed", **gone)
    run.record_launch("submitted", **alive())
    assert run.status().state == "queued"


def test_a_resumed_run_may_get_the_process_id_of_the_launcher_before(run):
    before = alive() | {"pid_started": alive()["pid_started"] - 100}
    run.record_launch("started", **before)
    run.record_launch("ended", rc=1, reason="killed", **before)
    run.record_launch("submitted", **alive())
    assert run.status().state == "queued"


def test_done_is_done_whatever_else_is_there(run, gone):
    run.record_launch("started", **gone)
    write_whole(run.folder / "DONE", "{}")
    assert run.status().state == "done"
    run.record_launch("ended", rc=1, **gone)
    assert (run.status().state, run.status().since) == ("done", (run.folder / "DONE").stat().st_mtime)


def test_a_run_on_another_host_is_running_while_it_is_heard_of(run):
    run.record_launch("started", pid=1, pid_started=1.0, host="far")
    assert run.status().state == "running"  # just launched
    beat(run, 0, ago_s=300)
    beat(run, 1, ago_s=59)
    assert run.status().state == "running"


def test_silence_from_another_host_is_not_failure(run):
    run.record_launch("started", pid=1, pid_started=1.0, host="far")
    beat(run, ago_s=61)
    state = run.status()
    assert (state.state, state.reason, state.state.is_active) == ("unknown", "no sign of life from far", False)
    assert time.time() - state.since == pytest.approx(61, abs=5)


def test_another_host_that_never_began_falls_silent_too(run, monkeypatch):
    run.record_launch("submitted", pid=1, host="far")
    monkeypatch.setattr("engine.runs.state.SILENCE_S", 0.0)
    assert run.status().state == "unknown"


def test_another_host_that_told_its_end(run):
    run.record_launch("started", pid=1, pid_started=1.0, host="far")
    run.record_launch("ended", pid=1, pid_started=1.0, host="far", rc=1, reason="out of memory")
    assert (run.status().state, run.status().reason) == ("failed", "out of memory")


def test_a_paused_job_waits_in_the_queue_until_another_process_goes_on(run, gone):
    run.record_launch("started", **gone, job="7")
    run.record_launch("paused", reason="the job's time is nearly up", **gone, job="7")
    assert (run.status().state, run.status().reason) == ("queued", "the job's time is nearly up: queued again")
    run.record_launch("started", **alive(), job="7")
    assert (run.status().state, run.status().reason) == ("queued", "starting")
    run.record_launch("restarted", reason="rank 1 died without a word", **alive(), job="7")
    beat(run, 0, phase="training")
    assert (run.status().state, run.status().reason) == ("running", "training")


def test_a_pause_that_could_not_be_followed_by_a_start_is_an_end(run, gone):
    run.record_launch("paused", reason="the job's time is nearly up", **gone, job="7")
    run.record_launch("ended", reason="refused", cancelled=True, **gone, job="7")
    assert (run.status().state, run.status().reason) == ("cancelled", "refused")


def test_a_torn_heartbeat_or_launcher_record_does_not_count(run):
    run.record_launch("submitted", **alive())
    (run.folder / "status" / "rank-0.json").write_text('{"rank": 0, "ph')
    with (run.folder / "status" / "launcher.jsonl").open("a") as file:
        file.write('{"event": "ended", "rc": 1, "pid": ')
    assert run.heartbeats() == []
    assert (run.status().state, run.status().reason) == ("queued", "starting")


def test_heartbeats_come_by_rank_and_are_forgotten_on_a_new_launch(run):
    for rank in (10, 2, 0):
        beat(run, rank)
    assert [b.rank for b in run.heartbeats()] == [0, 2, 10]
    run.forget_heartbeats()
    assert run.heartbeats() == []


def test_a_rank_tells_that_it_lives_and_how_it_ends(run, monkeypatch):
    monkeypatch.setattr("engine.runs.heartbeat.HEARTBEAT_S", 0.02)
    with Heartbeat(run, 1, 2) as heartbeat:
        (first,) = run.heartbeats()
        heartbeat.phase("reading")
        deadline = time.monotonic() + 10
        while run.heartbeats()[0].phase != "reading" and time.monotonic() < deadline:
            time.sleep(0.01)
        (second,) = run.heartbeats()
        heartbeat.end(RankEnd.DONE, weights="abc")
    (last,) = run.heartbeats()
    assert (first.rank, first.size, first.host, first.pid) == (1, 2, HERE, os.getpid())
    assert (first.phase, second.phase) == ("starting", "reading")
    assert second.time > first.time
    assert (last.end, last.weights) == ("done", "abc")


def test_a_rank_that_fails_tells_why(run):
    with pytest.raises(DivergedError), Heartbeat(run, 0, 1):
        raise DivergedError("the loss is nan: lower training.learning_rate")
    (last,) = run.heartbeats()
    assert (last.end, last.reason) == ("failed", "the loss is nan: lower training.learning_rate")


def test_a_full_disk_does_not_hide_the_error_of_a_rank(small_disk):
    small = Store(small_disk).create(spec(), {})

    def live_and_fail() -> None:
        with Heartbeat(small, 0, 1):
            _fill(small_disk)
            raise DivergedError("the loss is nan")

    with pytest.raises(DivergedError):
        live_and_fail()


def test_errors_in_words_for_the_user():
    assert describe_error(StoreError("words")) == "words"
    full = OSError(errno.ENOSPC, "No space left on device", "/data/x.npz")
    assert describe_error(full) == "the disk is full (/data/x.npz): free some space, then resume"
    assert describe_error(MemoryError()).startswith("not enough memory: choose a smaller training.batch_size")
    assert describe_error(ValueError("one\ntwo")) == "ValueError: one"


def test_progress_is_read_on_from_an_offset(run):
    path = run.folder / "progress.jsonl"
    append_line(path, {"seq": 1})
    append_line(path, {"seq": 2})
    with path.open("a") as file:
        file.write('{"seq": 3, "lo')
    records, offset = run.progress()
    assert [record["seq"] for record in records] == [1, 2]
    assert run.latest() == {"seq": 2}
    with path.open("a") as file:
        file.write('ss": 1}\n')
    assert run.progress(offset)[0] == [{"seq": 3, "loss": 1}]


def test_cancelling_is_a_file_that_can_be_withdrawn(run):
    assert not run.cancel_file.exists()
    run.ask_to_cancel()
    run.ask_to_cancel()
    assert run.cancel_file.exists()
    run.withdraw_cancel()
    run.withdraw_cancel()
    assert not run.cancel_file.exists()


def test_the_manifest_names_size_and_checksum_of_each_result(run):
    (run.folder / "results" / "scores.json").write_bytes(b"abc")
    run.write_manifest()
    run.write_manifest()  # its own line is not in it
    assert json.loads((run.folder / "results" / "manifest.json").read_text()) == {
        "scores.json": {
            "bytes": 3,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",  # FIPS 180-2, B.1
        }
    }


def test_inputs_are_recorded_with_size_and_checksum(tmp_path):
    (tmp_path / "hr.nc").write_bytes(b"abc")
    plain = {"target": {"path": f"{tmp_path}/*.nc"}, "scale": 2, "static": [{"path": f"{tmp_path}/none.nc"}]}
    plain |= {"predictors": [{"path": f"{tmp_path}/hr.nc"}]}
    first, second = describe_inputs(Spec.from_plain({"version": 1, "data": plain}))
    assert first == {
        "path": f"{tmp_path}/hr.nc",
        "bytes": 3,
        "modified": (tmp_path / "hr.nc").stat().st_mtime,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
    assert second == {"path": f"{tmp_path}/none.nc"}


def test_a_full_disk_is_told_when_cancelling(small_disk):
    run = Store(small_disk).create(spec(), {})
    if not _fill(small_disk):
        return  # no file system of its own: a limit on each file doesn't stop a small one
    with pytest.raises(StoreError, match="the disk is full; free some space"):
        run.ask_to_cancel()
    assert not run.cancel_file.exists()


def _fill(disk: Path) -> bool:
    """Fill what is left of a file system; returns whether it is full now."""
    try:
        with (disk / "filler").open("wb", buffering=0) as file:
            while file.write(b"x" * 512):
                pass
    except OSError as error:
        return error.errno == errno.ENOSPC
    return False
