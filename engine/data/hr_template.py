"""HR grid of a trained run with its static variables, and how static variables come onto a grid."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import xarray as xr

from engine.data.grid_coordinates import coordinates_of, grid_of
from engine.data.grids import Grid
from engine.data.resample import regrid
from engine.errors import GridError

MIN_CELLS_FOR_MEAN = 2  # of the source along a new cell: from here on its mean is taken, not a sample


@dataclass(frozen=True)
class HrTemplate:
    """HR grid, target and static variables of a trained run, so that new LR data can be downscaled without HR.

    hr : (y, x) on the HR grid, with the name and attributes of the target; its values don't matter.
    static : (y, x) each.
    data_shape : rows and columns of the HR grid that held data.
    predictor_units : that the network learned from; None in runs made before these were recorded.
    partner : as hr, of the second component of a vector.
    """

    hr: xr.DataArray
    static: tuple[xr.DataArray, ...]
    data_shape: tuple[int, int]
    predictor_units: tuple[str, ...] | None = None
    partner: xr.DataArray | None = None

    def onto(self, grid: Grid) -> HrTemplate:
        """Make a template on another grid, without values of HR; raises GridError if static variables end before it."""
        empty = np.broadcast_to(np.float32(np.nan), grid.shape)
        hr = xr.DataArray(empty, coordinates_of(grid), ("y", "x"), self.hr.name, self.hr.attrs)
        static = tuple(regrid_to_hr(field, grid, grid, []).compute() for field in self.static)
        return dataclasses.replace(self, hr=hr, static=static, data_shape=grid.shape)


def regrid_to_hr(field: xr.DataArray, grid: Grid, needed: Grid, notes: list[str]) -> xr.DataArray:
    """Bring a static variable onto the HR grid, lazily; it may end up to one of its cells before `needed` does."""
    given = grid_of(field)
    if given.is_close_to(grid):
        return field.assign_coords(coordinates_of(grid))
    method = "area" if given.cell_size_km() * MIN_CELLS_FOR_MEAN <= grid.cell_size_km() else "bilinear"
    if not given.is_close_to(needed):
        cells = f"{describe_shape(given)} cells) regridded to the {describe_shape(grid)} HR cells"
        notes.append(f"{field.name} ({cells} by {method}")
    try:
        return regrid(field, grid, method, needed)
    except GridError:
        on_grid = regrid(field, grid, method, needed, beyond=1.0)
        notes.append(f"{field.name} ends within one of its cells before HR does: it goes on with its outermost value")
        return on_grid


def describe_shape(grid: Grid) -> str:
    return f"{grid.shape[0]} × {grid.shape[1]}"
