"""Intervals and tests: by hand on short series, and honest on simulated ones whose errors last."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage, stats
from scipy.signal import lfilter

from engine.evaluation.significance import (
    DifferenceSums,
    StepErrors,
    block_length,
    equal_accuracy,
    errors_of,
    intervals,
    is_significant,
    verdict,
)
from engine.evaluation.verification import summary, verify
from tests.engine.evaluation.test_verification import results

NAN = np.nan


def lasting(*shape: int, r: float, seed: int = 0) -> np.ndarray:
    """Autoregressive series with that correlation from step to step."""
    noise = np.random.default_rng(seed).normal(size=(*shape[:-1], shape[-1] + 200))
    return lfilter([1], [1, -r], noise, axis=-1)[..., 200:]


def errors_like(squared: np.ndarray) -> StepErrors:
    root = np.sqrt(squared)
    return StepErrors(("a", "b"), np.ones(squared.shape[-1]), root, squared, root)


@pytest.mark.parametrize("r", [0.0, 0.6, 0.9])
def test_equally_good_products_differ_clearly_in_one_of_twenty_cases(r):
    errors = lasting(200, 2, 365, r=r) ** 2
    share = np.mean(equal_accuracy(errors[:, 0] - errors[:, 1]) < 0.05)
    assert 0.03 <= share <= 0.07


def test_the_statistic_of_a_short_series_by_hand():
    # n = 12, m = 2. d = 1 + cos(2πt/12) has mean 1 and |F| = 6 at the first ordinate, 0 at the second: the variance of
    # the mean is (6² + 0) / 2 / 12² = 1/8, the statistic √8, with 4 degrees of freedom.
    differences = 1 + np.cos(2 * np.pi * np.arange(12) / 12)
    assert equal_accuracy(differences) == pytest.approx(2 * stats.t.sf(np.sqrt(8), 4))
    assert np.isnan(equal_accuracy(differences[:9]))
    assert equal_accuracy(np.zeros(20)) == 1.0


def test_gaps_and_members_leave_the_test_as_it_is_by_hand():
    # As above, but the first of the anomalies cos(2πt/12), 1, is missing: the mean of 11 values is 10/11, and
    # the anomalies are cos + 1/11 but for t = 0. F_1 = 6 - 1 - 1/11 = 54/11, F_2 = 0 - 1 - 1/11 = -12/11 (a constant
    # has F = 0 but for its value at t = 0): the variance is (54² + 12²) / 11² / 2 / 11².
    differences = np.stack([1 + np.cos(2 * np.pi * np.arange(12) / 12)] * 2, axis=1)
    differences[0, 1] = NAN
    sums = DifferenceSums(12, 2)
    for steps in (np.arange(7), np.arange(7, 12)):
        sums.add(steps, differences[steps])
    variance = (54**2 + 12**2) / 11**4 / 2
    expected = [2 * stats.t.sf(np.sqrt(8), 4), 2 * stats.t.sf(10 / 11 / np.sqrt(variance), 4)]
    np.testing.assert_allclose(sums.p_values(), expected)
    members = DifferenceSums(12, 2)
    for offset in (-0.3, 0.3):
        members.add(np.arange(12), differences + offset)
    np.testing.assert_allclose(members.p_values(), expected)


def test_false_discovery_rate_by_hand():
    # At 2 α = 0.1 of five tests, the limits are 0.02, 0.04, 0.06, 0.08, 0.1: 0.055 is below the third, so that it and
    # the smaller ones are found, also 0.045, which is above the second; 0.09 is above the fourth.
    p = np.array([[0.045, 0.09, NAN], [0.01, 0.055, 0.9]])
    np.testing.assert_array_equal(is_significant(p), [[True, False, False], [True, True, False]])
    assert not is_significant(np.full(3, NAN)).any()


def test_fields_without_a_difference_have_a_clear_cell_in_one_of_twenty_cases_and_a_better_region_is_found():
    fields = 200
    noise = np.stack([lasting(15, 15, 200, r=0.5, seed=seed) for seed in range(fields)])
    alike = ndimage.gaussian_filter(noise, (0, 3, 3, 0), mode="wrap")
    p = equal_accuracy(alike)
    share = np.mean([is_significant(each).any() for each in p])
    assert share <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / fields)
    assert np.mean([(each < 0.05).any() for each in p]) > 0.5  # which single tests would have found
    alike[:, 4:9, 4:9] += 1.5 * alike.std()
    found = np.stack([is_significant(each) for each in equal_accuracy(alike)])
    assert found[:, 4:9, 4:9].mean() > 0.9
    false = found.sum(axis=(1, 2)) - found[:, 4:9, 4:9].sum(axis=(1, 2))
    assert np.mean(false / np.maximum(found.sum(axis=(1, 2)), 1)) < 0.1


def test_verdicts_name_the_direction():
    squared = lasting(2, 300, r=0.5) ** 2
    assert verdict(errors_like(squared), "a", "b").startswith("no clear difference (p = 0.")
    squared[0] *= 0.3
    assert verdict(errors_like(squared), "a", "b") == "better (p < 0.001)"
    assert verdict(errors_like(squared), "b", "a") == "worse (p < 0.001)"
    assert verdict(errors_like(squared), "a", "a") == verdict(errors_like(squared[:, :9]), "a", "b") == ""


def test_intervals_of_independent_steps_are_those_of_the_normal_distribution():
    squared = np.random.default_rng(3).gamma(2, size=(2, 900))
    got = intervals(errors_like(squared))["a"]
    root = np.sqrt(squared[0])
    half = 1.96 * root.std() / 30
    assert (got["mae"].low, got["mae"].high) == pytest.approx((root.mean() - half, root.mean() + half), abs=half / 5)
    assert got["rmse"].value == pytest.approx(np.sqrt(squared[0].mean()))
    assert got["rmse"].low < got["rmse"].value < got["rmse"].high
    assert np.isnan(intervals(errors_like(squared[:, :9]))["a"]["rmse"].low)


def test_intervals_of_errors_that_last_hold_the_true_value_nearly_as_often_as_they_say():
    variance = 1 / (1 - 0.6**2)
    held = [
        each["a"]["rmse"].low <= np.sqrt(variance) <= each["a"]["rmse"].high
        for each in (intervals(errors_like(pair**2)) for pair in lasting(60, 2, 400, r=0.6))
    ]
    assert 0.85 <= np.mean(held) <= 1  # block bootstraps are known to fall short of 95 % by a few


@pytest.mark.parametrize(("r", "expected"), [(0.0, 10), (0.8, 31)])  # 10 (√6 · 0.8 / 0.36)^⅔ = 31
def test_blocks_are_longer_where_errors_last(r, expected):
    assert block_length(lasting(1000, r=r, seed=5)) == pytest.approx(expected, abs=3)
    assert block_length(np.ones(1000)) == 10
    assert block_length(np.array([1.0])) == 1


def test_errors_of_steps_give_the_scores_of_the_domain():
    data = results()
    data["hr"][3, 4, 5] = data["hr"][7] = data["downscaled"][9, :, 2] = NAN
    verification = verify(data)
    error = (data["downscaled"] - data["hr"])[0].astype(float)
    weights = np.cos(np.deg2rad(data["y"])) * xr.ones_like(data["x"])
    assert verification["step_mse"].sel(product="downscaled")[0] == pytest.approx(
        np.average(error**2, weights=weights), rel=1e-5
    )
    assert np.isnan(verification["step_mse"][:, 7]).all()
    assert verification["step_mse"].attrs["units"] == "(K)2"
    errors, left_out = errors_of({"A": verification})
    assert (errors.products, left_out, len(errors.weight)) == (("interpolated", "A"), {}, 23)
    for score in ("mae", "rmse", "bias"):
        expected = summary(verification)["all"]["downscaled"][score]
        assert intervals(errors)["A"][score].value == pytest.approx(expected, rel=1e-6)


def test_runs_are_compared_over_common_steps_and_the_same_cells():
    whole = verify(results())
    part, other = whole.isel(time=slice(5, None)), whole.assign(step_area=2 * whole["step_area"])
    later = whole.assign_coords(time=whole["time"] + np.timedelta64(9000, "D"))
    errors, left_out = errors_of({"A": whole, "B": part, "C": other, "D": later})
    assert errors.products == ("interpolated", "A", "B")
    np.testing.assert_array_equal(errors.squared[1], part["step_mse"].sel(product="downscaled"))
    assert verdict(errors, "A", "B") == "no clear difference (p = 1.000)"
    assert left_out == {"C": "other cells are compared", "D": "no test step in common"}
