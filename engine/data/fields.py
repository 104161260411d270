"""Opening one variable: NetCDF, GRIB or Zarr, one file or many, always lazily.

The field that comes out has the dimensions time, y, x, whatever they are called in the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import cf_xarray  # noqa: F401 (gives xarray its .cf accessor)
import numpy as np
import xarray as xr

from engine.data.grib import grib_datasets, open_grib
from engine.data.grids import GRID_MAPPING, LATITUDE, LONGITUDE, Grid, mapping_from_wkt
from engine.data.lazy import as_float32, joined
from engine.data.netcdf import netcdf_file, open_netcdf
from engine.data.times import span
from engine.errors import DataError, GridError, TimeError, UnitError
from engine.options import did_you_mean
from engine.spec import Source

ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
MAGIC = {b"CDF": "netcdf", b"\x89HDF": "netcdf", b"GRIB": "grib"}
READING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError)  # what the readers raise
COPIED_ATTRS = ("units", "long_name", "standard_name", "cell_methods")
GEOGRAPHIC = {"time": ("T", "time"), "y": ("latitude",), "x": ("longitude",)}  # dimension → cf_xarray's words
PROJECTED = {"time": ("T", "time"), "y": ("Y",), "x": ("X",)}


@dataclass(frozen=True)
class Variable:
    """What a file says of one variable."""

    name: str
    long_name: str
    units: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class FileSummary:
    """What a file holds, for choosing from it."""

    path: str
    variables: tuple[Variable, ...]  # those over two dimensions or more
    grid: str  # of the first variable, or why it can't be used
    first_time: str  # empty if nothing changes with time
    last_time: str
    n_times: int
    n_bytes: int


def open_field(source: Source, *, static: bool = False) -> xr.DataArray:
    """Open one variable lazily.

    Parameters
    ----------
    source : file, glob, list of files or Zarr store, the variable, and its unit if the file doesn't say it.
    static : whether a field without time is due.

    Returns
    -------
    (time, y, x), or (y, x) if static; float32, missing values are NaN. y and x are the cell centres as in
    the file, with CF attributes; the scalar coordinate `crs` holds the grid mapping of a projected grid.
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


def steps_per_chunk(source: Source) -> int:
    """Time steps that are read and decompressed together whenever one of them is asked for, in the first file."""
    path = source.files()[0]
    dataset = _open(path, source.variable)
    field = dataset[_chosen(dataset, source.variable, path)]
    chunks = field.encoding.get("chunksizes") or field.encoding.get("chunks")
    time = _axes(field, bool(_grid_mapping(dataset, field, path)), path).get("time")
    if not chunks or time is None or not time.dims:  # one field after another, or a message each
        return 1
    return int(chunks[field.dims.index(time.dims[0])])


def describe(path: str) -> FileSummary:
    """Sum up a file or Zarr store without reading fields; raises DataError if it can't be read."""
    kind = _format(path)
    try:
        datasets = grib_datasets(path) if kind == "grib" else [OPENERS[kind](path, "")]
    except READING_ERRORS as error:
        raise _damaged(path, error) from error
    fields = [data for dataset in datasets for data in dataset.data_vars.values() if _is_field(data)]
    variables = tuple(_summary(data) for data in fields)
    grid, times = _grid_and_times(path, variables[0].name) if variables else ("no variable over a grid", None)
    first, last = span(times).split(", ")[1].split(" to ") if times is not None else ("", "")
    n_times = 0 if times is None else len(times)
    return FileSummary(path, variables, grid, first, last, n_times, _n_bytes(path))


def _summary(data: xr.DataArray) -> Variable:
    long_name, units = (str(data.attrs.get(word, "")) for word in ("long_name", "units"))
    return Variable(str(data.name), long_name, units, tuple(map(str, data.dims)), data.shape, str(data.dtype))


def _grid_and_times(path: str, variable: str) -> tuple[str, xr.DataArray | None]:
    """The grid in words, or what is wrong with it; and the times, if any."""
    try:
        field = open_field(Source(path, variable))
        return str(Grid.of(field)), field["time"]
    except TimeError:
        return _grid_of_static(path, variable), None
    except DataError as error:
        return str(error), None


def _grid_of_static(path: str, variable: str) -> str:
    try:
        return str(Grid.of(open_field(Source(path, variable), static=True)))
    except DataError as error:
        return str(error)


def _n_bytes(path: str) -> int:
    """Bytes on disk of a file, or of all files of a store."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names)


def _open(path: str, variable: str) -> xr.Dataset:
    """A file or store as a lazy dataset, whatever its format."""
    kind = _format(path)
    try:
        return OPENERS[kind](path, variable)
    except READING_ERRORS as error:
        raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> DataError:
    why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    if "unable to decode time" in str(error) or "Failed to decode variable" in str(error):
        return TimeError(
            f"{path} has a time axis that can't be decoded ({why}): expected CF units such as 'days since 2000-01-01' "
            "and a CF calendar; mend its attributes (CDO: cdo setreftime; NCO: ncatted)"
        )
    return DataError(f"{path} can't be read ({why}): it may be damaged or cut off; copy or download it again")


def _format(path: str) -> str:
    """netcdf, grib or zarr, told by what is in it."""
    if not os.path.exists(path):
        raise DataError(
            f"{path} doesn't exist: expected a file, a glob with a match, or a Zarr store{_nearest_name(path)}"
        )
    if os.path.isdir(path):
        if any(os.path.exists(os.path.join(path, mark)) for mark in ZARR_MARKS):
            return "zarr"
        inside = os.path.join(path, "*.nc")
        raise DataError(f"{path} is a folder, but no Zarr store: name the files in it, as in {inside}")
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}): check its permissions") from error
    for magic, kind in MAGIC.items():
        if start.startswith(magic):
            return kind
    what = "is empty" if not start else "is neither NetCDF nor GRIB"
    raise DataError(f"{path} {what}: expected a NetCDF file, a GRIB file or a Zarr store")


def _nearest_name(path: str) -> str:
    """A hint for a mistyped file name."""
    folder, name = os.path.split(path)
    names = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    hint = did_you_mean(name, names)
    return f"; {hint}" if hint.startswith("did") else ""


def _open_netcdf(path: str, variable: str) -> xr.Dataset:
    with open(path, "rb") as file:
        is_classic = file.read(3) == b"CDF"
    if is_classic:
        _check_whole(path)
    return open_netcdf(path, decode_timedelta=False)


def _check_whole(path: str) -> None:
    """Raise OSError if a classic NetCDF file is cut off: the NetCDF library would read zeros past its end."""
    with netcdf_file(path) as file:
        expected = sum(int(np.prod(v.shape)) * v.dtype.itemsize for v in file.variables.values())
    if (found := os.path.getsize(path)) < expected:
        raise OSError(f"{found} bytes, but its variables take {expected}")


def _open_zarr(path: str, variable: str) -> xr.Dataset:
    is_consolidated = os.path.exists(os.path.join(path, ".zmetadata"))
    return xr.open_dataset(path, engine="zarr", decode_timedelta=False, consolidated=is_consolidated)


OPENERS = {"netcdf": _open_netcdf, "grib": open_grib, "zarr": _open_zarr}


def _plain_field(dataset: xr.Dataset, variable: str, path: str, static: bool) -> xr.DataArray:
    """The variable with dimensions (time,) y, x, as lazy float32."""
    field = _numeric(dataset[_chosen(dataset, variable, path)], path)
    mapping = _grid_mapping(dataset, field, path)
    axes = _axes(field, bool(mapping), path)
    field = _with_time(field, axes, path, static)
    field = _without_extras(field, axes, path)
    attrs = {word: field.attrs[word] for word in COPIED_ATTRS if word in field.attrs}
    one_step = len(axes) > field.ndim
    values = field.transpose(*(axis.dims[0] for axis in list(axes.values())[one_step:]))
    coords = {role: xr.Variable(role, axis.values, axis.attrs) for role, axis in axes.items()}
    plain = as_float32(values, coords, one_step).rename(str(field.name)).assign_attrs(attrs)
    return _with_grid(_on_the_second(plain), mapping, path)


def _on_the_second(field: xr.DataArray) -> xr.DataArray:
    """Times that were kept as a fraction of a day or hour come back a millisecond off."""
    if "time" not in field.dims or field["time"].dtype.kind not in "MO":
        return field
    return field.assign_coords(time=field["time"].dt.round("s"))


def _chosen(dataset: xr.Dataset, variable: str, path: str) -> str:
    """The name of the variable meant."""
    if variable in dataset.data_vars:
        return variable
    fields = [str(name) for name, data in dataset.data_vars.items() if _is_field(data)]
    if variable:
        known = fields or [str(name) for name in dataset.data_vars]
        raise DataError(f"{path} has no variable {variable!r}: {did_you_mean(variable, known)}")
    if not fields:
        raise DataError(f"{path} has no variable over a grid: expected one with dimensions y and x")
    if len(fields) > 1:
        raise DataError(f"{path} has several variables ({', '.join(fields)}): name one as variable: beside path:")
    return fields[0]


def _is_field(data: xr.DataArray) -> bool:
    return data.ndim >= 2 and data.dtype.kind in "fiub" and not str(data.name).endswith(("_bnds", "_bounds"))


def _numeric(field: xr.DataArray, path: str) -> xr.DataArray:
    if field.dtype.kind not in "fiub":
        raise DataError(f"{field.name} in {path} holds {field.dtype}, no numbers: choose another variable")
    return field


def _axes(field: xr.DataArray, is_projected: bool, path: str) -> dict[str, xr.Variable]:
    """Role (time, y, x) → its 1-D coordinate, or scalar time, by CF attributes, else by the usual names."""
    described = field.cf.guess_coord_axis().cf
    known: dict[Any, list[Any]] = described.coordinates | described.axes
    found: dict[str, xr.Variable] = {}
    for role, words in (PROJECTED if is_projected else GEOGRAPHIC).items():
        names = dict.fromkeys(name for word in words for name in known.get(word, []))
        candidates = [field[name].variable for name in names]
        along = [axis for axis in candidates if axis.ndim == 1]
        scalar = [axis for axis in candidates if axis.ndim == 0 and role == "time"]
        if along or scalar:
            found[role] = (along or scalar)[0]
    for side in ("y", "x"):
        if side not in found:
            raise GridError(_no_axis(field, side, known, path))
    return found


def _no_axis(field: xr.DataArray, side: str, known: dict[Any, list[Any]], path: str) -> str:
    flat = [str(name) for name in field.coords if field[name].ndim == 2]
    where = f"{field.name} in {path}, with dimensions ({', '.join(map(str, field.dims))}),"
    if flat:
        return (
            f"{where} is on a curvilinear grid (2-D coordinates {', '.join(flat)}): expected 1-D coordinates; "
            "remap it to latitude and longitude first (CDO: cdo remapbil,…; Python: xESMF)"
        )
    if known.get(side.upper()):
        return (
            f"{where} has a coordinate {known[side.upper()][0]}, but names no projection: expected latitude and "
            "longitude, or a CF grid mapping (attribute grid_mapping); add it, or remap the file first"
        )
    return (
        f"{where} has no coordinate along {side}: expected 1-D latitude and longitude, or projected x and y, "
        "named so or with CF attributes (units degrees_north and degrees_east, or standard_name)"
    )


def _with_time(field: xr.DataArray, axes: dict[str, xr.Variable], path: str, static: bool) -> xr.DataArray:
    """The field over time, or without any if static; `axes` follows, and names time where a single step lacks it."""
    time = axes.get("time")
    if static and time is not None:
        if time.size > 1:
            raise TimeError(
                f"{field.name} in {path} changes with time ({time.size} steps), but static variables don't: "
                "list it under data.predictors"
            )
        del axes["time"]
        return field.isel(dict.fromkeys(time.dims, 0))
    if static:
        return field
    if time is None:
        raise TimeError(
            f"{field.name} in {path} has no time dimension, only ({', '.join(map(str, field.dims))}): expected "
            "time, y and x; list a field without time under data.static"
        )
    if time.ndim == 0:  # a file of one step, as in a folder with a file for each
        axes["time"] = xr.Variable("time", time.values[None], time.attrs)
        return field.reset_coords(drop=True)
    return field


def _without_extras(field: xr.DataArray, axes: dict[str, xr.Variable], path: str) -> xr.DataArray:
    """Without dimensions of size 1; any longer one is refused."""
    extras = set(field.dims) - {axis.dims[0] for axis in axes.values()}
    for dim in extras:
        if field.sizes[dim] > 1:
            raise DataError(
                f"{field.name} in {path} has {field.sizes[dim]} values along {dim}: expected a field over time, y "
                f"and x; select one first (CDO: cdo sellevel,…; Python: dataset.isel({dim}=0).to_netcdf(…))"
            )
    return field.isel(dict.fromkeys(extras, 0), drop=True)


def _grid_mapping(dataset: xr.Dataset, field: xr.DataArray, path: str) -> dict[str, Any]:
    """Attributes of the CF grid mapping; empty for latitude and longitude."""
    name = str(field.attrs.get("grid_mapping", field.encoding.get("grid_mapping", ""))).split(":")[0].strip()
    if not name:
        return {}
    if name not in dataset.variables:
        raise GridError(
            f"{field.name} in {path} names the grid mapping {name!r}, which isn't in the file: add that variable, "
            "or remap the file to latitude and longitude first"
        )
    attrs = dataset[name].attrs
    if "grid_mapping_name" not in attrs:
        attrs = mapping_from_wkt(attrs)
    return {} if attrs.get("grid_mapping_name") == "latitude_longitude" else dict(attrs)


def _with_grid(field: xr.DataArray, mapping: dict[str, Any], path: str) -> xr.DataArray:
    """Coordinates checked and fully described, with the grid mapping as scalar coordinate."""
    for side in ("y", "x"):
        _check_monotonic(field[side].values, side, path)
    if mapping:
        return field.assign_coords({GRID_MAPPING: ((), np.int32(0), mapping)})
    for side, described in (("y", LATITUDE), ("x", LONGITUDE)):
        field[side].attrs = {**field[side].attrs, **described}
    _check_degrees(field, path)
    return field


def _check_degrees(field: xr.DataArray, path: str) -> None:
    for side, limit in (("y", 90.0), ("x", 540.0)):
        if (far := np.abs(field[side].values).max()) > limit + 1e-3:
            raise GridError(
                f"{field[side].attrs['standard_name']} in {path} reaches {far:g}: expected degrees; for a projected "
                "grid name its CF grid mapping (attribute grid_mapping), or remap the file first"
            )


def _check_monotonic(centres: np.ndarray, side: str, path: str) -> None:
    steps = np.diff(centres)
    if not np.isfinite(centres).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise GridError(
            f"{side} in {path} is not monotonic: expected coordinates that only increase or only decrease; sort "
            "them first (Python: dataset.sortby(…))"
        )


def _join(fields: list[xr.DataArray], files: list[str], static: bool) -> xr.DataArray:
    """Files in order of time as one field."""
    if static:
        raise DataError(f"a static variable is given by {len(files)} files ({_called(files)}): expected one file")
    for field, path in zip(fields, files, strict=True):
        _check_alike(field, path, fields[0], files[0])
    ordered = sorted(fields, key=lambda field: field["time"].values[0])
    return joined(ordered)


def _check_alike(field: xr.DataArray, path: str, first: xr.DataArray, first_path: str) -> None:
    given, expected = Grid.of(field), Grid.of(first)
    if not given.is_close_to(expected):
        raise GridError(
            f"{path} has another grid ({given}) than {first_path} ({expected}): expected one grid in all files"
        )
    if field.attrs.get("units") != first.attrs.get("units"):
        raise UnitError(
            f"{path} is in {field.attrs.get('units')!r}, {first_path} in {first.attrs.get('units')!r}: expected one "
            "unit in all files"
        )
    if field["time"].dtype != first["time"].dtype or field["time"].dt.calendar != first["time"].dt.calendar:
        raise TimeError(f"{path} has another calendar than {first_path}: expected one calendar in all files")


def _called(files: list[str]) -> str:
    return files[0] if len(files) == 1 else f"{len(files)} files from {files[0]} to {files[-1]}"


def _check_times(field: xr.DataArray, path: str) -> None:
    times = field["time"].values
    if times.dtype.kind not in "MO":
        raise TimeError(
            f"time in {path} is plain numbers: expected the attribute units, such as 'days since 2000-01-01'; add it "
            "(NCO: ncatted)"
        )
    for number in np.flatnonzero(~(times[1:] > times[:-1]))[:1]:
        fault = "comes twice" if times[number + 1] == times[number] else f"comes after {times[number]}"
        raise TimeError(
            f"time in {path} doesn't increase: {times[number + 1]} {fault}; sort the steps and drop doubles first "
            "(Python: dataset.sortby('time').drop_duplicates('time'))"
        )
