"""Weighted quantiles of any number of values in bounded memory: histograms whose bins widen when they have to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

BINS = 2**16  # even; a quarter of them at least lie between the lowest and the highest value


@dataclass(frozen=True, eq=False)
class Histogram:
    """Sums of weights in equally wide bins.

    start, width : lower edge of the first bin, and width of each, in the unit of the values.
    weights : (…, BINS).
    """

    start: float
    width: float
    weights: np.ndarray

    @classmethod
    def between(cls, low: float, high: float, groups: tuple[int, ...]) -> Self:
        """Make an empty one for values from `low` to `high`, which grows when others come."""
        width = max(high - low, 1e-6 * abs(low), 1e-12) / (BINS - 1)
        return cls(low, width, np.zeros((*groups, BINS)))

    def cover(self, low: float, high: float) -> Self:
        """Widen the bins twofold, as often as it takes to hold `low` and `high`."""
        grown = self
        while low < grown.start or high >= grown.start + BINS * grown.width:
            pairs = grown.weights.reshape(*grown.weights.shape[:-1], BINS // 2, 2).sum(axis=-1)
            halves = [pairs, np.zeros_like(pairs)]
            down = low < grown.start
            grown = replace(
                grown,
                start=grown.start - BINS * grown.width if down else grown.start,
                width=2 * grown.width,
                weights=np.concatenate(halves[::-1] if down else halves, axis=-1),
            )
        return grown

    def add(self, group: tuple[int, ...], values: np.ndarray, weights: np.ndarray) -> None:
        """Count finite values (n,) with their weights (n,); call `cover` before."""
        bins = np.clip((values - self.start) / self.width, 0, BINS - 1).astype(np.intp)
        self.weights[group] += np.bincount(bins, weights, minlength=BINS)


def quantiles(histogram: Histogram, levels: np.ndarray) -> np.ndarray:
    """Compute quantiles F⁻¹(level), F being the weighted distribution function, linear in each bin: (…, level).

    They differ from those of the values by at most a bin's width. NaN where nothing was counted.

    Source: Hyndman and Fan (1996), Amer. Stat. 50, 361, definition 1 (inverse of the empirical distribution function).
    """
    edges = histogram.start + histogram.width * np.arange(BINS + 1)
    flat = histogram.weights.reshape(-1, BINS)
    found = [_inverse(levels, edges, weights) for weights in flat]
    return np.array(found).reshape(*histogram.weights.shape[:-1], len(levels))


def _inverse(levels: np.ndarray, edges: np.ndarray, weights: np.ndarray) -> np.ndarray:
    cumulated = np.cumsum(weights)
    if not cumulated[-1] > 0:
        return np.full(len(levels), np.nan)
    wanted = levels * cumulated[-1]
    bins = np.searchsorted(cumulated, wanted)
    before = cumulated[bins] - weights[bins]
    return edges[bins] + (wanted - before) / weights[bins] * (edges[bins + 1] - edges[bins])
