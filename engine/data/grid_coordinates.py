"""Grids as coordinates of xarray fields, with CF attributes."""

from __future__ import annotations

import numpy as np
import xarray as xr

from engine.data.grids import LATITUDE, LONGITUDE, CurvilinearGrid, Grid

GRID_MAPPING = "crs"  # name of the CF grid-mapping variable in what the engine hands on
LAT, LON = "lat", "lon"  # names of the 2-D coordinates of a curvilinear grid in what the engine hands on
ROW = {"long_name": "row", "units": "1", "axis": "Y"}
COLUMN = {"long_name": "column", "units": "1", "axis": "X"}


def grid_of(field: xr.DataArray) -> Grid:
    """Take the grid of a field with 1-D coordinates y and x, without references to their bounds."""
    y, x = (field[side].values.astype(float) for side in "yx")
    crs = dict(field[GRID_MAPPING].attrs) if GRID_MAPPING in field.coords else {}
    y_attrs, x_attrs = ({k: v for k, v in field[side].attrs.items() if k != "bounds"} for side in "yx")
    if LAT not in field.coords or LON not in field.coords:
        return Grid(y, x, crs, y_attrs, x_attrs)
    lat, lon = (field[name].transpose("y", "x").values.astype(float) for name in (LAT, LON))
    return CurvilinearGrid(y, x, {}, y_attrs, x_attrs, lat=lat, lon=lon)


def coordinates_of(grid: Grid) -> dict[str, xr.Variable]:
    """Make coordinates y and x; with the grid mapping of a projection, or latitude and longitude (y, x)."""
    coordinates = {"y": xr.Variable("y", grid.y, grid.y_attrs), "x": xr.Variable("x", grid.x, grid.x_attrs)}
    if grid.crs:
        coordinates[GRID_MAPPING] = xr.Variable((), np.int32(0), grid.crs)
    if isinstance(grid, CurvilinearGrid):
        for name, values, attrs in ((LAT, grid.lat, LATITUDE), (LON, grid.lon, LONGITUDE)):
            coordinates[name] = xr.Variable(("y", "x"), values, {k: v for k, v in attrs.items() if k != "axis"})
    return coordinates


def coordinate_references(grid: Grid, suffix: str = "") -> dict[str, str]:
    """Make the attributes by which a variable names its coordinates (CF section 5); `suffix` ends their names."""
    if isinstance(grid, CurvilinearGrid):
        return {"coordinates": f"{LAT}{suffix} {LON}{suffix}"}
    return {"grid_mapping": GRID_MAPPING} if grid.crs else {}


def without_suffix(lr: xr.DataArray) -> xr.DataArray:
    """Rename y_lr, x_lr and the other coordinates of LR in a results file as those of any field."""
    named = {str(name): str(name).removesuffix("_lr") for name in (*lr.dims, *lr.coords)}
    changed = {name: plain for name, plain in named.items() if name != plain}
    return lr.drop_vars(changed.values(), errors="ignore").rename(changed)
