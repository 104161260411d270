"""Runs on this machine: what becomes of them when they, or those who watch over them, are cancelled or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine.errors import StoreError
from engine.launch import api
from engine.launch.local import environment
from engine.runs import Run
from tests.engine.launch.engine_processes import (
    CHECKOUT,
    CommandLine,
    end_of,
    kill,
    kill_after_a_checkpoint,
    no_processes_left,
    processes_of,
    rank_pid,
    resumed_epoch,
    same_weights,
    wait,
)

pytestmark = pytest.mark.usefixtures("usual_threads")
SILENT = "rank {} died without a word (killed, or out of memory): resume continues from the last checkpoint"
LAUNCHER_KILLED = "its launcher was killed: resume continues from the last checkpoint"


@pytest.fixture(scope="module")
def undisturbed(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nobody touches, in the foreground."""
    engine = CommandLine(tmp_path_factory.mktemp("undisturbed"))
    with no_processes_left(engine.store):
        answer = engine.json("train", str(spec))
    assert answer["state"] == "done"
    return Run(Path(answer["folder"]))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line with a store of its own; no process of its runs may be left at the end."""
    with no_processes_left(tmp_path):
        yield CommandLine(tmp_path / "runs")


@pytest.mark.slow
def test_a_run_outlives_the_process_that_submitted_it(spec, undisturbed, tmp_path, engine):
    command = [sys.executable, str(Path(__file__).with_name("submit_and_stay.py")), str(spec), str(engine.store)]
    outer = {**os.environ, "PYTHONPATH": str(CHECKOUT), "AWS_SECRET_ACCESS_KEY": "hush"}
    submitter = subprocess.Popen(command, env=outer, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with submitter:
        run = Run(Path(submitter.stdout.readline().strip()))
        seen = [run.status().state]
        rank = psutil.Process(rank_pid(run))
        assert "AWS_SECRET_ACCESS_KEY" not in rank.environ()
        assert rank.nice() == min(psutil.Process(submitter.pid).nice() + 10, 19)
        os.killpg(submitter.pid, signal.SIGKILL)
        submitter.wait()
    while seen[-1] != "done":
        state = wait(lambda: state if (state := run.status()).state != seen[-1] else None, "another state")
        assert state.state in ("running", "done"), state
        seen.append(state.state)
    assert seen[-2:] == ["running", "done"]
    assert end_of(run).state == "done"
    assert same_weights(run, undisturbed)


@pytest.mark.slow
def test_a_cancelled_run_goes_on_where_it_stopped(spec, undisturbed, engine):
    run = engine.submit(spec)
    rank_pid(run)
    api.cancel(run)
    state = end_of(run)
    assert (state.state, state.reason) == ("cancelled", "cancelled: resume continues from here")
    assert (run.folder / "checkpoints" / "last.npz").exists()
    assert not (run.folder / "DONE").exists()
    assert run.scores() is None
    stopped = run.latest()
    engine("resume", run.id)
    assert end_of(run).state == "done"
    assert resumed_epoch(run) >= stopped["epoch"] > 0
    assert [record["seq"] for record in run.progress()[0]][-1] > stopped["seq"]
    assert same_weights(run, undisturbed)


@pytest.mark.slow
@pytest.mark.usefixtures("checkpoint_each_epoch")
def test_a_killed_rank_fails_the_run_and_resume_ends_with_the_same_weights(spec, undisturbed, engine):
    run = engine.submit(spec)
    kill_after_a_checkpoint(run)
    state = end_of(run)
    assert (state.state, state.reason) == ("failed", SILENT.format(0))
    assert engine.json("show", run.id)["reason"] == state.reason
    engine("resume", run.id)
    assert end_of(run).state == "done"
    assert resumed_epoch(run) > 1
    assert same_weights(run, undisturbed)
    np.testing.assert_equal(run.scores(), undisturbed.scores())


@pytest.mark.slow
def test_the_whole_tree_killed(spec, undisturbed, engine):
    run = engine.submit(spec)
    rank_pid(run)
    for process in processes_of(run.folder):
        process.kill()
    state = end_of(run)
    assert (state.state, state.reason) == ("failed", LAUNCHER_KILLED)
    engine("resume", run.id)
    assert end_of(run).state == "done"
    assert same_weights(run, undisturbed)


@pytest.mark.slow
def test_a_rank_goes_on_without_its_supervisor(spec, undisturbed, engine):
    run = engine.submit(spec)
    rank = rank_pid(run)
    kill(run.launches()[-1].pid)
    assert psutil.pid_exists(rank)
    assert run.status().state == "running"
    with pytest.raises(StoreError, match=f"run {run.id} is running: cancel it first, or wait for its end"):
        api.resume(run)
    assert end_of(run).state == "done"
    assert same_weights(run, undisturbed)


@pytest.mark.slow
def test_of_six_that_resume_at_once_one_starts_it(spec, engine):
    run = engine.submit(spec, "training.epochs=100000")
    rank_pid(run)
    engine("cancel", run.id)
    assert end_of(run).state == "cancelled"
    command = [sys.executable, "-m", "engine", "resume", run.id, "--store", str(engine.store)]
    asked = [subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    ended = [(process.communicate()[1], process.returncode) for process in asked]
    assert sorted(code for _, code in ended) == [0, 2, 2, 2, 2, 2]
    refusals = [said for said, code in ended if code]
    assert all("cancel it first, or wait for its end" in refusal for refusal in refusals)
    assert [record.event for record in run.launches()].count("submitted") == 2
    rank_pid(run)
    assert len([process for process in processes_of(run.folder) if "supervise" in process.cmdline()]) == 1
    engine("cancel", run.id, "--now")
    assert end_of(run).state == "cancelled"


@pytest.mark.slow
@pytest.mark.parametrize("supervised", [True, False])
def test_cancelled_at_once(supervised, spec, engine):
    run = engine.submit(spec, "training.epochs=100000")
    rank_pid(run)
    refusal = engine.json("resume", run.id, code=2)["error"]
    assert refusal == f"run {run.id} is running: cancel it first, or wait for its end"
    if not supervised:
        kill(run.launches()[-1].pid)
    engine("cancel", run.id, "--now")
    assert not processes_of(run.folder)
    assert (run.status().state, run.status().reason) == ("cancelled", "cancelled")


@pytest.mark.slow
@pytest.mark.usefixtures("checkpoint_each_epoch")
def test_one_of_two_ranks_killed(spec, engine):
    run = engine.submit(spec, "launch.processes=2", "training.batch_size=4", "training.epochs=40")
    assert rank_pid(run, 0) != rank_pid(run, 1)
    kill_after_a_checkpoint(run, rank=1)
    state = end_of(run)
    assert state.state == "failed"
    assert state.reason == SILENT.format(1)
    engine("resume", run.id)
    assert end_of(run).state == "done"
    assert resumed_epoch(run) > 1
    assert len({beat.weights for beat in run.heartbeats()}) == 1


@pytest.mark.slow
def test_a_run_stops_at_its_time_limit(spec, engine):
    run = engine.submit(spec, "launch.time_limit=1", "training.epochs=100000")
    began = time.time()
    state = end_of(run)
    assert time.time() - began > 60
    assert state.state == "cancelled"
    assert "stopped in epoch " in run.log.read_text()
    assert state.reason == "the time limit of 1 min was reached: resume continues from here"
    assert (run.folder / "checkpoints" / "last.npz").exists()


def test_the_ranks_see_nothing_secret_of_the_environment():
    outer = {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "1",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "AWS_ACCESS_KEY_ID": "hush",
        "AWS_SESSION_TOKEN": "hush",
        "AWS_ENDPOINT_URL": "https://store.example.org",
        "GITHUB_TOKEN": "hush",
        "SSH_AUTH_SOCK": "agent.socket",
        "MY_PATH": "hush",
        "PYTHONPATH": "/somewhere/else",
    }
    inner = environment(outer, 1)
    assert "hush" not in inner.values()
    assert {name: inner[name] for name in ("PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES", "AWS_ENDPOINT_URL")} == {
        name: outer[name] for name in ("PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES", "AWS_ENDPOINT_URL")
    }
    assert inner["PYTHONPATH"] == str(CHECKOUT)
    assert "SSH_AUTH_SOCK" not in inner


def test_each_rank_gets_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [environment({}, n)["OMP_NUM_THREADS"] for n in (1, 2, 3, 16)] == ["8", "4", "2", "1"]
    assert environment({"OMP_NUM_THREADS": "5"}, 2)["OMP_NUM_THREADS"] == "5"
