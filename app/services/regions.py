"""Cells of a region that can be trained on, and a region as lines on the map of a grid."""

from __future__ import annotations

import numpy as np

from engine.data.grids import Grid, edges
from engine.data.regions import cells_within
from engine.errors import MesoscopeError
from engine.spec import Region

POINTS = 61  # along each side of a region
LEAST_SCALE = 2
Line = tuple[np.ndarray, np.ndarray]  # x and y in the grid's unit, with gaps


def cells_of(grid: Grid, region: Region) -> Grid:
    """Give the cells that the engine takes of a grid; raises GridError if there are none."""
    return cells_within(grid, region)[2]


def trainable_cells(grid: Grid, region: Region, scale: int | None) -> Grid:
    """Give the cells that the engine takes of a grid; raises MesoscopeError if they make fewer than 2 × 2 LR cells.

    scale : HR cells per LR cell along each side; None where it isn't chosen yet, then as if it were 2.
    """
    cells, least = cells_of(grid, region), 2 * (scale or LEAST_SCALE)
    if min(cells.shape) < least:
        ny, nx = cells.shape
        raise MesoscopeError(
            f"this region holds {ny} × {nx} cells",
            hint=f"expected at least {least} a side, for 2 × 2 LR cells",
            action="draw a larger one",
        )
    return cells


def outline_of_region(grid: Grid, region: Region) -> Line:
    """Draw the two parallels and the two meridians of a region."""
    (south, north), (west, east) = region.lat, region.lon
    width = (east - west) % 360 or 360.0
    return _in_view(grid, *grid.from_lonlat(*_around(west, west + width, south, north)))


def outline_of_cells(grid: Grid, cells: Grid) -> Line:
    """Draw the border of some cells of a grid."""
    x, y = edges(cells.x), edges(cells.y)
    line = _around(float(x.min()), float(x.max()), float(y.min()), float(y.max()))
    return _in_view(grid, *(grid.from_lonlat(*line) if grid.is_lonlat else line))


def _around(west: float, east: float, south: float, north: float) -> Line:
    """Points around a box, from its south-western corner eastward and back."""
    across, along = np.linspace(west, east, POINTS), np.linspace(south, north, POINTS)
    x = [across, np.full(POINTS, east), across[::-1], np.full(POINTS, west)]
    y = [np.full(POINTS, south), along, np.full(POINTS, north), along[::-1]]
    return np.concatenate(x), np.concatenate(y)


def _in_view(grid: Grid, x: np.ndarray, y: np.ndarray) -> Line:
    """Gaps where a line jumps from one end of the grid to the other, and where it has no place on it."""
    x, y = (np.where(np.isfinite(x) & np.isfinite(y), side, np.nan) for side in (x, y))
    if grid.is_spherical:
        jumps = np.flatnonzero(np.abs(np.diff(x)) > 180) + 1
        x, y = np.insert(x, jumps, np.nan), np.insert(y, jumps, np.nan)
    return x, y
