"""Measurements at stations as inputs of a network: set convolutions onto the LR grid.

The departure of a station is its measurement less LR interpolated to it, both normalized, less the mean of this
difference over the training part: so neither its height nor a bias of LR is taken for weather.

Source: Gordon et al. (2020), Convolutional conditional neural processes, arXiv 1910.13556, section 4 (density channel,
and a signal divided by it); Vaughan et al. (2022), GMD 15, 251, for downscaling.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import xarray as xr

from engine.data.gaps import fill_missing
from engine.data.grid_coordinates import grid_of
from engine.data.grids import Grid, edges, is_periodic
from engine.data.kernels import cell_positions, kernel_weights
from engine.data.lengths import EARTH_RADIUS_KM
from engine.data.resample import interpolate
from engine.data.spherical_cells import to_vectors
from engine.data.stations import ALT, ID, LAT, LON, NAME, open_stations
from engine.data.times import match
from engine.data.units import convert
from engine.errors import DataError
from engine.spec import Source

if TYPE_CHECKING:
    from engine.data.normalizer import ValueTransform
    from engine.data.pairs import FieldBlock, Pairs

LENGTHS = (0.5, 1.5)  # standard deviations of the Gaussian kernels, in mean sides of an LR cell
CHANNELS = 2 * len(LENGTHS)
LEAST_DENSITY = 1e-3  # below it a signal fades to zero with the density
MIN_VALUES = 30  # of a station in the training part, for a mean
IN_FILE = "station_cell_means"  # variable of scaling.nc


@dataclass(frozen=True)
class StationSeries:
    """Measurements at stations, at the steps of the pairs.

    ids, names, lon, lat, alt : (station,); degrees, and m, NaN where unknown.
    values : (time, station) in the target's unit, NaN where missing.
    """

    ids: np.ndarray
    names: np.ndarray
    lon: np.ndarray
    lat: np.ndarray
    alt: np.ndarray
    values: np.ndarray

    def only(self, chosen: np.ndarray) -> StationSeries:
        """Keep stations, by a mask (station,) or their numbers."""
        each = {field.name: getattr(self, field.name)[..., chosen] for field in dataclasses.fields(self)}
        return StationSeries(**each)

    @property
    def places(self) -> np.ndarray:
        """Unit vectors (station, 3)."""
        return to_vectors(self.lon, self.lat)

    def interpolate(self, lr: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Interpolate LR fields of the pairs (n, y_lr, x_lr), without gaps, to the stations: (n, station)."""
        y, x = positions(pairs.lr_grid, self.lon, self.lat)
        (ny, nx), kernel = pairs.lr_grid.shape, pairs.interpolation
        rows, columns = kernel_weights(y, ny, kernel), kernel_weights(x, nx, kernel, is_periodic(pairs.lr_grid))
        return np.einsum("sy,nyx,sx->ns", rows, lr, columns, optimize=True)


@dataclass(frozen=True)
class StationScaling:
    """Facts about departures from the training part, as normalized.

    ids, means : (station,) mean of each station's difference from interpolated LR; NaN below MIN_VALUES values.
    cell_means : (y, x) the same of each HR cell; NaN where HR has no value.
    noise : standard deviation of a station's departure from that of its HR cell.
    lengths : standard deviations of the kernels, in km.
    """

    ids: tuple[str, ...]
    means: tuple[float, ...]
    cell_means: np.ndarray
    noise: float
    lengths: tuple[float, ...]

    @property
    def known(self) -> set[str]:
        """Ids of stations that have a mean."""
        return {name for name, mean in zip(self.ids, self.means, strict=True) if np.isfinite(mean)}

    def means_of(self, ids: np.ndarray) -> np.ndarray:
        """Means of stations by their ids, NaN of those that aren't known."""
        known = dict(zip(self.ids, self.means, strict=True))
        return np.array([known.get(str(name), np.nan) for name in ids])

    def add_to(self, file: xr.Dataset) -> None:
        """Put all into scaling.nc."""
        parameters = {"ids": self.ids, "means": self.means, "noise": self.noise, "lengths": self.lengths}
        file.attrs["stations"] = json.dumps(parameters)
        file[IN_FILE] = (("y", "x"), self.cell_means)

    @classmethod
    def from_file(cls, file: xr.Dataset) -> Self | None:
        """Read what `add_to` put there; None where there is nothing."""
        if "stations" not in file.attrs:
            return None
        parameters = json.loads(file.attrs["stations"])
        lists = {name: tuple(parameters[name]) for name in ("ids", "means", "lengths")}
        return cls(**lists, noise=parameters["noise"], cell_means=file[IN_FILE].values)


def open_series(
    source: Source, hr: xr.DataArray, notes: list[str], name: str = "data.stations", known: Container[str] | None = None
) -> StationSeries:
    """Read stations within the grid of a field, at its steps and in its unit.

    Parameters
    ----------
    notes : gets sentences on what was found.
    name : of the option, for messages.
    known : ids of stations that can be used; None for all.

    Raises
    ------
    DataError
        If the file can't be read, or no station can be used; TimeError without common steps; UnitError.
    """
    path, *others = source.files()
    if others:
        raise DataError(f"{name} names {1 + len(others)} files", hint="expected one", action="join them first")
    measured = open_stations(path, source.variable, notes)
    measured = measured.assign_attrs(units=source.units or measured.attrs["units"])
    measured = convert(measured, hr.attrs["units"], what=name).load()
    grid, ids = grid_of(hr), measured[ID].values
    inside = _is_inside(grid, measured[LON].values, measured[LAT].values)
    used = inside & np.array([known is None or station in known for station in ids])
    if not used.any():
        raise DataError(
            f"none of the {len(ids)} stations of {path} {'lies in the region of HR' if known is None else 'is known'}",
            hint=f"HR covers {grid.extent()}" if known is None else "expected stations that the run was trained with",
            action=f"give other stations, or leave out {name}",
        )
    matched = match([hr["time"], measured["time"]], ["HR", name])
    values = np.full((hr.sizes["time"], len(ids)), np.nan, np.float32)
    values[matched.steps[0]] = measured.values.T[matched.steps[1]]
    names, lon, lat, alt = (measured[role].values for role in (NAME, LON, LAT, ALT))
    series = StationSeries(ids, names, lon, lat, alt, values).only(used)
    missing = np.isnan(series.values).mean()
    notes.append(
        f"{name}: {used.sum()} of {len(used)} stations are used; {missing:.1%} of their values at the steps of HR are "
        "missing"
    )
    return series


def set_convolution(departures: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """Spread departures over cells.

    Parameters
    ----------
    departures : (n, station), NaN where missing.
    kernels : (length, cell, station), from `gaussians`.

    Returns
    -------
    (n, cell, CHANNELS) float32: for each length the density, which is the sum of the kernels of stations with a value,
    and the mean of departures weighted by them; zero without stations.
    """
    present = np.isfinite(departures)
    channels = []
    for kernel in kernels:
        density = present.astype(float) @ kernel.T
        channels += [density, np.nan_to_num(departures) @ kernel.T / (density + LEAST_DENSITY)]
    return np.stack(channels, axis=-1).astype(np.float32)


def gaussians(cells: np.ndarray, places: np.ndarray, lengths: Iterable[float]) -> np.ndarray:
    """Gaussian kernels of the distance between unit vectors (cell, 3) and (station, 3): (length, cell, station).

    lengths : standard deviations in km.
    """
    chords = np.linalg.norm(cells[:, None] - places[None], axis=-1) * EARTH_RADIUS_KM
    return np.stack([np.exp(-0.5 * (chords / length) ** 2) for length in lengths])


def station_inputs(
    scaling: StationScaling, target: ValueTransform, lr: np.ndarray, pairs: Pairs, steps: np.ndarray
) -> np.ndarray:
    """Make the channels of stations at LR.

    lr : (n, y_lr, x_lr) of the steps, normalized and filled. steps : (n,) numbers into the times of the pairs.

    Returns
    -------
    (n, y_lr, x_lr, CHANNELS); zero where there are no stations.
    """
    n, *shape = lr.shape
    series = pairs.stations
    if series is None:
        return np.zeros((n, *shape, CHANNELS), np.float32)
    departures = target.forward(series.values[steps]) - series.interpolate(lr, pairs) - scaling.means_of(series.ids)
    kernels = gaussians(cell_vectors(pairs.lr_grid), series.places, scaling.lengths)
    return set_convolution(departures, kernels).reshape(n, *shape, CHANNELS)


def fit_scaling(
    pairs: Pairs, target: ValueTransform, blocks: Iterable[tuple[np.ndarray, FieldBlock]]
) -> StationScaling:
    """Fit to steps and blocks of the training part; raises DataError if no station has enough values there."""
    series = pairs.stations
    assert series is not None
    sums, counts = np.zeros(pairs.hr_grid.shape), np.zeros(pairs.hr_grid.shape)
    at_stations, at_cells = [], []
    cells = nearest_cells(pairs.hr_grid, series)
    for steps, block in blocks:
        lr = fill_missing(target.forward(block.lr), pairs.periodic)
        base = interpolate(lr, pairs.scale, pairs.interpolation, pairs.periodic)
        difference = target.forward(block.hr) - base
        sums += np.nansum(difference, axis=0)
        counts += np.isfinite(difference).sum(axis=0)
        at_stations.append(target.forward(series.values[steps]) - series.interpolate(lr, pairs))
        at_cells.append(difference[:, *cells])
    measured, of_cells = np.concatenate(at_stations), np.concatenate(at_cells)
    known = np.isfinite(measured).sum(axis=0) >= MIN_VALUES
    if not known.any():
        raise DataError(
            f"no station of data.stations has {MIN_VALUES} values in the training part",
            action="give other stations or another split, or leave out data.stations",
        )
    means = np.full(len(known), np.nan)
    means[known] = np.nanmean(measured[:, known], axis=0)
    cell_means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    noise = (measured - means) - (of_cells - cell_means[cells])
    noise = float(np.sqrt(np.mean(noise[np.isfinite(noise)] ** 2))) if np.isfinite(noise).any() else 0.0
    lengths = tuple(length * pairs.lr_grid.cell_size_km() for length in LENGTHS)
    return StationScaling(tuple(map(str, series.ids)), tuple(means.tolist()), cell_means.astype("f4"), noise, lengths)


def cell_vectors(grid: Grid) -> np.ndarray:
    """Unit vectors of the centres of all cells, row by row: (cell, 3)."""
    return to_vectors(*(side.ravel() for side in grid.lonlat()))


def positions(grid: Grid, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number places by fractions of rows and columns of a grid: (station,) each."""
    x, y = grid.from_lonlat(lon, lat)
    return cell_positions(y, grid.y), cell_positions(x, grid.x)


def _is_inside(grid: Grid, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    x, y = grid.from_lonlat(lon, lat)
    inside = np.isfinite(x) & np.isfinite(y)
    for at, centres in ((y, grid.y), (x, grid.x)):
        borders = edges(centres)
        inside &= (at >= borders.min()) & (at <= borders.max())
    return inside


def nearest_cells(grid: Grid, series: StationSeries) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the cells of a grid in which stations lie."""
    y, x = (
        np.clip(np.rint(at).astype(int), 0, cells - 1)
        for at, cells in zip(positions(grid, series.lon, series.lat), grid.shape, strict=True)
    )
    return y, x
