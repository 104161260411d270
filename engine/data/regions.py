"""Cells of a grid that lie in a region given by latitudes and longitudes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.data.grids import Grid, spacing
from engine.errors import GridError
from engine.spec import Region

EDGE_TOLERANCE = 1e-6  # degrees: a centre this near a region's border is inside


def cells_within(grid: Grid, region: Region) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Find the cells whose centres lie in a region of latitudes and longitudes.

    Returns
    -------
    Rows and columns to take, in order, and the grid of these. Across the seam of the longitudes the columns
    come in a new order, and the grid counts longitudes on beyond it.

    Raises
    ------
    GridError
        If there are none, or their longitudes leave a gap.
    """
    rows, columns = _lonlat_box(grid, region) if grid.is_lonlat else _smallest_box(grid, region)
    if not len(rows) or not len(columns):
        lon, lat = grid.lonlat()
        raise GridError(
            f"data.region is lat {region.lat[0]:g} to {region.lat[1]:g}, lon {region.lon[0]:g} to {region.lon[1]:g}, "
            f"but the data cover lat {lat.min():g} to {lat.max():g}, lon {lon.min():g} to {lon.max():g}",
            action="choose a region within them",
        )
    chosen = grid.select(rows, columns)
    return rows, columns, replace(chosen, x=_unwrap_longitudes(chosen.x, grid)) if grid.is_lonlat else chosen


def _smallest_box(grid: Grid, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Give rows and columns of the smallest box of a grid with all centres that lie in the region."""
    lon, lat = grid.lonlat()
    (south, north), (west, east) = region.lat, region.lon
    inside = (lat >= south) & (lat <= north) & ((lon - west) % 360 <= _width(west, east))
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    return tuple(np.arange(n.min(), n.max() + 1) if len(n) else n for n in (rows, columns))  # type: ignore[return-value]


def _lonlat_box(grid: Grid, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Give rows and columns whose centres lie in the region; columns from west to east, as the grid counts."""
    (south, north), (west, east) = region.lat, region.lon
    rows = np.flatnonzero((grid.y >= south - EDGE_TOLERANCE) & (grid.y <= north + EDGE_TOLERANCE))
    eastward = (grid.x - west + EDGE_TOLERANCE) % 360
    columns = np.flatnonzero(eastward <= _width(west, east) + 2 * EDGE_TOLERANCE)
    order = np.argsort(eastward[columns])
    return rows, columns[order if grid.x[-1] >= grid.x[0] else order[::-1]]


def _width(west: float, east: float) -> float:
    """Measure degrees eastward from west to east; a whole turn if both are the same meridian."""
    return (east - west) % 360 or 360.0


def _unwrap_longitudes(x: np.ndarray, grid: Grid) -> np.ndarray:
    """Count longitudes on beyond 360°; raises GridError where a step is far wider than a cell."""
    unwrapped = np.unwrap(x, period=360)
    if len(x) > 1 and np.abs(np.diff(unwrapped)).max() > 2 * spacing(grid.x):
        raise GridError(
            f"data.region reaches across longitudes without data (the data cover {grid.extent()})",
            action="choose a region that doesn't cross their border",
        )
    return unwrapped
