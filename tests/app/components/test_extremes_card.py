"""The card of extremes: nothing is computed until asked, then table and maps are those of the engine."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from app.components.extremes_card import ExtremesCard
from app.plots.live import SharedView
from app.services.comparison import Comparison
from app.services.extremes import INDICES, PLAUSIBILITY
from app.session import Session
from engine.evaluation.extremes import bias_of, extremes, table_of
from engine.evaluation.products import open_products
from engine.runs import Run, Store
from tests.app.fake import write_run
from tests.app.settled import settled

SMALL = {"ny": 16, "nx": 24}


@pytest.fixture
def session(tmp_path):
    return Session(store=Store(tmp_path))


def opened(session: Session, runs: list[Run], *, remove: bool = False) -> ExtremesCard:
    async def scenario() -> ExtremesCard:
        comparison, card = Comparison.of(session.store, [run.id for run in runs]), ExtremesCard(session)
        await card.take(comparison, SharedView(comparison.first.grid, lambda y, x: None))
        assert not card._table.object
        if remove:
            for run in runs:
                run.results.unlink()
        card._button.clicks += 1
        await settled()
        comparison.close()
        return card

    return asyncio.run(scenario())


def test_table_and_maps_are_those_of_the_engine(session):
    runs = [
        write_run(session.store.folder, t, n_times=48, skill=s, baselines=True, **SMALL)
        for t, s in zip("ab", (0.9, 0.2), strict=True)
    ]
    card = opened(session, runs)
    assert not card._button.visible
    found = card._found
    for letter, run in zip("AB", runs, strict=True):
        with open_products(run.results) as results:
            expected = extremes(results)
        row = next(row for row in table_of(expected) if row[0] == "downscaled")
        assert next(row for row in found.tables[INDICES] if row[0] == letter)[1:] == row[1:]
        assert f">{row[1]}<" in card._table.object
        bias = bias_of(expected, "txx").sel(product="downscaled")
        np.testing.assert_array_equal(found.biases["txx"][letter], bias)
    assert [row[0] for row in found.tables[PLAUSIBILITY]] == [
        "",
        "HR",
        "interpolated",
        "nearest",
        "pc_regression",
        "A",
        "B",
    ]
    assert card._index.value == "txx"
    assert list(card._index.options) == ["TXx", "TNn", "SU", "FD"]
    assert len(card._maps) == 1
    assert "A: 2 complete days in 1 year; TX90p, TN10p need 30 complete days, there are 2." in card._table.object
    card._index.value = "fd"
    assert len(card._maps) == 1


def test_what_is_too_short_or_gone_is_said(session):
    short = [write_run(session.store.folder, "short", n_times=12, **SMALL)]
    card = opened(session, short)
    assert "A has no indices of extremes: none of the 12 time steps make a complete day" in card._table.object
    assert "plausibility" in card._table.object
    assert not card._index.visible
    assert not card._maps.objects
    gone = opened(session, [write_run(session.store.folder, "gone", n_times=48, **SMALL)], remove=True)
    assert "Nothing to show" in gone._table.object
