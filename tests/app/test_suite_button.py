"""The suite's button: eight queued runs ticked for Compare, or the reason why not."""

from __future__ import annotations

import asyncio

from app.pages.suite_button import SuiteButton
from engine.launch import suite
from engine.spec import Spec

PLAIN = {"version": 1, "data": {"target": {"path": "hr.nc"}, "pairing": "mos", "lr": {"path": "lr.nc"}, "scale": 2}}


def clicked(session, spec):
    button = SuiteButton(session, lambda: spec)
    asyncio.run(button._submit(None))
    return button


def test_eight_runs_are_queued_and_ticked(session, monkeypatch):
    started = []
    monkeypatch.setattr(suite, "start", started.extend)
    button = clicked(session, Spec.from_plain(PLAIN))
    assert [run.title[0] for run in started] == list("ABCDEFGH")
    assert session.runs == [run.id for run in started]
    assert (session.page, session.run) == ("runs", started[0].id)
    assert {run.state().word for run in session.store.runs()} == {"queued"}
    assert not button._refusal.visible
    assert not button.button.loading


def test_what_is_refused_is_said_and_nothing_is_begun(session):
    alone = {**PLAIN, "data": {**PLAIN["data"], "pairing": "perfect-prog", "lr": None}}
    button = clicked(session, Spec.from_plain(alone))
    assert button._refusal.visible
    assert "the suite holds networks that learn from a given LR field" in button._refusal.object
    assert session.store.runs() == []
    assert session.page == "data"
    assert "not complete" in clicked(session, None)._refusal.object
