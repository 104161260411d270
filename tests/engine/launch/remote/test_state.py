"""What a look at a target means: every state that a run can be in, by what was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.launch.remote.protocol import FolderFacts
from engine.launch.remote.scheduler import Job
from engine.launch.remote.state import Observation, status_on_site
from engine.launch.sites import Site
from engine.parsing import parse_record
from engine.runs import LaunchEvent, RunState, RunStatus
from engine.runs.records import HeartbeatRecord, LaunchRecord
from engine.runs.state import SILENCE_S

NOW = 5000.0  # the target's clock, which has nothing to do with this machine's
SSH = Site.called("box", {"kind": "ssh", "host": "box"})
SLURM = Site.called("big", {"kind": "slurm"})
SENT = {"token": "t", "said": {"rc": 0, "out": "Submitted batch job 7", "err": ""}}
STARTED = {"token": "t", "pid": 7, "host": "box"}
SILENT = "the scheduler doesn't answer"


def facts(begun: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"busy": False, "full": False, "done": False, "begun": begun, "beats": [], "alive": None, **more}


def beat(age_s: float, **more: Any) -> dict[str, Any]:
    return {"rank": 0, "time": NOW - age_s, "phase": "training", **more}


def seen(
    facts: dict[str, Any] | None,
    site: Site = SLURM,
    job: Job | None = None,
    scheduler_error: str = "",
    records: tuple[LaunchRecord, ...] = (),
) -> Observation:
    folder = None if facts is None else parse_record(FolderFacts, facts, "the answer")
    beats = [parse_record(HeartbeatRecord, beat, "a heartbeat") for beat in folder.beats] if folder else []
    return Observation(site, NOW, "t", folder, beats, job, scheduler_error, records=records)


WAITS, RUNS = Job("7", True, "Priority"), Job("7", False)
HEARD, UNHEARD = beat(SILENCE_S - 1), beat(SILENCE_S + 1)
CASES = {
    "nothing there": (seen(None), "failed", "never arrived at big"),
    "another launch there": (seen(facts({"token": "s"})), "failed", "never arrived at big"),
    "another launch there, scheduler silent": (seen(facts({}), scheduler_error=SILENT), "unknown", SILENT),
    "being started": (seen(facts({}, busy=True)), "queued", "starting on big"),
    "being submitted": (seen(facts({"token": "t"}, busy=True)), "queued", "starting on big"),
    "start cut off": (seen(facts({"token": "t"})), "failed", "its start there was cut off"),
    "start cut off, but the job is there": (seen(facts({"token": "t"}), job=WAITS), "queued", "Priority"),
    "start cut off, scheduler silent": (seen(facts({"token": "t"}), scheduler_error=SILENT), "unknown", SILENT),
    "can't be read": (seen({"trouble": "Permission denied: x"}), "unknown", "Permission denied: x"),
    "refused": (
        seen(facts({"token": "t", "said": {"rc": 1, "out": "", "err": "bad account"}})), "failed", "bad account",
    ),
    "sbatch failed, but the job is there": (
        seen(facts({"token": "t", "said": {"rc": 1, "out": "", "err": "timed out"}}), job=WAITS), "queued", "Priority",
    ),
    "sbatch failed, scheduler silent": (
        seen(facts({"token": "t", "said": {"rc": 1, "out": "", "err": "x"}}), scheduler_error=SILENT),
        "unknown",
        SILENT,
    ),
    "waits": (seen(facts(SENT), job=WAITS), "queued", "Priority: other jobs come first"),
    "waits for no known reason": (seen(facts(SENT), job=Job("7", True, "Odd")), "queued", "Odd"),
    "begins": (seen(facts(SENT), job=RUNS), "running", "starting"),
    "runs": (seen(facts(SENT, beats=[HEARD]), job=RUNS), "running", "training"),
    "runs, scheduler silent": (seen(facts(SENT, beats=[HEARD]), scheduler_error=SILENT), "running", "training"),
    "silent, scheduler too": (seen(facts(SENT, beats=[UNHEARD]), scheduler_error=SILENT), "unknown", SILENT),
    "left the queue": (seen(facts(SENT)), "failed", "before it began"),
    "done": (seen(facts(SENT, done=True)), "running", "results wait to be fetched"),
    "ssh: starts": (seen(facts(STARTED, alive=True), SSH), "queued", "starting"),
    "ssh: runs": (seen(facts(STARTED, alive=True, beats=[HEARD]), SSH), "running", "training"),
    "ssh: on another login node": (seen(facts(STARTED, alive=None, beats=[HEARD]), SSH), "running", "training"),
    "ssh: on another login node, silent": (seen(facts(STARTED, alive=None), SSH), "unknown", "no sign of life"),
    "ssh: killed": (seen(facts(STARTED, alive=False), SSH), "failed", "its launcher was killed"),
    "ssh: ranks outlive it": (seen(facts(STARTED, alive=False, beats=[HEARD]), SSH), "running", "training"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "state", "reason"), CASES.values(), ids=CASES.keys())
def test_state_of_each_observation(given, state, reason):
    status = status_on_site(given)
    assert (status.state, reason in status.reason) == (state, True), status
    assert status.is_confirmed == (state != "failed")  # no record tells of the end


def test_the_launchers_own_record_of_the_end_is_believed():
    records = (LaunchRecord(1.0, LaunchEvent.STARTED), LaunchRecord(2.0, LaunchEvent.ENDED, reason="disk is full"))
    assert status_on_site(seen(facts(SENT), records=records)) == RunStatus(RunState.FAILED, "disk is full", 2.0)


def test_on_a_full_disk_a_run_dies_without_a_record():
    status = status_on_site(seen(facts(STARTED, alive=False, full=True), SSH))
    assert status.reason.startswith("the disk of box is full: free some space there, then resume (its launcher was")


def test_a_job_that_started_and_left_the_queue_has_ended_without_a_record():
    records = (LaunchRecord(2.0, LaunchEvent.STARTED),)
    assert "ended without a word" in status_on_site(seen(facts(SENT, beats=[UNHEARD]), records=records)).reason


def test_a_folder_that_was_seen_before_is_gone():
    assert "its folder on big is gone" in status_on_site(replace(seen(None), was_seen_before=True)).reason


@pytest.mark.parametrize("shift_s", [-3600.0, 0.0, 3600.0])
def test_an_hour_between_the_clocks_changes_nothing(shift_s):
    """The times of a poll are all of the site's clock: only their differences count."""
    sign = {**beat(SILENCE_S - 1), "time": NOW + shift_s - SILENCE_S + 1}
    shifted = replace(seen(facts(SENT, beats=[sign]), scheduler_error=SILENT), now=NOW + shift_s)
    assert status_on_site(shifted).state is RunState.RUNNING
