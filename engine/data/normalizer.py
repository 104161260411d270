"""Normalization of fields for the network, fitted on the training part alone and saved with the run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import xarray as xr

from engine.data.anomalies import KINDS, Anomalies, fit_anomalies
from engine.data.fields import COPIED_ATTRS
from engine.data.gaps import fill_missing
from engine.data.grid_coordinates import GRID_MAPPING, coordinates_of
from engine.data.hr_template import HrTemplate
from engine.data.netcdf import open_netcdf, write_netcdf
from engine.data.pairs import FieldBlock, Pairs
from engine.data.resample import interpolate
from engine.data.station_inputs import StationScaling, fit_scaling
from engine.data.times import in_blocks, spread_evenly
from engine.errors import DataError
from engine.files import whole_file

MAX_SAMPLED_STEPS = 2000  # time steps that statistics are taken from, evenly over the training part
CELLS_AT_ONCE = 1_000_000  # of HR, in a block of steps: 8 MB as float64, and some fields as large
# Parts of CF standard names (table 85) of quantities that have no values below zero.
NONNEGATIVE = ("precipitation", "rainfall", "snowfall", "concentration", "mixing_ratio", "wind_speed", "humidity")
CACHE_BYTES = 2**28  # of fields that are read twice
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
    mask : (y, x), true where HR has a value at any step, of a field that is split by rows in any part: elsewhere (the
        sea, say) nothing is downscaled.
    hr_has_gaps, lr_has_gaps : some HR value, some LR value is missing.
    mean : absolute value of the mean of HR, in the target's unit.
    lr_mask : (y_lr, x_lr), true where LR has a value at any step; None in runs made before it was kept.
    partner : of the second component of a vector, with the same masks, predictors and static variables.
    anomalies : season and trend that are subtracted before all else, so that `target`, residual_std, hr_min and hr_max
        are those of what is left, which has any sign; None where values are normalized as they are.
    stations : facts about measurements that are input of the network; None where there are none.
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
    lr_mask: np.ndarray | None = None
    partner: Normalizer | None = None
    anomalies: Anomalies | None = None
    stations: StationScaling | None = None

    @property
    def components(self) -> tuple[Normalizer, ...]:
        """Itself; of a vector, that of each component."""
        return (self,) if self.partner is None else (self, self.partner)

    @property
    def swapped(self) -> Normalizer:
        """The same of a vector whose components are exchanged."""
        assert self.partner
        return dataclasses.replace(self.partner, partner=dataclasses.replace(self, partner=None))

    def _parameters(self) -> str:
        """Give all but the masks, the partner and the anomalies as JSON."""
        left_out = ("mask", "lr_mask", "partner", "anomalies", "stations")
        names = [f.name for f in dataclasses.fields(self) if f.name not in left_out]
        parameters = {FILE_NAMES.get(name, name): getattr(self, name) for name in names}
        return json.dumps(parameters, default=ValueTransform.to_file)

    def save(self, path: Path, pairs: Pairs) -> None:
        """Write scaling.nc whole, with the HR template that new data are downscaled onto."""
        file = xr.Dataset({"cells": (("y", "x"), self.mask.astype(np.int8))}, coords=coordinates_of(pairs.hr_grid))
        file["cells"].attrs = {word: pairs.hr.attrs[word] for word in COPIED_ATTRS if word in pairs.hr.attrs}
        if self.lr_mask is not None:
            file["lr_cells"] = (("y_lr", "x_lr"), self.lr_mask.astype(np.int8))
        for number, field in enumerate(pairs.static):
            attrs = {word: field.attrs[word] for word in COPIED_ATTRS if word in field.attrs}
            file[f"static_{number}"] = (("y", "x"), field.values, {**attrs, "source_name": str(field.name)})
        file.attrs = {
            "scaling": self._parameters(),
            "target": str(pairs.hr.name),
            "own": json.dumps(pairs.data_shape),
            "predictor_units": json.dumps([field.attrs.get("units", "") for field in pairs.predictors]),
        }
        if self.anomalies:
            self.anomalies.add_to(file)
        if self.stations:
            self.stations.add_to(file)
        if self.partner and pairs.partner:
            hr = pairs.partner.hr
            attrs = {word: hr.attrs[word] for word in COPIED_ATTRS if word in hr.attrs}
            file["cells_v"] = (("y", "x"), self.partner.mask.astype(np.int8), attrs)
            file.attrs |= {"scaling_v": self.partner._parameters(), "target_v": str(hr.name)}
        with whole_file(path) as sibling:  # a resumed run takes what is there
            write_netcdf(file, sibling)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, also of runs made by earlier versions."""
        with open_netcdf(path) as file:
            parameters, of_partner = file.attrs["scaling"], file.attrs.get("scaling_v")
            mask = file["cells"].values.astype(bool)
            lr_mask = file["lr_cells"].values.astype(bool) if "lr_cells" in file else None
            anomalies, stations = Anomalies.from_file(file), StationScaling.from_file(file)
        partner = cls._from_file(of_partner, mask, lr_mask) if of_partner else None
        whole = cls._from_file(parameters, mask, lr_mask)
        return dataclasses.replace(whole, partner=partner, anomalies=anomalies, stations=stations)

    @classmethod
    def _from_file(cls, parameters: str, mask: np.ndarray, lr_mask: np.ndarray | None) -> Self:
        names = {in_file: name for name, in_file in FILE_NAMES.items()}
        fields = {names.get(in_file, in_file): value for in_file, value in json.loads(parameters).items()}
        fields["target"] = ValueTransform.from_file(fields["target"])
        for group in ("predictors", "static"):
            fields[group] = tuple(ValueTransform.from_file(transform) for transform in fields[group])
        return cls(mask=mask, lr_mask=lr_mask, **fields)


def load_hr_template(path: Path) -> HrTemplate:
    """Read the HR template that `Normalizer.save` wrote."""
    with open_netcdf(path) as file:
        file = file.load()
    hr = file["cells"].rename(file.attrs["target"])
    if GRID_MAPPING in file.variables:
        hr = hr.assign_coords({GRID_MAPPING: file[GRID_MAPPING]})
    static = tuple(field for name, field in file.data_vars.items() if str(name).startswith("static_"))
    units = json.loads(file.attrs["predictor_units"]) if "predictor_units" in file.attrs else None
    partner = hr.copy(data=file["cells_v"].values).rename(file.attrs["target_v"]) if "cells_v" in file else None
    if partner is not None:
        partner.attrs = file["cells_v"].attrs
    return HrTemplate(hr, static, tuple(json.loads(file.attrs["own"])), units and tuple(units), partner)


def fit_normalizer(pairs: Pairs, kind: str) -> Normalizer:
    """Fit on at most 2,000 steps, spread evenly over the training part; of a vector to each component by itself.

    Parameters
    ----------
    kind : as `data.scaling`; predictors under log are normalized as standard.

    Raises
    ------
    DataError
        If HR has no value in the training part, or a negative one under log.
    """
    fitted = _fit(pairs, kind)
    return dataclasses.replace(fitted, partner=_fit(pairs.swapped, kind)) if pairs.partner else fitted


def _fit(pairs: Pairs, kind: str) -> Normalizer:
    anomalies = fit_anomalies(pairs, kind) if kind in KINDS else None
    blocks = _Blocks(pairs, anomalies)
    statistics = _Statistics(pairs)
    for block in blocks:
        statistics.add(block)
    statistics.check(kind)
    target = statistics.transform(kind, blocks)
    residual_std = _residual_std(pairs, target, blocks)
    plain_kind = "none" if kind == "none" else "standard"
    mask = statistics.mask
    if pairs.is_split_by_rows:  # each part has values in rows of its own
        mask = np.logical_or.reduce([np.isfinite(pairs.hr[step].values) for step in range(pairs.hr.sizes["time"])])
    return Normalizer(
        target=target,
        predictors=tuple(moments.transform(plain_kind) for moments in statistics.predictors),
        static=tuple(_Moments(field.values).transform(plain_kind) for field in pairs.static),
        residual_std=max(residual_std, 1e-6),
        hr_min=statistics.hr.min,
        hr_max=statistics.hr.max,
        is_nonnegative=statistics.is_nonnegative and anomalies is None,
        mask=mask,
        hr_has_gaps=statistics.hr_has_gaps,
        lr_has_gaps=statistics.lr_has_gaps,
        mean=_nonzero(abs(statistics.hr.mean)),
        lr_mask=statistics.lr_mask,
        anomalies=anomalies,
        stations=fit_scaling(pairs, target, blocks.with_steps()) if pairs.stations else None,
    )


def check_log(pairs: Pairs) -> None:
    """Read HR at the steps that a normalizer would be fitted on, and check that `data.scaling` log suits it.

    Raises
    ------
    DataError
        If HR falls below zero at any of them, unless its CF standard name excludes it.
    """
    if is_nonnegative_quantity(pairs.hr.attrs.get("standard_name", "")):
        return
    steps = spread_evenly(pairs.parts.train, MAX_SAMPLED_STEPS)
    for some in in_blocks(steps, pairs.hr_grid.shape, CELLS_AT_ONCE):
        _check_nonnegative(str(pairs.hr.name), _Moments(pairs.hr.isel(time=some).values).min)


def _check_nonnegative(name: str, lowest: float) -> None:
    if lowest < 0:
        raise DataError(
            f"{name} falls to {lowest:g}, but data.scaling log needs values from 0 on", action="choose standard"
        )


def is_nonnegative_quantity(standard_name: str) -> bool:
    """True if a CF standard name implies that a quantity has no values below zero."""
    return any(part in standard_name for part in NONNEGATIVE)


class _Moments:
    """Running count, mean, standard deviation and range of values that are not missing.

    Source: Chan, Golub and LeVeque (1983), Am. Stat. 37, 242, eq. 2.1.
    """

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.n, self.mean, self.squares, self.min, self.max = 0, 0.0, 0.0, np.inf, -np.inf
        if values is not None:
            self.add(values)

    def add(self, values: np.ndarray) -> None:
        values = values[np.isfinite(values)].astype(np.float64)
        if not values.size:
            return
        n, mean = self.n + values.size, float(values.mean())
        shift = mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + shift**2 * self.n * values.size / n
        self.mean += shift * values.size / n
        self.n, self.min, self.max = n, min(self.min, float(values.min())), max(self.max, float(values.max()))

    @property
    def std(self) -> float:
        return float(np.sqrt(self.squares / self.n)) if self.n else 0.0

    def transform(self, kind: str) -> ValueTransform:
        if kind == "none" or not self.n:
            return ValueTransform()
        if kind == "minmax":
            return ValueTransform(self.min, _nonzero(self.max - self.min))
        return ValueTransform(self.mean, _nonzero(self.std))


class _Statistics:
    """Statistics of HR, LR and predictors, from one pass over the sampled steps."""

    def __init__(self, pairs: Pairs):
        self.pairs = pairs
        self.hr, self.logs = _Moments(), _Moments()
        self.predictors = [_Moments() for _ in pairs.predictors]
        self.mask = np.zeros(pairs.hr_grid.shape, bool)
        self.lr_mask = np.zeros(pairs.lr_grid.shape, bool)
        self.hr_has_gaps = self.lr_has_gaps = False

    def add(self, block: FieldBlock) -> None:
        valid = np.isfinite(block.hr)
        self.mask |= valid.any(axis=0)
        self.hr_has_gaps |= not valid.all()
        self.lr_mask |= np.isfinite(block.lr).any(axis=0)
        self.lr_has_gaps |= not np.isfinite(block.lr).all()
        self.hr.add(block.hr)
        for number, moments in enumerate(self.predictors):
            moments.add(block.predictors[..., number])

    @property
    def is_nonnegative(self) -> bool:
        return self.hr.min >= 0 or is_nonnegative_quantity(self.pairs.hr.attrs.get("standard_name", ""))

    def check(self, kind: str) -> None:
        name = self.pairs.hr.name
        if not self.hr.n:
            raise DataError(
                f"{name} has no value in the training part (all missing)", action="choose another period or split"
            )
        if self.hr.max == self.hr.min:
            raise DataError(f"{name} is {self.hr.min:g} everywhere in the training part: there is nothing to learn")
        if kind == "log" and not self.is_nonnegative:
            _check_nonnegative(str(name), self.hr.min)

    def transform(self, kind: str, blocks: _Blocks) -> ValueTransform:
        if kind != "log":
            return self.hr.transform(kind)
        reference = ValueTransform(reference=_nonzero(self.hr.mean))
        for block in blocks:
            self.logs.add(reference.log(block.hr))
        return dataclasses.replace(reference, offset=self.logs.mean, divisor=_nonzero(self.logs.std))


class _Blocks:
    """Fields of the sampled steps in blocks; read once where they fit into CACHE_BYTES."""

    def __init__(self, pairs: Pairs, anomalies: Anomalies | None):
        self.pairs, self.anomalies, self.steps = pairs, anomalies, spread_evenly(pairs.parts.train, MAX_SAMPLED_STEPS)
        self.cached: list[FieldBlock] = []
        self.is_cached = 8 * len(self.steps) * int(np.prod(pairs.hr_grid.shape)) < CACHE_BYTES

    def __iter__(self) -> Iterator[FieldBlock]:
        if self.cached:
            yield from self.cached
            return
        for steps in in_blocks(self.steps, self.pairs.hr_grid.shape, CELLS_AT_ONCE):
            block = self.pairs.read(steps)
            if self.anomalies:
                block = self.anomalies.of_block(block, self.pairs.times.isel(time=steps), self.pairs)
            if self.is_cached:
                self.cached.append(block)
            yield block

    def with_steps(self) -> Iterator[tuple[np.ndarray, FieldBlock]]:
        """Give the steps of each block too."""
        return zip(in_blocks(self.steps, self.pairs.hr_grid.shape, CELLS_AT_ONCE), self, strict=True)


def _residual_std(pairs: Pairs, target: ValueTransform, blocks: _Blocks) -> float:
    """Compute the standard deviation of HR minus the interpolated field, both normalized."""
    moments = _Moments()
    for block in blocks:
        base = interpolate(
            fill_missing(target.forward(block.lr), pairs.periodic), pairs.scale, pairs.interpolation, pairs.periodic
        )
        moments.add(target.forward(block.hr) - base)
    return moments.std


def _nonzero(divisor: float) -> float:
    return divisor if divisor > SMALLEST_DIVISOR else 1.0
