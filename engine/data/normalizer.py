"""Normalizer of fields for the network, fitted on the training part alone and saved with the run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from engine.data.fields import COPIED_ATTRS
from engine.data.gaps import fill_missing
from engine.data.grids import GRID_MAPPING
from engine.data.netcdf import open_netcdf, write_netcdf
from engine.data.pairs import FieldBlock, HrTemplate, Pairs
from engine.data.resample import interpolate
from engine.data.times import in_blocks
from engine.errors import DataError

MOST_STEPS = 2000  # time steps looked at, spread evenly over the training part
CELLS_AT_ONCE = 1_000_000  # of HR, in what is looked at at once: 8 MB as float64, and some fields as large
# Parts of CF standard names (table 85) of quantities that have no values below zero.
NONNEGATIVE = ("precipitation", "rainfall", "snowfall", "concentration", "mixing_ratio", "wind_speed", "humidity")
KEPT_BYTES = 2**28  # of fields that are looked at twice
SMALLEST_DIVISOR = 1e-12


# Field of Normalizer → its name in scaling.nc, where it differs: the file is shared with runs made before.
FILE_NAMES = {
    "residual_std": "residual_spread",
    "hr_min": "lowest",
    "hr_max": "highest",
    "is_nonnegative": "floored",
    "hr_has_gaps": "hr_gaps",
    "lr_has_gaps": "lr_gaps",
}


@dataclass(frozen=True)
class ValueTransform:
    """Invertible transform of one field's values, to about zero mean and unit standard deviation.

    forward(x) = (t(x) - offset) / divisor, with t(x) = log(1 + x / reference) where a reference is given, else x.
    """

    offset: float = 0.0
    divisor: float = 1.0
    reference: float = 0.0

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Transform from the field's unit to normalized float32, any shape; missing stays missing."""
        return ((self.log(values) - self.offset) / self.divisor).astype(np.float32)

    def inverse(self, normalized: np.ndarray) -> np.ndarray:
        """Transform from normalized to the field's unit, float32, any shape."""
        values = normalized.astype(np.float64) * self.divisor + self.offset
        return (self.reference * np.expm1(values) if self.reference else values).astype(np.float32)

    def log(self, values: np.ndarray) -> np.ndarray:
        """Apply t(x), the logarithm where a reference is given; float64."""
        values = np.asarray(values, np.float64)
        return np.log1p(np.maximum(values, 0) / self.reference) if self.reference else values

    def to_file(self) -> dict[str, float]:
        """Give the parameters by their names in scaling.nc."""
        return {"centre": self.offset, "spread": self.divisor, "reference": self.reference}

    @classmethod
    def from_file(cls, parameters: Mapping[str, float]) -> Self:
        return cls(parameters["centre"], parameters["spread"], parameters.get("reference", 0.0))


@dataclass(frozen=True)
class Normalizer:
    """Transforms of all fields, and statistics of HR, from the training part alone.

    target : transform that HR, LR and the downscaled field share, so that LR can be interpolated when normalized.
    residual_std : standard deviation of HR minus the interpolated field, both normalized.
    hr_min, hr_max : range of HR, in the target's unit.
    is_nonnegative : no values below zero, by the CF standard name of HR or, failing that, by its values.
    mask : (y, x), true where HR has a value at any step: elsewhere (the sea, say) nothing is downscaled.
    hr_has_gaps, lr_has_gaps : some HR value, some LR value is missing.
    mean : absolute value of the mean of HR, in the target's unit.
    """

    target: ValueTransform
    predictors: tuple[ValueTransform, ...]
    static: tuple[ValueTransform, ...]
    residual_std: float
    hr_min: float
    hr_max: float
    is_nonnegative: bool
    mask: np.ndarray
    hr_has_gaps: bool
    lr_has_gaps: bool
    mean: float = 1.0

    def save(self, path: Path, pairs: Pairs) -> None:
        """Write scaling.nc whole, with the HR template that new data are downscaled onto."""
        parameters = {FILE_NAMES.get(f.name, f.name): getattr(self, f.name) for f in dataclasses.fields(self)}
        del parameters["mask"]
        file = xr.Dataset({"cells": (("y", "x"), self.mask.astype(np.int8))}, coords=pairs.hr_grid.coords())
        file["cells"].attrs = {word: pairs.hr.attrs[word] for word in COPIED_ATTRS if word in pairs.hr.attrs}
        for number, field in enumerate(pairs.static):
            file[f"static_{number}"] = (("y", "x"), field.values, {"source_name": str(field.name)})
        file.attrs = {
            "scaling": json.dumps(parameters, default=ValueTransform.to_file),
            "target": str(pairs.hr.name),
            "own": json.dumps(pairs.data_shape),
        }
        sibling = path.with_name(f".{path.name}")  # it appears whole: a resumed run takes what is there
        try:
            write_netcdf(file, sibling)
            sibling.replace(path)
        finally:
            sibling.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, also of runs made by earlier versions."""
        with open_netcdf(path) as file:
            parameters = json.loads(file.attrs["scaling"])
            mask = file["cells"].values.astype(bool)
        names = {in_file: name for name, in_file in FILE_NAMES.items()}
        fields = {names.get(in_file, in_file): value for in_file, value in parameters.items()}
        fields["target"] = ValueTransform.from_file(fields["target"])
        for group in ("predictors", "static"):
            fields[group] = tuple(ValueTransform.from_file(transform) for transform in fields[group])
        return cls(mask=mask, **fields)


def load_hr_template(path: Path) -> HrTemplate:
    """The template that `Normalizer.save` kept."""
    with open_netcdf(path) as file:
        file = file.load()
    hr = file["cells"].rename(file.attrs["target"])
    if GRID_MAPPING in file.variables:
        hr = hr.assign_coords({GRID_MAPPING: file[GRID_MAPPING]})
    static = tuple(field for name, field in file.data_vars.items() if str(name).startswith("static_"))
    return HrTemplate(hr, static, tuple(json.loads(file.attrs["own"])))


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
    target = first.transform(kind, blocks)
    residual_std = _residual_std(pairs, target, blocks)
    return Normalizer(
        target=target,
        predictors=tuple(m.transform("none" if kind == "none" else "standard") for m in first.predictors),
        static=tuple(_static_transform(field.values, kind) for field in pairs.static),
        residual_std=max(residual_std, 1e-6),
        hr_min=first.hr.low,
        hr_max=first.hr.high,
        is_nonnegative=first.is_nonnegative,
        mask=first.mask,
        hr_has_gaps=first.hr_has_gaps,
        lr_has_gaps=first.lr_has_gaps,
        mean=_not_zero(abs(first.hr.mean)),
    )


def check_log(pairs: Pairs) -> None:
    """Read HR at the steps that normalizer is fitted on, for what `data.scaling` log has no place for.

    Raises
    ------
    DataError
        If HR falls below zero at any of them, unless its CF standard name says that it can't.
    """
    if is_nonnegative_quantity(pairs.hr.attrs.get("standard_name", "")):
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


def is_nonnegative_quantity(standard_name: str) -> bool:
    """Whether a CF standard name means a quantity without values below zero."""
    return any(part in standard_name for part in NONNEGATIVE)


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
    def std(self) -> float:
        return float(np.sqrt(self.squares / self.n)) if self.n else 0.0

    def transform(self, kind: str) -> ValueTransform:
        if kind == "none" or not self.n:
            return ValueTransform()
        if kind == "minmax":
            return ValueTransform(self.low, _not_zero(self.high - self.low))
        return ValueTransform(self.mean, _not_zero(self.std))


class _Tally:
    """What one pass over the training part tells of HR, LR and predictors."""

    def __init__(self, pairs: Pairs):
        self.pairs = pairs
        self.hr, self.logs = _Moments(), _Moments()
        self.predictors = [_Moments() for _ in pairs.predictors]
        self.mask = np.zeros(pairs.hr_grid.shape, bool)
        self.hr_has_gaps = self.lr_has_gaps = False

    def add(self, arrays: FieldBlock) -> None:
        there = np.isfinite(arrays.hr)
        self.mask |= there.any(axis=0)
        self.hr_has_gaps |= not there.all()
        self.lr_has_gaps |= not np.isfinite(arrays.lr).all()
        self.hr.add(arrays.hr)
        for number, moments in enumerate(self.predictors):
            moments.add(arrays.predictors[..., number])

    @property
    def is_nonnegative(self) -> bool:
        return self.hr.low >= 0 or is_nonnegative_quantity(self.pairs.hr.attrs.get("standard_name", ""))

    def check(self, kind: str) -> None:
        name = self.pairs.hr.name
        if not self.hr.n:
            raise DataError(f"{name} has no value in the training part (all missing): choose another period or split")
        if self.hr.high == self.hr.low:
            raise DataError(f"{name} is {self.hr.low:g} everywhere in the training part: there is nothing to learn")
        if kind == "log" and not self.is_nonnegative:
            _refuse_negative(str(name), self.hr.low)

    def transform(self, kind: str, blocks: _Blocks) -> ValueTransform:
        if kind != "log":
            return self.hr.transform(kind)
        reference = ValueTransform(reference=_not_zero(self.hr.mean))
        for arrays in blocks:
            self.logs.add(reference.log(arrays.hr))
        return dataclasses.replace(reference, offset=self.logs.mean, divisor=_not_zero(self.logs.std))


class _Blocks:
    """The fields looked at, some steps at a time; read once where they fit into KEPT_BYTES."""

    def __init__(self, pairs: Pairs):
        self.pairs, self.steps = pairs, _looked_at(pairs.parts.train)
        self.kept: list[FieldBlock] = []
        self.keep = 8 * len(self.steps) * int(np.prod(pairs.hr_grid.shape)) < KEPT_BYTES

    def __iter__(self) -> Iterator[FieldBlock]:
        if self.kept:
            yield from self.kept
            return
        for steps in in_blocks(self.steps, self.pairs.hr_grid.shape, CELLS_AT_ONCE):
            arrays = self.pairs.read(steps)
            if self.keep:
                self.kept.append(arrays)
            yield arrays


def _residual_std(pairs: Pairs, target: ValueTransform, blocks: _Blocks) -> float:
    """Spread of HR minus the interpolated field, both scaled."""
    moments = _Moments()
    for arrays in blocks:
        base = interpolate(fill_missing(target.forward(arrays.lr)), pairs.scale, pairs.interpolation)
        moments.add(target.forward(arrays.hr) - base)
    return moments.std


def _static_transform(values: Any, kind: str) -> ValueTransform:
    moments = _Moments()
    moments.add(np.asarray(values))
    return moments.transform("none" if kind == "none" else "standard")


def _not_zero(divisor: float) -> float:
    return divisor if divisor > SMALLEST_DIVISOR else 1.0
