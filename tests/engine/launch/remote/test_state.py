"""What a look at a target means: every state that a run can be in, by what was seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.files import append_line, to_json, write_whole
from engine.launch.remote.scheduler import Job
from engine.launch.remote.state import Seen, judge
from engine.launch.sites import Site
from engine.runs import SILENCE_S, Run, State

NOW = 5000.0  # the target's clock, which has nothing to do with this machine's
SSH = Site.called("box", {"kind": "ssh", "host": "box"})
SLURM = Site.called("big", {"kind": "slurm"})
SENT = {"token": "t", "said": {"rc": 0, "out": "Submitted batch job 7", "err": ""}}
STARTED = {"token": "t", "pid": 7, "host": "box"}
SILENT = "the scheduler doesn't answer"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    for name in ("status", "control"):
        (tmp_path / name).mkdir()
    write_whole(tmp_path / "request.json", to_json({"token": "t", "kind": "slurm"}))
    return Run(tmp_path)


def facts(begun: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"busy": False, "full": False, "done": False, "begun": begun, "beats": [], "alive": None, **more}


def beat(age_s: float, **more: Any) -> dict[str, Any]:
    return {"rank": 0, "time": NOW - age_s, "phase": "training", **more}


def seen(facts: dict[str, Any] | None, target: Site = SLURM, job: Job | None = None, silence: str = "") -> Seen:
    return Seen(facts, job, silence, NOW, target)


WAITS, RUNS = Job("7", True, "Priority"), Job("7", False)
HEARD, UNHEARD = beat(SILENCE_S - 1), beat(SILENCE_S + 1)
CASES = {
    "nothing there": (seen(None), "failed", "never arrived at big"),
    "another launch there": (seen(facts({"token": "s"})), "failed", "never arrived at big"),
    "another launch there, scheduler silent": (seen(facts({}), silence=SILENT), "unknown", SILENT),
    "being started": (seen(facts({}, busy=True)), "queued", "is being started"),
    "being submitted": (seen(facts({"token": "t"}, busy=True)), "queued", "is being started"),
    "start cut off": (seen(facts({"token": "t"})), "failed", "its start there was cut off"),
    "start cut off, but the job is there": (seen(facts({"token": "t"}), job=WAITS), "queued", "Priority"),
    "start cut off, scheduler silent": (seen(facts({"token": "t"}), silence=SILENT), "unknown", SILENT),
    "can't be read": (seen({"trouble": "Permission denied: x"}), "unknown", "Permission denied: x"),
    "refused": (
        seen(facts({"token": "t", "said": {"rc": 1, "out": "", "err": "bad account"}})), "failed", "bad account",
    ),
    "sbatch failed, but the job is there": (
        seen(facts({"token": "t", "said": {"rc": 1, "out": "", "err": "timed out"}}), job=WAITS), "queued", "Priority",
    ),
    "sbatch failed, scheduler silent": (
        seen(facts({"token": "t", "said": {"rc": 1, "out": "", "err": "x"}}), silence=SILENT), "unknown", SILENT,
    ),
    "waits": (seen(facts(SENT), job=WAITS), "queued", "Priority: other jobs come first"),
    "waits for no known reason": (seen(facts(SENT), job=Job("7", True, "Odd")), "queued", "Odd"),
    "begins": (seen(facts(SENT), job=RUNS), "running", "starting"),
    "runs": (seen(facts(SENT, beats=[HEARD]), job=RUNS), "running", "training"),
    "runs, scheduler silent": (seen(facts(SENT, beats=[HEARD]), silence=SILENT), "running", "training"),
    "silent, scheduler too": (seen(facts(SENT, beats=[UNHEARD]), silence=SILENT), "unknown", SILENT),
    "left the queue": (seen(facts(SENT)), "failed", "before it began"),
    "done": (seen(facts(SENT, done=True)), "running", "results wait to be fetched"),
    "ssh: starts": (seen(facts(STARTED, alive=True), SSH), "queued", "starting"),
    "ssh: runs": (seen(facts(STARTED, alive=True, beats=[HEARD]), SSH), "running", "training"),
    "ssh: on another login node": (seen(facts(STARTED, alive=None, beats=[HEARD]), SSH), "running", "training"),
    "ssh: on another login node, silent": (seen(facts(STARTED, alive=None), SSH), "unknown", "no word from box"),
    "ssh: killed": (seen(facts(STARTED, alive=False), SSH), "failed", "its launcher was killed"),
    "ssh: ranks outlive it": (seen(facts(STARTED, alive=False, beats=[HEARD]), SSH), "running", "training"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "word", "reason"), CASES.values(), ids=CASES.keys())
def test_what_was_seen_and_what_it_means(given, word, reason, run):
    state = judge(run, given)
    assert (state.word, reason in state.reason) == (word, True), state
    assert not state.since  # an end without a word is to be confirmed


def test_the_launchers_own_word_is_believed(run):
    append_line(run.folder / "status" / "launcher.jsonl", {"time": 1.0, "event": "started", "token": "t"})
    append_line(
        run.folder / "status" / "launcher.jsonl",
        {"time": 2.0, "event": "ended", "token": "t", "reason": "disk is full"},
    )
    assert judge(run, seen(facts(SENT))) == State("failed", "disk is full", 2.0)


def test_on_a_full_disk_a_run_dies_without_a_word(run):
    state = judge(run, seen(facts(STARTED, alive=False, full=True), SSH))
    assert state.reason.startswith("the disk of box is full: free some space there, then resume (its launcher was")


def test_the_word_of_an_earlier_launch_does_not_count(run):
    append_line(run.folder / "status" / "launcher.jsonl", {"time": 2.0, "event": "ended", "token": "s", "rc": 1})
    assert judge(run, seen(facts(SENT), job=WAITS)).word == "queued"


def test_a_job_that_began_and_said_no_more_has_ended_without_a_word(run):
    append_line(run.folder / "status" / "launcher.jsonl", {"time": 2.0, "event": "started", "token": "t"})
    assert "ended without a word" in judge(run, seen(facts(SENT, beats=[UNHEARD]))).reason


def test_a_folder_that_was_there_is_gone(run):
    write_whole(run.look_file, to_json({"token": "t", "word": "running"}))
    assert "its folder on big is gone" in judge(run, seen(None)).reason


@pytest.mark.parametrize("shift_s", [-3600.0, 0.0, 3600.0])
def test_an_hour_between_the_clocks_changes_nothing(shift_s, run):
    """The times of a look are all of the target's clock: only their differences count."""
    there = {**beat(SILENCE_S - 1), "time": NOW + shift_s - SILENCE_S + 1}
    shifted = Seen(facts(SENT, beats=[there]), None, SILENT, NOW + shift_s, SLURM)
    assert judge(run, shifted).word == "running"
