"""A scheduler whose replies get lost, that refuses or forgets jobs, or whose clock is off."""

from __future__ import annotations

import re
import sys
import threading
from contextlib import suppress

import pytest

from engine.errors import StoreError
from engine.files import read_json
from engine.launch import api
from engine.launch.remote import scheduler
from engine.runs import Run
from tests.engine.launch.engine_processes import wait
from tests.engine.launch.servers import NODES, Slurm
from tests.engine.launch.site_runs import (
    assert_same_as_on_site,
    poll_run,
    poll_until,
    poll_until_ended,
    remote_folder,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_a_lost_reply_to_a_submission_leaves_one_job(place, jobs):
    """The connection is cut after Slurm has taken the job and before it has said so."""
    place.program(
        "sbatch", f'"$real" "$@"; touch {place.folder}/taken; while [ ! -e {place.folder}/go ]; do sleep 0.1; done'
    )
    run = place.create("slurm")
    starter = threading.Thread(target=api.start, args=(run,))
    starter.start()
    wait((place.folder / "taken").exists, "a job that Slurm has taken")
    place.server.cut()
    starter.join()
    assert run.request.stage == "asked"
    assert run.request.job is None
    with pytest.raises(StoreError, match="cancel it first, or wait"):
        api.resume(run)
    poll_until(run, lambda state: state.state == "running", "a job that is found by its token")
    assert run.request.job
    place.finish(run)
    assert len(jobs()) == 1


def test_a_submission_that_failed_though_slurm_has_the_job(place, jobs):
    said = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    place.program("sbatch", f'"$real" "$@" >/dev/null; echo "{said}" >&2; exit 1')
    run = place.training("slurm")
    assert run.request.job
    place.finish(run)
    assert len(jobs()) == 1


def test_a_submission_that_never_answers(place, jobs, monkeypatch):
    monkeypatch.setattr(scheduler, "TIMEOUT_S", 1.0)
    place.program("sbatch", '"$real" "$@"; sleep 1000')
    run = place.training("slurm")
    place.finish(run)
    assert len(jobs()) == 1


def test_a_job_that_slurm_starts_long_after_its_submission_failed_does_nothing(place, slurm):
    """Once when the run is given up, and once beside the training of a retry."""
    place.declare(python=sys.executable)  # a real supervisor and a real training
    before, kept = dict(place.server.environment), place.folder / "kept.sh"
    said = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    place.program("sbatch", f'cp "${{@: -1}}" {kept}; echo "{said}" >&2; exit 1')
    run = place.submit("slurm", "training.epochs=60")
    state = poll_until_ended(run)
    assert (state.state, "refused the job" in state.reason) == ("failed", True)
    there = Run(remote_folder(place.folder, run))
    assert end_of_job(slurm, slurm.command("sbatch", "--parsable", str(kept)).strip()) == "COMPLETED"
    old = run.request.token
    assert f"launch {old} comes late (the launch was revoked before): it does nothing" in there.log.read_text()
    assert (there.launches(), there.heartbeats(), there.latest()) == ([], [], {})

    place.server.set_environment(before)
    place.server.cut()  # a session of before has the programs of before
    api.resume(run)
    poll_until(run, lambda state: run.latest(), "training")
    assert end_of_job(slurm, slurm.command("sbatch", "--parsable", str(kept)).strip()) == "COMPLETED"
    assert f"launch {old} comes late (the run was submitted again since): it does nothing" in there.log.read_text()
    assert poll_until_ended(run).state == "done"
    assert_same_as_on_site(place.folder, run)
    assert {record.token for record in run.launches()} == {run.request.token}
    assert len({(beat.host, beat.pid) for beat in there.heartbeats()}) == 1
    sequence = [record["seq"] for record in run.progress()[0]]
    assert sequence == list(range(1, len(sequence) + 1))


def end_of_job(slurm: Slurm, job: str) -> str:
    """Slurm's word for it."""
    wait(lambda: slurm.job(job) not in ("PENDING", "RUNNING", "COMPLETING"), f"the end of job {job}", is_costly=True)
    return slurm.job(job)


def test_a_submission_that_slurm_refuses(place):
    place.declare(partitions=["main", "gone"])
    run = place.submit("slurm", "launch.partition=gone")
    state = poll_until_ended(run)
    assert state.state == "failed"
    assert "invalid partition specified" in state.reason
    assert "fix it, then resume" in state.reason
    place.declare(partitions=["main"])


def test_a_controller_that_is_down_is_no_end(place, slurm, jobs, monkeypatch):
    monkeypatch.setattr("engine.launch.remote.poll.GONE_S", 0.0)
    run = place.training("slurm")
    for node in NODES:
        slurm.drain(node)
    waiting = place.submit("slurm")
    poll_until(waiting, lambda state: state.state == "queued", "a place in the queue")
    slurm.stop_controller()
    assert poll_run(run).state == "running"  # its ranks give signs of life
    state = waiting.status()
    assert state.state == "unknown"
    assert "the scheduler doesn't answer" in state.reason
    slurm.start_controller()
    poll_until(waiting, lambda state: state.state.is_active, "an answer")
    for node in NODES:
        with suppress(AssertionError):  # Slurm doesn't always know, after its restart, that it was drained
            slurm.undrain(node)
    place.finish(run)
    place.finish(waiting)
    assert len(jobs()) == 2


def test_a_drained_cluster_says_why_a_run_waits_and_a_waiting_run_can_be_cancelled(place, slurm):
    for node in NODES:
        slurm.drain(node)
    run = place.submit("slurm")
    words = re.compile("ReqNodeNotAvail|Nodes required for job are DOWN, DRAINED")  # Slurm gives one or the other
    state = poll_until(run, lambda state: words.search(state.reason), "Slurm's reason")
    assert state.state == "queued"
    api.cancel(run)
    assert poll_until_ended(run).state == "cancelled"
    for node in NODES:
        slurm.undrain(node)
    api.resume(run)
    poll_until(run, lambda state: state.state == "running", "the resumed run")
    place.finish(run)


def test_a_run_that_was_cancelled_is_so_though_slurm_has_forgotten_it(place, slurm, monkeypatch):
    for node in NODES:
        slurm.drain(node)
    run = place.submit("slurm")
    poll_until(run, lambda state: state.state == "queued", "a place in the queue")
    monkeypatch.setattr("engine.launch.remote.scheduler.end_command", lambda *_: "false")
    api.cancel(run)
    assert poll_until_ended(run).state == "cancelled"


def test_a_job_that_somebody_else_cancels(place, slurm):
    run = place.training("slurm")
    slurm.command("scancel", run.request.job)
    state = poll_until_ended(run)
    assert state.state == "cancelled"
    assert f"job {run.request.job} was cancelled" in state.reason
    api.resume(run)
    poll_until(run, lambda state: state.reason == "training", "training")
    place.finish(run)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off(hours, place, tmp_path):
    place.declare(site=f"import time\n_time = time.time\ntime.time = lambda: _time() + {3600 * hours}")
    run = place.training("slurm")
    there = read_json(remote_folder(tmp_path, run) / "status" / "rank-0.json")["time"]
    assert abs(there - 3600 * hours - run.last_poll.since) < 600  # the clock there is really off
    place.finish(run)
    waiting = run.status()
    assert waiting.since == pytest.approx((run.folder / "DONE").stat().st_mtime)
