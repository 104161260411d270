"""Ranks on the two nodes of a real Slurm, without SSH between these."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine.launch.ranks.command import threads
from engine.runs import Run, Store
from engine.spec import Spec
from tests.engine.launch.engine_processes import (
    CHECKOUT,
    CommandLine,
    kill_after_a_checkpoint,
    no_processes_left,
    rank_pid,
    resumed_epoch,
    same_weights,
    wait,
)
from tests.engine.launch.servers import NODES, Slurm
from tests.engine.training import test_workers

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SETTINGS = ("launch.processes=2", "training.batch_size=4", "training.epochs=60")
ONE_EACH = ("--nodes=2", "--ntasks=2", "--cpus-per-task=1")


@pytest.fixture(scope="module")
def undisturbed(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two ranks on this machine under horovodrun, with one thread each as in the jobs here."""
    engine = CommandLine(tmp_path_factory.mktemp("undisturbed"))
    with pytest.MonkeyPatch.context() as patch, no_processes_left(engine.store):
        for name, value in threads(1).items():
            patch.setenv(name, value)
        words = [word for setting in SETTINGS for word in ("--set", setting)]
        return Run(Path(engine.json("train", str(spec), *words)["folder"]))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with no_processes_left(tmp_path):
        yield Store(tmp_path / "runs")


def submit(slurm: Slurm, store: Store, spec: Path, *settings: str, options: tuple[str, ...] = ()) -> tuple[Run, str]:
    """A run, and the job that supervises it."""
    request = {"token": "a-token", "ranks": {"by": "srun", "interface": "lo"}}
    run = store.create(Spec.read(spec, [*SETTINGS, *settings]), request)
    command = shlex.join([sys.executable, "-m", "engine", "supervise", str(run.folder)])
    place = (f"--output={run.log}", "--open-mode=append")
    return run, slurm.submit(f"cd {CHECKOUT} && exec {command}", *ONE_EACH, *place, *options)


def end_of(slurm: Slurm, run: Run, job: str) -> str:
    """The word for how the run ended, once the job is over."""
    wait(lambda: slurm.job(job) not in ("PENDING", "RUNNING", "COMPLETING"), f"the end of job {job}", is_costly=True)
    return f"{run.status().state}: {run.status().reason}"


def fingerprints(run: Run) -> list[str]:
    return [beat.weights for beat in run.heartbeats()]


def test_two_ranks_on_two_nodes_end_with_the_weights_of_two_ranks_here(slurm, spec, undisturbed, store):
    run, job = submit(slurm, store, spec)
    nodes = [psutil.Process(rank_pid(run, rank)).environ()["SLURMD_NODENAME"] for rank in (0, 1)]
    assert nodes == list(NODES)
    assert end_of(slurm, run, job) == "done: ", run.log.read_text()
    assert slurm.job(job) == "COMPLETED"
    assert len(set(fingerprints(run))) == 1
    assert [(beat.rank, beat.size) for beat in run.heartbeats()] == [(0, 2), (1, 2)]
    assert same_weights(run, undisturbed)
    np.testing.assert_equal(run.scores(), undisturbed.scores())
    assert {record.job for record in run.launches()} == {job}


def test_the_gradient_of_two_nodes_is_that_of_one_process_with_twice_the_batch(slurm, tmp_path):
    data = test_workers.write_data(tmp_path)
    spec = test_workers.write_spec(tmp_path, data, 2 * test_workers.BATCH)
    ((one,),) = test_workers.run_ranks([spec], tmp_path / "one", 1)
    folder = tmp_path / "two"
    folder.mkdir()
    script = Path(test_workers.__file__).with_name("ranks.py")
    words = [script, test_workers.write_spec(tmp_path, data, test_workers.BATCH), folder]
    step = [sys.executable, Path(__file__).with_name("srun_script.py"), "2", *words]
    command = shlex.join(str(word) for word in step)
    job = slurm.submit(f"cd {CHECKOUT} && PYTHONPATH={CHECKOUT} exec {command}", *ONE_EACH)
    wait(lambda: slurm.job(job) not in ("PENDING", "RUNNING", "COMPLETING"), "the end of the job", is_costly=True)
    assert slurm.job(job) == "COMPLETED", (slurm.folder / f"{job}.out").read_text()
    two = [dict(np.load(folder / f"rank-{rank}.npz", allow_pickle=False)) for rank in (0, 1)]
    test_workers.assert_same_gradient(one, two)


@pytest.mark.usefixtures("checkpoint_each_epoch")
def test_a_killed_rank_is_named_and_with_a_restart_the_weights_are_the_same(slurm, spec, undisturbed, store):
    run, job = submit(slurm, store, spec, "launch.restarts=1")
    kill_after_a_checkpoint(run, rank=1)
    assert end_of(slurm, run, job) == "done: ", run.log.read_text()
    (restarted,) = [record for record in run.launches() if record.event == "restarted"]
    assert restarted.reason.startswith("rank 1 died without a word")
    assert resumed_epoch(run) > 1
    assert same_weights(run, undisturbed)


@pytest.mark.usefixtures("checkpoint_each_epoch")
def test_elastic_ranks_go_on_without_one_that_was_killed(slurm, spec, store, monkeypatch):
    monkeypatch.setenv("HOROVOD_GLOO_TIMEOUT_SECONDS", "5")
    run, job = submit(slurm, store, spec, "launch.min_processes=1")
    kill_after_a_checkpoint(run, rank=0)
    assert end_of(slurm, run, job) == "done: ", run.log.read_text()
    assert slurm.job(job) == "COMPLETED"
    assert [record.event for record in run.launches()] == ["started", "lost", "ended"]
    assert [(beat.rank, beat.end) for beat in run.heartbeats()] == [(1, "done")]
    assert "rank 1 goes on as rank 0 of 1" in run.log.read_text()


def test_a_job_is_queued_again_once_a_controller_that_was_away_is_back(slurm, spec, undisturbed, store):
    run, job = submit(slurm, store, spec, options=("--requeue",))
    ranks = [psutil.Process(rank_pid(run, rank)) for rank in (0, 1)]
    for rank in ranks:
        rank.suspend()  # the pause waits for them, so that Slurm is away when it is to queue the job again
    slurm.command("scancel", "--batch", "--signal=USR1", job)
    wait(run.pause_file.exists, "the signal")
    slurm.stop_controller()
    for rank in ranks:
        rank.resume()
    wait(lambda: "Slurm doesn't answer (" in run.log.read_text(), "a request that isn't answered")
    slurm.start_controller()
    assert end_of(slurm, run, job) == "done: ", run.log.read_text()
    assert [record.event for record in run.launches()] == ["started", "paused", "started", "ended"]
    assert run.launches()[2].requeues == 1
    assert resumed_epoch(run) >= 1
    assert same_weights(run, undisturbed)


def test_a_job_that_was_cancelled_tells_its_end(slurm, spec, store):
    run, job = submit(slurm, store, spec)
    rank_pid(run)
    run.ask_to_cancel()
    slurm.command("scancel", job)
    # The ranks may stop of themselves, with a checkpoint, before Slurm ends them.
    assert end_of(slurm, run, job).startswith("cancelled: cancelled")
    assert run.launches()[-1].event == "ended"
