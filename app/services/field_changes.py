"""Cells at which the errors of one product are clearly smaller than those of another; no widget, no plot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from app.services.conditions import Selection
from engine.evaluation.moments import keep, ratio
from engine.evaluation.significance import DifferenceSums, is_significant

BOTH = "difference"  # of the first two runs


@dataclass(frozen=True, eq=False)
class Change:
    """A map (y, x) of differences, and whether each stands out from those of all cells.

    values : RMSE of a product minus that of another, or mean difference, over the steps in which both have a value.
    """

    values: xr.DataArray
    is_clear: np.ndarray

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of the cells with a value that are clearly below, and clearly above 0."""
        values = self.values.values
        n = max(int(np.isfinite(values).sum()), 1)
        return float((self.is_clear & (values < 0)).sum() / n), float((self.is_clear & (values > 0)).sum() / n)


def rmse_changes(selection: Selection) -> dict[str, Change]:
    """Changes over the chosen steps in common: each run on the first one's grid by its letter, minus interpolated; and
    the first of these minus the second, as `BOTH`.
    """
    comparison = selection.comparison
    letters = [result.letter for result in comparison.shown if comparison.on_same_grid(result)]
    pairs = {letter: (letter, "interpolated") for letter in letters}
    if len(letters) > 1:
        pairs[BOTH] = letters[0], letters[1]
    times = pd.factorize(comparison.times[selection.common])[0]
    n, cells = int(times.max(initial=-1)) + 1, selection.n_cells
    tests = {key: DifferenceSums(n, cells) for key in pairs}
    sums = {key: np.zeros((3, cells)) for key in pairs}  # squared errors of both, and their number
    for rows, errors in selection.errors(letters):
        squares = {name: error**2 for name, error in errors.items()}
        for key, pair in pairs.items():
            one, other = (squares[name] for name in pair)
            difference = one - other
            tests[key].add(times[rows], difference)
            valid = np.isfinite(difference)
            if not valid.all():
                one, other = (keep(each.copy(), valid) for each in (one, other))
            sums[key] += [each.sum(axis=0) for each in (one, other, valid)]
    first, found = comparison.first, {}
    for key, (one, other, count) in sums.items():
        change = np.sqrt(ratio(one, count)) - np.sqrt(ratio(other, count))
        is_clear = selection.on_map(first, is_significant(tests[key].p_values())) == 1
        values = first.rmse("interpolated").copy(data=selection.on_map(first, change))
        found[key] = Change(values, is_clear)
    return found


def mean_differences(selection: Selection) -> dict[str, Change]:
    """Mean differences over the chosen steps in common: the interpolated field and each run on the first one's grid, by
    its letter, minus HR; and the first of these runs minus the second, as `BOTH`.
    """
    comparison, first = selection.comparison, selection.comparison.first
    letters = [result.letter for result in comparison.shown if comparison.on_same_grid(result)]
    pairs: dict[str, tuple[str, ...]] = {name: (name,) for name in ("interpolated", *letters)}
    if len(letters) > 1:
        pairs[BOTH] = letters[0], letters[1]
    times = pd.factorize(comparison.times[selection.common])[0]
    n, cells = int(times.max(initial=-1)) + 1, selection.n_cells
    tests = {key: DifferenceSums(n, cells) for key in pairs}
    sums = {key: np.zeros((2, cells)) for key in pairs}  # differences, and their number
    for rows, errors in selection.errors(letters):
        for key, (one, *other) in pairs.items():
            difference = errors[one] - errors[other[0]] if other else errors[one]
            tests[key].add(times[rows], difference)
            valid = np.isfinite(difference)
            sums[key] += [keep(difference.copy(), valid).sum(axis=0), valid.sum(axis=0)]
    found = {}
    for key, (total, count) in sums.items():
        is_clear = selection.on_map(first, is_significant(tests[key].p_values())) == 1
        values = first.rmse("interpolated").copy(data=selection.on_map(first, ratio(total, count)))
        found[key] = Change(values, is_clear)
    return found
