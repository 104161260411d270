"""Changes of errors against a reference, by a verification.nc written by hand."""

import numpy as np
import pytest
import xarray as xr

from app.services.comparison import Comparison
from app.services.scorecard import scorecard
from engine.runs import Store
from tests.app.fake import write_run

SMALL = {"ny": 16, "nx": 24, "n_times": 10}
SEASONS, PRODUCTS = ["all", "DJF", "MAM", "JJA", "SON"], ["interpolated", "downscaled", "nearest"]


def write_by_hand(run, rmse: list[float], bias: list[float]) -> None:
    """Errors of PRODUCTS, the same in all steps, MAM and JJA; in other seasons nothing is compared."""
    seasons = np.array([1.0, np.nan, 1.0, 1.0, np.nan])[:, None]
    numbers = {"rmse": rmse, "mae": rmse, "bias": bias, "pearson": [0.5, 0.9, 0.4], "std_ratio": [0.8, 1.1, 1.3]}
    variables = {f"area_{name}": (("season", "product"), seasons * each) for name, each in numbers.items()}
    steps = np.zeros((5, 16, 24), int)
    steps[[0, 2, 3]] = 10
    variables["compared_steps"] = (("season", "y", "x"), steps)
    variables["quantile_bias"] = (("season", "product", "quantile"), (seasons * [1.0, -0.5, 2.0])[:, :, None])
    xr.Dataset(variables, {"season": SEASONS, "product": PRODUCTS, "quantile": [0.95]}).to_netcdf(run.verification)


@pytest.fixture
def both(tmp_path):
    runs = [write_run(tmp_path, title, **SMALL) for title in ("one", "other")]
    write_by_hand(runs[0], [2.0, 1.0, 4.0], [-0.4, 0.1, 0.0])
    write_by_hand(runs[1], [2.0, 3.0, 4.0], [-0.4, -0.8, 0.0])
    comparison = Comparison.of(Store(tmp_path), [run.id for run in runs])
    yield comparison
    comparison.close()


def test_changes_are_against_the_best_simple_method_unless_another_is_chosen(both):
    found = scorecard(both)
    assert (found.reference, found.offered) == ("interpolated", ("interpolated", "nearest", "A", "B"))
    a = found.changes["A"].sel(season="MAM")
    assert dict(zip(a["error"].values, a.values, strict=True)) == pytest.approx(
        {"RMSE": -0.5, "MAE": -0.5, "bias": -0.75, "1 − correlation": -0.8, "std ratio": -0.5, "95 % quantile": -0.5}
    )
    assert float(found.changes["B"].sel(season="all", error="RMSE")) == 0.5
    assert list(found.changes["A"]["season"].values) == ["all", "MAM", "JJA"]


def test_a_run_as_reference_is_no_column_and_an_error_of_zero_gives_no_change(both):
    found = scorecard(both, "A")
    assert list(found.changes) == ["B"]
    assert float(found.changes["B"].sel(season="all", error="bias")) == pytest.approx(7.0)
    assert np.isnan(scorecard(both, "nearest").changes["A"].sel(season="all", error="bias"))


def test_without_a_verification_the_command_is_said(both):
    both.results[1].run.verification.unlink()
    assert scorecard(both).reason.endswith(f"verify {both.results[1].run.id}")


def test_a_single_season_is_not_shown_beside_all_steps(both):
    for result in both.results:
        result.verification["compared_steps"][3] = 0
    assert list(scorecard(both).changes["A"]["season"].values) == ["all"]
