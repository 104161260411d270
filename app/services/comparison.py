"""Grid, times and fields that compared runs share, read from their run folders; no widget, no plot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from app.services.components import FIRST_ONE, SECOND_ONE, component_names, other_variable
from engine.data.grid_coordinates import GRID_MAPPING, LAT, LON, grid_of, without_suffix
from engine.data.grids import Grid
from engine.data.netcdf import open_netcdf
from engine.data.surface import Surface
from engine.errors import DataError, MesoscopeError, StoreError
from engine.evaluation.products import BASELINES, SECOND, open_products, second_beside, second_component
from engine.evaluation.score_records import Scores
from engine.evaluation.scores import pixel_rmse, score
from engine.evaluation.vector_scores import has_second
from engine.runs import Run, Store

LETTERS = "ABCDEFGH"
FIELDS = ("hr", "interpolated", "downscaled", "lr")


@dataclass(frozen=True, eq=False)
class Result:
    """One run's results, of one component if it has two targets: fields (time, y, x) read when asked for, scores as
    stored.

    version : when the results were written, in ns.
    component : one of `COMPONENTS`, under whose plain names the fields stand; the first one of a single target.
    components : names of both; empty of a single target.
    both : fields of both components under the names of the file, if there are two.
    """

    letter: str
    run: Run
    data: xr.Dataset
    stored_scores: Scores
    version: int
    component: str = FIRST_ONE
    components: tuple[str, ...] = ()
    both: xr.Dataset | None = None
    _files: ExitStack = field(default_factory=ExitStack, repr=False)

    @classmethod
    def read(cls, run: Run, letter: str, component: str = FIRST_ONE) -> Result:
        """Open a finished run; one of a single target is read as such, whatever the component.

        Raises
        ------
        StoreError
            If the run is gone, or has no results yet.
        DataError
            If its results can't be read.
        """
        if not run.folder.is_dir():
            raise StoreError(f"{run.id} is no longer in the store: remove it from the comparison")
        if not run.results.is_file():
            state = run.status().state
            raise StoreError(f"{run.title} has no results yet ({state}): it can be compared when it is done")
        version = run.results.stat().st_mtime_ns
        data, scores = _open(run), Scores.from_plain(run.scores() or {})
        if not has_second(data):
            return cls(letter, run, data, scores, version)
        components, both = component_names(data), data
        if component == SECOND_ONE:
            close, data = data.close, second_component(data)
            data.set_close(close)
            _check_fields(run, data)
            scores = replace(scores.second or Scores(), vector=scores.vector)
        return cls(letter, run, data, scores, version, component, components, both)

    @property
    def is_second(self) -> bool:
        """True if the fields are those of a vector's second component."""
        return self.component == SECOND_ONE

    @cached_property
    def grid(self) -> Grid:
        return grid_of(self.data["hr"])

    @cached_property
    def times(self) -> pd.Index:
        return self.data.indexes["time"]

    @cached_property
    def products(self) -> xr.Dataset:
        """HR and all products, baselines too (time, y, x), read when asked for."""
        return self._files.enter_context(open_products(self.run.results, self.is_second))

    @cached_property
    def surface(self) -> Surface:
        """Land and elevation of its cells, as far as its static variables say."""
        try:
            surface = Surface.read(self.run.normalizer_file)
        except (OSError, ValueError, KeyError):  # what is damaged is left out
            return Surface()
        shapes = {each.shape for each in (surface.land, surface.elevation) if each is not None}
        return surface if shapes <= {self.grid.shape} else Surface()

    @property
    def units(self) -> str:
        return str(self.data["hr"].attrs.get("units", ""))

    @property
    def attrs(self) -> dict[str, object]:
        """Attributes of the variable: those of HR, with a name that all fields share."""
        attrs = self.data["hr"].attrs
        return attrs | {"long_name": str(attrs.get("long_name", "")).removeprefix("HR ").removeprefix("HR")}

    @property
    def title(self) -> str:
        """The run's title, without the letter that the suite gives where it is the one shown here."""
        return self.run.title.removeprefix(f"{self.letter} ")

    def step(self, name: str, number: int) -> xr.DataArray:
        """One field at one of this run's own steps, (y, x); that of the LR grid too has plain names."""
        return _at(self.data[name], number)

    def vector_step(self, name: str, number: int) -> xr.DataArray:
        """Both components of a field, (y, x) complex: the first + i times the second; of a single target, `step`."""
        if self.both is None:
            return self.step(name, number)
        first, second = (_at(self.both[f"{name}{ending}"], number) for ending in ("", SECOND))
        return first.copy(data=first.values + 1j * second.values)

    def rmse(self, product: str) -> xr.DataArray:
        """Stored RMSE over this run's own test period, (y, x)."""
        return self.data[f"rmse_{product}"].load()

    def series(self, name: str, y: float, x: float, steps: np.ndarray) -> np.ndarray:
        """(steps,) values of the cell nearest to y, x."""
        cell = self.data[name].sel(y=y, x=x, method="nearest")
        return np.asarray(cell.values, dtype=float)[steps]

    @cached_property
    def verification(self) -> xr.Dataset | None:
        """Scores by cell, season and scale, read when asked for; None without any, and where `engine verify` has to
        write a damaged file again.
        """
        path = second_beside(self.run.verification) if self.is_second else self.run.verification
        try:
            data = open_netcdf(path, cache=False) if path.is_file() else None
        except (OSError, ValueError):
            return None
        return data if data is not None and "compared_steps" in data else None

    def close(self) -> None:
        self.data.close()
        self._files.close()
        if "verification" in self.__dict__ and self.verification is not None:
            self.verification.close()


@dataclass(frozen=True, eq=False)
class Comparison:
    """Up to eight runs side by side; the first one gives LR, interpolated, HR, grid and unit.

    results : all that can be read and fit the first run's unit and projection.
    times : the steps that all of `shown` have.
    shown : those of `results` that have steps in common with the first.
    notes : what the reader needs to know; `refused` : run id → why it isn't here.
    """

    results: tuple[Result, ...] = ()
    shown: tuple[Result, ...] = ()
    times: pd.Index = field(default_factory=lambda: pd.Index([]))
    notes: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, ids: Sequence[str], component: str = FIRST_ONE) -> Comparison:
        """Read the runs and find what they have in common; reasons are kept for what cannot be used, none is raised.

        component : which of two is read, if the first run has two; else the first one.
        """
        results: list[Result] = []
        refused: dict[str, str] = {}
        for letter, run_id in zip(LETTERS, ids, strict=False):
            try:
                result = Result.read(Run(store.folder / run_id), letter, component)
                component = component if results or result.components else FIRST_ONE
                results.append(result)
            except MesoscopeError as error:
                refused[run_id] = str(error)
        return cls.between(results, refused)

    @classmethod
    def between(cls, results: Sequence[Result], refused: dict[str, str]) -> Comparison:
        """Compare opened results with the first of them."""
        if not results:
            return cls(refused=refused)
        first, notes = results[0], []
        fitting = [first]
        for other in results[1:]:
            if why := _mismatch_reason(first, other):
                refused = {**refused, other.run.id: why}
            else:
                fitting.append(other)
                notes += _grid_notes(first, other)
        shown, times, time_notes = _common_times(fitting)
        return cls(tuple(fitting), tuple(shown), times, (*notes, *time_notes), refused)

    def __bool__(self) -> bool:
        return bool(self.results)

    @property
    def first(self) -> Result:
        return self.results[0]

    @property
    def names(self) -> dict[str, str]:
        """Names of the simple methods in tables, and letters of the runs."""
        of_runs = {result.letter: f"{result.letter} {result.title}" for result in self.results}
        return {"interpolated": "interpolated", **BASELINES, **of_runs}

    @property
    def n_steps(self) -> int:
        return len(self.times)

    @property
    def same_period(self) -> bool:
        return all(len(result.times) == self.n_steps for result in self.results)

    @cached_property
    def steps(self) -> dict[str, np.ndarray]:
        """Letter → the run's own step number of each common step."""
        return {
            result.letter: np.arange(self.n_steps)
            if result.times.equals(self.times)  # those of forecasts come more than once
            else result.times.get_indexer(self.times)
            for result in self.shown
        }

    def on_same_grid(self, result: Result) -> bool:
        return result.grid.is_close_to(self.first.grid)

    def fields(self, step: int, both: bool = False) -> dict[str, xr.DataArray]:
        """lr, interpolated, hr of the first run, and each shown run's downscaled field by its letter, (y, x).

        both : of both components, as `Result.vector_step` has them.
        """
        read = Result.vector_step if both else Result.step
        number = int(self.steps[self.first.letter][step])
        fields = {name: read(self.first, name, number) for name in ("lr", "interpolated", "hr")}
        for result in self.shown:
            fields[result.letter] = read(result, "downscaled", int(self.steps[result.letter][step]))
        return fields

    def rmse_maps(self) -> dict[str, xr.DataArray]:
        """Per-pixel RMSE over the common steps: interpolated of the first run, and each run by its letter."""
        maps = {"interpolated": self._rmse(self.first, "interpolated")}
        return maps | {result.letter: self._rmse(result, "downscaled") for result in self.results}

    def scores(self) -> dict[str, Scores]:
        """Letter → scores over the common steps."""
        return {
            result.letter: score(result.products.isel(time=self.steps[result.letter]))
            if self._has_more_steps(result)
            else result.stored_scores
            for result in self.results
        }

    def cell(self, y: float, x: float) -> dict[str, np.ndarray]:
        """hr, interpolated and each shown run's letter → (time,) values at the cell nearest to y, x."""
        steps = self.steps[self.first.letter]
        series = {name: self.first.series(name, y, x, steps) for name in ("hr", "interpolated")}
        for result in self.shown:
            series[result.letter] = result.series("downscaled", y, x, self.steps[result.letter])
        return series

    def intervals(self, y: float, x: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Letter → (time,) lower and upper bound at the cell nearest to y, x, of each shown run that has them."""
        with_bounds = [result for result in self.shown if "lower" in result.data and "upper" in result.data]
        at = {result.letter: (y, x, self.steps[result.letter]) for result in with_bounds}
        return {r.letter: (r.series("lower", *at[r.letter]), r.series("upper", *at[r.letter])) for r in with_bounds}

    def nearest(self, y: float, x: float) -> tuple[float, float]:
        """Centre of the first run's cell nearest to y, x."""
        grid = self.first.grid
        return float(grid.y[np.abs(grid.y - y).argmin()]), float(grid.x[np.abs(grid.x - x).argmin()])

    def label(self, step: int) -> str:
        """Date and time of a common step."""
        return self.times[step].strftime("%Y-%m-%d %H:%M") if self.n_steps else ""

    def find_step(self, text: str) -> int | None:
        """The first common step at or after a typed date, however much of it is typed; None when there is none."""
        text = text.strip().replace("T", " ")
        labels = [self.label(step) for step in range(self.n_steps)]
        if not text[:4].isdigit() or not labels:
            return None
        begun = (step for step, label in enumerate(labels) if label.startswith(text))
        later = (step for step, label in enumerate(labels) if label >= text)
        return next(begun, next(later, None))

    def close(self) -> None:
        for result in self.results:
            result.close()

    def _has_more_steps(self, result: Result) -> bool:
        """True if this run has steps that aren't compared, so that what is stored doesn't hold."""
        return result in self.shown and len(result.times) > self.n_steps

    def _rmse(self, result: Result, product: str) -> xr.DataArray:
        stored = result.rmse(product)
        if not self._has_more_steps(result):
            return stored
        return stored.copy(data=pixel_rmse(result.data[["hr", product]].isel(time=self.steps[result.letter]), product))


def _open(run: Run) -> xr.Dataset:
    try:
        data = open_netcdf(run.results, decode_coords="all", cache=False)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"the results of {run.title} can't be read ({error}): the file {run.results} is damaged; delete the run, "
            "or train it again"
        ) from None
    _check_fields(run, data)
    return data


def _at(field: xr.DataArray, number: int) -> xr.DataArray:
    """One step of a field of a file, (y, x), with plain names on the LR grid too."""
    values = without_suffix(field.isel(time=number).load())
    return values.drop_vars(set(values.coords) - {"y", "x", LAT, LON, GRID_MAPPING})


def _check_fields(run: Run, data: xr.Dataset) -> None:
    missing = [name for name in FIELDS if name not in data or "time" not in data[name].dims]
    if missing:
        data.close()
        raise DataError(f"the results of {run.title} lack {', '.join(missing)}: the file {run.results} is not complete")


def _mismatch_reason(first: Result, other: Result) -> str:
    """Reason why a run can't be compared with the first one; '' when it can."""
    if first.units != other.units:
        mine, yours = first.units or "no unit", other.units or "no unit"
        return f"{other.letter} {other.title} is in {yours}, {first.letter} in {mine}: compare runs of one variable"
    if bool(first.components) != bool(other.components) and (names := other_variable(first, other)):
        mine, yours = names
        return f"{other.letter} {other.title} is of {yours}, {first.letter} of {mine}: compare runs of one variable"
    if not first.grid.shares_axes(other.grid):
        return f"{other.letter} {other.title} is on another map projection than {first.letter}: compare it by itself"
    return ""


def _grid_notes(first: Result, other: Result) -> list[str]:
    if not first.grid.is_close_to(other.grid):
        ny, nx = other.grid.shape
        return [
            f"{other.letter} has another grid ({ny} × {nx}): its maps and scores are on that grid, against its own HR; "
            f"LR, interpolated and HR are those of {first.letter}."
        ]
    if first.data["lr"].shape[1:] != other.data["lr"].shape[1:]:
        return [f"{other.letter} starts from another LR grid: LR and interpolated are those of {first.letter}."]
    return []


def _common_times(results: list[Result]) -> tuple[list[Result], pd.Index, list[str]]:
    """Results that have steps in common with the first, the common steps, and notes for the reader."""
    first, notes = results[0], []
    shown, times = [first], first.times
    for other in results[1:]:
        alike = type(other.times) is type(times) and getattr(other.times, "calendar", "") == getattr(
            times, "calendar", ""
        )
        can_match = times.equals(other.times) or (
            times.is_unique and other.times.is_unique
        )  # those of forecasts aren't
        common = times[times.isin(other.times)] if alike and can_match else times[:0]
        if len(common):
            shown, times = [*shown, other], common
        else:
            notes.append(
                f"{other.letter} has no test step in common with {first.letter}: only its RMSE map and its scores, "
                "over its own test period, are shown."
            )
    if any(len(result.times) > len(times) for result in shown):
        notes.insert(0, f"Test periods differ: maps, RMSE and scores are over the {len(times)} steps in common.")
    return shown, times, notes
