"""Vectors: two components on the same cells, as eastward and northward wind."""

from __future__ import annotations

import numpy as np
import xarray as xr

from engine.data.grid_coordinates import grid_of
from engine.errors import DataError, GridError

# Parts of CF standard names (table 85): components that lie along longitude or x, and those along latitude or y.
FIRST, SECOND = ("eastward", "_x_"), ("northward", "_y_")


def where_both(fields: list[np.ndarray]) -> list[np.ndarray]:
    """Take both components of a vector where both have a value; a single field as it is."""
    if len(fields) == 1:
        return fields
    valid = np.logical_and(*map(np.isfinite, fields))
    return [np.where(valid, field, np.float32(np.nan)) for field in fields]


def check_components(first: xr.DataArray, second: xr.DataArray) -> None:
    """Check that the second component of a vector fits the first.

    Raises
    ------
    GridError
        If they are on different grids, as on a staggered one.
    DataError
        If their CF standard names say that they are in the wrong order, or the same.
    """
    grids = grid_of(first), grid_of(second)
    if not grids[1].is_close_to(grids[0]):
        raise GridError(
            f"data.target_v is on another grid ({grids[1]}) than data.target ({grids[0]})",
            hint="expected both components at the same cells",
            action="bring both to the centres of cells first (staggered: average the neighbouring edges)",
        )
    names = [f"_{field.attrs.get('standard_name', '')}_" for field in (first, second)]
    if any(part in names[0] for part in SECOND) or any(part in names[1] for part in FIRST):
        raise DataError(
            f"data.target is {first.name} ({names[0].strip('_')}), data.target_v is {second.name} "
            f"({names[1].strip('_')})",
            hint="expected the eastward component, or that along x, as data.target, and the other as data.target_v",
            action="exchange them",
        )
