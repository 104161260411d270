"""Downscaling to any grid or any points, with a network that learned several scales; in blocks of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from engine.data.fields import open_field
from engine.data.gaps import fill_missing
from engine.data.grid_coordinates import grid_of
from engine.data.grids import CurvilinearGrid, Grid, edges
from engine.data.hr_template import HrTemplate
from engine.data.kernels import cell_positions
from engine.data.netcdf import netcdf_file
from engine.data.normalizer import Normalizer
from engine.data.regrid_weights import centres_in, weights_between
from engine.data.resample import check_covers
from engine.data.samples import Samples
from engine.data.times import in_blocks
from engine.errors import DataError, RequestError, TimeError
from engine.evaluation.predict import bounded, create_results
from engine.evaluation.tiles import Box
from engine.files import whole_file
from engine.models.implicit import InterpolationAt
from engine.models.receptive_field import Reach
from engine.spec import Source
from engine.training.memory_budget import HR_CELLS_AT_ONCE

CELLS_AT_ONCE = HR_CELLS_AT_ONCE // 5  # of all samples: the four cells around a point each have values of their own
PRODUCTS = ("downscaled", "interpolated")
ROUNDING = 1e-6  # of a cell


@dataclass(frozen=True)
class Destination:
    """Target of a downscaling: a scale from 1 on, the grid of a file, or the points of a table; one of them."""

    scale: float | None = None
    grid: Path | None = None
    points: Path | None = None

    def cells(self, lr_grid: Grid) -> Grid:
        """Give the cells, of points one to each row; raises DataError or RequestError if there are none."""
        if self.points:
            return read_points(self.points)
        if self.grid:
            return _grid_of(self.grid)
        scale = self.scale or 0.0
        if not 1 <= scale <= 64:
            raise RequestError(f"--scale is {scale:g}", hint="expected a number from 1 to 64")
        return refine(lr_grid, scale)


@dataclass(frozen=True)
class Places:
    """Cells to downscale to, as a network is given them: (y, x) each, and static variables (y, x, variables).

    rows, columns : in LR cells, from the centre of the first one. sides : of the cells, in LR cells.
    mask : where HR of the training has values; learned_lr : where LR had values in training.
    """

    rows: np.ndarray
    columns: np.ndarray
    sides: np.ndarray
    static: np.ndarray
    mask: np.ndarray
    learned_lr: np.ndarray

    @classmethod
    def of(cls, cells: Grid, are_points: bool, lr_grid: Grid, template: HrTemplate, normalizer: Normalizer) -> Places:
        """Find cells in LR, and the run's static variables and mask there; raises GridError if they lie outside.

        Points are taken for cells as wide as those of HR in the training.
        """
        hr_grid = grid_of(template.hr)
        check_covers(lr_grid, cells, "LR")
        if template.static or not normalizer.mask.all():
            check_covers(hr_grid, cells, "HR of the run, with its static variables and gaps,")
        rows, columns = positions(lr_grid, cells)
        nearest = _nearest(rows, lr_grid.shape[0]), _nearest(columns, lr_grid.shape[1])
        areas = np.full(cells.shape, hr_grid.cell_size_km() ** 2) if are_points else cells.cell_areas()
        sides = np.sqrt(areas / lr_grid.cell_areas()[nearest])
        static = [
            np.nan_to_num(transform.forward(_static_at(hr_grid, field.values, cells, are_points)))
            for transform, field in zip(normalizer.static, template.static, strict=True)
        ]
        at_hr = tuple(_nearest(at, n) for at, n in zip(positions(hr_grid, cells), hr_grid.shape, strict=True))
        mask = learned = normalizer.mask[at_hr]
        if normalizer.lr_mask is not None:
            scales = (n // n_lr for n, n_lr in zip(hr_grid.shape, normalizer.lr_mask.shape, strict=True))
            learned = normalizer.lr_mask[tuple(at // scale for at, scale in zip(at_hr, scales, strict=True))]
        stacked = np.stack(static, -1) if static else np.zeros((*cells.shape, 0))
        return cls(rows, columns, sides, stacked.astype(np.float32), mask, learned)

    def query(self, box: Box, corner: tuple[int, int]) -> tf.Tensor:
        """Give the query of some cells, counted from an LR cell: (1, y, x, 3)."""
        parts = self.rows[box] - corner[0], self.columns[box] - corner[1], self.sides[box]
        return tf.constant(np.stack(parts, axis=-1)[None], tf.float32)


@dataclass(frozen=True)
class PlaceDownscaler:
    """Networks of `at_points` that turn samples into fields at places, in the target's unit.

    reach : None if the networks have to be given the whole LR field.
    """

    networks: Sequence[keras.Model]
    reach: Reach | None
    bound: str
    kernel: str

    def fields(self, samples: Samples, rows: np.ndarray, places: Places) -> dict[str, np.ndarray]:
        """Predict PRODUCTS of some samples: (sample, y, x) each; NaN where HR never has a value, or LR is missing."""
        inputs, block = samples.read(rows)
        shape, periodic = samples.pairs.lr_grid.shape, samples.pairs.periodic
        at_lr = np.broadcast_to(samples.static, (len(rows), *shape, samples.static.shape[-1]))
        given = np.concatenate([inputs, at_lr], axis=-1, dtype=np.float32)
        lr, target = fill_missing(block.lr, periodic)[..., None], samples.normalizer.target
        interpolation = InterpolationAt(self.kernel, shape[1] if periodic else None)
        made = {name: np.empty((len(rows), *places.rows.shape), np.float32) for name in PRODUCTS}
        for box in _boxes(places.rows.shape, CELLS_AT_ONCE // len(rows)):
            window = self._window(places, box, shape, periodic)
            query, static = places.query(box, (window[0].start, window[1].start)), places.static[box][None]
            points = [tf.constant(given[:, *window]), tf.constant(static), query]
            scaled = np.mean([network(points, training=False)[..., 0] for network in self.networks], axis=0)
            made["downscaled"][:, *box] = target.inverse(scaled)
            made["interpolated"][:, *box] = interpolation([tf.constant(lr[:, *window]), query])[..., 0]
        nearest = (_nearest(places.rows, shape[0]), _nearest(places.columns, shape[1]))
        is_empty = np.isnan(block.lr).all((1, 2)) | np.isnan(block.predictors).all((1, 2)).any(-1)
        missing = np.isnan(block.lr)[:, *nearest] & places.learned_lr | is_empty[:, None, None]
        return {
            name: np.where(missing, np.float32(np.nan), bounded(values, places.mask, self.bound))
            for name, values in made.items()
        }

    def _window(self, places: Places, box: Box, lr_shape: tuple[int, int], periodic: bool) -> Box:
        """Choose the LR cells that the network has to be given for some places: all columns around the globe."""
        if self.reach is None:
            return slice(0, lr_shape[0]), slice(0, lr_shape[1])
        rows, columns = (
            _cells_seen_from(at[box], cells, self.reach)
            for at, cells in zip((places.rows, places.columns), lr_shape, strict=True)
        )
        return rows, slice(0, lr_shape[1]) if periodic else columns


def write_at_places(
    path: Path, downscaler: PlaceDownscaler, samples: Samples, cells: Grid, are_points: bool, places: Places, title: str
) -> None:
    """Write PRODUCTS of all samples at places as CF NetCDF, which appears whole; points have the dimension y."""
    pairs = replace(samples.pairs, hr_grid=cells, data_shape=cells.shape)
    with whole_file(path) as sibling:
        create_results(sibling, replace(samples, pairs=pairs), title, PRODUCTS)
        for rows in in_blocks(np.arange(len(samples)), cells.shape, CELLS_AT_ONCE):
            fields = downscaler.fields(samples, rows, places)
            with netcdf_file(sibling, "a") as file:
                for name, values in fields.items():
                    file[name][rows] = values


def refine(grid: Grid, scale: float) -> Grid:
    """Divide a grid into cells `scale` times finer from its first edge on, without those that reach beyond its last."""
    axes = []
    for centres in (grid.y, grid.x):
        many = math.floor(len(centres) * scale + ROUNDING)
        borders, numbers = edges(centres), np.arange(len(centres))
        known = np.concatenate([borders[:1], centres, borders[-1:]])
        at = (np.arange(many) + 0.5) / scale - 0.5
        axes.append(np.interp(at, np.concatenate([[-0.5], numbers, [len(centres) - 0.5]]), known))
    y, x = axes
    if isinstance(grid, CurvilinearGrid):
        lon, lat = grid.to_lonlat(*np.meshgrid(x, y))
        return replace(grid, y=y, x=x, lat=lat, lon=lon)
    return replace(grid, y=y, x=x)


def positions(grid: Grid, cells: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Number rows and columns of `cells` by fractions of those of a grid: (y, x) each."""
    y, x = centres_in(grid, cells)
    rows, columns = cell_positions(y, grid.axis("y")), cell_positions(x, grid.axis("x"))
    if len(rows) * len(columns) == math.prod(cells.shape):
        rows, columns = np.meshgrid(rows, columns, indexing="ij")
    return rows.reshape(cells.shape), columns.reshape(cells.shape)


def read_points(path: Path) -> Grid:
    """Read a table (CSV) with the columns lat and lon, in degrees: one row of a grid for each point."""
    try:
        table = pd.read_csv(path)
        lat, lon = (table[name].to_numpy(float)[:, None] for name in ("lat", "lon"))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path} can't be read as points ({error})", hint="expected a CSV table with the columns lat and lon"
        ) from None
    if not len(lat) or not (np.isfinite(lat).all() and np.isfinite(lon).all()):
        raise DataError(f"{path} has no points, or some without lat or lon")
    return CurvilinearGrid(np.arange(len(lat), dtype=float), np.zeros(1), lat=lat, lon=lon)


def _grid_of(path: Path) -> Grid:
    try:
        return grid_of(open_field(Source(str(path)), static=True))
    except TimeError:
        return grid_of(open_field(Source(str(path)), undated=True))


def _static_at(grid: Grid, values: np.ndarray, cells: Grid, are_points: bool) -> np.ndarray:
    """Bring a static variable onto cells: the mean where they are coarser, else between its centres."""
    if grid.is_close_to(cells):
        return values
    is_coarser = not are_points and cells.cell_size_km() >= 1.5 * grid.cell_size_km()
    return weights_between(grid, cells, "area" if is_coarser else "bilinear").apply(values)


def _nearest(at: np.ndarray, cells: int) -> np.ndarray:
    return np.clip(np.rint(at).astype(int), 0, cells - 1)


def _boxes(shape: tuple[int, int], cells: int) -> Iterator[Box]:
    """Cut cells into boxes, square where both sides are long enough."""
    side = max(1, math.isqrt(cells))
    height = min(shape[0], max(side, cells // shape[1]))
    width = min(shape[1], max(1, cells // height))
    for row in range(0, shape[0], height):
        for column in range(0, shape[1], width):
            yield slice(row, row + height), slice(column, column + width)


def _cells_seen_from(at: np.ndarray, cells: int, reach: Reach) -> slice:
    """Choose the cells along a side that a network sees from some places, from a multiple of `align` on."""
    beyond = reach.halo + 1  # between two of the places that `reach` counts
    first = max(0, math.floor(at.min()) - beyond) // reach.align * reach.align
    return slice(first, min(cells, math.ceil(at.max()) + beyond + 1))
