"""Cells of a grid that lie in a region given by latitudes and longitudes, and the region that holds cells."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import xarray as xr

from engine.data.grid_coordinates import coordinates_of, grid_of
from engine.data.grids import Grid, edges, spacing
from engine.data.hr_template import describe_shape
from engine.data.lazy import apply_lazily
from engine.errors import GridError
from engine.spec import DataOptions, Region

EDGE_TOLERANCE = 1e-6  # degrees: a centre this near a region's border is inside
KM_PER_DEGREE = 111.2
Ends = tuple[float, float] | np.ndarray


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


def region_of_box(grid: Grid, x: Ends, y: Ends) -> Region:
    """Find the region that holds all cells whose centres lie in a box.

    x, y : two ends or more each, in any order, in the grid's unit.

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
        return Region((_rounded(south), _rounded(north)), (_from_minus_180(west), _from_minus_180(east)))
    lon, lat = grid.select(rows, columns).lonlat()
    middle = float(lon[len(rows) // 2, len(columns) // 2])
    east_of_middle = (lon - middle + 180) % 360 - 180
    step = 10.0 ** math.floor(math.log10(grid.cell_size_km() / KM_PER_DEGREE / 10))
    south, north = _rounded_outward(float(lat.min()), float(lat.max()), step)
    west, east = _rounded_outward(middle + float(east_of_middle.min()), middle + float(east_of_middle.max()), step)
    return Region((max(south, -90.0), min(north, 90.0)), (_from_minus_180(west), _from_minus_180(east)))


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


def _rounded_outward(low: float, high: float, step: float) -> tuple[float, float]:
    """Round away from each other, so that what lies at an end stays inside."""
    return _rounded(math.floor(low / step) * step), _rounded(math.ceil(high / step) * step)


def _from_minus_180(longitude: float) -> float:
    """Count from -180 to 180."""
    return _rounded(longitude if -180 <= longitude <= 180 else (longitude + 180) % 360 - 180)


def _rounded(degrees: float) -> float:
    return round(degrees, 6)


def in_region(target: xr.DataArray, options: DataOptions, notes: list[str]) -> xr.DataArray:
    """Take the part of HR in `data.region`."""
    if not options.region:
        return target
    rows, columns, grid = cells_within(grid_of(target), options.region)
    notes.append(f"data.region: {grid} of {grid_of(target)}")
    return target.isel(y=rows, x=columns).assign_coords(coordinates_of(grid))


def fit_to_scale(target: xr.DataArray, options: DataOptions, notes: list[str]) -> xr.DataArray:
    """Make the sides of HR multiples of the scale: crop (perfect-prog) or extend by missing cells (mos)."""
    grid = grid_of(target)
    new = grid.crop(options.scale) if options.pairing == "perfect-prog" else grid.extend(options.scale)
    if min(new.shape) < 2 * options.scale:
        raise GridError(
            f"HR has {describe_shape(grid)} cells, which at scale {options.scale} gives fewer than 2 × 2 LR cells",
            hint=f"expected at least {2 * options.scale} cells a side",
            action="choose a smaller scale or a larger region",
        )
    if new.shape == grid.shape:
        return target
    change = "cropped" if new.shape < grid.shape else "extended by missing cells"
    notes.append(
        f"HR {change} from {describe_shape(grid)} to {describe_shape(new)} cells, multiples of scale {options.scale}"
    )
    if options.pairing == "perfect-prog":
        return target.isel(y=slice(new.shape[0]), x=slice(new.shape[1]))
    added = [(0, new.shape[k] - grid.shape[k]) for k in range(2)]

    def extend(values: np.ndarray) -> np.ndarray:
        return np.pad(values, [(0, 0)] * (values.ndim - 2) + added, constant_values=np.nan)

    return apply_lazily(target, extend, coordinates_of(new))
