"""Scores of members against brute force over pairs, counting, and NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from engine.evaluation.ensemble import EnsembleSums, fair_crps, mean_and_spread
from engine.evaluation.score_records import EnsembleScores, Scores
from engine.evaluation.tables import ensemble_text


def block(many: int, seed: int = 0, rounded: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Members (member, 6, 5, 4) and HR (6, 5, 4); rounded: so that many are equal, as dry cells are."""
    rng = np.random.default_rng(seed)
    members, hr = rng.normal(size=(many, 6, 5, 4)), rng.normal(0.3, 1.5, size=(6, 5, 4))
    return (np.round(members), np.round(hr)) if rounded else (members, hr)


def scored(*blocks: tuple[np.ndarray, np.ndarray]) -> EnsembleScores:
    sums = EnsembleSums()
    for members, hr in blocks:
        sums.add(members, hr, np.isfinite(hr))
    found = sums.scores()
    assert found is not None
    return found


@pytest.mark.parametrize("many", [1, 2, 7])
def test_crps_is_that_of_all_pairs(many):
    members, hr = block(many)
    pairs = sum(abs(a - b) for a, b in itertools.combinations(members, 2))
    expected = sum(abs(each - hr) for each in members) / many - pairs / max(many * (many - 1), 1)
    np.testing.assert_allclose(fair_crps(members, hr), expected)
    assert scored((members, hr)).crps == pytest.approx(np.mean(expected))


def test_mean_and_spread_are_numpys():
    members, _ = block(5)
    mean, spread = mean_and_spread(members.astype("f4"))
    np.testing.assert_allclose(mean, members.mean(axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(spread, members.std(axis=0, ddof=1), rtol=1e-5)


def test_blocks_add_up_and_missing_values_are_left_out():
    (one, hr_one), (two, hr_two) = block(4), block(4, seed=1)
    whole = scored((np.concatenate([one, two], axis=1), np.concatenate([hr_one, hr_two])))
    gap = np.full_like(hr_one, np.nan)
    found = scored((one, hr_one), (two, hr_two), (one, gap))
    assert found.crps == pytest.approx(whole.crps)
    assert found.spread_error_ratio == pytest.approx(whole.spread_error_ratio)
    assert found.interval.width == pytest.approx(whole.interval.width)
    assert (found.interval.coverage, found.rank_histogram) == (whole.interval.coverage, whole.rank_histogram)


def test_coverage_width_and_ratio_by_counting():
    members, hr = block(9)
    lower, upper = (np.quantile(members, q, axis=0) for q in (0.05, 0.95))
    inside = sum(low <= y <= high for low, y, high in zip(lower.flat, hr.flat, upper.flat, strict=True))
    found = scored((members, hr))
    assert found.interval.coverage == inside / hr.size
    assert found.interval.width == pytest.approx(np.mean(upper - lower))
    error = np.sqrt(np.mean((members.mean(axis=0) - hr) ** 2))
    assert found.spread_error_ratio == pytest.approx(np.sqrt(10 / 9 * members.var(axis=0, ddof=1).mean()) / error)


def test_members_of_the_distribution_of_hr_have_a_flat_histogram_and_a_ratio_of_one():
    """Of 120,000 values each of five shares is known to ±0.004, three standard deviations; the ratio to ±0.01."""
    rng = np.random.default_rng(0)
    found = scored((rng.normal(size=(4, 30, 40, 100)), rng.normal(size=(30, 40, 100))))
    np.testing.assert_allclose(found.rank_histogram, 0.2, atol=0.004)
    assert found.spread_error_ratio == pytest.approx(1, abs=0.01)


def test_equal_values_share_their_ranks():
    """HR 0 among 0, 0, 1 may be first, second or third; HR 2 is above all three."""
    members = np.array([0.0, 0.0, 1.0]).reshape(3, 1, 1, 1) * np.ones((3, 1, 1, 2))
    found = scored((members, np.array([[[0.0, 2.0]]])))
    np.testing.assert_allclose(found.rank_histogram, [1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert sum(scored(block(6, rounded=True)).rank_histogram) == pytest.approx(1)


def test_without_a_value_there_are_no_scores():
    sums = EnsembleSums()
    assert sums.scores() is None
    sums.add(np.zeros((2, 1, 2, 2)), np.full((1, 2, 2), np.nan), np.zeros((1, 2, 2), bool))
    assert sums.scores() is None


def test_they_are_read_as_written_and_told_in_a_line():
    scores = Scores(ensemble=scored(block(3)))
    assert Scores.from_plain(scores.to_plain()) == scores
    line = ensemble_text(scores, "K")
    assert line.startswith("3 members: CRPS ")
    assert "% interval covers" in line
    assert ensemble_text(Scores(), "K") == ""
