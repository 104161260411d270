"""Each end of a run is announced once, for runs that were queued or running when this tab last looked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.components.run_endings import MOST, RunEndings
from app.services.watcher import RunSnapshot, take_snapshot
from engine.runs import RunState, RunStatus
from tests.app.fake import write_run


@pytest.fixture
def endings(session):
    return RunEndings(session)


@pytest.fixture
def run(session) -> RunSnapshot:
    return take_snapshot(write_run(session.store.folder, "unet <pin>", done=False))


def at(run: RunSnapshot, state: RunState, reason: str = "") -> RunSnapshot:
    return replace(run, status=RunStatus(state, reason))


def texts(endings) -> list[str]:
    return [card[0].object.replace("\\", "") for card in endings.view]


@pytest.mark.parametrize("before", [RunState.QUEUED, RunState.RUNNING, RunState.UNKNOWN])
@pytest.mark.parametrize(
    ("state", "text", "severity"),
    [
        (RunState.DONE, "is done", "success"),
        (RunState.FAILED, "failed: not enough memory", "error"),
        (RunState.CANCELLED, "cancelled", "info"),
    ],
)
def test_the_end_of_a_run_is_told_once(endings, run, before, state, text, severity):
    endings.look([at(run, before)])
    assert not endings.view.visible
    for _ in range(2):
        endings.look([at(run, state, "not enough memory")])
    assert endings.view.visible
    (said,) = texts(endings)
    assert said.startswith("unet ")
    assert said.endswith(text)
    assert endings.view[0][0].severity == severity


def test_a_run_that_is_done_is_compared_where_no_other_is_chosen(endings, run, session):
    for page, chosen, compared in ("compare", ["other"], ["other"]), ("runs", [], []), ("compare", [], [run.id]):
        session.param.update(page=page, runs=chosen)
        endings.look([at(run, RunState.RUNNING)])
        endings.look([at(run, RunState.DONE)])
        assert session.runs == compared
    session.param.update(page="runs", runs=[])
    endings.look([at(run, RunState.RUNNING)])
    endings.look([at(run, RunState.FAILED)])
    session.page = "compare"
    assert session.runs == []
    session.page = "runs"
    endings.look([at(run, RunState.RUNNING)])
    endings.look([at(run, RunState.DONE)])
    assert session.runs == []
    session.page = "compare"
    assert session.runs == [run.id]


def test_runs_that_had_ended_before_are_not_told(endings, run):
    endings.look([])
    endings.look([at(run, RunState.DONE)])
    endings.look([at(run, RunState.DONE)])
    assert not endings.view.visible
    endings.look([at(run, RunState.RUNNING)])  # resumed
    endings.look([at(run, RunState.DONE)])
    assert len(texts(endings)) == 1


def test_a_run_that_goes_on_or_is_damaged_is_not_told(endings, run):
    for state in (RunState.QUEUED, RunState.RUNNING, RunState.UNKNOWN, RunState.DAMAGED):
        endings.look([at(run, state)])
    assert not endings.view.visible


def test_it_opens_the_run_and_goes_away(endings, run, session):
    session.page = "data"
    endings.look([at(run, RunState.RUNNING)])
    endings.look([at(run, RunState.DONE)])
    endings.view[0][1][0].clicks += 1
    assert (session.page, session.run) == ("runs", run.id)
    assert not endings.view.visible


def test_no_more_than_a_few_stand_there_and_each_can_be_closed(endings, run):
    for _ in range(MOST + 2):
        endings.look([at(run, RunState.RUNNING)])
        endings.look([at(run, RunState.DONE)])
    assert len(endings.view) == MOST
    first, *others = list(endings.view)
    first[1][1].clicks += 1
    assert list(endings.view) == others
