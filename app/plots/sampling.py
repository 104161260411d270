"""Pixels of a map: the cell under each is found once, then taken at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.plots.projection import Box, MapProjection
from engine.data.grids import CurvilinearGrid, Grid, edges

UNEVEN = 0.03  # axes whose cell widths differ by more than this share are drawn on an even axis
N_COLOURS = 255  # one byte a cell, of which the last value means missing
MISSING = 255


@dataclass(frozen=True, eq=False)
class Sampling:
    """The cell of a grid under each pixel of a map.

    index : (rows from the south, columns from the west) into the grid's flattened (ny, nx); -1 outside of it.
    left, bottom, right, top : edges of the outermost pixels, in map coordinates.
    """

    index: np.ndarray
    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def of(cls, grid: Grid, projection: MapProjection, window: Box, pixels: int) -> Sampling:
        """Sample a grid for a window that is that many pixels wide: cells as they are, or one value a pixel.

        On its own projection, a grid whose cells are wider than pixels keeps them; the nearest cell is taken
        otherwise, so that every value on the map is a value of the field.
        """
        rows_wanted = max(round(pixels / window.aspect), 1)
        if projection.crs is None:
            x, y = projection.from_grid(grid, grid.x, grid.y)
            columns, left, right = _axis(x, window.west, window.east, pixels)
            rows, bottom, top = _axis(y, window.south, window.north, rows_wanted)
            return cls((rows[:, None] * len(grid.x) + columns).astype(np.int32), left, bottom, right, top)
        x = _middles(window.west, window.east, pixels)
        y = _middles(window.south, window.north, rows_wanted)
        if isinstance(grid, CurvilinearGrid):
            index = grid.cells_at(*projection.to_lonlat(*np.meshgrid(x, y))).astype(np.int32)
            return cls(index, window.west, window.south, window.east, window.north)
        x, y = projection.to_grid(grid, *np.meshgrid(x, y))
        rows, columns = cell_index(grid.y, y), cell_index(grid.x, x)
        index = np.where((rows >= 0) & (columns >= 0), rows * len(grid.x) + columns, -1).astype(np.int32)
        return cls(index, window.west, window.south, window.east, window.north)

    def take(self, values: np.ndarray) -> np.ndarray:
        """Take the values (ny, nx) of a field: float32 (rows, columns), NaN where there is none."""
        taken = np.asarray(values, dtype="float32").ravel()[self.index]
        return np.where(self.index < 0, np.float32(np.nan), taken) if (self.index < 0).any() else taken

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left and bottom edge, width and height, in map coordinates."""
        return self.left, self.bottom, self.right - self.left, self.top - self.bottom


def to_colours(values: np.ndarray, clim: tuple[float, float]) -> np.ndarray:
    """Number of the colour (0 to 254) of each value between the ends of a range; 255 where it is missing."""
    low, high = clim
    with np.errstate(invalid="ignore"):
        scaled = np.clip((values - low) * ((N_COLOURS - 1) / (high - low)) + 0.5, 0, N_COLOURS - 1)
        return np.where(np.isnan(values), MISSING, scaled).astype(np.uint8)


def mark_faint(colours: np.ndarray, faint: np.ndarray) -> np.ndarray:
    """Number of each colour of `to_colours` among those of `colours.with_faint`, a faint one where `faint`."""
    halved = colours // 2
    chosen = np.where(faint, N_COLOURS // 2 + np.maximum(halved, 1), halved)
    return np.where(colours == MISSING, MISSING, chosen).astype(np.uint8)


def _axis(centres: np.ndarray, low: float, high: float, pixels: int) -> tuple[np.ndarray, float, float]:
    """Indices of the cells along a rising axis of a window, and where the first begins and the last ends."""
    order = np.argsort(centres)
    borders = edges(centres[order])
    first = int(np.clip(np.searchsorted(borders, low, side="right") - 1, 0, len(centres) - 1))
    last = int(np.clip(np.searchsorted(borders, high, side="left"), first + 1, len(centres)))
    widths = np.diff(borders[first : last + 1])
    if last - first <= pixels and widths.max() <= widths.min() * (1 + UNEVEN):
        return order[first:last], float(borders[first]), float(borders[last])
    start, stop = max(low, float(borders[first])), min(high, float(borders[last]))
    if start >= stop:
        start, stop = float(borders[first]), float(borders[last])
    inside = max(min(pixels, round(pixels * (stop - start) / (high - low))), 1)
    middles = _middles(start, stop, inside)
    return order[np.clip(np.searchsorted(borders, middles, side="right") - 1, 0, len(centres) - 1)], start, stop


def cell_index(centres: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Find the index of the cell that each coordinate lies in; -1 outside of the axis and for NaN."""
    order = np.argsort(centres)
    borders = edges(centres[order])
    place = np.searchsorted(borders, at, side="right") - 1
    inside = (place >= 0) & (place < len(centres)) & np.isfinite(at)
    return np.where(inside, order[np.clip(place, 0, len(centres) - 1)], -1)


def _middles(low: float, high: float, n: int) -> np.ndarray:
    return low + (np.arange(n) + 0.5) * (high - low) / n
