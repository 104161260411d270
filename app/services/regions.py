"""A box on the map of a grid as a region of latitudes and longitudes, and a region as lines on that map."""

from __future__ import annotations

import math

import numpy as np

from engine.data.grids import Grid, edges
from engine.data.regions import cells_within
from engine.errors import GridError, MesoscopeError
from engine.spec import Region

POINTS = 61  # along each side of a region
KM_PER_DEGREE = 111.2
LEAST_SCALE = 2
Line = tuple[np.ndarray, np.ndarray]  # x and y in the grid's unit, with gaps


def region_of_box(grid: Grid, x: tuple[float, float], y: tuple[float, float]) -> Region:
    """Find the region that holds all cells whose centres lie in a box.

    x, y : two ends each, in any order, in the grid's unit.

    On latitude and longitude the region ends at the borders of these cells; on other grids it is the smallest that
    holds their centres, which may hold cells outside of the box too.

    Raises
    ------
    GridError
        If the box holds no centre.
    """
    rows = np.flatnonzero((grid.y >= min(y)) & (grid.y <= max(y)))
    columns = np.flatnonzero((grid.x >= min(x)) & (grid.x <= max(x)))
    if not len(rows) or not len(columns):
        raise GridError("the box holds no cell of the grid", action="draw a larger one on the map")
    if grid.is_lonlat:
        lat, lon = edges(grid.y)[rows[0] : rows[-1] + 2], edges(grid.x)[columns[0] : columns[-1] + 2]
        west, east = float(lon.min()), float(lon.max())
        south, north = max(float(lat.min()), -90.0), min(float(lat.max()), 90.0)
        return Region((_rounded(south), _rounded(north)), (_turned(west), _turned(east)))
    lon, lat = grid.select(rows, columns).lonlat()
    middle = float(lon[len(rows) // 2, len(columns) // 2])
    east_of_middle = (lon - middle + 180) % 360 - 180
    step = 10.0 ** math.floor(math.log10(grid.cell_size_km() / KM_PER_DEGREE / 10))
    south, north = _outward(float(lat.min()), float(lat.max()), step)
    west, east = _outward(middle + float(east_of_middle.min()), middle + float(east_of_middle.max()), step)
    return Region((max(south, -90.0), min(north, 90.0)), (_turned(west), _turned(east)))


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


def _outward(low: float, high: float, step: float) -> tuple[float, float]:
    """Round away from each other, so that what lies at an end stays inside."""
    return _rounded(math.floor(low / step) * step), _rounded(math.ceil(high / step) * step)


def _turned(longitude: float) -> float:
    """Count from -180 to 180."""
    return _rounded(longitude if -180 <= longitude <= 180 else (longitude + 180) % 360 - 180)


def _rounded(degrees: float) -> float:
    return round(degrees, 6)
