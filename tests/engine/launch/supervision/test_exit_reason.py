"""Why ranks ended, from what they and their launcher left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.files import to_json, write_whole
from engine.launch.supervision.exit_reason import ExitKind, ExitReason, exit_reason, first_to_end
from engine.runs import Run, Store
from engine.spec import Spec

DIED = "rank {} died without a word (killed, or out of memory): resume continues from the last checkpoint"
LOST = "UnknownError: {{function_node __wrapped__HorovodAllreduce}} [pair.cc:589] Read error: Connection reset by peer"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Store(tmp_path).create(
        Spec.from_plain({"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}}), {}
    )
    run.log.touch()
    return run


def beat(run: Run, rank: int, **facts: Any) -> None:
    write_whole(
        run.folder / "status" / f"rank-{rank}.json", to_json({"rank": rank, "time": 0.0, "phase": "training", **facts})
    )


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("The first process to do so was:\nProcess name: 3\nExit code: 1", [3]),
        ("0: epoch 1\nsrun: error: node2: task 1: Killed\nsrun: error: node1: task 0: Terminated\n", [1]),
        ("srun: error: node1: tasks 0-2,5: Exited with exit code 1\n", [0, 1, 2, 5]),
        ("rank 2 was the first to end: signal 9\nrank 1 was", [2]),
        ("srun: error: Unable to create step for job 3: Requested node is down", []),
        ("a line that says srun: error: a: task 1: Killed", []),
    ],
)
def test_the_rank_that_ended_first(log, expected):
    assert first_to_end(log) == expected


def test_a_dead_rank_is_named_and_not_the_one_that_lost_it(run):
    beat(run, 0, end="failed", reason=LOST)
    beat(run, 1)
    assert exit_reason(run, 1) == ExitReason(ExitKind.DIED, DIED.format(1), 1)
    run.log.write_text("srun: error: node1: task 0: Exited with exit code 1\n")  # it may be reported first
    assert exit_reason(run, 1).reason == DIED.format(1)


def test_of_several_silent_ranks_the_first_to_end_died_and_the_others_were_ended(run):
    beat(run, 0)
    beat(run, 1)
    run.log.write_text("srun: error: node2: task 1: Killed\n")
    assert exit_reason(run, 137).reason == DIED.format(1)
    assert exit_reason(run, 137, log_from=run.log.stat().st_size).reason == DIED.format("0, 1")


def test_an_error_of_our_own_goes_before_silence(run):
    beat(run, 0, end="failed", reason="the loss is nan in epoch 1")
    beat(run, 1)
    assert exit_reason(run, 1) == ExitReason(ExitKind.FAILED, "the loss is nan in epoch 1", 1)


def test_ranks_that_only_lost_each_other_say_so(run):
    beat(run, 0, end="failed", reason=LOST)
    beat(run, 1, end="failed", reason=LOST)
    assert exit_reason(run, 1) == ExitReason(ExitKind.FAILED, LOST, 1)


def test_ranks_that_never_began(run):
    assert exit_reason(run, 2) == ExitReason(
        ExitKind.FAILED, "it ended with exit code 2 before it began: see the log", 2
    )


def test_elastic_ranks_that_stop_have_stopped_whatever_became_of_the_lost_one(tmp_path):
    launch = {"processes": 3, "min_processes": 1}
    plain = {"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}, "launch": launch}
    run = Store(tmp_path).create(Spec.from_plain(plain), {})
    run.log.touch()
    beat(run, 0, end="stopped", reason="paused")
    beat(run, 2, end="stopped", reason="paused")
    assert exit_reason(run, 247) == ExitReason(ExitKind.STOPPED, "paused: resume continues from here", 247)
    (run.folder / "DONE").touch()
    assert exit_reason(run, 247) == ExitReason(ExitKind.DONE, "done", 0)


def test_what_is_recorded(run):
    beat(run, 0, end="stopped", reason="cancelled")
    end = exit_reason(run, 0)
    assert end == ExitReason(ExitKind.STOPPED, "cancelled: resume continues from here", 0)
    assert end.facts() == {
        "rc": 0,
        "kind": "stopped",
        "cancelled": True,
        "reason": "cancelled: resume continues from here",
    }
    assert ExitReason(ExitKind.DIED, "why", 1).facts() == {"rc": 1, "kind": "died", "reason": "why"}
    run.ask_to_cancel()
    assert exit_reason(run, -15) == ExitReason(ExitKind.CANCELLED, "cancelled", -15)
    (run.folder / "DONE").touch()
    assert exit_reason(run, 0).kind is ExitKind.DONE
