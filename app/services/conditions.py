"""Compared runs under a condition: scores and maps of the steps that it leaves; no widget, no plot."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TypeVar

import numpy as np
import xarray as xr

from app.services.comparison import Comparison, Result
from engine.data.grids import Grid
from engine.data.regions import cells_within
from engine.errors import GridError
from engine.evaluation.conditions import SEASONS, Condition
from engine.evaluation.moments import Moments
from engine.evaluation.products import open_products
from engine.evaluation.score_records import Scores
from engine.evaluation.scores import METRICS, step_scores_of_cells, summarized
from engine.spec import Region

ALL = "all"  # of the values of `season`, the one for all time steps
MOST_BYTES = 512 * 2**20  # of fields that are kept, in the whole server
BLOCK_VALUES = 1_000_000  # 4 MB
PRODUCTS = ("interpolated", "downscaled")
Found = TypeVar("Found")
Cells = tuple[slice, slice | np.ndarray]
HARDEST = (5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, eq=False)
class Selection:
    """Time steps of compared runs that fulfil a condition.

    common : numbers of the chosen steps among those in common; steps : letter → the same as the run's own numbers, and
        the chosen ones of a run without steps in common.
    cells : letter → rows and columns of the region, as an index of (…, y, x).
    reason : why there is no choice of steps, and what to do; then `condition` is that of all steps.
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
        reason = _missing_reason(comparison)
        condition = Condition() if reason else condition
        first = comparison.first
        difficulty = _difficulty(first, condition)[comparison.steps[first.letter]]
        common = condition.steps(comparison.times, difficulty)
        steps = {letter: own[common] for letter, own in comparison.steps.items()}
        for result in comparison.results:
            if result.letter not in steps:
                steps[result.letter] = condition.steps(result.times, _difficulty(result, condition))
        cells = {result.letter: _cells(result.grid, condition.region) for result in comparison.results}
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
        first = self.comparison.first
        return int(np.zeros(first.grid.shape)[self.cells[first.letter]].size)

    @property
    def of_cells(self) -> bool:
        """Whether the condition chooses cells or values, not only steps."""
        return self.condition != self.condition.of_steps

    @property
    def text(self) -> str:
        """The condition in words, '' without one."""
        return self.condition.text(self.comparison.first.units)

    @property
    def period(self) -> str:
        """How many steps are chosen, of which period: '9 of 48 test steps, DJF, 2019-01-01 00:00 to …'."""
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
        """Letter → moments over the chosen steps of HR, the interpolated and the downscaled field, of chosen cells."""
        return self._of_each_run(self._moments)

    def _of_each_run(self, compute: Callable[[Result], Found]) -> dict[str, Found]:
        """Compute something of each run in threads of their own: by letter."""
        results = self.comparison.results
        with ThreadPoolExecutor() as pool:
            return dict(zip((result.letter for result in results), pool.map(compute, results), strict=True))

    def _moments(self, result: Result) -> Moments:
        shape = np.zeros(result.grid.shape)[self.cells[result.letter]].shape
        nothing = Moments.of(np.zeros((1 + len(PRODUCTS), 0, *shape)))
        return reduce(
            Moments.merge, (Moments.of(list(fields)) for fields in self._fields(result, result.data, PRODUCTS)), nothing
        )

    def _step_scores(self, result: Result) -> xr.DataArray:
        """Scores (metric, product, time) of the chosen steps: as stored, or of the chosen cells and values."""
        assert result.verification is not None  # else there is a reason, and no condition
        stored = result.verification["step_scores"].isel(time=self.steps[result.letter]).load()
        if not self.of_cells:
            return stored
        span, names, found = stored.attrs["hr_range"], [str(name) for name in stored["product"].values], []
        with open_products(result.run.results) as products:
            for hr, *fields in self._fields(result, products, names):
                of_products = [step_scores_of_cells(hr, field, span) for field in fields]
                found.append([[scores[metric] for scores in of_products] for metric in METRICS])
        return stored.copy(data=np.concatenate(found, axis=-1)) if found else stored

    def _fields(self, result: Result, data: xr.Dataset, products: Sequence[str]) -> Iterator[list[np.ndarray]]:
        """HR and products at the chosen steps and cells, (time, y, x), by blocks; HR is NaN out of its range."""
        cells = self.cells[result.letter]
        for block, inside in _blocks(self.steps[result.letter], len(result.times), result.grid.shape):
            hr, *fields = (FIELDS.read(result, data[name], block)[inside][..., *cells] for name in ("hr", *products))
            yield [self.condition.values(hr), *fields]


class FieldCache:
    """Fields of test parts as float32, read in blocks of steps; the blocks that were used last are kept."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        self._most_bytes, self._lock = most_bytes, threading.Lock()
        self._blocks: OrderedDict[tuple[object, ...], np.ndarray] = OrderedDict()
        self._bytes = 0

    def read(self, result: Result, field: xr.DataArray, block: slice) -> np.ndarray:
        """Steps of a field of a run, (time, y, x)."""
        key = (result.run.results, result.version, field.name, block.start, block.stop)
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        values = field.isel(time=block).transpose("time", "y", "x").values.astype(np.float32, copy=False)
        with self._lock:
            if key not in self._blocks:  # another thread may have read it meanwhile
                self._blocks[key] = values
                self._bytes += values.nbytes
            while self._bytes > self._most_bytes:
                self._bytes -= self._blocks.popitem(last=False)[1].nbytes
        return values


FIELDS = FieldCache()


def offered(comparison: Comparison) -> tuple[list[Condition], list[Condition], list[Condition]]:
    """Conditions on month, hour and difficulty that divide the steps in common; each list is empty if none does."""
    times = comparison.times
    months, hours = (sorted(set(own)) for own in (times.month, times.hour))
    seasons = [Condition.parse(name) for name in SEASONS if len(set(SEASONS[name]) & set(months))]
    hardest = [Condition(hardest=number) for number in HARDEST if number < len(times)]
    return (
        [*seasons, *(Condition(months=(month,)) for month in months)] if len(months) > 1 else [],
        [Condition(hours=(hour,)) for hour in hours] if len(hours) > 1 else [],
        hardest,
    )


def _missing_reason(comparison: Comparison) -> str:
    """Why no steps can be chosen: runs without stored scores of each step; '' when every run has them."""
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
    """RMSE of the interpolated field in each step, if the condition asks for it."""
    if not condition.hardest:
        return np.zeros(len(result.times))
    assert result.verification is not None
    return result.verification["step_scores"].sel(product="interpolated", metric="rmse").values


def _cells(grid: Grid, region: Region | None) -> Cells:
    """Rows and columns of the cells with their centres in a region."""
    if region is None:
        return slice(None), slice(None)
    try:
        rows, columns, _ = cells_within(grid, region)
    except GridError:  # there are none
        return slice(0), slice(0)
    is_row = len(columns) == columns[-1] - columns[0] + 1  # else across the seam of the longitudes
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1) if is_row else columns


def _blocks(steps: np.ndarray, n_steps: int, shape: tuple[int, int]) -> Iterator[tuple[slice, np.ndarray | slice]]:
    """Cut a test part into blocks: those with chosen steps, and which of their steps these are."""
    width = max(1, BLOCK_VALUES // max(1, math.prod(shape)))
    for start in range(0, n_steps, width):
        inside = steps[(steps >= start) & (steps < start + width)] - start
        block = slice(start, min(start + width, n_steps))
        if len(inside):
            yield block, inside if len(inside) < block.stop - start else slice(None)  # which makes no copy
