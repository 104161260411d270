"""Arrows of a vector field on a map: they point where the vector does on the screen, and are as long as it is large."""

from __future__ import annotations

import numpy as np
import xarray as xr

from app.plots.projection import Box, MapProjection
from app.plots.sampling import Sampling
from engine.data.grid_coordinates import grid_of
from engine.data.grids import Grid

ACROSS = 14  # arrows across a map at most; fewer where there are fewer cells
FURTHEST = 0.2  # of the width of a map: what moves more by a small step has crossed its edge
STEP = 0.01  # degrees, or of a cell
SMALLEST = 0.04  # of the largest: below that there is no arrow
HEAD = 0.35 * np.exp(1j * np.array([5, -5]) * np.pi / 6)  # both strokes of the tip, from the tip, along the arrow


def arrow_lines(field: xr.DataArray, projection: MapProjection, window: Box, largest: float) -> tuple[np.ndarray, ...]:
    """Draw arrows for a window of a map.

    Parameters
    ----------
    field : (y, x) complex, the first component + i times the second: to the east and the north, or, where its
        standard name doesn't say so, along x and y of the grid.
    largest : size of the vector whose arrow takes 1 / ACROSS of the width, whatever the cells.

    Returns
    -------
    x and y of one line on the map, with NaN between arrows; each arrow has its middle in the middle of a cell.
    """
    grid = grid_of(field)
    sampling = Sampling.of(grid, projection, window, ACROSS)
    values = field.transpose("y", "x").values
    vectors = (sampling.take(values.real) + 1j * sampling.take(values.imag)).ravel()
    left, bottom, width, height = sampling.bounds
    n_rows, n_columns = sampling.index.shape
    x, y = np.meshgrid(left + (np.arange(n_columns) + 0.5) * width / n_columns,
                       bottom + (np.arange(n_rows) + 0.5) * height / n_rows)  # fmt: skip
    is_drawn = np.abs(vectors) > SMALLEST * largest
    x, y, vectors = x.ravel()[is_drawn], y.ravel()[is_drawn], vectors[is_drawn]
    unit = np.array([1 / (window.east - window.west), 1 / window.aspect / (window.north - window.south)])  # of a width
    if "ward" in str(field.attrs.get("standard_name", "")):  # eastward, northward
        sides = _east_and_north(projection, x, y)
    else:
        sides = _along_grid(projection, grid, x, y)
    along, across = (unit[0] * (ends[0] - x) + 1j * unit[1] * (ends[1] - y) for ends in sides)
    with np.errstate(invalid="ignore", divide="ignore"):
        arrows = (vectors.real * along / np.abs(along) + vectors.imag * across / np.abs(across)) / ACROSS / largest
        is_near = (np.abs(along) < FURTHEST) & (np.abs(across) < FURTHEST) & np.isfinite(arrows)
    arrows = arrows[is_near]
    middles = (unit[0] * x + 1j * unit[1] * y)[is_near]
    tails, tips, gap = middles - arrows / 2, middles + arrows / 2, np.full(arrows.shape, np.nan + 1j * np.nan)
    points = np.stack([tails, tips, gap, tips + HEAD[0] * arrows, tips, tips + HEAD[1] * arrows, gap], axis=1).ravel()
    return points.real / unit[0], points.imag / unit[1]


def _east_and_north(projection: MapProjection, x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Where on the map one comes by a small step to the east, and to the north."""
    lon, lat = projection.to_lonlat(x, y)
    shortening = np.maximum(np.cos(np.deg2rad(lat)), 0.01)
    return [projection.from_lonlat(lon + STEP / shortening, lat), projection.from_lonlat(lon, lat + STEP)]


def _along_grid(
    projection: MapProjection, grid: Grid, x: np.ndarray, y: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Where on the map one comes by a small step along x, and along y of a grid."""
    across, along = projection.to_grid(grid, x, y)
    dx, dy = (STEP * np.abs(np.diff(centres)).mean() for centres in (grid.x, grid.y))
    return [projection.from_grid(grid, across + dx, along), projection.from_grid(grid, across, along + dy)]
