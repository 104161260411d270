"""Scores and maps of chosen steps, by NumPy from the values of test.nc."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.path import Path
from skimage.metrics import peak_signal_noise_ratio

from app.services.chosen_fields import FieldCache
from app.services.comparison import Comparison
from app.services.conditions import Selection, offered
from app.services.verification import exceedances, score_maps, spectra, uncertainty
from engine.evaluation.conditions import Condition
from engine.evaluation.products import open_products
from engine.evaluation.score_records import Scores
from engine.evaluation.scores import score
from engine.evaluation.verification import verify, write_verification
from engine.files import to_json, write_whole
from engine.runs import Run, Store
from tests.app.fake import write_run

SMALL = {"ny": 16, "nx": 24, "n_times": 40}  # hours from 1 March 00 h on


def select(folder, text: str, *runs: Run) -> Selection:
    comparison = Comparison.of(Store(folder), [run.id for run in runs])
    return Selection.of(comparison, Condition.parse(text))


@pytest.fixture
def run(tmp_path) -> Run:
    """With a sea, missing cells in two steps, and a step without any value."""
    run = write_run(tmp_path, "one", **SMALL, sea=True, baselines=True, verified=False)
    with xr.open_dataset(run.results) as stored:
        results = stored.load()
    results["downscaled"][6, 3:8, 10:] = results["hr"][12, 5, 20] = results["interpolated"][18] = np.nan
    results.to_netcdf(run.results)
    write_verification(run.results, run.verification)
    with open_products(run.results) as products:
        write_whole(run.results.with_name("scores.json"), to_json(score(products).to_plain()))
    return run


@pytest.mark.parametrize("text", ["hours:6,12,18", "MAM/hours:6", "hardest:7", "hours:0/hardest:1"])
def test_scores_are_those_of_the_chosen_steps_of_the_file(tmp_path, run, text):
    selection = select(tmp_path, text, run)
    with xr.open_dataset(run.results) as stored:
        hr, interpolated, downscaled = (stored[name].values for name in ("hr", "interpolated", "downscaled"))
        hour = stored["time"].dt.hour.values
    difficulty = [
        np.sqrt(np.nanmean((f - o) ** 2)) if np.isfinite(f).any() else -1 for f, o in zip(interpolated, hr, strict=True)
    ]
    steps = {
        "hours:6,12,18": np.flatnonzero(np.isin(hour, [6, 12, 18])),
        "MAM/hours:6": np.flatnonzero(hour == 6),
        "hardest:7": np.sort(np.argsort(difficulty)[-7:]),
        "hours:0/hardest:1": [max(np.flatnonzero(hour == 0), key=lambda step: difficulty[step])],
    }[text]
    np.testing.assert_array_equal(selection.common, steps)
    scores = selection.scores()["A"]
    span = float(np.nanmax(hr) - np.nanmin(hr))
    for field, of_field in ((interpolated, scores.interpolated), (downscaled, scores.downscaled)):
        found = []
        for step in steps:
            has_both = np.isfinite(hr[step]) & np.isfinite(field[step])
            if has_both.any():
                o, f = hr[step][has_both].astype(float), field[step][has_both].astype(float)
                psnr = peak_signal_noise_ratio(o, f, data_range=span)
                error = f - o
                found.append(
                    [np.abs(error).mean(), np.sqrt((error**2).mean()), error.mean(), np.corrcoef(o, f)[0, 1], psnr]
                )
        mean, std = np.mean(found, axis=0), np.std(found, axis=0)
        for k, metric in enumerate(("mae", "rmse", "bias", "pearson", "psnr")):
            assert of_field[metric].mean == pytest.approx(mean[k], rel=1e-9), metric
            assert of_field[metric].std == pytest.approx(std[k], rel=1e-7, abs=1e-9), metric
    assert list(scores.baselines) == ["nearest", "pc_regression"]


@pytest.mark.parametrize("text", ["hours:6,12,18", "months:3", "hardest:1"])
def test_maps_are_those_of_the_chosen_steps_of_the_file(tmp_path, run, text):
    selection = select(tmp_path, text, run)
    with xr.open_dataset(run.results) as stored:
        fields = stored[["hr", "interpolated", "downscaled"]].to_array().values.astype(float)[:, selection.common]
    o, *products = np.where(np.isfinite(fields).all(axis=0), fields, np.nan)
    counts = np.isfinite(o).sum(axis=0)
    for key, f in zip(("interpolated", "A"), products, strict=True):
        with np.errstate(invalid="ignore", divide="ignore"):
            means = {
                "rmse": np.sqrt(np.nansum((f - o) ** 2, axis=0) / counts),
                "mae": np.nansum(np.abs(f - o), axis=0) / counts,
                "bias": np.nansum(f - o, axis=0) / counts,
            }
            for name, expected in means.items():
                np.testing.assert_allclose(score_maps(selection, name)[key], expected, rtol=1e-5, atol=1e-5)
        if text != "hardest:1":
            correlation = xr.corr(*(xr.DataArray(each, dims=("time", "y", "x")) for each in (f, o)), dim="time")
            np.testing.assert_allclose(score_maps(selection, "pearson")[key], correlation, rtol=1e-5)
        else:  # of one step there is none
            assert np.isnan(score_maps(selection, "pearson")[key]).all()


def test_maps_of_a_season_are_as_stored_and_as_from_its_months(tmp_path, run):
    season, months = (select(tmp_path, text, run) for text in ("MAM", "months:3,4"))
    for name in ("rmse", "std_ratio"):
        np.testing.assert_allclose(score_maps(season, name)["A"], score_maps(months, name)["A"], rtol=1e-5)
    assert "moments" not in season.__dict__


def test_without_a_condition_all_is_as_stored(tmp_path, run):
    selection = select(tmp_path, "", run)
    assert selection.scores() == {"A": Scores.from_plain(run.scores())}
    with xr.open_dataset(run.results) as stored:
        np.testing.assert_array_equal(score_maps(selection, "rmse")["A"], stored["rmse_downscaled"])
    assert select(tmp_path, "months:3", run).scores() == selection.scores()  # all steps are of March


def test_a_condition_without_steps_says_so_and_scores_nothing(tmp_path, run):
    selection = select(tmp_path, "DJF", run)
    assert selection.n_steps == 0
    assert "DJF" in selection.empty
    assert {score.mean for score in selection.scores()["A"].downscaled.values()} == {None}
    assert np.isnan(score_maps(selection, "rmse")["A"]).all()
    assert uncertainty(selection, "").reason == "No values to compare."


def test_a_run_without_scores_of_steps_shows_all_and_says_the_command(tmp_path, run):
    with xr.open_dataset(run.verification) as stored:
        old = stored.drop_vars("step_scores").load()
    old.to_netcdf(run.verification)
    selection = select(tmp_path, "hours:6", run)
    assert selection.reason.endswith(f"python -m engine verify {run.id}")
    assert selection.n_steps == 40
    assert not selection.condition
    assert selection.scores() == {"A": Scores.from_plain(run.scores())}


def test_runs_of_other_periods_are_held_to_the_same_hours_and_the_hardest_steps_of_the_first(tmp_path):
    one = write_run(tmp_path, "one", **SMALL)
    other = write_run(tmp_path, "other", **SMALL, seed=3, start="2019-03-01T08:00")
    selection = select(tmp_path, "hours:12/hardest:1", one, other)
    with xr.open_dataset(one.verification) as stored:
        rmse = stored["step_scores"].sel(metric="rmse", product="interpolated").values
    step = 12 if rmse[12] > rmse[36] else 36  # of the first run; in common are those from its eighth on
    assert selection.steps["A"].tolist() == [step]
    assert selection.steps["B"].tolist() == [step - 8]
    with xr.open_dataset(other.results) as stored:
        error = (stored["downscaled"] - stored["hr"])[step - 8]
    assert selection.scores()["B"].downscaled["bias"].mean == pytest.approx(float(error.mean()), rel=1e-5)
    np.testing.assert_allclose(score_maps(selection, "rmse")["B"], np.abs(error), rtol=1e-5)


def test_months_of_a_360_day_calendar(tmp_path):
    run = write_run(tmp_path, "one", **SMALL, calendar="360_day", start="2019-02-30")  # 24 steps, then 1 March
    selection = select(tmp_path, "months:2", run)
    assert selection.common.tolist() == list(range(24))
    months, hours, hardest, surfaces = offered(selection.comparison)
    assert surfaces == []
    assert [each.text() for each in months] == ["DJF", "MAM", "Feb", "Mar"]
    assert len(hours) == 24
    assert [each.hardest for each in hardest] == [5, 10, 20]


def test_intervals_are_of_the_chosen_steps(tmp_path, run):
    found = uncertainty(select(tmp_path, "hours:3,6,9,12,15,18,21", run), "")
    with xr.open_dataset(run.verification) as stored:
        chosen = stored.isel(time=np.flatnonzero(stored["time"].dt.hour.isin([3, 6, 9, 12, 15, 18, 21])))
        of_steps = chosen.sel(product="downscaled")["step_mse"].fillna(0)
        expected = float(np.sqrt(of_steps.weighted(chosen["step_area"]).mean()))
    assert found.intervals["A"]["rmse"].value == pytest.approx(expected, rel=1e-9)


def test_fields_are_read_once_and_no_more_are_kept_than_allowed(tmp_path, run):
    result = select(tmp_path, "", run).comparison.first
    cache = FieldCache(most_bytes=2 * 4 * 10 * 16 * 24)  # two blocks of ten steps
    first = cache.read(result, result.data["hr"], slice(0, 10))
    assert cache.read(result, result.data["hr"], slice(0, 10)) is first
    cache.read(result, result.data["hr"], slice(10, 20))
    assert cache.read(result, result.data["hr"], slice(0, 10)) is first  # now the one that was used last
    cache.read(result, result.data["hr"], slice(20, 30))
    assert cache.read(result, result.data["hr"], slice(0, 10)) is first
    assert len(cache._blocks) == 2


@pytest.mark.parametrize(
    "text", ["box:52.9,56.1,-6.6,0.1", "from:280/below:283", "hours:6,18/box:50,55,-9,-1/from:281"]
)
def test_scores_and_maps_of_chosen_cells_and_values(tmp_path, run, text):
    selection = select(tmp_path, text, run)
    condition = selection.condition
    with xr.open_dataset(run.results) as stored:
        fields = stored[["hr", "interpolated", "downscaled"]].load().astype(float)
    if condition.hours:
        fields = fields.isel(time=np.flatnonzero(fields["time"].dt.hour.isin(condition.hours)))
    if condition.region:
        (south, north), (west, east) = condition.region.lat, condition.region.lon
        y, x = fields["y"], fields["x"]
        fields = fields.where((y >= south) & (y <= north) & (x >= west) & (x <= east))
    hr = fields["hr"]
    hr = hr.where(hr >= condition.low) if condition.low is not None else hr
    hr = hr.where(hr < condition.high) if condition.high is not None else hr
    scores, span = selection.scores()["A"], run_range(run)
    for name, of_field in (("interpolated", scores.interpolated), ("downscaled", scores.downscaled)):
        error = fields[name] - hr
        rmse = np.sqrt((error**2).mean(("y", "x")))
        steps = {
            "mae": np.abs(error).mean(("y", "x")),
            "rmse": rmse,
            "bias": error.mean(("y", "x")),
            "pearson": xr.corr(fields[name], hr, ("y", "x")),
            "psnr": 20 * np.log10(span / rmse),
        }
        for metric, values in steps.items():
            assert of_field[metric].mean == pytest.approx(float(values.mean()), rel=1e-6, abs=1e-7), metric
            assert of_field[metric].std == pytest.approx(float(values.std()), rel=1e-6, abs=1e-7), metric
        assert of_field["ssim"].mean is None
    both = (fields["downscaled"] - hr).where(np.isfinite(fields["interpolated"]))
    np.testing.assert_allclose(score_maps(selection, "rmse")["A"], np.sqrt((both**2).mean("time")), rtol=1e-5)
    assert np.isnan(score_maps(selection, "bias")["A"]).any()


@pytest.mark.parametrize("text", ["land", "sea", "elevation:500,1000/hours:6", "polygon:50.2,-9,57.1,-8.8,55,1/land"])
def test_scores_maps_and_exceedance_of_cells_by_surface_and_polygon(tmp_path, text):
    run = write_run(tmp_path, "one", **SMALL, surface=True)
    selection = select(tmp_path, text, run)
    with xr.open_dataset(run.results) as stored, xr.open_dataset(run.normalizer_file) as static:
        fields = stored[["hr", "downscaled"]].load().astype(float)
        height, land = static["static_0"].values, static["static_1"].values == 1
    y, x = (each.values for each in xr.broadcast(fields["y"], fields["x"]))
    triangle = Path([(-9, 50.2), (-8.8, 57.1), (1, 55)]).contains_points(np.column_stack([x.ravel(), y.ravel()]))
    inside = {
        "land": land,
        "sea": ~land,
        "elev": (height >= 500) & (height < 1000),
        "poly": triangle.reshape(x.shape) & land,
    }
    fields = fields.where(xr.DataArray(inside[text[:4]], dims=("y", "x")))
    fields = fields.isel(time=[6, 30]) if "hours" in text else fields
    assert selection.n_cells == inside[text[:4]].sum()
    error = fields["downscaled"] - fields["hr"]
    rmse = np.sqrt((error**2).mean(("y", "x"))).mean()
    assert selection.scores()["A"].downscaled["rmse"].mean == pytest.approx(float(rmse), rel=1e-6)
    np.testing.assert_allclose(score_maps(selection, "bias")["A"], error.mean("time"), atol=1e-5)
    share = exceedances(selection, [282.0])["A"]["hr_share"].item()
    areas = np.cos(np.deg2rad(fields["y"])).where(np.isfinite(fields["hr"]))
    assert share == pytest.approx(float(areas.where(fields["hr"] >= 282).sum() / areas.sum()), rel=1e-3)


def test_the_surface_is_offered_where_runs_have_it_or_share_a_grid_with_one_that_has(tmp_path):
    with_surface, without = (write_run(tmp_path, name, **SMALL, surface=name == "a") for name in "ab")
    other_grid = write_run(tmp_path, "c", **SMALL | {"nx": 32})
    both = Comparison.of(Store(tmp_path), [without.id, with_surface.id])
    assert [each.text() for each in offered(both)[3]] == [
        "land", "sea", "-500 to 200 m above sea level", "200 to 500 m above sea level", "500 to 1000 m above sea level",
        "1000 to 2000 m above sea level",
    ]  # fmt: skip
    assert select(tmp_path, "land", without, with_surface).condition
    assert offered(Comparison.of(Store(tmp_path), [with_surface.id, other_grid.id]))[3] == []
    asked = select(tmp_path, "elevation:0,200", with_surface, other_grid)
    assert asked.reason.startswith("B has no elevation in m among its static variables")
    assert not asked.condition


def run_range(run: Run) -> float:
    with xr.open_dataset(run.results) as stored:
        return float(stored["hr"].max() - stored["hr"].min())


def test_a_region_without_cells_says_so(tmp_path, run):
    selection = select(tmp_path, "box:10,11,0,1", run)
    assert selection.empty.startswith("No test cell is left")
    assert selection.scores()["A"].downscaled["rmse"].mean is None


def test_exceedance_is_of_the_chosen_cells(tmp_path, run):
    selection = select(tmp_path, "box:50,54.2,-9,2/hours:3", run)
    found = exceedances(selection, [282.0])["A"].sel(product="downscaled")
    with xr.open_dataset(run.results) as stored:
        fields = stored.isel(time=[3, 27]).sel(y=slice(54.2, 50), x=slice(-9, 2)).load()
    with open_products(run.results) as products:
        valid = np.isfinite(fields["hr"] + products["nearest"].isel(time=[3, 27]) + fields["downscaled"])
    hr, product = (valid & (fields[name] >= 282) for name in ("hr", "downscaled"))
    areas = np.cos(np.deg2rad(fields["y"]))
    expected = float((areas * (hr & product)).sum() / (areas * hr).sum())
    assert found["pod"].item() == pytest.approx(expected, rel=1e-4)


def test_spectra_of_chosen_steps_are_those_that_a_run_of_these_steps_alone_has(tmp_path):
    run = write_run(tmp_path, "one", **SMALL)
    with xr.open_dataset(run.results) as stored:
        alone = verify(stored.isel(time=slice(6, None, 24)).load())  # 6 h of both days
    for kind in ("power", "coherence"):
        found = spectra(select(tmp_path, "hours:6", run), kind)
        np.testing.assert_allclose(found.curves["A"][1], alone[kind].sel(product="downscaled"), rtol=1e-5)
    at = {"product": "interpolated", "criterion": "both"}
    assert found.resolution["interpolated"][0] == pytest.approx(float(alone["effective_resolution"].sel(at)), rel=1e-5)
    power = spectra(select(tmp_path, "hours:6/from:280", run), "power")  # cells and values are all of these steps
    np.testing.assert_allclose(power.curves["hr"][1], alone["hr_power"], rtol=1e-5)


def test_spectra_of_chosen_steps_that_are_not_stored_say_the_command(tmp_path):
    run = write_run(tmp_path, "one", **SMALL)
    with xr.open_dataset(run.verification) as stored:
        old = stored.drop_vars("step_power").load()
    old.to_netcdf(run.verification)
    found = spectra(select(tmp_path, "hours:6", run), "power")
    assert found.left_out["A"].endswith(f"python -m engine verify {run.id}")
    assert spectra(select(tmp_path, "", run), "power").curves


def test_members_of_a_forecast_for_the_same_hour_all_count(tmp_path):
    run = write_run(tmp_path, "one", **SMALL, verified=False)
    with xr.open_dataset(run.results) as stored:
        twice = stored.load()
    times = twice["time"].values
    twice.assign_coords(time=np.concatenate([times[:20], times[:20]])).to_netcdf(run.results)
    write_verification(run.results, run.verification)
    selection = select(tmp_path, "hours:5,6,7,8,9,10,11,12,13,14,15", run)
    assert selection.common.tolist() == [*range(5, 16), *range(25, 36)]
    error = (twice["downscaled"] - twice["hr"]).astype(float)[selection.common]
    rmse = np.sqrt((error**2).mean(("y", "x"))).mean()
    assert selection.scores()["A"].downscaled["rmse"].mean == pytest.approx(float(rmse), rel=1e-9)
    assert uncertainty(selection, "").intervals["A"]["rmse"].low > 0  # eleven hours, two members each
