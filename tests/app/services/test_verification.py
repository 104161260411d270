"""Scores by cell and spectra that compared runs have, by a verification.nc written by hand."""

import numpy as np
import pytest
import xarray as xr

from app.services.comparison import Comparison
from app.services.conditions import Selection
from app.services.verification import (
    exceedances,
    missing_reason,
    resolution_text,
    sal,
    score_maps,
    spectra,
    taylor_points,
    taylor_reason,
    uncertainty,
)
from engine.evaluation.conditions import Condition
from engine.evaluation.verification import write_verification
from engine.runs import Run, Store
from tests.app.fake import write_run

NAN = float("nan")
SMALL = {"ny": 16, "nx": 24, "n_times": 10}
SEASONS, PRODUCTS = ["all", "DJF", "MAM", "JJA", "SON"], ["interpolated", "downscaled"]


def write_by_hand(run: Run, bias: float, **more: tuple) -> None:
    """A file whose downscaled bias is `bias` in all cells, twice as much in MAM, and the interpolated one's -1."""
    maps = np.full((5, 2, 16, 24), -1.0)
    maps[:, 1] = bias
    maps[2, 1] = 2 * bias
    steps = np.zeros((5, 16, 24), int)
    steps[[0, 2]] = 10
    variables = {"bias": (("season", "product", "y", "x"), maps), "compared_steps": (("season", "y", "x"), steps)}
    variables["step_scores"] = (("metric", "product", "time"), np.ones((1, 2, 10)))
    coords = {"season": SEASONS, "product": PRODUCTS, "criterion": ["power", "coherence", "both"]}
    xr.Dataset({**variables, **more}, coords, {"spectra_left_out": "too few cells"}).to_netcdf(run.verification)


def hand_spectra(downscaled_km: float) -> dict[str, tuple]:
    return {
        "wavelength": ("wavenumber", [400.0, 200.0, 100.0]),
        "hr_power": ("wavenumber", [9.0, 4.0, 1.0], {"units": "(K)2"}),
        "power": (("product", "wavenumber"), [[8.0, 1.0, 0.1], [9.0, 3.0, 0.6]]),
        "coherence": (("product", "wavenumber"), [[0.9, 0.4, 0.1], [1.0, 0.8, 0.6]]),
        "effective_resolution": (("product", "criterion"), [[250.0, 220.0, 250.0], [100.0, 100.0, downscaled_km]]),
    }


def compare(folder, *runs: Run) -> Comparison:
    return Comparison.of(Store(folder), [run.id for run in runs])


def select(comparison: Comparison, condition: str = "") -> Selection:
    return Selection.of(comparison, Condition.parse(condition))


@pytest.fixture
def two(tmp_path):
    return [write_run(tmp_path, title, **SMALL) for title in ("one", "other")]


def test_maps_are_those_of_the_chosen_score_and_season(tmp_path, two):
    write_by_hand(two[0], 0.25)
    write_by_hand(two[1], -0.5)
    both = compare(tmp_path, *two)
    assert missing_reason(both) == ""
    maps = score_maps(select(both, "MAM"), "bias")
    assert {key: float(field[3, 4]) for key, field in maps.items()} == {"interpolated": -1.0, "A": 0.5, "B": -1.0}
    assert float(score_maps(select(both), "bias")["A"].mean()) == 0.25
    with xr.open_dataset(two[0].results) as stored:
        np.testing.assert_array_equal(maps["A"].y, stored["y"])
        np.testing.assert_allclose(score_maps(select(both), "rmse")["A"], stored["rmse_downscaled"])
    both.close()


def test_a_run_without_verification_leaves_rmse_and_says_the_command(tmp_path, two):
    two[1].verification.unlink()
    both = compare(tmp_path, *two)
    assert missing_reason(both).endswith(f"python -m engine verify {two[1].id}")
    assert spectra(select(both), "power").curves == {}


def test_a_damaged_file_counts_as_none(tmp_path, two):
    two[0].verification.write_bytes(b"no NetCDF")
    assert missing_reason(compare(tmp_path, *two)).endswith(f"verify {two[0].id}")


def test_other_periods_leave_the_rmse_of_common_steps(tmp_path, two):
    later = write_run(tmp_path, "later", **SMALL, start="2019-03-01T04:00")
    assert "Test periods differ" in missing_reason(compare(tmp_path, two[0], later))


def test_spectra_are_hr_and_interpolated_of_the_first_and_each_run(tmp_path, two):
    write_by_hand(two[0], 0.0, **hand_spectra(100.0))
    write_by_hand(two[1], 0.0, **hand_spectra(np.nan))
    both = compare(tmp_path, *two)
    power = spectra(select(both), "power")
    assert list(power.curves) == ["hr", "interpolated", "A", "B"]
    np.testing.assert_array_equal(power.curves["hr"], [[400, 200, 100], [9, 4, 1]])
    np.testing.assert_array_equal(power.curves["A"][1], [9, 3, 0.6])
    np.testing.assert_array_equal(spectra(select(both), "coherence").curves["interpolated"][1], [0.9, 0.4, 0.1])
    assert resolution_text(power.resolution) == "interpolated 250 km, A 100 km or finer, B none"


def test_the_reason_of_a_spectrum_that_was_left_out(tmp_path, two):
    write_by_hand(two[0], 0.0, **hand_spectra(100.0))
    write_by_hand(two[1], 0.0)
    found = spectra(select(compare(tmp_path, *two)), "power")
    assert list(found.curves) == ["hr", "interpolated", "A"]
    assert found.left_out == {"B": "too few cells"}


def test_verdicts_are_against_the_best_simple_method_or_a_chosen_product(tmp_path):
    runs = [
        write_run(tmp_path, title, **SMALL, skill=skill, baselines=True) for title, skill in (("one", 0.9), ("no", 0.1))
    ]
    both = compare(tmp_path, *runs)
    found = uncertainty(select(both), "")
    assert (found.reference, found.reason, found.left_out) == ("pc_regression", "", {})
    assert list(found.intervals) == list(found.verdicts) == ["interpolated", "nearest", "pc_regression", "A", "B"]
    assert found.verdicts["A"].startswith("better (p")
    assert found.verdicts["B"].startswith("worse (p")
    assert found.verdicts["pc_regression"] == ""
    with xr.open_dataset(runs[1].verification) as stored:
        rmse = float(stored["area_rmse"].sel(season="all", product="downscaled"))
    assert found.intervals["B"]["rmse"].value == pytest.approx(rmse, rel=1e-6)
    assert uncertainty(select(both), "B").verdicts["A"].startswith("better (p")
    both.close()


def test_a_file_without_errors_of_steps_is_to_be_made_again(tmp_path, two):
    write_by_hand(two[1], 0.25)
    assert uncertainty(select(compare(tmp_path, *two)), "").reason.endswith(f"python -m engine verify {two[1].id}")


def test_exceedance_is_that_of_the_steps_in_common(tmp_path):
    runs = [write_run(tmp_path, title, seed=seed, **SMALL) for seed, title in enumerate(("one", "two"))]
    comparison = compare(tmp_path, *runs)
    found = exceedances(select(comparison), [280.0])
    assert list(found) == ["A", "B"]
    hr, field = (comparison.first.data[name].values for name in ("hr", "downscaled"))
    has_both = np.isfinite(hr) & np.isfinite(field)
    hits, events = has_both & (hr >= 280) & (field >= 280), has_both & (hr >= 280)
    by_cells = hits.sum() / events.sum()  # cells are of nearly one size
    assert found["A"]["pod"].sel(product="downscaled").item() == pytest.approx(by_cells, abs=0.02)
    comparison.close()


def hand_moments(std: float, correlation: float) -> dict[str, tuple]:
    """Of the interpolated field the half of HR's standard deviation and no correlation; in MAM of HR twice as much."""
    return {
        "hr_domain_std": ("season", [2.0, NAN, 4.0, NAN, NAN]),
        "domain_std": (("season", "product"), [[1.0, std]] * 5),
        "domain_correlation": (("season", "product"), [[0.0, correlation]] * 5),
    }


def test_points_of_the_taylor_diagram_are_relative_to_each_runs_own_hr(tmp_path, two):
    write_by_hand(two[0], 0.25, **hand_moments(1.5, 0.8))
    write_by_hand(two[1], 0.25, **hand_moments(0.0, NAN))  # constant: nowhere in the diagram
    both = compare(tmp_path, *two)
    assert taylor_reason(both) == ""
    assert taylor_points(select(both)) == {"interpolated": (0.5, 0.0), "A": (0.75, 0.8)}
    assert taylor_points(select(both, "MAM")) == {"interpolated": (0.25, 0.0), "A": (0.375, 0.8)}
    assert taylor_points(select(both, "DJF")) == {}
    both.close()


def test_a_verification_without_domain_moments_says_the_command(tmp_path, two):
    write_by_hand(two[0], 0.25)
    write_by_hand(two[1], 0.25, **hand_moments(1.5, 0.8))
    both = compare(tmp_path, *two)
    assert taylor_reason(both).endswith(f"python -m engine verify {two[0].id}")
    both.close()


def test_sal_of_precipitation_is_of_the_chosen_steps(tmp_path):
    run = write_run(tmp_path, "one", ny=16, nx=24, n_times=12, verified=False)
    with xr.open_dataset(run.results) as stored:
        rain = stored.load()
    for name in ("hr", "interpolated", "downscaled"):
        rain[name] = (rain[name] - 280).assign_attrs(standard_name="precipitation_flux", units="mm day-1")
    rain.to_netcdf(run.results)
    write_verification(run.results, run.verification)
    comparison = Comparison.of(Store(tmp_path), [run.id])
    with xr.open_dataset(run.verification) as stored:
        sizes = abs(stored["step_sal"]).sel(product="downscaled").load()
    for text, steps in (("", slice(None)), ("hours:3,5", [3, 5])):
        found = sal(Selection.of(comparison, Condition.parse(text)))
        assert list(found) == ["interpolated", "A"]
        assert list(found["A"].values()) == pytest.approx(sizes[:, steps].mean("time").values.tolist())
    assert found["A"]["location"] < found["interpolated"]["location"]
    assert np.isnan(sal(Selection.of(comparison, Condition.parse("DJF")))["A"]["location"])
    assert sal(Selection.of(Comparison.of(Store(tmp_path), [write_run(tmp_path, "two").id]), Condition())) == {}
