"""Compared runs under a condition: scores and maps of the steps that it leaves; no widget, no plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import pairwise
from typing import TypeVar

import numpy as np
import xarray as xr

from app.services.chosen_fields import Cells, ChosenFields, count_cells, steps_per_block
from app.services.comparison import Comparison, Result
from app.services.regions import cells_in_polygon
from engine.data.regions import cells_within
from engine.data.surface import IS_LAND, Surface
from engine.errors import GridError
from engine.evaluation.conditions import SEASONS, SURFACES, Condition
from engine.evaluation.moments import Moments
from engine.evaluation.score_records import Scores
from engine.evaluation.scores import step_scores_of_cells, summarized
from engine.evaluation.single_precision import moments32

ALL = "all"  # of the values of `season`, the one for all time steps
PRODUCTS = ("interpolated", "downscaled")
Found = TypeVar("Found")
HARDEST = (5, 10, 20, 50, 100, 200, 500)
ELEVATIONS = (-500.0, 200.0, 500.0, 1000.0, 2000.0, 9000.0)  # m, between which lie the bands that are offered


@dataclass(frozen=True, eq=False)
class Selection:
    """Time steps of compared runs that fulfil a condition.

    common : numbers of the chosen steps among those in common; steps : letter → the same as the run's own numbers, and
        the chosen ones of a run without steps in common.
    cells : letter → the chosen ones.
    reason : why there is no choice, and what to do; then there is no condition.
    """

    comparison: Comparison
    condition: Condition
    common: np.ndarray
    steps: dict[str, np.ndarray]
    cells: dict[str, Cells]
    reason: str = ""

    @classmethod
    def of(cls, comparison: Comparison, condition: Condition) -> Selection:
        """Find the steps of each run; those in common are the same for all, the hardest are those of the first run."""
        reason = _missing_reason(comparison) or _unknown_reason(comparison, condition)
        condition = Condition() if reason else condition
        first = comparison.first
        difficulty = _difficulty(first, condition)[comparison.steps[first.letter]]
        common = condition.steps(comparison.times, difficulty)
        steps = {letter: own[common] for letter, own in comparison.steps.items()}
        for result in comparison.results:
            if result.letter not in steps:
                steps[result.letter] = condition.steps(result.times, _difficulty(result, condition))
        cells = {result.letter: _cells(comparison, result, condition.of_cells) for result in comparison.results}
        return cls(comparison, condition, common, steps, cells, reason)

    @property
    def n_steps(self) -> int:
        return len(self.common)

    @property
    def stored_season(self) -> str:
        """Value of `season` in verification.nc that the chosen steps are, '' if none is."""
        if not self.comparison.same_period or self.condition != Condition(self.condition.months):
            return ""
        return self.condition.season if self.condition else ALL

    @property
    def n_cells(self) -> int:
        return self._fields_of(self.comparison.first).n_cells

    @property
    def of_cells(self) -> bool:
        """True if the condition chooses cells or values, not only steps."""
        return self.condition != self.condition.of_steps

    @property
    def text(self) -> str:
        """The condition in words, '' without one."""
        return self.condition.text(self.comparison.first.units)

    @property
    def period(self) -> str:
        """Number of chosen steps, and their period: '9 of 48 test steps, DJF, 2019-01-01 00:00 to …'."""
        comparison, n = self.comparison, self.n_steps
        last = comparison.n_steps - 1
        whole = f"{last + 1} test steps, {comparison.label(0)} to {comparison.label(last)}"
        return f"{n} of {whole}, {self.text}" if self.condition else whole

    @property
    def empty(self) -> str:
        """Say that no step or cell is left, '' where some are."""
        if not self.condition or (self.n_steps and self.n_cells):
            return ""
        return f"No test {'cell' if self.n_steps else 'step'} is left by the condition {self.text}: choose another."

    def scores(self) -> dict[str, Scores]:
        """Letter → scores of the chosen steps."""
        if not self.condition:
            return self.comparison.scores()
        return {letter: summarized(steps) for letter, steps in self._of_each_run(self._step_scores).items()}

    @cached_property
    def moments(self) -> dict[str, Moments]:
        """Letter → moments over the chosen steps of HR, the interpolated and the downscaled field, (…, 1, cell)."""
        return self._of_each_run(self._moments)

    def _of_each_run(self, compute: Callable[[Result], Found]) -> dict[str, Found]:
        """Compute something of each run in threads of their own: by letter."""
        results = self.comparison.results
        with ThreadPoolExecutor() as pool:
            return dict(zip((result.letter for result in results), pool.map(compute, results), strict=True))

    def errors(self, letters: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Product minus HR at the chosen steps in common and cells, of runs on the first one's grid, by blocks.

        Yields numbers of steps among the chosen ones, and (step, cell) of `interpolated` and each run by its letter.
        """
        comparison, first = self.comparison, self.comparison.first
        results = [result for result in comparison.results if result.letter in letters]
        width = steps_per_block(first.grid.shape)

        for rows in np.split(np.arange(self.n_steps), range(width, self.n_steps, width)):
            hr = self.condition.values(self._fields_of(first).read("hr", rows))
            fields = {"interpolated": self._fields_of(first).read("interpolated", rows)}
            fields |= {result.letter: self._fields_of(result).read("downscaled", rows) for result in results}
            yield rows, {name: field - hr for name, field in fields.items()}

    def on_map(self, result: Result, values: np.ndarray) -> np.ndarray:
        """Put values of the chosen cells of a run (1, cell) on its map (y, x), NaN elsewhere."""
        by_cell = np.full(result.grid.shape, np.nan)
        by_cell.flat[self.cells[result.letter]] = values.ravel()
        return by_cell

    def areas(self, result: Result) -> np.ndarray:
        """Areas of the chosen cells of a run, (1, cell) in km²."""
        return result.grid.cell_areas().reshape(1, -1)[:, self.cells[result.letter]]

    def _fields_of(self, result: Result) -> ChosenFields:
        return ChosenFields(result, self.condition, self.steps[result.letter], self.cells[result.letter])

    def _moments(self, result: Result) -> Moments:
        chosen = self._fields_of(result)
        nothing = Moments.of(np.zeros((1 + len(PRODUCTS), 0, 1, chosen.n_cells)))
        blocks = (moments32(hr, fields, axis=0) for hr, *fields in chosen.blocks(result.data, PRODUCTS))
        return reduce(Moments.merge, blocks, nothing)

    def _step_scores(self, result: Result) -> xr.DataArray:
        """Scores (metric, product, time) of the chosen steps: as stored, or of the chosen cells and values."""
        assert result.verification is not None  # else there is a reason, and no condition
        stored = result.verification["step_scores"].isel(time=self.steps[result.letter]).load()
        if not self.of_cells:
            return stored
        span, names, found = stored.attrs["hr_range"], [str(name) for name in stored["product"].values], []
        for hr, *fields in self._fields_of(result).blocks(result.products, names):
            found.append(step_scores_of_cells(hr, fields, span))
        return stored.copy(data=np.concatenate(found, axis=-1)) if found else stored


def offered(comparison: Comparison) -> tuple[list[Condition], list[Condition], list[Condition], list[Condition]]:
    """Conditions on month, hour and difficulty that divide the steps in common, and on the surface that divide the
    cells of all runs; each list is empty if none does.
    """
    times = comparison.times
    months, hours = (sorted(set(own)) for own in (times.month, times.hour))
    seasons = [Condition.parse(name) for name in SEASONS if len(set(SEASONS[name]) & set(months))]
    hardest = [Condition(hardest=number) for number in HARDEST if number < len(times)]
    surfaces = [Condition(surface=surface) for surface in SURFACES]
    bands = [Condition(elevation=band) for band in pairwise(ELEVATIONS)]
    return (
        [*seasons, *(Condition(months=(month,)) for month in months)] if len(months) > 1 else [],
        [Condition(hours=(hour,)) for hour in hours] if len(hours) > 1 else [],
        hardest,
        [*_dividing(comparison, surfaces), *_dividing(comparison, bands)],
    )


def _dividing(comparison: Comparison, conditions: list[Condition]) -> list[Condition]:
    """Conditions that leave some of the first run's cells but not all, where all runs have what they need."""
    first = comparison.first
    if not comparison.steps or _unknown_reason(comparison, conditions[0]):
        return []
    counts = [count_cells(first, _cells(comparison, first, each)) for each in conditions]
    return [each for each, n in zip(conditions, counts, strict=True) if 0 < n < math.prod(first.grid.shape)]


def _unknown_reason(comparison: Comparison, condition: Condition) -> str:
    """Reason why cells can't be chosen by their surface: a run of which it isn't known; '' otherwise."""
    asked = {"land": bool(condition.surface), "elevation": condition.elevation is not None}
    for result in comparison.results:
        for name in filter(asked.get, asked):
            if getattr(_surface(comparison, result), name) is None:
                what = "land mask" if name == "land" else "elevation in m"
                return f"{result.letter} has no {what} among its static variables (data.static): all cells are shown."
    return ""


def _surface(comparison: Comparison, result: Result) -> Surface:
    """Land and elevation of a run's cells, from its own static variables or those of another run on its grid."""
    alike = [result.surface, *(r.surface for r in comparison.results if r.grid.is_close_to(result.grid))]
    land = next((each.land for each in alike if each.land is not None), None)
    return Surface(land, next((each.elevation for each in alike if each.elevation is not None), None))


def _missing_reason(comparison: Comparison) -> str:
    """Reason why no steps can be chosen: runs without stored scores of each step; '' when every run has them."""
    lacking = [
        result.run.id
        for result in comparison.results
        if result.verification is None
        or result.verification.sizes.get("time") != len(result.times)
        or "step_scores" not in result.verification
    ]
    command = f"python -m engine verify {' '.join(lacking)}"
    return f"For scores under a condition, run this and reload the page: {command}" if lacking else ""


def _difficulty(result: Result, condition: Condition) -> np.ndarray:
    """RMSE of the interpolated field in each step, if the condition needs it."""
    if not condition.hardest:
        return np.zeros(len(result.times))
    assert result.verification is not None
    return result.verification["step_scores"].sel(product="interpolated", metric="rmse").values


def _cells(comparison: Comparison, result: Result, condition: Condition) -> Cells:
    """Cells of a run that a condition leaves."""
    grid = result.grid
    if not condition:
        return slice(None)
    inside = np.ones(grid.shape, bool)
    if condition.region:
        inside[:] = False
        with suppress(GridError):  # there are none
            inside[np.ix_(*cells_within(grid, condition.region)[:2])] = True
    if condition.polygon:
        inside &= cells_in_polygon(grid, condition.polygon)
    surface = _surface(comparison, result)
    if condition.surface and surface.land is not None:
        inside &= surface.land >= IS_LAND if condition.surface == "land" else surface.land < IS_LAND
    if condition.elevation and surface.elevation is not None:
        low, high = condition.elevation
        inside &= (surface.elevation >= low) & (surface.elevation < high)
    return np.flatnonzero(inside)
