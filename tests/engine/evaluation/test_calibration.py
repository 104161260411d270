"""Calibrated intervals: ranks by counting, coverage of what is alike, and what is done where little is known."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from engine.evaluation.calibration import Calibration, conformal_quantile, most_steps

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("n", "rank"), [(9, 9), (10, 10), (19, 18), (99, 90), (8, None), (0, None)])
def test_the_quantile_is_a_rank_of_the_scores(n, rank):
    """⌈0.9 (n + 1)⌉: of 9 scores the highest, of 19 the 18th; of 8 there would have to be a ninth."""
    scores = RNG.permutation(np.arange(1.0, n + 1)).reshape(n, 1, 1)
    scores = np.concatenate([scores, np.full((3, 1, 1), np.nan)])
    np.testing.assert_array_equal(conformal_quantile(scores), [[np.nan if rank is None else rank]])


def values(steps: int, wide: np.ndarray, factor: float = 1.0) -> tuple[np.ndarray, ...]:
    """HR, a mean of zero, and a spread that is too small by `factor`, (time, y, x)."""
    spread = wide * RNG.uniform(0.5, 2, size=(steps, *wide.shape))
    return factor * spread * RNG.normal(size=spread.shape), np.zeros_like(spread), spread


def test_intervals_cover_nine_of_ten_values_of_each_cell_whatever_the_spread_lacks():
    """Cells differ by ten in how far HR lies from the mean; the shares of 2,000 values are known to ±0.03."""
    wide = np.array([[0.1, 1.0], [0.3, 1.0]])
    hr, mean, spread = values(2000, wide, factor=3)
    seasons = np.repeat(["DJF"], 2000)
    calibration = Calibration.fit(hr - mean, spread, seasons)
    hr, mean, spread = values(2000, wide, factor=3)
    bounds = calibration.interval(mean, spread, seasons)
    covered = ((hr >= bounds["lower"]) & (hr <= bounds["upper"])).mean(axis=0)
    np.testing.assert_allclose(covered, 0.9, atol=0.03)


def test_seasons_have_factors_of_their_own_where_they_have_enough_steps():
    seasons = np.array(["DJF"] * 40 + ["JJA"] * 40 + ["MAM"] * 10)
    errors = np.where(seasons == "JJA", 5.0, 1.0)[:, None, None] * RNG.uniform(-1, 1, size=(90, 1, 2))
    errors[seasons == "JJA", 0, 1] = np.nan
    calibration = Calibration.fit(errors, np.ones_like(errors), seasons)
    one = np.ones((4, 1, 2))
    upper = calibration.interval(0 * one, one, np.array(["DJF", "JJA", "MAM", "SON"]))["upper"][:, 0]
    assert upper[1, 0] > 3 * upper[0, 0]
    assert upper[2, 0] == upper[3, 0]  # of all steps: ten are too few, and there is none
    assert upper[1, 1] == upper[3, 1]  # no value in this season
    assert upper[0, 0] < upper[3, 0] < upper[1, 0]


def test_members_that_are_all_alike_have_an_interval_by_their_error():
    """Errors of 1 to 99 with no spread: nine of ten are within 90, what the floor is multiplied by."""
    errors = np.arange(1.0, 100).reshape(99, 1, 1)
    calibration = Calibration.fit(errors, np.zeros_like(errors), np.repeat("DJF", 99))
    bounds = calibration.interval(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), np.array(["DJF"]))
    assert (bounds["lower"].item(), bounds["upper"].item()) == pytest.approx((-90, 90))
    dry = Calibration.fit(np.zeros((20, 1, 1)), np.zeros((20, 1, 1)), np.repeat("DJF", 20))
    assert dry.interval(np.ones((1, 1, 1)), np.zeros((1, 1, 1)), np.array(["DJF"]))["upper"].item() == 1


def test_cells_without_values_have_no_interval_and_too_few_steps_are_refused():
    errors = RNG.normal(size=(20, 1, 2))
    errors[:, 0, 1] = np.nan
    calibration = Calibration.fit(errors, np.ones_like(errors), np.repeat("DJF", 20))
    upper = calibration.interval(np.zeros((1, 1, 2)), np.ones((1, 1, 2)), np.array(["DJF"]))["upper"]
    assert np.isfinite(upper[0, 0, 0])
    assert np.isnan(upper[0, 0, 1])
    with pytest.raises(DataError, match="has 8 steps to calibrate on.*longer validation part"):
        Calibration.fit(errors[:8], np.ones((8, 1, 2)), np.repeat("DJF", 8))


def test_large_fields_are_calibrated_on_fewer_steps():
    assert most_steps((100, 100)) == 1600
    assert most_steps((10_000, 10_000)) == 1
