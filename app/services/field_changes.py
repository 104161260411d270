"""Where the errors of one product are clearly smaller than those of another; no widget, no plot."""

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
    """RMSE of a product minus that of another.

    values : (y, x), over the steps in which both have a value.
    is_clear : (y, x) the difference stands out from those of all cells.
    """

    values: xr.DataArray
    is_clear: np.ndarray

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of the cells with a value in which errors are clearly smaller, and clearly larger."""
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
    for rows, squares in selection.squared_errors(letters):
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
