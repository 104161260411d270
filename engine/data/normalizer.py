"""Normalizer of fields for the network, fitted on the training part alone and saved with the run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from engine.data.grids import GRID_MAPPING
from engine.data.netcdf import open_netcdf, write_netcdf
from engine.data.pairs import Arrays, Frame, Pairs
from engine.data.resample import fill_missing, interpolate
from engine.data.times import in_blocks
from engine.errors import DataError

MOST_STEPS = 2000  # time steps looked at, spread evenly over the training part
CELLS_AT_ONCE = 1_000_000  # of HR, in what is looked at at once: 8 MB as float64, and some fields as large
KEPT = ("units", "long_name", "standard_name", "cell_methods")  # attributes of the target that go with the run
# Parts of CF standard names (table 85) of quantities that have no values below zero.
NEVER_NEGATIVE = ("precipitation", "rainfall", "snowfall", "concentration", "mixing_ratio", "wind_speed", "humidity")
KEPT_BYTES = 2**28  # of fields that are looked at twice
SMALLEST_SPREAD = 1e-12


@dataclass(frozen=True)
class Scale:
    """One field's way to about zero mean and unit spread, and back.

    forward(x) = (t(x) - centre) / spread, with t(x) = log(1 + x / reference) where a reference is given, else x.
    """

    centre: float = 0.0
    spread: float = 1.0
    reference: float = 0.0

    def forward(self, values: np.ndarray) -> np.ndarray:
        """The field's unit to scaled, any shape; missing stays missing."""
        return ((self.transform(values) - self.centre) / self.spread).astype(np.float32)

    def inverse(self, scaled: np.ndarray) -> np.ndarray:
        """Scaled to the field's unit, any shape."""
        values = scaled.astype(np.float64) * self.spread + self.centre
        return (self.reference * np.expm1(values) if self.reference else values).astype(np.float32)

    def transform(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, np.float64)
        return np.log1p(np.maximum(values, 0) / self.reference) if self.reference else values


@dataclass(frozen=True)
class Normalizer:
    """What is learned from the training part before training begins.

    target : HR, LR and the downscaled field share it, so that LR can be interpolated in scaled form.
    residual_spread : spread of HR minus the interpolated field, in scaled form.
    lowest, highest : range of HR, in the target's unit.
    floored : whether the quantity has no values below zero, by its CF standard name or, failing that, by its values.
    cells : (y, x), true where HR has a value at any step: elsewhere (the sea, say) nothing is downscaled.
    hr_gaps, lr_gaps : whether any HR value, any LR value is missing.
    mean : absolute value of the mean of HR, in the target's unit.
    """

    target: Scale
    predictors: tuple[Scale, ...]
    static: tuple[Scale, ...]
    residual_spread: float
    lowest: float
    highest: float
    floored: bool
    cells: np.ndarray
    hr_gaps: bool
    lr_gaps: bool
    mean: float = 1.0

    def save(self, path: Path, pairs: Pairs) -> None:
        """As NetCDF, with the frame that new data are downscaled onto: grid, static variables, names and units."""
        numbers = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "cells"}
        file = xr.Dataset({"cells": (("y", "x"), self.cells.astype(np.int8))}, coords=pairs.hr_grid.coords())
        file["cells"].attrs = {word: pairs.hr.attrs[word] for word in KEPT if word in pairs.hr.attrs}
        for number, field in enumerate(pairs.static):
            file[f"static_{number}"] = (("y", "x"), field.values, {"source_name": str(field.name)})
        file.attrs = {
            "scaling": json.dumps(numbers, default=dataclasses.asdict),
            "target": str(pairs.hr.name),
            "own": json.dumps(pairs.own),
        }
        sibling = path.with_name(f".{path.name}")  # it appears whole: a resumed run takes what is there
        try:
            write_netcdf(file, sibling)
            sibling.replace(path)
        finally:
            sibling.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        with open_netcdf(path) as file:
            numbers = json.loads(file.attrs["scaling"])
            cells = file["cells"].values.astype(bool)
        numbers["target"] = Scale(**numbers["target"])
        for group in ("predictors", "static"):
            numbers[group] = tuple(Scale(**scale) for scale in numbers[group])
        return cls(cells=cells, **numbers)


def load_frame(path: Path) -> Frame:
    """The frame that `Normalizer.save` kept."""
    with open_netcdf(path) as file:
        file = file.load()
    hr = file["cells"].rename(file.attrs["target"])
    if GRID_MAPPING in file.variables:
        hr = hr.assign_coords({GRID_MAPPING: file[GRID_MAPPING]})
    static = tuple(field for name, field in file.data_vars.items() if str(name).startswith("static_"))
    return Frame(hr, static, tuple(json.loads(file.attrs["own"])))


def fit_normalizer(pairs: Pairs, kind: str) -> Normalizer:
    """Fit on at most 2,000 steps, spread evenly over the training part.

    Parameters
    ----------
    kind : standard, minmax, log or none, as in `data.scaling`; predictors under log are scaled as standard.

    Raises
    ------
    DataError
        If HR has no value in the training part, or a negative one under log.
    """
    blocks = _Blocks(pairs)
    first = _Tally(pairs)
    for arrays in blocks:
        first.add(arrays)
    first.check(kind)
    target = first.scale(kind, blocks)
    spread = _residual_spread(pairs, target, blocks)
    return Normalizer(
        target=target,
        predictors=tuple(m.scale("none" if kind == "none" else "standard") for m in first.predictors),
        static=tuple(_static_scale(field.values, kind) for field in pairs.static),
        residual_spread=max(spread, 1e-6),
        lowest=first.hr.low,
        highest=first.hr.high,
        floored=first.floored,
        cells=first.cells,
        hr_gaps=first.hr_gaps,
        lr_gaps=first.lr_gaps,
        mean=_not_zero(abs(first.hr.mean)),
    )


def check_log(pairs: Pairs) -> None:
    """Read HR at the steps that normalizer is fitted on, for what `data.scaling` log has no place for.

    Raises
    ------
    DataError
        If HR falls below zero at any of them, unless its CF standard name says that it can't.
    """
    if never_negative(pairs.hr.attrs.get("standard_name", "")):
        return
    steps = _looked_at(pairs.parts.train)
    for some in in_blocks(steps, pairs.hr_grid.shape, CELLS_AT_ONCE):
        tally = _Moments()
        tally.add(pairs.hr.isel(time=some).values)
        _refuse_negative(str(pairs.hr.name), tally.low)


def _looked_at(train: np.ndarray) -> np.ndarray:
    return train[np.unique(np.linspace(0, len(train) - 1, min(len(train), MOST_STEPS)).astype(int))]


def _refuse_negative(name: str, lowest: float) -> None:
    if lowest < 0:
        raise DataError(f"{name} falls to {lowest:g}, but data.scaling log needs values from 0 on: choose standard")


def never_negative(standard_name: str) -> bool:
    """Whether a CF standard name means a quantity without values below zero."""
    return any(part in standard_name for part in NEVER_NEGATIVE)


class _Moments:
    """Running count, mean, spread and range over values that are not missing (Chan et al. 1983)."""

    def __init__(self) -> None:
        self.n, self.mean, self.squares, self.low, self.high = 0, 0.0, 0.0, np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        values = values[np.isfinite(values)].astype(np.float64)
        if not values.size:
            return
        n, mean = self.n + values.size, float(values.mean())
        shift = mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + shift**2 * self.n * values.size / n
        self.mean += shift * values.size / n
        self.n, self.low, self.high = n, min(self.low, float(values.min())), max(self.high, float(values.max()))

    @property
    def spread(self) -> float:
        return float(np.sqrt(self.squares / self.n)) if self.n else 0.0

    def scale(self, kind: str) -> Scale:
        if kind == "none" or not self.n:
            return Scale()
        if kind == "minmax":
            return Scale(self.low, _not_zero(self.high - self.low))
        return Scale(self.mean, _not_zero(self.spread))


class _Tally:
    """What one pass over the training part tells of HR, LR and predictors."""

    def __init__(self, pairs: Pairs):
        self.pairs = pairs
        self.hr, self.logs = _Moments(), _Moments()
        self.predictors = [_Moments() for _ in pairs.predictors]
        self.cells = np.zeros(pairs.hr_grid.shape, bool)
        self.hr_gaps = self.lr_gaps = False

    def add(self, arrays: Arrays) -> None:
        there = np.isfinite(arrays.hr)
        self.cells |= there.any(axis=0)
        self.hr_gaps |= not there.all()
        self.lr_gaps |= not np.isfinite(arrays.lr).all()
        self.hr.add(arrays.hr)
        for number, moments in enumerate(self.predictors):
            moments.add(arrays.predictors[..., number])

    @property
    def floored(self) -> bool:
        return self.hr.low >= 0 or never_negative(self.pairs.hr.attrs.get("standard_name", ""))

    def check(self, kind: str) -> None:
        name = self.pairs.hr.name
        if not self.hr.n:
            raise DataError(f"{name} has no value in the training part (all missing): choose another period or split")
        if self.hr.high == self.hr.low:
            raise DataError(f"{name} is {self.hr.low:g} everywhere in the training part: there is nothing to learn")
        if kind == "log" and not self.floored:
            _refuse_negative(str(name), self.hr.low)

    def scale(self, kind: str, blocks: _Blocks) -> Scale:
        if kind != "log":
            return self.hr.scale(kind)
        reference = Scale(reference=_not_zero(self.hr.mean))
        for arrays in blocks:
            self.logs.add(reference.transform(arrays.hr))
        return dataclasses.replace(reference, centre=self.logs.mean, spread=_not_zero(self.logs.spread))


class _Blocks:
    """The fields looked at, some steps at a time; read once where they fit into KEPT_BYTES."""

    def __init__(self, pairs: Pairs):
        self.pairs, self.steps = pairs, _looked_at(pairs.parts.train)
        self.kept: list[Arrays] = []
        self.keep = 8 * len(self.steps) * int(np.prod(pairs.hr_grid.shape)) < KEPT_BYTES

    def __iter__(self) -> Iterator[Arrays]:
        if self.kept:
            yield from self.kept
            return
        for steps in in_blocks(self.steps, self.pairs.hr_grid.shape, CELLS_AT_ONCE):
            arrays = self.pairs.read(steps)
            if self.keep:
                self.kept.append(arrays)
            yield arrays


def _residual_spread(pairs: Pairs, target: Scale, blocks: _Blocks) -> float:
    """Spread of HR minus the interpolated field, both scaled."""
    moments = _Moments()
    for arrays in blocks:
        base = interpolate(fill_missing(target.forward(arrays.lr)), pairs.scale, pairs.interpolation)
        moments.add(target.forward(arrays.hr) - base)
    return moments.spread


def _static_scale(values: Any, kind: str) -> Scale:
    moments = _Moments()
    moments.add(np.asarray(values))
    return moments.scale("none" if kind == "none" else "standard")


def _not_zero(spread: float) -> float:
    return spread if spread > SMALLEST_SPREAD else 1.0
