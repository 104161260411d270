"""Runs of two targets on Compare: one component at a time, never one under the name of the other."""

import numpy as np
import pytest
import xarray as xr

from app.components.run_chips import RunChips
from app.components.score_card import _vector
from app.components.station_card import SECOND, StationCard
from app.services.chosen_fields import FIELDS
from app.services.comparison import Comparison, Result
from app.services.conditions import Selection
from app.services.extremes import extremes_of
from app.services.stations import station_scores
from app.services.verification import score_maps
from app.session import Session
from engine.evaluation.conditions import Condition
from engine.evaluation.scores import score
from engine.evaluation.vector_scores import plain, vector_scores
from engine.evaluation.verification import write_verification
from engine.files import to_json, write_whole
from engine.runs import Run, Store
from tests.app.fake import write_run

SMALL = {"ny": 16, "nx": 24, "n_times": 30}
NAMES = {"": {"standard_name": "eastward_wind"}, "_v": {"standard_name": "northward_wind"}}


def write_wind(folder, title: str = "wind", *, second: bool = True) -> Run:
    """A run of wind in m s-1: u as the fake gives it, and v = 2 u + 1, so that errors of v are twice those of u."""
    run = write_run(folder, title, **SMALL, verified=False)
    with xr.open_dataset(run.results) as stored:
        u = stored.load()
    v = u.map(lambda field: 2 * field if field.ndim == 2 else 2 * field + 1)
    for fields, ending in ((u, ""), (v, "_v")):
        for name in fields.data_vars:
            fields[name].attrs = {"units": "m s-1"} | (NAMES[ending] if "time" in fields[name].dims else {})
    scores = score(u).to_plain()
    if second:
        (u["hr"] + 3).to_dataset(name="nearest").to_netcdf(run.baselines)
        (u["hr"] + 7).to_dataset(name="nearest").to_netcdf(run.baselines.with_name("baselines_v.nc"))
        u.assign({f"{name}_v": v[name] for name in v.data_vars}).to_netcdf(run.results)
        scores |= {"second": score(v).to_plain(), "vector": plain(vector_scores(run.results))}
    else:
        u.to_netcdf(run.results)
    write_whole(run.folder / "results" / "scores.json", to_json(scores))
    write_verification(run.results, run.verification)
    return run


@pytest.fixture(scope="module")
def wind(tmp_path_factory) -> Run:
    return write_wind(tmp_path_factory.mktemp("runs"))


def compared(run: Run, component: str) -> Comparison:
    return Comparison.of(Store(run.folder.parent), [run.id], component)


def test_all_that_is_shown_of_the_second_component_is_its_own(wind):
    u, v = (compared(wind, component) for component in "uv")
    assert v.first.components == ("eastward wind", "northward wind")
    assert v.first.attrs["standard_name"] == "northward_wind"
    for name, field in u.fields(3).items():
        np.testing.assert_allclose(v.fields(3)[name], 2 * field + 1, rtol=1e-6)
    for name, series in u.cell(55.0, 0.0).items():
        np.testing.assert_allclose(v.cell(55.0, 0.0)[name], 2 * series + 1, rtol=1e-6)
    np.testing.assert_allclose(v.rmse_maps()["A"], 2 * u.rmse_maps()["A"], rtol=1e-5)
    of_u, of_v = (each.scores()["A"].downscaled["rmse"].mean for each in (u, v))
    assert of_v == pytest.approx(2 * of_u, rel=1e-3)
    np.testing.assert_array_equal(v.first.products["nearest"], u.first.products["nearest"] + 4)
    assert extremes_of(u).tables["plausibility"] != extremes_of(v).tables["plausibility"]
    for condition in ("", "hours:6,12"):  # as stored, and computed from fields
        maps = [score_maps(Selection.of(each, Condition.parse(condition)), "mae")["A"] for each in (u, v)]
        np.testing.assert_allclose(maps[1], 2 * maps[0], rtol=1e-3)


def test_fields_of_both_components_are_kept_apart_in_the_cache(wind):
    u, v = (Result.read(wind, "A", component) for component in "uv")
    kept = [FIELDS.read(result, result.data["hr"], slice(0, 5)) for result in (u, v)]
    np.testing.assert_allclose(kept[1], 2 * kept[0] + 1, rtol=1e-6)


def test_a_run_of_one_target_is_compared_with_the_component_of_its_variable_alone(wind):
    single = write_wind(wind.folder.parent, "alone", second=False)
    store, ids = Store(wind.folder.parent), [wind.id, single.id]
    assert len(Comparison.of(store, ids, "u").results) == 2
    refused = "B alone is of eastward_wind, A of northward_wind: compare runs of one variable"
    assert Comparison.of(store, ids, "v").refused == {single.id: refused}
    first_alone = Comparison.of(store, ids[::-1], "v")  # the first has no second component
    assert [result.component for result in first_alone.results] == ["u", "u"]
    assert first_alone.first.components == ()


def test_without_verification_of_the_second_component_there_is_none(tmp_path):
    run = write_wind(tmp_path)
    run.verification.with_name("verification_v.nc").unlink()
    assert compared(run, "u").first.verification is not None
    assert compared(run, "v").first.verification is None


def test_stations_say_that_they_are_of_the_first_component(wind):
    v, card = compared(wind, "v"), StationCard(Session(store=Store(wind.folder.parent)))
    wind.stations.write_bytes(b"scores of u")
    assert (station_scores(v).files, station_scores(v).damaged) == ({}, ())
    wind.stations.unlink()
    card._comparison = v
    card._show(station_scores(v))
    assert SECOND in card._table.object
    assert not card._path.visible


def test_scores_of_the_vector_stand_below_the_table(wind):
    """RMSE of the vector: √(e² + (2 e)²) = √5 e."""
    u = compared(wind, "u")
    error = (u.first.data["downscaled"] - u.first.data["hr"]).astype(float)
    rmse = float(np.sqrt(5 * (error**2).weighted(np.cos(np.radians(error["y"]))).mean()))
    for each in (u, compared(wind, "v")):
        text = _vector(each, each.scores())
        of_run = text.split("A wind: RMSE ")[1]
        assert float(of_run.split(" m s-1, speed bias")[0]) == pytest.approx(rmse, rel=0.01)  # three digits


def test_the_choice_is_offered_for_two_components_and_stands_in_the_link(wind):
    session = Session(store=Store(wind.folder.parent), runs=[wind.id], page="compare")
    chips = RunChips(session)
    assert not chips._component.visible
    chips.follow(compared(wind, "u"))
    assert chips._component.visible
    assert list(chips._component.options) == ["eastward wind", "northward wind"]
    chips._component.value = "v"
    assert "component=v" in session.query()
    chips.follow(compared(wind, session.component))
    assert not chips._report.visible  # of the first component alone
    other = Session(store=session.store)
    assert other.take_query(session.query()) == []
    assert other.component == "v"
    assert "component=w" in other.take_query("?component=w")[0]
