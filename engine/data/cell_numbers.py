"""Rows and columns as coordinates of a field whose latitude and longitude are two-dimensional."""

from __future__ import annotations

import cf_xarray  # noqa: F401 (gives xarray its .cf accessor)
import numpy as np
import xarray as xr

from engine.data import spherical_cells
from engine.data.axes import CORNERS, NUMERIC_KINDS
from engine.data.grid_coordinates import COLUMN, LAT, LON, ROW, grid_of
from engine.data.grids import CurvilinearGrid
from engine.errors import GridError

Places = dict[str, xr.Variable]  # "lat" and "lon" in degrees, over y and x


def number_cells(
    dataset: xr.Dataset, field: xr.DataArray, path: str, notes: list[str]
) -> tuple[xr.DataArray, Places] | None:
    """Give a field its row and column numbers as coordinates, and its latitudes and longitudes apart.

    Returns
    -------
    None if the file has no two-dimensional latitude and longitude over two dimensions of the field.

    Raises
    ------
    GridError
        If they are missing in some cells, no degrees, or change with time.
    """
    names = _places_of(dataset, field)
    if names is None:
        return None
    lat, lon = (_fixed(dataset[name].variable, f"{name} in {path}") for name in names)
    dims, lon = lat.dims, lon.transpose(*lat.dims)
    if (least := min(lat.shape)) < 2:
        raise GridError(
            f"{names[0]} in {path} has {least} cells along one side", hint="expected two or more along both"
        )
    for name, values, limit in ((names[0], lat.values, 90.0), (names[1], lon.values, 540.0)):
        if unknown := int((~(np.abs(values) <= limit + 1e-3)).sum()):
            raise GridError(
                f"{name} in {path} is missing, or no degrees, in {unknown} of {values.size} cells",
                hint="expected the place of each cell",
                action="choose the part of the grid that has them first (Python: dataset.isel(…))",
            )
    notes.append(f"{field.name} in {path} is curvilinear: latitude and longitude from {names[0]} and {names[1]}")
    numbered = field.drop_vars([name for name, coord in field.coords.items() if set(dims) & set(coord.dims)])
    sides = zip(dims, lat.shape, (ROW, COLUMN), strict=True)
    numbers = {dim: xr.Variable(dim, np.arange(n), attrs) for dim, n, attrs in sides}
    places = {name: xr.Variable(("y", "x"), side.values) for name, side in ((LAT, lat), (LON, lon))}
    return numbered.assign_coords(numbers), places


def without_repeats(field: xr.DataArray, where: str, notes: list[str]) -> xr.DataArray:
    """Leave out rows and columns that repeat others, where a global grid closes; raises GridError where it folds."""
    grid = grid_of(field)
    if not isinstance(grid, CurvilinearGrid):
        return field
    centres = spherical_cells.to_vectors(*grid.lonlat())
    rows, columns = spherical_cells.without_repeats(centres, where)
    spherical_cells.check_unfolded(centres[rows, columns], where)
    chosen = field.isel(y=rows, x=columns)
    if chosen.shape != field.shape:
        left = " × ".join(str(chosen.sizes[side]) for side in "yx")
        notes.append(f"outer rows and columns of {where} repeat others and are left out: {left} cells remain")
    return chosen


def _places_of(dataset: xr.Dataset, field: xr.DataArray) -> tuple[str, str] | None:
    """Find the names of latitude and longitude over two dimensions of the field, with or without time in front."""
    over_cells = [
        str(name)
        for name, data in dataset.variables.items()
        if data.ndim in (2, 3) and set(data.dims) <= set(field.dims) and data.dtype.kind in NUMERIC_KINDS
        if name != field.name and not CORNERS.fullmatch(str(name))
    ]
    described = xr.Dataset(coords={name: dataset.variables[name] for name in over_cells}).cf.guess_coord_axis()
    known = described.cf.coordinates
    for lat in known.get("latitude", []):
        for lon in known.get("longitude", []):
            if set(dataset[lat].dims[-2:]) == set(dataset[lon].dims[-2:]):
                return str(lat), str(lon)
    return None


def _fixed(side: xr.Variable, where: str) -> xr.Variable:
    """Read latitudes or longitudes (y, x) in degrees; of those that are given for each time step, the first."""
    values = side[[0, -1]].values.astype(float) if side.ndim == 3 else side.values.astype(float)[None]
    if not np.allclose(values[0], values[-1], rtol=0, atol=1e-4, equal_nan=True):
        raise GridError(f"{where} changes with time", hint="expected a grid that doesn't move")
    is_radian = str(side.attrs.get("units", "")).strip().lower() in ("rad", "radian", "radians")
    return xr.Variable(side.dims[-2:], np.rad2deg(values[0]) if is_radian else values[0])
