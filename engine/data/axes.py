"""Names within a file: the variable that is meant, and its coordinates along time, y and x."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import cf_xarray  # noqa: F401 (gives xarray its .cf accessor)
import xarray as xr

from engine.errors import DataError, GridError, TimeError
from engine.options import did_you_mean

GEOGRAPHIC = {"time": ("T", "time"), "y": ("latitude",), "x": ("longitude",)}  # dimension → its names in cf_xarray
PROJECTED = {"time": ("T", "time"), "y": ("Y",), "x": ("X",)}
NUMERIC_KINDS = "fiub"  # of NumPy types: float, signed, unsigned, boolean
FOR_STATIONS = "measurements at stations are for verification: python -m engine verify RUN --stations FILE"
CORNERS = re.compile(r".*_(bnds|bounds|vertices)|(vertices|bounds)_.*")  # names of cell corners without `bounds`


def choose_variable(dataset: xr.Dataset, variable: str, path: str) -> str:
    """Find the name of the variable meant."""
    if variable in dataset.data_vars:
        return variable
    fields = [str(data.name) for data in fields_of(dataset)]
    if variable and len(in_group := [name for name in fields if name.endswith(f"/{variable.strip('/')}")]) == 1:
        return in_group[0]
    if variable:
        known = fields or [str(name) for name in dataset.data_vars]
        raise DataError(f"{path} has no variable {variable!r}", hint=did_you_mean(variable, known))
    cells = [str(name) for name, data in dataset.data_vars.items() if {"latitude", "longitude"} <= set(data.coords)]
    if not fields and len(cells) == 1:  # of one step, which `take_axes` refuses
        return cells[0]
    if not fields:
        raise DataError(
            f"{path} has no variable over a grid", hint="expected one with dimensions y and x", action=FOR_STATIONS
        )
    if len(fields) > 1:
        raise DataError(
            f"{path} has several variables ({', '.join(fields)})", action="name one as variable: beside path:"
        )
    return fields[0]


def fields_of(dataset: xr.Dataset) -> list[xr.DataArray]:
    """List the fields over a grid, without cell corners and variables of fewer dimensions."""
    bounds = {str(data.attrs.get("bounds", data.encoding.get("bounds"))) for data in dataset.variables.values()}
    return [
        data
        for name, data in dataset.data_vars.items()
        if data.ndim >= 2
        and data.dtype.kind in NUMERIC_KINDS
        and name not in bounds
        and not CORNERS.fullmatch(str(name))
    ]


def find_axes(field: xr.DataArray, is_projected: bool, path: str, notes: list[str]) -> dict[str, str]:
    """Find the names of the coordinates by CF attributes, else by the usual names: {time, y or x: name}.

    Time may be absent. `notes` gets a sentence where there is more than one time.

    Raises
    ------
    GridError
        If there is no 1-D coordinate along y or x.
    """
    described = field.cf.guess_coord_axis().cf
    known: dict[Any, list[Any]] = described.coordinates | described.axes
    found: dict[str, str] = {}
    for role, cf_names in (PROJECTED if is_projected else GEOGRAPHIC).items():
        names = dict.fromkeys(str(name) for cf_name in cf_names for name in known.get(cf_name, []))
        usable = [name for name in names if _is_axis(role, field[name])]
        if role == "time":
            usable = _rank_times(field, usable, path, notes)
        if usable:
            found[role] = usable[0]
    for side in ("y", "x"):
        if side not in found:
            raise GridError(_missing_axis(field, side, known, path))
    return found


def take_axes(field: xr.DataArray, names: Mapping[str, str], path: str) -> dict[str, xr.Variable]:
    """Take the coordinates of these names: {time, y or x: 1-D with at least one value, or scalar time}.

    Raises
    ------
    GridError, TimeError
        If y and x are along one dimension, or a coordinate has no value.
    """
    axes = {role: field[name].variable for role, name in names.items()}
    _check_axes(field, axes, path)
    return axes


def has_axes(field: xr.DataArray, names: Mapping[str, str]) -> bool:
    """True if coordinates of these names are there and can be used."""
    return all(name in field.coords and _is_axis(role, field[name]) for role, name in names.items())


def _is_axis(role: str, axis: xr.DataArray) -> bool:
    return axis.ndim == 1 or (role == "time" and axis.ndim == 0)


def _rank_times(field: xr.DataArray, names: list[str], path: str, notes: list[str]) -> list[str]:
    """Put axes before scalars, dates before numbers such as `month`, then what CF calls time before other names."""
    valid = [name for name in names if field[name].attrs.get("standard_name") != "forecast_reference_time"] or names

    def rank(name: str) -> tuple[bool, bool, bool]:
        axis = field[name]
        is_named = axis.attrs.get("standard_name") == "time" or axis.dims == (name,)
        return axis.ndim == 0, axis.dtype.kind not in "MO", not is_named

    ranked = sorted(valid, key=rank)
    dates = [name for name in ranked if field[name].dtype.kind in "MO" and field[name].ndim == 1]
    if len(dates) > 1 and not all(field[dates[0]].variable.equals(field[name].variable) for name in dates):
        notes.append(f"{field.name} in {path} has several times ({', '.join(dates)}): {dates[0]} is used")
    return ranked


def _check_axes(field: xr.DataArray, axes: Mapping[str, xr.Variable], path: str) -> None:
    if axes["y"].dims == axes["x"].dims:
        raise GridError(
            f"latitude and longitude of {field.name} in {path} both lie along {axes['y'].dims[0]}",
            hint="these are stations or cells without rows and columns (ICON, reduced Gaussian); expected a grid",
            action="remap cells to latitude and longitude first (CDO: cdo remapcon,…, or setgridtype,regular for "
            f"GRIB); {FOR_STATIONS}",
        )
    for side in ("y", "x"):
        if not axes[side].size:
            raise GridError(f"{field.name} in {path} has no cell along {axes[side].dims[0]}", hint="expected a grid")
    if "time" in axes and not axes["time"].size:
        raise TimeError(
            f"{field.name} in {path} has no time step", hint="expected at least one", action="leave this file out"
        )


def _missing_axis(field: xr.DataArray, side: str, known: dict[Any, list[Any]], path: str) -> str:
    where = f"{field.name} in {path}, with dimensions ({', '.join(map(str, field.dims))}),"
    if known.get(side.upper()):
        return (
            f"{where} has a coordinate {known[side.upper()][0]}, but names no projection: expected latitude and "
            "longitude, or a CF grid mapping (attribute grid_mapping); add it, or remap the file first"
        )
    return (
        f"{where} has no coordinate along {side}: expected latitude and longitude, or projected x and y, "
        "named so or with CF attributes (units degrees_north and degrees_east, or standard_name)"
    )
