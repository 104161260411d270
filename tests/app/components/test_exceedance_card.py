"""The card of exceedance: thresholds stay as typed, and what can't be used or read is said."""

from __future__ import annotations

import asyncio

import pytest

from app.components.exceedance_card import ExceedanceCard
from app.services.comparison import Comparison
from app.services.conditions import Selection
from app.session import Session
from engine.runs import Store
from tests.app.fake import write_run
from tests.app.settled import settled


@pytest.fixture
def session(tmp_path):
    return Session(store=Store(tmp_path))


def after(session, *typed: str, remove: bool = False) -> ExceedanceCard:
    """The card of one run after lines were typed one after another."""

    async def scenario() -> ExceedanceCard:
        run = write_run(session.store.folder, "one", ny=16, nx=24, n_times=6)
        comparison, card = Comparison.of(session.store, [run.id]), ExceedanceCard(session)
        await card.take(Selection.of(comparison, session.condition))
        if remove:
            run.results.unlink()
        for line in typed:
            card._line.value = line
            await settled()
        comparison.close()
        return card

    return asyncio.run(scenario())


def test_nothing_is_computed_until_there_are_thresholds(session):
    card = after(session)
    assert "Type one or more values" in card._table.object
    assert not card._table.loading


def test_thresholds_stay_as_they_are_typed(session):
    card = after(session, "280.1234567; 279")
    assert session.thresholds == [279.0, 280.1234567]
    assert card._line.value == "279, 280.1234567"
    assert "from 280.1234567 K on" in card._table.object


def test_a_line_that_can_not_be_used_is_refused_and_the_table_comes_back(session):
    card = after(session, "280", "a<b>")
    assert "a&lt;b&gt; can&#x27;t be used: expected up to 5 numbers" in card._table.object
    assert card._line.error_state
    assert session.thresholds == [280.0]


def test_the_table_comes_back_with_the_same_thresholds(session):
    card = after(session, "280", "nan", "280")
    assert "from 280 K on" in card._table.object
    assert not card._line.error_state


def test_results_that_are_gone_are_said(session):
    card = after(session, "280", remove=True)
    assert "Nothing to show" in card._table.object
    assert not card._table.loading
