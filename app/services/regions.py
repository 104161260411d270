"""A box or line on the map of a grid as a region or polygon of latitudes and longitudes, and these as lines on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely

from engine.data.grids import Grid, edges
from engine.data.regions import cells_within
from engine.errors import GridError, MesoscopeError
from engine.evaluation.conditions import MOST_CORNERS
from engine.spec import Region

POINTS = 61  # along each side of a region
LEAST_SCALE = 2
Line = tuple[np.ndarray, np.ndarray]  # x and y in the grid's unit, with gaps


def cells_in_polygon(grid: Grid, corners: Sequence[tuple[float, float]]) -> np.ndarray:
    """Find the cells (y, x) whose centres lie in a polygon; sides are straight in latitude and longitude.

    corners : latitude and longitude of each; of sides that cross, what is inside is what a path leaves crossing one.
    """
    lat, lon = np.array(corners).T
    lon = np.unwrap(lon, period=360)
    middle = (lon.min() + lon.max()) / 2
    x, y = grid.lonlat()
    area = shapely.make_valid(shapely.Polygon(np.column_stack([lon, lat])))
    shapely.prepare(area)
    return shapely.contains_xy(area, (x - middle + 180) % 360 - 180 + middle, y)


def polygon_of(lon: np.ndarray, lat: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Simplify a drawn line to latitude and longitude of at most `MOST_CORNERS` corners.

    Source: Douglas and Peucker (1973), Cartographica 10, 112; corners are rounded to a thousandth of its width.

    Raises
    ------
    GridError
        If the line has no place on the globe, or encloses nothing.
    """
    known = np.isfinite(lon) & np.isfinite(lat)
    lon, lat = np.unwrap(lon[known], period=360), lat[known]
    width = max(np.ptp(lon), np.ptp(lat)) if len(lon) else 0.0
    step = 10.0 ** math.floor(math.log10(width / 1000)) if width else 1.0
    drawn, tolerance = shapely.LineString(np.column_stack([lon, lat]) if len(lon) > 1 else None), step
    line = drawn.simplify(tolerance, preserve_topology=False)
    while len(shapely.get_coordinates(line)) > MOST_CORNERS:
        tolerance *= 1.5
        line = drawn.simplify(tolerance, preserve_topology=False)
    lon, lat = shapely.get_coordinates(line).T
    corners = np.column_stack([lat, (lon + 180) % 360 - 180]).round(max(0, -round(math.log10(step))))
    polygon = tuple(dict.fromkeys((float(each[0]), float(each[1])) for each in corners))
    if len(polygon) < 3:
        raise GridError("the drawn line encloses no area of the globe", action="draw a larger one on the map")
    return polygon


def outline_of_polygon(grid: Grid, corners: Sequence[tuple[float, float]]) -> Line:
    """Draw the sides of a polygon, given by latitude and longitude of its corners."""
    lat, lon = np.array(corners).T
    return _in_view(grid, *grid.from_lonlat(*along(np.unwrap(lon, period=360), lat)))


def along(x: np.ndarray, y: np.ndarray) -> Line:
    """Give points along the sides of a polygon, from its first corner back to it."""
    at = np.linspace(0, len(x), 10 * len(x) + 1)
    closed_x, closed_y = (np.interp(at, np.arange(len(x) + 1), [*side, side[0]]) for side in (x, y))
    return closed_x, closed_y


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
    return _in_view(grid, *grid.from_lonlat(*_box_border(west, west + width, south, north)))


def outline_of_cells(grid: Grid, cells: Grid) -> Line:
    """Draw the border of some cells of a grid."""
    x, y = edges(cells.x), edges(cells.y)
    line = _box_border(float(x.min()), float(x.max()), float(y.min()), float(y.max()))
    return _in_view(grid, *(grid.from_lonlat(*line) if grid.is_lonlat else line))


def _box_border(west: float, east: float, south: float, north: float) -> Line:
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
