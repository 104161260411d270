"""Intervals that cover 90 % of HR, calibrated at each cell on the validation part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.errors import DataError
from engine.evaluation.ensemble import LEVEL

MIN_STEPS = 30  # of a season, for factors of its own
FLOOR = 0.01  # of a cell's mean absolute error: what is added to the spread, which may be zero
ALL = "all"  # of the seasons, the one for all time steps
MAX_VALUES = 16_000_000  # of the validation part that are held: 64 MB as float32, some times


@dataclass(frozen=True, eq=False)
class Calibration:
    """Half-width of the interval at each cell, as a multiple of the members' spread.

    Split conformal prediction with the error over the spread as the score: Lei et al. (2018), J. Am. Stat. Assoc. 113,
    1094, section 5.2. It covers LEVEL of HR as far as the errors of test and validation part are alike.

    factors : by season, and of all steps, (y, x), NaN where too few steps have a value; floor : (y, x), in the unit.
    """

    factors: Mapping[str, np.ndarray]
    floor: np.ndarray
    steps: int

    @classmethod
    def fit(cls, errors: np.ndarray, spread: np.ndarray, seasons: np.ndarray) -> Calibration:
        """Fit to the errors of the members' mean, NaN where missing, and their spread, (time, y, x) in the unit.

        A cell has factors of a season that has a value at MIN_STEPS steps at least, else those of all steps.

        Raises
        ------
        DataError
            If no cell has a value at enough steps.
        """
        counts = np.isfinite(errors).sum(axis=0)
        sizes = np.abs(errors)
        floor = FLOOR * np.divide(np.nansum(sizes, axis=0), counts, out=np.zeros(counts.shape), where=counts > 0)
        width = spread + floor
        ratios = np.divide(sizes, width, out=np.where(np.isfinite(errors), 0.0, np.nan), where=width > 0)
        factors = {ALL: conformal_quantile(ratios)}
        if not np.isfinite(factors[ALL]).any():
            raise DataError(
                f"the validation part has {len(errors)} steps to calibrate on, and no cell has a value at 9 of them",
                action="give data.split a longer validation part",
            )
        for season in np.unique(seasons):
            own = ratios[seasons == season]
            enough = np.isfinite(own).sum(axis=0) >= MIN_STEPS
            factors[str(season)] = np.where(enough, conformal_quantile(own), factors[ALL])
        return cls(factors, floor, len(errors))

    def interval(self, mean: np.ndarray, spread: np.ndarray, seasons: np.ndarray) -> dict[str, np.ndarray]:
        """Compute `lower` and `upper` of members' mean and spread (time, y, x); NaN where the factor is."""
        factors = np.stack([self.factors.get(str(season), self.factors[ALL]) for season in seasons])
        half = factors * (spread + self.floor)
        return {"lower": (mean - half).astype(np.float32), "upper": (mean + half).astype(np.float32)}

    @property
    def describes(self) -> str:
        seasons = ", ".join(season for season in self.factors if season != ALL)
        return (
            f"mean of the members, less or more a multiple of their spread that covers {LEVEL:.0%} of {self.steps} "
            f"steps of the validation part in each cell, by season ({seasons}) where {MIN_STEPS} steps have a value: "
            "split conformal prediction"
        )


def conformal_quantile(scores: np.ndarray) -> np.ndarray:
    """Find the ⌈(n + 1) LEVEL⌉-th smallest of the n scores of each cell: (time, y, x) → (y, x), NaN where there isn't.

    Source: Lei et al. (2018), J. Am. Stat. Assoc. 113, 1094, algorithm 2.
    """
    counts = np.isfinite(scores).sum(axis=0)
    rank = np.ceil((counts + 1) * LEVEL - 1e-9).astype(int)
    known = (rank <= counts) & (counts > 0)
    found = np.take_along_axis(np.sort(scores, axis=0), np.where(known, rank - 1, 0)[None], axis=0)[0]
    return np.where(known, found, np.nan)


def most_steps(shape: tuple[int, int]) -> int:
    """Give the number of validation steps that are held, of fields of this shape."""
    return max(1, MAX_VALUES // math.prod(shape))
