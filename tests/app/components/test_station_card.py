"""The card of stations: empty, from a file that is typed in, and what it says of one station."""

from __future__ import annotations

import asyncio

import bokeh.models as bm
import numpy as np
import pytest
import xarray as xr

from app.components.station_card import EMPTY, StationCard
from app.plots.live import SharedView
from app.services.comparison import Comparison
from app.session import Session
from engine.runs import Store
from tests.app.fake import write_run
from tests.app.settled import settled

SMALL = {"ny": 16, "nx": 24, "n_times": 8}
TIMES = [f"2019-03-01T{hour:02}:00" for hour in range(8)]


@pytest.fixture
def runs(tmp_path):
    return [
        write_run(tmp_path / "runs", title, **SMALL, skill=skill) for title, skill in (("good", 0.8), ("poor", 0.2))
    ]


@pytest.fixture
def table(tmp_path, runs):
    """Two stations that measured HR + 1 K at cells (1, 2) and (12, 20); of the second, half of the steps."""
    lines = ["id,name,lat,lon,altitude_m,time,t2m_K"]
    with xr.open_dataset(runs[0].results) as results:
        for number, (y, x, steps) in enumerate(((1, 2, 8), (12, 20, 4))):
            cell = results["hr"][:, y, x]
            for time, value in zip(TIMES[:steps], cell.values, strict=False):
                lines.append(f"{number},S{number},{cell.y.item()},{cell.x.item()},{50 * number},{time},{value + 1}")
    path = tmp_path / "stations.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def shown(runs, act, before=lambda card: None) -> StationCard:
    """The card of these runs, after acting on it, and `before` the runs are there."""

    async def scenario() -> StationCard:
        comparison = Comparison.of(Store(runs[0].folder.parent), [run.id for run in runs])
        card = StationCard(Session(store=Store(runs[0].folder.parent)))
        before(card)
        await settled()
        await card.take(comparison, SharedView(comparison.first.grid, lambda y, x: None))
        await settled()
        for step in act:
            step(card)
            await settled()
        comparison.close()
        return card

    return asyncio.run(scenario())


def give(path):
    return lambda card: card._path.param.update(value=str(path))


def test_without_a_file_it_asks_for_one_and_refuses_a_wrong_one_in_words(runs, tmp_path):
    card = shown(runs, [])
    assert EMPTY in card._table.object
    assert not card._place.visible
    card = shown(runs, [give(tmp_path / "nowhere.csv")])
    assert "nowhere.csv doesn" in card._table.object
    assert card._path.error_state
    assert not card.view.loading


def test_a_file_gives_all_runs_their_scores_and_a_click_one_station(runs, table):
    card = shown(runs, [give(table)])
    assert all(run.stations.is_file() for run in runs)
    assert card._table.object.count("<tr>") == 1 + 5  # LR, interpolated, HR, A, B
    assert "<td>−1.000</td><td>1.000</td><td>1.000</td><td>0.000</td>" in card._table.object  # HR is 1 K too cold
    assert ">12<" in card._table.object  # 8 + 4 pairs
    with xr.open_dataset(runs[0].stations) as stored:
        np.testing.assert_allclose(card._map.source.data["value"], stored["rmse"].sel(product="downscaled"))
    x, y = card._map.x[1], card._map.y[1]  # the second station, clicked a little beside
    card = shown(runs, [lambda card: card._map._tapped(type("Tap", (), {"x": x + 0.05, "y": y})())])
    assert card._station.value == "1"
    assert "S1, 50 m" in card._table.object
    assert ">4<" in card._table.object
    assert card._series.visible
    legend = [item.label.value for item in card._series.object.select_one(bm.Legend).items]
    assert legend == ["observed", "LR", "interpolated", "HR", "A", "B"]
    assert card._map.source.data["size"][1] > card._map.source.data["size"][0]


def test_a_run_that_is_given_stations_has_a_row_for_each_way_to_predict_withheld_ones(runs, table):
    shown(runs, [give(table)])
    with xr.open_dataset(runs[1].stations) as stored:
        file = stored.load()
    kriged = 2 * file.sel(product=["downscaled"]).assign_coords(product=["kriging"])
    scores = [name for name in file.data_vars if "product" in file[name].dims]
    added = file.drop_dims("product").assign(
        {name: xr.concat([file[name], kriged[name]], "product") for name in scores}
    )
    added.to_netcdf(runs[1].stations)
    card = shown(runs, [lambda card: card._product.param.update(value="B, kriging")])
    assert card._table.object.count("<tr>") == 1 + 6
    assert "B</i>kriging</th>" in card._table.object
    np.testing.assert_allclose(card._map.source.data["value"], 2 * file["rmse"].sel(product="downscaled"))


def test_a_file_that_is_given_before_the_runs_are_there_waits_for_them(runs, table):
    card = shown(runs, [], before=give(table))
    assert card._table.object.count("<tr>") == 1 + 5
    assert not card.view.loading


def test_a_file_that_cannot_be_read_is_named(runs, table):
    shown(runs, [give(table)])
    runs[1].stations.write_bytes(b"cut off")
    card = shown(runs, [])
    assert card._table.object.count("<tr>") == 1 + 4  # LR, interpolated, HR, A
    assert "results/stations.nc of B can't be read: give the station file again." in card._table.object


def test_another_score_and_product_are_coloured_on_a_range_that_products_share(runs, table):
    def choose(card):
        card._score.value, card._product.value = "bias", "hr"

    card = shown(runs, [give(table), choose])
    np.testing.assert_allclose(card._map.source.data["value"], [-1, -1], atol=1e-4)
    assert card._map.mapper.low == -card._map.mapper.high  # on both sides of zero
    with xr.open_dataset(runs[1].stations) as stored:
        assert card._map.mapper.high >= np.abs(stored["bias"].sel(product=["lr", "hr"])).max() * 0.99
