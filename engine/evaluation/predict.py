"""Downscaling with a trained network in bounded memory: some steps at a time are read, predicted and written.

A field larger than HR_CELLS_AT_ONCE is predicted in tiles, if the network allows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import netCDF4
import numpy as np
import tensorflow as tf
import xarray as xr

from engine.data.fields import COPIED_ATTRS
from engine.data.forecasts import samples_of
from engine.data.gaps import fill_missing
from engine.data.grid_coordinates import coordinate_references, coordinates_of, grid_of
from engine.data.netcdf import netcdf_file, open_netcdf, write_netcdf
from engine.data.pairs import FieldBlock, Pairs
from engine.data.resample import interpolate
from engine.data.samples import Samples
from engine.data.times import in_blocks, spread_evenly
from engine.evaluation.calibration import Calibration, most_steps
from engine.evaluation.ensemble import LEVEL, EnsembleSums, mean_and_spread
from engine.evaluation.products import SECOND, second_component
from engine.evaluation.scores import FIELDS, pixel_rmse
from engine.evaluation.tiles import Box, Tile, plan_tiles
from engine.files import whole_file
from engine.models.blocks import drawn
from engine.models.network import bound_of, scaled_zero
from engine.models.receptive_field import Reach, with_wrap
from engine.models.second_network import reach_of
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training.memory_budget import HR_CELLS_AT_ONCE

INTERVAL = {name: f"{name} bound of the {LEVEL:.0%} interval of" for name in ("lower", "upper")}
CF = {"Conventions": "CF-1.11"}

Report = Callable[[int, int], None]  # of samples done, of so many


@dataclass(frozen=True)
class Downscaler:
    """Trained networks that turn samples into fields in the target's unit: one, or those of an ensemble.

    draws : members that each network draws at random (`blocks.Drawn`), its random state being part of its weights;
        with 0 a network has one prediction, without dropout. Each tile draws its own members, so that they differ from
        those of the whole field, with the same distribution.
    reach : None if a network has to be given whole fields.
    wrap : as in `Shape`.
    calibration : of the interval beside members, if there is one.
    """

    networks: tuple[keras.Model, ...]
    bound: str  # as model.output_activation, without auto
    draws: int = 0
    reach: Reach | None = None
    wrap: int = 0
    calibration: Calibration | None = None

    @classmethod
    def of(cls, networks: Sequence[keras.Model], spec: Spec, samples: Samples) -> Downscaler:
        """Make one for these samples, and others on the same grids."""
        shape = with_wrap(Shape.of(samples), spec.model, samples.pairs.periodic)
        return cls(
            tuple(networks),
            bound_of(spec.model, samples.normalizer),
            spec.draws,
            reach_of(spec, shape, samples.pairs.interpolation),
            shape.wrap,
        )

    @property
    def members(self) -> int:
        """Predictions of which the field is the mean; 0 if there is one network that draws none, as `Spec.members`."""
        return len(self.networks) * max(1, self.draws) if len(self.networks) > 1 else self.draws

    def __call__(self, samples: Samples, inputs: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
        """Downscale inputs of some samples to (sample, y, x) in the target's unit; NaN where HR never has a value.

        base : as `FieldBlock.base`, of the samples; needed where the normalizer takes anomalies.
        """
        return self.fields(samples, inputs, base)["downscaled"]

    def fields(self, samples: Samples, inputs: np.ndarray, base: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Predict `downscaled`, and `spread` if there are members."""
        return self.statistics(self.predict_members(samples, inputs, base))

    def statistics(self, members: np.ndarray) -> dict[str, np.ndarray]:
        """Mean of members as `downscaled`, and `spread` if there are any (Gal and Ghahramani 2016, eq. 6)."""
        if not self.members:
            return {"downscaled": members[0]}
        mean, spread = mean_and_spread(members)
        return {"downscaled": mean.astype(np.float32), "spread": spread.astype(np.float32)}

    def calibrate(self, samples: Samples) -> Downscaler:
        """Make one with intervals calibrated on samples, of a part that the network hasn't learned from."""
        shape, scale = samples.pairs.hr_grid.shape, samples.pairs.scale
        rows = spread_evenly(np.arange(len(samples)), most_steps(shape))
        errors, spread = (np.empty((len(rows), *shape), np.float32) for _ in range(2))
        for some in in_blocks(np.arange(len(rows)), shape, HR_CELLS_AT_ONCE // self.members):
            inputs, block = samples.read(rows[some])
            predicted = self.fields(samples, inputs, block.base)
            errors[some], spread[some] = predicted["downscaled"] - block.hr, predicted["spread"]
            errors[some][enlarged(missing_input(samples, block), scale)] = np.nan
        return replace(self, calibration=Calibration.fit(errors, spread, _seasons(samples, rows)))

    def interval(self, fields: Mapping[str, np.ndarray], seasons: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the calibrated interval, `lower` and `upper`, beside `fields`; empty without calibration."""
        if not self.calibration:
            return {}
        bounds = self.calibration.interval(fields["downscaled"], fields["spread"], seasons)
        return {name: field if self.bound == "linear" else np.maximum(field, 0.0) for name, field in bounds.items()}

    def predict_members(self, samples: Samples, inputs: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
        """Predict all members, one tile of one at a time: (member, sample, y, x), one where there are none."""
        return self.predict_components(samples, inputs, base)[0]

    def predict_components(self, samples: Samples, inputs: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
        """Predict as `predict_members` does, all components of a vector: (component, member, sample, y, x)."""
        pairs = samples.pairs
        if (base is None) != (samples.normalizer.anomalies is None):
            raise ValueError("base is that of the samples: give FieldBlock.base, which `Samples.read` gives")
        components = samples.targets, max(1, self.members), len(inputs), *pairs.hr_grid.shape
        predicted = np.empty(components, np.float32)
        for tile in plan_tiles(pairs.lr_grid.shape, pairs.scale, self.reach, HR_CELLS_AT_ONCE, self.wrap):
            for number in range(predicted.shape[1]):
                network = number % len(self.networks)
                fields = self._predict_tile(samples, inputs, tile, network)
                predicted[:, number, :, *tile.output_at_hr(pairs.scale)] = fields
        if base is not None:
            predicted += base
        return predicted

    def _predict_tile(self, samples: Samples, inputs: np.ndarray, tile: Tile, network: int = 0) -> np.ndarray:
        """Predict the output cells of a tile, in the target's unit: (component, sample, y, x)."""
        scale = samples.pairs.scale
        given, static = _cut(inputs, tile.input), _cut(samples.static[None], tile.input_at_hr(scale))
        predicted = self._predict(network, tf.constant(given), tf.constant(static), static.shape[1:3])
        fields = []
        for number, normalizer in enumerate(samples.normalizer.components):
            scaled = predicted[..., number].numpy()[:, *tile.output_in_input(scale)]
            field = normalizer.target.inverse(scaled)
            if self.bound == "relu":  # a value on the bound is zero itself, not zero up to rounding
                field[scaled <= np.float32(scaled_zero(normalizer))] = 0.0
            fields.append(bounded(field, normalizer.mask[tile.output_at_hr(scale)], self.bound))
        return np.stack(fields)

    def interpolated(self, samples: Samples, lr: np.ndarray) -> np.ndarray:
        """Compute the baseline: LR (sample, y_lr, x_lr) interpolated, with the same bound and the same cells."""
        pairs = samples.pairs
        fields = interpolate(fill_missing(lr, pairs.periodic), pairs.scale, pairs.interpolation, pairs.periodic)
        return bounded(fields, samples.normalizer.mask, self.bound)

    @tf.function(autograph=False, reduce_retracing=True)
    def _predict(self, number: int, inputs: tf.Tensor, static: tf.Tensor, sides: tuple[int, int]) -> tf.Tensor:
        """Run a network, with one graph for any number of samples of one shape, which interpolation needs."""
        network = self.networks[number]
        with drawn(network) if self.draws else nullcontext():
            return network([inputs, static], training=False)


def bounded(fields: np.ndarray, mask: np.ndarray, bound: str) -> np.ndarray:
    """Fields in the target's unit, above its bound, and NaN outside of the mask."""
    fields = fields if bound == "linear" else np.maximum(fields, 0.0)
    return np.where(mask, fields, np.float32(np.nan))


def write_results(
    path: Path,
    downscaler: Downscaler,
    samples: Samples,
    report: Report,
    title: str,
    ensemble: EnsembleSums | None = None,
) -> tuple[str, ...]:
    """Write hr, interpolated, downscaled and lr of a part, and RMSE at each cell, as CF NetCDF that appears whole.

    Where members are drawn, `downscaled` is their mean, `spread` stands beside it, and they are added to `ensemble`.
    Returns notes on missing LR.
    """
    with whole_file(path) as sibling:
        notes = _write(sibling, downscaler, samples, report, title, with_hr=True, ensemble=ensemble)
        _add_pixel_rmse(sibling)
    return notes


def write_downscaled(path: Path, downscaler: Downscaler, samples: Samples, title: str) -> tuple[str, ...]:
    """Write downscaled, interpolated and lr of new data, as `write_results` does; returns notes on missing LR."""
    with whole_file(path) as sibling:
        return _write(sibling, downscaler, samples, lambda done, total: None, title, with_hr=False)


def missing_input(samples: Samples, block: FieldBlock) -> np.ndarray:
    """Find the LR cells (n, y_lr, x_lr) in which nothing is downscaled, as the input of the network is missing.

    These are the cells in which LR is missing, but not at every training step: where it never had a value, the network
    has learned to do with the nearest one. Of a step at which LR or a predictor has no value at all, these are all.
    """
    scale, (ny, nx) = samples.pairs.scale, samples.pairs.lr_grid.shape
    mask, lr_mask = samples.normalizer.mask, samples.normalizer.lr_mask
    known = mask.reshape(ny, scale, nx, scale).any((1, 3)) if lr_mask is None else lr_mask
    missing = np.isnan(block.lr)
    empty_steps = missing.all((1, 2)) | np.isnan(block.predictors).all((1, 2)).any(-1)
    return (missing & known) | empty_steps[:, None, None]


def _write(
    path: Path,
    downscaler: Downscaler,
    samples: Samples,
    report: Report,
    title: str,
    with_hr: bool,
    ensemble: EnsembleSums | None = None,
) -> tuple[str, ...]:
    names = (*(("hr",) if with_hr else ()), *FIELDS, "lr")
    create_results(path, samples, title, names)
    for second in samples.components[1:]:
        declare_fields(path, second, names, SECOND)
    if downscaler.members:
        _declare_members(path, samples, downscaler)
    cells, scale = _with_data(samples.pairs), samples.pairs.scale
    n_missing = n_empty = 0
    for rows in batches(samples, downscaler.members):
        inputs, block = samples.read(rows)
        missing = missing_input(samples, block)
        n_empty += int(missing.all((1, 2)).sum())
        n_missing += int(missing.sum())
        at_hr, components = enlarged(missing, scale), downscaler.predict_components(samples, inputs, block.base)
        for suffix, members, of in zip(("", SECOND), components, block.components, strict=False):
            products = {"interpolated": downscaler.interpolated(samples, of.lr), **downscaler.statistics(members)}
            products |= downscaler.interval(products, _seasons(samples, rows))
            fields = {name: np.where(at_hr, np.float32(np.nan), values)[:, *cells] for name, values in products.items()}
            fields["lr"] = of.lr
            if with_hr:
                fields["hr"] = of.hr[:, *cells]
            if ensemble and downscaler.members:
                valid = np.isfinite(fields["hr"]) & np.isfinite(fields["downscaled"])
                interval = [fields[name] for name in INTERVAL if name in fields]
                ensemble.add(members[:, :, *cells], fields["hr"], valid, interval)
            with netcdf_file(path, "a") as file:
                for name, values in fields.items():
                    file[f"{name}{suffix}"][rows] = values
        report(int(rows[-1]) + 1, len(samples))
    if not n_missing:
        return ()
    share = n_missing / (len(samples) * math.prod(samples.pairs.lr_grid.shape))
    return (
        f"{n_missing:,} LR cells ({share:.1%}) have no value, so nothing is downscaled there; "
        f"{n_empty} of {len(samples)} steps have no LR, or no value of a predictor, at all",
    )


def batches(samples: Samples, members: int = 1) -> Iterator[np.ndarray]:
    """Cut the rows of the part into blocks whose members HR_CELLS_AT_ONCE allows."""
    return in_blocks(np.arange(len(samples)), samples.pairs.hr_grid.shape, HR_CELLS_AT_ONCE // max(1, members))


def _cut(fields: np.ndarray, box: Box) -> np.ndarray:
    """Take rows and columns of (n, y, x, channels); columns beyond an end are those of the other end."""
    rows, columns = box
    return fields[:, rows].take(range(columns.start, columns.stop), axis=2, mode="wrap")


def _with_data(pairs: Pairs) -> tuple[slice, slice]:
    return slice(pairs.data_shape[0]), slice(pairs.data_shape[1])


def create_results(path: Path, samples: Samples, title: str, names: tuple[str, ...]) -> None:
    """Create a file with coordinates and the declarations of fields (time, y, x), and of lr on its own grid."""
    pairs = samples.pairs
    grid = pairs.hr_grid.select(*_with_data(pairs))
    lr_coords = coordinates_of(pairs.lr_grid)
    lr_axes = {
        f"{name}_lr": xr.Variable([f"{dim}_lr" for dim in coord.dims], coord.values, coord.attrs)
        for name, coord in lr_coords.items()
        if coord.dims and "lr" in names
    }
    times = pairs.times.isel(time=samples.steps).variable.copy()
    for described in (times.attrs, times.encoding):
        described.pop("bounds", None)  # the name of a variable that isn't written
    each = {name: coord[samples.steps] for name, coord in samples_of(pairs.times).items()}
    dataset = xr.Dataset(
        coords={"time": times, **each, **coordinates_of(grid), **lr_axes}, attrs={**CF, "title": title}
    )
    write_netcdf(dataset, path, format="NETCDF4")
    declare_fields(path, samples, names)


def declare_fields(path: Path, samples: Samples, names: tuple[str, ...], ending: str = "") -> None:
    """Declare fields (time, y, x), and lr on its own grid, in a file that has their coordinates.

    ending : of the names of all variables.
    """
    pairs = samples.pairs
    with netcdf_file(path, "a") as file:
        for name in names:
            suffix = "_lr" if name == "lr" else ""
            dims = ("time", f"y{suffix}", f"x{suffix}")
            references = coordinate_references(pairs.hr_grid.select(*_with_data(pairs)), suffix)
            named = " ".join([*samples_of(pairs.times), *filter(None, [references.get("coordinates")])])
            references |= {"coordinates": named} if named else {}
            _declare(file, name, dims, _attrs(pairs), references, ending)


def enlarged(missing: np.ndarray, scale: int) -> np.ndarray:
    """Mark the HR cells of marked LR cells: (n, y_lr, x_lr) → (n, y, x)."""
    return missing.repeat(scale, 1).repeat(scale, 2)


def _seasons(samples: Samples, rows: np.ndarray) -> np.ndarray:
    return np.asarray(samples.pairs.times.isel(time=samples.steps[rows]).dt.season.values)


def _declare_members(path: Path, samples: Samples, downscaler: Downscaler) -> None:
    """Declare what stands beside the mean of members: their spread, and the calibrated interval, if there is one."""
    attrs, dims, references = _attrs(samples.pairs), ("time", "y", "x"), coordinate_references(samples.pairs.hr_grid)
    methods = f"{attrs.get('cell_methods', '')} realization: standard_deviation".strip()
    of_spread = attrs | {"cell_methods": methods, "comment": f"over {downscaler.members} members"}
    if attrs.get("standard_name", "").endswith("temperature"):
        of_spread["units_metadata"] = "temperature: difference"  # CF-1.11, section 3.1.2
    with netcdf_file(path, "a") as file:
        _declare(file, "spread", dims, of_spread, references)
        if downscaler.calibration:
            for name in INTERVAL:
                _declare(file, name, dims, attrs | {"comment": downscaler.calibration.describes}, references)


def _attrs(pairs: Pairs) -> dict[str, str]:
    return {word: str(pairs.hr.attrs[word]) for word in COPIED_ATTRS if word in pairs.hr.attrs}


def _declare(
    file: netCDF4.Dataset,
    name: str,
    dims: tuple[str, ...],
    attrs: dict[str, str],
    references: dict[str, str],
    ending: str = "",
) -> None:
    chunks = [1 if dim == "time" else len(file.dimensions[dim]) for dim in dims]
    variable = file.createVariable(
        name + ending, "f4", dims, compression="zlib", complevel=1, chunksizes=chunks, fill_value=np.float32(np.nan)
    )
    label = ({"hr": "HR", "lr": "LR", "spread": "spread of"} | INTERVAL).get(name, name.replace("_", " "))
    described = attrs.get("long_name") or attrs.get("standard_name") or ""
    variable.setncatts({**attrs, "long_name": f"{label} {described}".strip(), **references})


def _add_pixel_rmse(path: Path) -> None:
    with open_netcdf(path, decode_coords="all") as results:
        maps = {(name, ""): pixel_rmse(results, name) for name in FIELDS}
        if f"hr{SECOND}" in results:
            second = second_component(results)
            maps |= {(name, SECOND): pixel_rmse(second, name) for name in FIELDS}
        units = {"units": results["hr"].attrs["units"]} if "units" in results["hr"].attrs else {}
        references = coordinate_references(grid_of(results["hr"]))
    with netcdf_file(path, "a") as file:
        for (name, ending), values in maps.items():
            _declare(file, f"rmse_{name}", ("y", "x"), units, references, ending)
            file[f"rmse_{name}{ending}"][:] = values
