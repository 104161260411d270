"""Downscaling with a trained network, in bounded memory: read some steps, predict, write, go on.

A field that is larger than HR_CELLS_AT_ONCE is predicted in tiles, where the network lets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import netCDF4
import numpy as np
import tensorflow as tf
import xarray as xr

from engine.data.fields import COPIED_ATTRS
from engine.data.gaps import fill_missing
from engine.data.grids import Grid
from engine.data.netcdf import netcdf_file, open_netcdf, write_netcdf
from engine.data.pairs import Pairs
from engine.data.resample import interpolate
from engine.data.samples import Samples
from engine.data.times import in_blocks
from engine.evaluation.scores import FIELDS, pixel_rmse
from engine.evaluation.tiles import Tile, plan
from engine.models.blocks import drawn
from engine.models.network import bound_of, scaled_zero
from engine.models.receptive_field import Reach, reach
from engine.models.shapes import Shape
from engine.spec import ModelOptions
from engine.training.memory_budget import HR_CELLS_AT_ONCE

CF = {"Conventions": "CF-1.11"}

Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Downscaler:
    """A trained network with all that it needs to turn samples into fields in the target's unit.

    `members` are drawn with Monte Carlo dropout, the network's random state being part of its weights; with 0 there is
    one prediction, without dropout. Each tile draws its own: in tiles the members are others than of the whole field,
    of the same distribution. reach : None if the network has to be given whole fields.
    """

    network: keras.Model
    bound: str  # as model.output_activation, without auto
    members: int = 0
    reach: Reach | None = None

    @classmethod
    def of(cls, network: keras.Model, options: ModelOptions, samples: Samples) -> Downscaler:
        """For these samples, and others on the same grids."""
        return cls(
            network,
            bound_of(options, samples.normalizer),
            options.members if options.is_stochastic else 0,
            reach(options, Shape.of(samples), samples.pairs.interpolation),
        )

    def __call__(self, samples: Samples, inputs: np.ndarray) -> np.ndarray:
        """Inputs of some samples to fields (sample, y, x) in the target's unit; NaN where HR never has a value."""
        return self.fields(samples, inputs)["downscaled"]

    def fields(self, samples: Samples, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """`downscaled`, and where members are drawn their `spread`, with one tile of one member at a time in memory."""
        pairs = samples.pairs
        names = ("downscaled", "spread") if self.members else ("downscaled",)
        found = {name: np.empty((len(inputs), *pairs.hr_grid.shape), np.float32) for name in names}
        for tile in plan(pairs.lr_grid.shape, pairs.scale, self.reach, HR_CELLS_AT_ONCE):
            pieces = self._drawn(samples, inputs, tile) if self.members else (self._member(samples, inputs, tile),)
            for name, piece in zip(names, pieces, strict=True):
                found[name][:, *tile.kept_at_hr(pairs.scale)] = piece
        return found

    def _drawn(self, samples: Samples, inputs: np.ndarray, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread of the members in a tile.

        Source: Gal and Ghahramani (2016), eq. 6, for the mean; Welford (1962), eq. I, for the running sums.
        """
        mean = squares = np.zeros(())
        for number in range(1, self.members + 1):
            member = self._member(samples, inputs, tile).astype(np.float64)
            off = member - mean
            mean = mean + off / number
            squares = squares + off * (member - mean)
        return mean, np.sqrt(squares / max(self.members - 1, 1))

    def _member(self, samples: Samples, inputs: np.ndarray, tile: Tile) -> np.ndarray:
        """What is kept of a prediction, in the target's unit."""
        scale = samples.pairs.scale
        static = samples.static[None, *tile.seen_at_hr(scale)]
        predicted = self._predict(tf.constant(inputs[:, *tile.seen]), tf.constant(static), static.shape[1:3])
        scaled = predicted[..., 0].numpy()[:, *tile.kept_of_seen(scale)]
        field = samples.normalizer.target.inverse(scaled)
        if self.bound == "relu":  # what rests on the bound is zero itself, not zero up to rounding
            field[scaled <= np.float32(scaled_zero(samples.normalizer))] = 0.0
        return self._finished(field, samples.normalizer.mask[tile.kept_at_hr(scale)])

    def interpolated(self, samples: Samples, lr: np.ndarray) -> np.ndarray:
        """The yardstick: LR (sample, y_lr, x_lr) interpolated, with the same bound and the same cells."""
        pairs = samples.pairs
        fields = interpolate(fill_missing(lr), pairs.scale, pairs.interpolation)
        return self._finished(fields, samples.normalizer.mask)

    def _finished(self, fields: np.ndarray, cells: np.ndarray) -> np.ndarray:
        fields = fields if self.bound == "linear" else np.maximum(fields, 0.0)
        return np.where(cells, fields, np.float32(np.nan))

    @tf.function(reduce_retracing=True)
    def _predict(self, inputs: tf.Tensor, static: tf.Tensor, sides: tuple[int, int]) -> tf.Tensor:
        """One graph for any number of samples; one for each shape, given as numbers, since interpolation needs it."""
        with drawn(self.network) if self.members else nullcontext():
            return self.network([inputs, static], training=False)


def write_results(path: Path, downscaler: Downscaler, samples: Samples, told: Told, title: str) -> None:
    """hr, interpolated, downscaled and lr of a part, and RMSE at each cell, as CF NetCDF that appears whole.

    Where members are drawn, `downscaled` is their mean and `spread` stands beside it.
    """
    with _whole(path) as sibling:
        _write(sibling, downscaler, samples, told, title, with_hr=True)
        _add_pixel_rmse(sibling)


def write_downscaled(path: Path, downscaler: Downscaler, samples: Samples, title: str) -> None:
    """downscaled, interpolated and lr of new data, as CF NetCDF that appears whole."""
    with _whole(path) as sibling:
        _write(sibling, downscaler, samples, _untold, title, with_hr=False)


def _write(path: Path, downscaler: Downscaler, samples: Samples, told: Told, title: str, with_hr: bool) -> None:
    _template(path, samples, title, ("hr", *FIELDS) if with_hr else FIELDS)
    if downscaler.members:
        _declare_spread(path, samples, downscaler.members)
    own = _own(samples.pairs)
    for rows in batches(samples):
        inputs, arrays = samples.read(rows)
        fields = {
            "lr": arrays.lr,
            "interpolated": downscaler.interpolated(samples, arrays.lr)[:, *own],
            **{name: values[:, *own] for name, values in downscaler.fields(samples, inputs).items()},
        }
        if with_hr:
            fields["hr"] = arrays.hr[:, *own]
        with netcdf_file(path, "a") as file:
            for name, values in fields.items():
                file[name][rows] = values
        told(int(rows[-1]) + 1, len(samples))


def _untold(done: int, total: int) -> None:
    """For work that nobody watches."""


def batches(samples: Samples) -> Iterator[np.ndarray]:
    """Rows of the part, as many at once as HR_CELLS_AT_ONCE allows."""
    return in_blocks(np.arange(len(samples)), samples.pairs.hr_grid.shape, HR_CELLS_AT_ONCE)


def _own(pairs: Pairs) -> tuple[slice, slice]:
    return slice(pairs.data_shape[0]), slice(pairs.data_shape[1])


def _template(path: Path, samples: Samples, title: str, names: tuple[str, ...]) -> None:
    """An empty file with coordinates and the declarations of the fields."""
    pairs = samples.pairs
    grid = pairs.hr_grid.select(*_own(pairs))
    lr_axes = {f"{side}_lr": xr.Variable(f"{side}_lr", v.values, v.attrs) for side, v in _axes(pairs.lr_grid).items()}
    times = pairs.times.isel(time=samples.steps).variable.copy()
    for facts in (times.attrs, times.encoding):
        facts.pop("bounds", None)  # they stand in a variable of their own, which isn't written
    dataset = xr.Dataset(coords={"time": times, **grid.coords(), **lr_axes}, attrs={**CF, "title": title})
    write_netcdf(dataset, path, format="NETCDF4")
    with netcdf_file(path, "a") as file:
        for name in (*names, "lr"):
            dims = ("time", "y_lr", "x_lr") if name == "lr" else ("time", "y", "x")
            _declare(file, name, dims, _attrs(pairs), mapped=bool(grid.crs))


def _declare_spread(path: Path, samples: Samples, members: int) -> None:
    attrs = _attrs(samples.pairs)
    methods = f"{attrs.get('cell_methods', '')} realization: standard_deviation".strip()
    attrs |= {"cell_methods": methods, "comment": f"over {members} members drawn with Monte Carlo dropout"}
    if attrs.get("standard_name", "").endswith("temperature"):
        attrs["units_metadata"] = "temperature: difference"  # CF-1.11, section 3.1.2
    with netcdf_file(path, "a") as file:
        _declare(file, "spread", ("time", "y", "x"), attrs, mapped=bool(samples.pairs.hr_grid.crs))


def _attrs(pairs: Pairs) -> dict[str, str]:
    return {word: str(pairs.hr.attrs[word]) for word in COPIED_ATTRS if word in pairs.hr.attrs}


def _axes(grid: Grid) -> dict[str, xr.Variable]:
    return {side: grid.coords()[side] for side in ("y", "x")}


def _declare(file: netCDF4.Dataset, name: str, dims: tuple[str, ...], attrs: dict[str, Any], mapped: bool) -> None:
    chunks = [1 if dim == "time" else len(file.dimensions[dim]) for dim in dims]
    variable = file.createVariable(
        name, "f4", dims, compression="zlib", complevel=1, chunksizes=chunks, fill_value=np.float32(np.nan)
    )
    label = {"hr": "HR", "lr": "LR", "spread": "spread of"}.get(name, name.replace("_", " "))
    described = attrs.get("long_name") or attrs.get("standard_name") or ""
    variable.setncatts({**attrs, "long_name": f"{label} {described}".strip()})
    if mapped:
        variable.grid_mapping = "crs"


def _add_pixel_rmse(path: Path) -> None:
    with open_netcdf(path) as results:
        maps = {name: pixel_rmse(results, name) for name in FIELDS}
        units = {"units": results["hr"].attrs["units"]} if "units" in results["hr"].attrs else {}
        mapped = "grid_mapping" in results["hr"].attrs or "grid_mapping" in results["hr"].encoding
    with netcdf_file(path, "a") as file:
        for name, values in maps.items():
            _declare(file, f"rmse_{name}", ("y", "x"), units, mapped)
            file[f"rmse_{name}"][:] = values


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A sibling to write to, which takes the place of `path` only when all went well."""
    sibling = path.with_name(f".{path.name}")
    try:
        yield sibling
        sibling.replace(path)
    finally:
        sibling.unlink(missing_ok=True)
