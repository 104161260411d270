"""Quantiles from histograms against NumPy's weighted ones."""

import numpy as np
import pytest

from engine.evaluation.quantiles import BINS, Histogram, quantiles

LEVELS = np.array([0.01, 0.05, 0.5, 0.95, 0.99])
RNG = np.random.default_rng(0)


def counted(values: np.ndarray, weights: np.ndarray, parts: int) -> Histogram:
    chunks = list(zip(np.array_split(values, parts), np.array_split(weights, parts), strict=True))
    histogram = Histogram.between(chunks[0][0].min(), chunks[0][0].max(), (1,))
    for some, theirs in chunks:
        histogram = histogram.cover(some.min(), some.max())
        histogram.add((0,), some, theirs)
    return histogram


@pytest.mark.parametrize("parts", [1, 3, 500])
@pytest.mark.parametrize(
    "values",
    [
        280 + 10 * RNG.normal(size=5000),
        np.maximum(RNG.gamma(0.3, 5.0, size=5000) - 1, 0),  # mostly dry
        np.sort(RNG.normal(size=5000)),  # each part lies beyond the one before
        -np.sort(RNG.normal(size=5000)),
    ],
)
def test_they_are_numpys_to_a_bin(values, parts):
    weights = RNG.random(5000) + 0.1
    expected = np.quantile(values, LEVELS, weights=weights, method="inverted_cdf")
    histogram = counted(values, weights, parts)
    assert histogram.weights.sum() == pytest.approx(weights.sum())
    assert histogram.width <= 4 * np.ptp(values) / BINS
    np.testing.assert_allclose(quantiles(histogram, LEVELS)[0], expected, rtol=0, atol=1.01 * histogram.width)


def test_constants_and_nothing():
    constant = counted(np.full(7, 280.1), np.ones(7), 2)
    np.testing.assert_allclose(quantiles(constant, LEVELS), 280.1, rtol=1e-6)
    assert np.isnan(quantiles(Histogram.between(0, 1, (2,)), LEVELS)).all()
