"""Choice of one level, member or other value along a dimension, by `select` beside a path."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from engine.errors import DataError
from engine.options import did_you_mean

MOST_LISTED = 12  # values of a coordinate in a message


def select_values(field: xr.DataArray, wanted: Mapping[str, float | str], path: str, notes: list[str]) -> xr.DataArray:
    """Choose one value along each dimension that is named; these dimensions go.

    Parameters
    ----------
    wanted : name of a coordinate, or of a dimension without one, whose cells count from 0, to its value: of whole
        numbers and text exactly that, of other numbers the nearest, to half the distance of the next.
    notes : gets a sentence where the nearest isn't the same.

    Raises
    ------
    DataError
        If there is no such coordinate or value.
    """
    for name, value in wanted.items():
        values = _values_along(field, name, path)
        number = _position(values, value)
        if number is None:
            listed = ", ".join(_text(one) for one in values[:MOST_LISTED])
            more = f", … ({len(values)} values)" if len(values) > MOST_LISTED else ""
            raise DataError(f"{field.name} in {path} has no {name} {value}", hint=f"expected one of {listed}{more}")
        if values.dtype.kind == "f" and not np.isclose(values[number], float(value), rtol=1e-3):
            notes.append(
                f"{field.name} in {path} has no {name} {value}: {values[number]:g} is the nearest, and is taken"
            )
        dim = field[name].dims if name in field.coords else (name,)
        field = field.isel(dict.fromkeys(dim, number)).drop_vars(name, errors="ignore")
    return field


def example(field: xr.DataArray, dim: str) -> str:
    """Show how to choose a value along a dimension, as in '{level: 850}'."""
    values = field[dim].values
    return f"{{{dim}: {_text(values[0])}}}"


def _values_along(field: xr.DataArray, name: str, path: str) -> np.ndarray:
    """Give the values of a coordinate (n,); scalar ones have one."""
    along = [str(known) for known in (*field.dims, *field.coords)]
    if name not in along:
        raise DataError(
            f"{field.name} in {path} has no dimension {name!r}", hint=did_you_mean(name, dict.fromkeys(along))
        )
    if field[name].ndim > 1:
        raise DataError(f"{name} in {path} has dimensions {field[name].dims}", hint="expected one, to select along it")
    return np.atleast_1d(field[name].values)


def _position(values: np.ndarray, value: float | str) -> int | None:
    """Find a value; None if it isn't there."""
    if values.dtype.kind not in "iuf" or isinstance(value, str):
        found = np.flatnonzero([_text(one) == str(value) for one in values])
        return int(found[0]) if len(found) else None
    away = np.abs(values.astype(float) - float(value))
    nearest = int(away.argmin())
    steps = np.abs(np.delete(values, nearest).astype(float) - float(values[nearest]))
    reach = steps.min() / 2 if steps.size and values.dtype.kind == "f" else 0.0
    is_same = np.isclose(values[nearest], float(value), rtol=1e-6)  # float32 beside a decimal number
    return nearest if is_same or away[nearest] < reach else None


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return f"{value:g}" if isinstance(value, np.floating) else str(value)
