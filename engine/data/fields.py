"""Opening one variable: NetCDF, GRIB or Zarr, one file or many, always lazily.

The field that comes out has the dimensions time, y, x, whatever they are called in the file.
"""

from __future__ import annotations

import os
from typing import Any

import cf_xarray  # noqa: F401 (gives xarray its .cf accessor)
import numpy as np
import xarray as xr

from engine.data.grids import GRID_MAPPING, LATITUDE, LONGITUDE, Grid
from engine.errors import DataError, GridError, TimeError, UnitError
from engine.options import did_you_mean
from engine.spec import Source

BLOCK_CELLS = 4 * 1024**2  # of a lazy block, 16 MiB as float32
ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
OPENING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError)  # what the readers raise


def open_field(source: Source, *, static: bool = False) -> xr.DataArray:
    """Open one variable lazily.

    Parameters
    ----------
    source : file, glob, list of files or Zarr store, the variable, and its unit if the file doesn't say it.
    static : whether a field without time is due.

    Returns
    -------
    (time, y, x), or (y, x) if static; float32, missing values are NaN. y and x are the cell centres as in the
    file, with CF attributes; the scalar coordinate `crs` holds the grid mapping of a projected grid.
    `units` is always among the attributes, and empty when nobody says it.

    Raises
    ------
    DataError
        If a file can't be read, or has no such variable.
    GridError
        If the grid isn't rectilinear, or files have different grids.
    TimeError
        If there is no time (or a static field has one), or it doesn't increase.
    """
    files = source.files()
    fields = [_plain_field(_open(path, source.variable), source.variable, path, static) for path in files]
    field = fields[0] if len(fields) == 1 else _join(fields, files, static)
    if not static:
        _check_times(field, _called(files))
    field.attrs["units"] = source.units or str(field.attrs.get("units", ""))
    return field


def _open(path: str, variable: str) -> xr.Dataset:
    """A file or store as a lazy dataset, whatever its format."""
    try:
        return OPENERS[_format(path)](path, variable)
    except OPENING_ERRORS as error:
        raise DataError(
            f"{path} can't be read: it is damaged, or cut off ({_first_line(error)}); copy or download it again"
        ) from error


def _format(path: str) -> str:
    """netcdf, grib or zarr, told by what is in it."""
    if not os.path.exists(path):
        raise DataError(
            f"{path} doesn't exist: expected a file, a glob with a match, or a Zarr store{_beside(path)}"
        )
    if os.path.isdir(path):
        if any(os.path.exists(os.path.join(path, mark)) for mark in ZARR_MARKS):
            return "zarr"
        raise DataError(
            f"{path} is a folder, but no Zarr store: name files in it, as in {os.path.join(path, '*.nc')}"
        )
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}): check its permissions") from error
    for magic, kind in MAGIC.items():
        if start.startswith(magic):
            return kind
    raise DataError(
        f"{path} is neither NetCDF nor GRIB (it begins with {start!r}): expected NetCDF, GRIB or Zarr"
    )


MAGIC = {b"CDF": "netcdf", b"\x89HDF": "netcdf", b"GRIB": "grib"}


def _beside(path: str) -> str:
    """A hint for a mistyped file name."""
    folder, name = os.path.split(path)
    try:
        names = [n for n in os.listdir(folder or ".") if not n.startswith(".")]
    except OSError:
        return ""
    hint = did_you_mean(name, names)
    return f"; {hint}" if hint.startswith("did") else ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _open_netcdf(path: str, variable: str) -> xr.Dataset:
    return xr.open_dataset(path, engine="netcdf4", decode_timedelta=False)


def _open_zarr(path: str, variable: str) -> xr.Dataset:
    return xr.open_dataset(path, engine="zarr", decode_timedelta=False)


def _open_grib(path: str, variable: str) -> xr.Dataset:
    """Valid time as the one time; no index file is left beside the user's data."""
    dataset = _grib(path, variable, ("time", "step"))
    if "valid_time" not in dataset.coords:
        return dataset
    if dataset["valid_time"].ndim == 2:
        _check_forecasts(dataset["valid_time"].values, path)
    if "step" in dataset.dims:
        dataset = _grib(path, variable, ("valid_time",))
    if dataset["valid_time"].ndim == 1 and "time" in dataset.dims:
        dataset = dataset.assign_coords(time=dataset["valid_time"].variable)
    return dataset.drop_vars("valid_time") if "time" in dataset.dims else dataset.rename(valid_time="time")


def _grib(path: str, variable: str, time_dims: tuple[str, ...]) -> xr.Dataset:
    named = {"cfVarName": variable} if variable else {}
    options = {"indexpath": "", "time_dims": time_dims, "filter_by_keys": named}
    return xr.open_dataset(path, engine="cfgrib", decode_timedelta=False, backend_kwargs=options)


def _check_forecasts(valid: np.ndarray, path: str) -> None:
    if len(np.unique(valid)) < valid.size:
        raise TimeError(
            f"{path} has several forecasts for the same time ({valid.shape[0]} start times × {valid.shape[1]} steps): "
            "expected one value for each time; select one start time or one step first (grib_copy -w step=…)"
        )


OPENERS = {"netcdf": _open_netcdf, "grib": _open_grib, "zarr": _open_zarr}


def _plain_field(dataset: xr.Dataset, variable: str, path: str, static: bool) -> xr.DataArray:
    """The variable with dimensions (time,) y, x, as lazy float32."""
    field = _numeric(dataset[_chosen(dataset, variable, path)], path)
    axes = _axes(field, path)
    mapping = _grid_mapping(dataset, field)
    field = _without_extras(_check_time_dimension(field, axes, path, static), axes, path)
    roles = [role for role in ROLES if role in axes]
    field = field.transpose(*(axes[role] for role in roles))
    coords = {role: xr.Variable(role, field[axes[role]].values, field[axes[role]].attrs) for role in roles}
    attrs = {word: field.attrs[word] for word in KEPT_ATTRS if word in field.attrs}
    plain = xr.DataArray(_blocks(field).data, coords, roles, str(field.name), attrs)
    return _with_grid(plain, mapping, path)


def _chosen(dataset: xr.Dataset, variable: str, path: str) -> str:
    """The name of the variable meant."""
    fields = [str(name) for name, data in dataset.data_vars.items() if _is_field(data)]
    if variable in dataset.data_vars:
        return variable
    if variable:
        known = fields or [str(name) for name in dataset.data_vars]
        raise DataError(f"{path} has no variable {variable!r}: {did_you_mean(variable, known)}")
    if len(fields) != 1:
        found = (
            f"several variables ({', '.join(fields)})"
            if fields
            else "no variable with two dimensions or more"
        )
        raise DataError(f"{path} has {found}: name one as variable: beside path:")
    return fields[0]


def _is_field(data: xr.DataArray) -> bool:
    return data.ndim >= 2 and data.dtype.kind in "fiub" and not str(data.name).endswith(("_bnds", "_bounds"))


def _numeric(field: xr.DataArray, path: str) -> xr.DataArray:
    if field.dtype.kind not in "fiub":
        raise DataError(
            f"{field.name} in {path} holds {field.dtype}: expected numbers; choose another variable"
        )
    return field


def _axes(field: xr.DataArray, path: str) -> dict[str, str]:
    """Role (time, y, x) → dimension, by CF attributes, else by the usual names."""
    described = field.cf.guess_coord_axis()
    found: dict[str, str] = {}
    for role, words in ROLES.items():
        names = [
            name
            for word in words
            for name in described.cf.axes.get(word, described.cf.coordinates.get(word, []))
        ]
        along = [str(field[name].dims[0]) for name in names if field[name].ndim == 1]
        if along:
            found[role] = along[0]
    for side in ("y", "x"):
        if side not in found:
            raise GridError(_no_axis(field, side, path))
    return found


ROLES = {"time": ("T", "time"), "y": ("Y", "latitude"), "x": ("X", "longitude")}


def _no_axis(field: xr.DataArray, side: str, path: str) -> str:
    flat = [name for name in field.coords if field[name].ndim == 2]
    where = f"{field.name} in {path} with dimensions ({', '.join(map(str, field.dims))})"
    if flat:
        return (
            f"{where} is on a curvilinear grid (2-D {', '.join(map(str, flat))}): expected 1-D coordinates; remap it to "
            "latitude and longitude first (CDO: cdo remapbil,…; Python: xESMF)"
        )
    return (
        f"{where} has no coordinate along {side}: expected 1-D latitude and longitude, or projected x and y, with CF "
        "attributes (units degrees_north and degrees_east, or standard_name)"
    )


def _without_extras(field: xr.DataArray, axes: dict[str, str], path: str) -> xr.DataArray:
    """Without dimensions of size 1; any longer one is refused."""
    extras = [dim for dim in field.dims if dim not in axes.values()]
    for dim in extras:
        if field.sizes[dim] > 1:
            raise DataError(
                f"{field.name} in {path} has {field.sizes[dim]} values along {dim}: expected a field over time, y and x; "
                f"select one first (CDO: cdo sellevel,…; Python: dataset.isel({dim}=0).to_netcdf(…))"
            )
    return field.isel({dim: 0 for dim in extras}, drop=True)


def _check_time_dimension(field: xr.DataArray, axes: dict[str, str], path: str, static: bool) -> xr.DataArray:
    """The field, without its single time step if static."""
    steps = field.sizes[axes["time"]] if "time" in axes else 0
    if static and steps > 1:
        raise TimeError(
            f"{field.name} in {path} changes with time ({steps} steps), but static variables don't: "
            "list it under data.predictors"
        )
    if not static and not steps:
        raise TimeError(
            f"{field.name} in {path} has no time dimension, only ({', '.join(map(str, field.dims))}): expected time, y "
            "and x; list a field without time under data.static"
        )
    return field.isel({axes.pop("time"): 0}, drop=True) if static and steps else field


def _blocks(field: xr.DataArray) -> xr.Variable:
    """Lazy float32 blocks along time, whole multiples of the chunks in the file where these are small."""
    steps = max(1, BLOCK_CELLS // int(np.prod(field.shape[-2:])))
    stored = (field.encoding.get("preferred_chunks") or {}).get(field.dims[0], 1)
    steps = max(stored, steps // stored * stored) if stored <= 8 * steps else steps
    chunks = {dim: steps if field.ndim == 3 and dim == field.dims[0] else -1 for dim in field.dims}
    return field.variable.chunk(chunks).astype(np.float32)


KEPT_ATTRS = ("units", "long_name", "standard_name", "cell_methods")


def _grid_mapping(dataset: xr.Dataset, field: xr.DataArray) -> dict[str, Any]:
    """Attributes of the CF grid mapping; empty for latitude and longitude."""
    name = str(field.attrs.get("grid_mapping", field.encoding.get("grid_mapping", ""))).split(":")[0].strip()
    if not name:
        return {}
    if name not in dataset.variables:
        raise GridError(
            f"{field.name} names the grid mapping {name!r}, which the file doesn't have: add it, or remap"
        )
    attrs = dataset[name].attrs
    return {} if attrs.get("grid_mapping_name") == "latitude_longitude" else dict(attrs)


def _with_grid(field: xr.DataArray, mapping: dict[str, Any], path: str) -> xr.DataArray:
    """Coordinates checked and fully described, with the grid mapping as scalar coordinate."""
    for side in ("y", "x"):
        _check_monotonic(field[side].values, side, path)
    if mapping:
        return field.assign_coords({GRID_MAPPING: ((), np.int32(0), mapping)})
    for side, described in (("y", LATITUDE), ("x", LONGITUDE)):
        units = str(field[side].attrs.get("units", ""))
        if units and not units.startswith("degree"):
            raise GridError(
                f"{side} of {field.name} in {path} is in {units!r}, but the variable names no projection: expected "
                "degrees, or a CF grid mapping (attribute grid_mapping); add it, or remap the file first"
            )
        field[side].attrs = {**described, **field[side].attrs}
    return field


def _check_monotonic(centres: np.ndarray, side: str, path: str) -> None:
    steps = np.diff(centres)
    if not np.isfinite(centres).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise GridError(
            f"{side} in {path} neither only increases nor only decreases: expected monotonic coordinates; sort them "
            "first (Python: dataset.sortby(…))"
        )


def _join(fields: list[xr.DataArray], files: list[str], static: bool) -> xr.DataArray:
    """Files in order of time as one field."""
    if static:
        raise DataError(f"a static variable is given by {len(files)} files: expected one")
    first = Grid.of(fields[0])
    for field, path in zip(fields, files, strict=True):
        if not Grid.of(field).same_as(first):
            raise GridError(
                f"{path} has another grid ({Grid.of(field)}) than {files[0]} ({first}): expected one grid in all files"
            )
        if field.attrs.get("units") != fields[0].attrs.get("units"):
            raise UnitError(
                f"{path} is in {field.attrs.get('units')!r}, {files[0]} in {fields[0].attrs.get('units')!r}: expected one "
                "unit in all files"
            )
    try:
        ordered = sorted(fields, key=lambda field: field["time"].values[0])
    except TypeError:
        raise TimeError(
            f"{_called(files)} have different calendars: expected one calendar in all files"
        ) from None
    return xr.concat([f.assign_coords(y=fields[0]["y"], x=fields[0]["x"]) for f in ordered], "time")


def _called(files: list[str]) -> str:
    return files[0] if len(files) == 1 else f"the {len(files)} files from {files[0]} to {files[-1]}"


def _check_times(field: xr.DataArray, path: str) -> xr.DataArray:
    times = field["time"].values
    if times.dtype.kind not in "MO":
        raise TimeError(
            f"time in {path} isn't decoded: expected CF units such as 'days since 2000-01-01', not "
            f"{field['time'].attrs.get('units', 'none')!r}"
        )
    for number in np.flatnonzero(times[1:] <= times[:-1])[:1]:
        what = "twice" if times[number + 1] == times[number] else f"after {times[number]}"
        raise TimeError(
            f"time in {path} doesn't increase: {times[number + 1]} comes {what}; sort the steps and drop doubles first "
            "(CDO: cdo mergetime; Python: dataset.sortby('time').drop_duplicates('time'))"
        )
