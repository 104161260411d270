"""Scores of members: how near they come to HR together, and whether their spread is that of their error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.evaluation.score_records import EnsembleScores, IntervalScore

LEVEL = 0.9  # share of values that an interval is to cover


def mean_and_spread(members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation (of a sample) of members (member, …), both as float64."""
    mean = members.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    for member in members:
        squares += (member - mean) ** 2
    return mean, np.sqrt(squares / max(len(members) - 1, 1))


def fair_crps(members: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Compute the fair CRPS of members (member, …) at each value of HR (…), in its unit.

    mean |x_m - y| - Σ |x_m - x_n| / (2 M (M - 1)), by the sorted members; of one member its absolute error.
    Source: Ferro (2014), Q. J. R. Meteorol. Soc. 140, 1917, eq. 8.
    """
    many = len(members)
    ranks = (2 * np.arange(1, many + 1) - many - 1) / max(many * (many - 1), 1)
    pairs = np.tensordot(ranks, np.sort(members, axis=0), axes=1)
    return np.abs(members - hr).mean(axis=0, dtype=np.float64) - pairs


@dataclass
class IntervalSums:
    count: int = 0
    covered: int = 0
    width: float = 0.0

    def add(self, hr: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Count the values within an interval, where there is one, and sum its widths."""
        known = np.isfinite(lower)
        hr, lower, upper = hr[known], lower[known], upper[known]
        self.count += hr.size
        self.covered += int(((hr >= lower) & (hr <= upper)).sum())
        self.width += float((upper - lower).sum(dtype=np.float64))

    def score(self) -> IntervalScore | None:
        return IntervalScore(self.covered / self.count, self.width / self.count) if self.count else None


@dataclass
class EnsembleSums:
    """Sums over the values of a test part, block by block, of which the scores of the members are made."""

    count: int = 0
    crps: float = 0.0
    variance: float = 0.0
    squares: float = 0.0
    ranks: np.ndarray = field(default_factory=lambda: np.zeros(1))
    of_members: IntervalSums = field(default_factory=IntervalSums)
    calibrated: IntervalSums = field(default_factory=IntervalSums)

    def add(
        self, members: np.ndarray, hr: np.ndarray, valid: np.ndarray, interval: Sequence[np.ndarray] | None = None
    ) -> None:
        """Add a block of members (member, time, y, x) and HR (time, y, x) where it is valid (time, y, x).

        interval : bounds of the calibrated interval, (time, y, x) each.

        A value of HR that equals some members has all the ranks that it may have, in equal shares.
        """
        if interval:
            self.calibrated.add(hr[valid], *(bound[valid] for bound in interval))
        members, hr, many = members[:, valid], hr[valid], len(members)  # (member, value), (value,)
        mean, spread = mean_and_spread(members)
        self.count += hr.size
        self.crps += float(fair_crps(members, hr).sum())
        self.variance += float((spread**2).sum())
        self.squares += float(((mean - hr) ** 2).sum())
        self.of_members.add(hr, *np.quantile(members, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0))
        below, equal = (members < hr).sum(axis=0), (members == hr).sum(axis=0)
        ranks = np.zeros(many + 1)
        for tied in np.unique(equal):
            lowest = np.bincount(below[equal == tied], minlength=many + 1) / (tied + 1)
            for offset in range(tied + 1):
                ranks[offset:] += lowest[: many + 1 - offset]
        self.ranks = self.ranks + ranks

    def scores(self) -> EnsembleScores | None:
        """Give the scores of what was added; None without any value."""
        if not self.count:
            return None
        many = len(self.ranks) - 1
        spread, error = (many + 1) / many * self.variance, self.squares  # Fortin et al. (2014), eq. 15
        return EnsembleScores(
            members=many,
            crps=self.crps / self.count,
            spread_error_ratio=float(np.sqrt(spread / error)) if error else None,
            rank_histogram=tuple((self.ranks / self.count).tolist()),
            interval=self.of_members.score(),
            calibrated=self.calibrated.score(),
        )
