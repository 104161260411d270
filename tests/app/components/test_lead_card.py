"""The card of scores by lead time: what it says of forecasts, and that other runs don't have it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import app.plots.colours  # noqa: F401  loads Bokeh for HoloViews, as the page does
from app.components.lead_card import LeadCard
from app.services.comparison import Comparison
from app.services.lead_times import lead_scores
from app.session import Session
from engine.runs import Run, Store
from tests.app.fake import write_run

SMALL = {"ny": 16, "nx": 24, "n_times": 8}


def write_forecast(folder: Path, title: str, days=(44.0, 45.0), *, verified=True, with_members=True) -> Run:
    """A run whose verification.nc is by hand; the area of the second lead time is three times that of the first."""
    run = write_run(folder, title, **SMALL, verified=verified)
    with xr.open_dataset(run.results) as data:
        results = data.load()
    start = np.datetime64("2000-10-18", "ns")
    many = {"forecast_reference_time": ("time", np.full(8, start)), "forecast_period": ("time", np.arange(8.0))}
    results.assign_coords(many).to_netcdf(run.results)
    if not verified:
        return run
    area = np.array([1.0, 3.0])[: len(days)]
    scores = {"mae": [[1, 1], [1, 1]], "bias": [[0, 0], [0, 0]], "rmse": [[4, 4], [3, 1]]}
    if with_members:
        scores |= {"mean_rmse": [[2, 2], [2, 2]], "crps": [[5, 5], [3, 1]], "spread_error": [[0.5, 0.5], [1, 1]]}
    fields = {f"lead_{name}": (("product", "lead"), np.array(v, float)[:, : len(days)]) for name, v in scores.items()}
    fields["compared_steps"] = ((), 8)
    fields |= {"lead_area": ("lead", area)} | ({"lead_member_area": ("lead", area)} if with_members else {})
    coords = {"product": ["interpolated", "downscaled"], "lead": list(days)}
    xr.Dataset(fields, coords).to_netcdf(run.verification)
    return run


def card_of(folder: Path, *runs: Run) -> LeadCard:
    async def scenario() -> LeadCard:
        store = Store(folder)
        comparison, card = Comparison.of(store, [run.id for run in runs]), LeadCard(Session(store=store))
        await card.take(comparison)
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)
        comparison.close()
        return card

    return asyncio.run(scenario())


def test_curves_and_means_of_each_run(tmp_path):
    one, two = (write_forecast(tmp_path, title) for title in ("one", "two"))
    found = lead_scores(Comparison.of(Store(tmp_path), [one.id, two.id]))
    assert list(found.curves) == ["rmse", "mean_rmse", "crps", "spread_error"]
    assert list(found.curves["crps"]) == ["interpolated", "A", "B"]
    np.testing.assert_array_equal(found.curves["crps"]["B"], [[44, 45], [3, 1]])
    # (3 + 3 · 1) / 4, and √((9 + 3 · 1) / 4)
    assert found.over_all["A"]["crps"] == pytest.approx(1.5)
    assert found.over_all["A"]["rmse"] == pytest.approx(np.sqrt(3))


def test_the_card_says_that_late_leads_are_climate(tmp_path):
    card = card_of(tmp_path, write_forecast(tmp_path, "one"))
    assert card.view.visible
    assert card._figure.visible
    assert "Lead times of 44 to 45 days are climate, not weather" in card._table.object
    card._score.value = "crps"
    assert card._figure.object.yaxis[0].axis_label == "CRPS (K)"


def test_a_single_lead_time_and_no_members_have_a_table(tmp_path):
    card = card_of(tmp_path, write_forecast(tmp_path, "one", (3.0,), with_members=False))
    assert not card._figure.visible
    assert not card._score.visible
    assert "CRPS" not in card._table.object
    assert "climate" not in card._table.object
    assert "<td>3</td>" in card._table.object


def test_runs_verified_before_are_named_and_runs_without_leads_have_no_card(tmp_path):
    older = write_forecast(tmp_path, "one", verified=False)
    assert f"python -m engine verify {older.id}" in card_of(tmp_path, older)._table.object
    assert not card_of(tmp_path, write_run(tmp_path, "two", **SMALL)).view.visible
