"""GRIB files through cfgrib: one variable over its valid times, without index files beside the user's data."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj  # noqa: F401 (PROJ finds no database, and crashes, once ecCodes has loaded a PROJ of its own)
import xarray as xr

from engine.errors import DataError, TimeError
from engine.options import did_you_mean

IMPORTING = threading.Lock()  # two threads that import cfgrib at once leave each other half of it


def open_grib(path: str, variable: str) -> xr.Dataset:
    """Open a GRIB file lazily.

    Parameters
    ----------
    path : a readable GRIB file.
    variable : its short name in CF, as in 't2m'; may be empty where the file has just one.

    Returns
    -------
    The variable over `time`, which is the time it is valid for: forecasts count by start and step.

    Raises
    ------
    DataError
        If there is no such variable, or several and none is named.
    TimeError
        If several forecasts are valid for the same time.
    OSError
        If the file is damaged or cut off.
    """
    stat = os.stat(path)
    with _as_os_error():
        return _open_cached(path, variable, stat.st_mtime_ns, stat.st_size)


def grib_library(name: str) -> Any:
    """Import cfgrib or eccodes when it is needed: NetCDF and Zarr do without.

    ecCodes shows its OpenSSL to all that is loaded later. GDAL would crash with it when it reads from an address, but
    not where it was loaded before.
    """
    with IMPORTING:
        with suppress(ImportError):  # an optional dependency
            importlib.import_module("rasterio")
        return importlib.import_module(name)


def grib_datasets(path: str) -> list[xr.Dataset]:
    """Open everything in a GRIB file, in as many datasets as it has kinds of levels."""
    cfgrib = grib_library("cfgrib")
    options = {"indexpath": "", "errors": "raise"}
    with _as_os_error():
        datasets = cfgrib.open_datasets(path, backend_kwargs=options, decode_timedelta=False)
    return [_as_scanned(dataset, path) for dataset in datasets]


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Turn the errors of ecCodes, which have no base in Python's own, into OSError."""
    eccodes = grib_library("eccodes")
    try:
        yield
    except eccodes.CodesInternalError as error:
        raise OSError(str(error)) from error


@lru_cache(maxsize=16)
def _open_cached(path: str, variable: str, modified_ns: int, n_bytes: int) -> xr.Dataset:
    """Open a file, or take it from the cache: cfgrib scans every message each time it opens a file."""
    dataset = _valid_times(path, variable)
    if dataset.data_vars:
        return dataset
    known = sorted({str(name) for part in grib_datasets(path) for name in part.data_vars})
    raise DataError(f"{path} has no variable {variable!r}", hint=did_you_mean(variable, known))


def _valid_times(path: str, variable: str) -> xr.Dataset:
    """Open a variable over its valid times, whichever of start and step varies."""
    dataset = _open(path, variable, ("time", "step"))
    if "valid_time" not in dataset.coords:
        return dataset
    valid = dataset["valid_time"]
    if valid.ndim == 2:
        _check_forecasts(valid.values, path)
        return _open(path, variable, ("valid_time",)).rename(valid_time="time")
    dataset = dataset.drop_vars(["time", "step", "valid_time"], errors="ignore")
    renamed = dataset.rename({dim: "time" for dim in valid.dims if dim != "time"})
    return renamed.assign_coords(time=xr.Variable(("time",) * valid.ndim, valid.values, valid.attrs))


def _open(path: str, variable: str, time_dims: tuple[str, ...]) -> xr.Dataset:
    DatasetBuildError = grib_library("cfgrib").dataset.DatasetBuildError  # noqa: N806

    options = {"indexpath": "", "errors": "raise", "time_dims": time_dims}
    named = {"filter_by_keys": {"cfVarName": variable}} if variable else {}
    try:
        dataset = xr.open_dataset(path, engine="cfgrib", decode_timedelta=False, backend_kwargs=options | named)
        return _as_scanned(dataset, path)
    except DatasetBuildError as error:
        names = sorted({str(name) for part in grib_datasets(path) for name in part.data_vars})
        if not variable and len(names) > 1:
            raise DataError(
                f"{path} has several variables ({', '.join(names)})", action="name one as variable: beside path:"
            ) from None
        raise DataError(
            f"{variable or names[0]} in {path} has several kinds of levels or steps ({str(error)[:120]})",
            hint="expected one field for each time",
            action="select one first (grib_copy -w typeOfLevel=…,level=… in.grib out.grib)",
        ) from None


def _as_scanned(dataset: xr.Dataset, path: str) -> xr.Dataset:
    """Put longitudes into the order of the values, as cfgrib sorts them whichever way the file is scanned.

    Source: WMO No. 306, GRIB 2, flag table 3.4 (GRIB 1: table 8).
    """
    for field in dataset.data_vars.values():
        if field.attrs.get("GRIB_jPointsAreConsecutive"):
            raise DataError(
                f"{field.name} in {path} is scanned along columns",
                hint="expected rows, one after the other",
                action="write it as NetCDF first (wgrib2 in.grib2 -netcdf out.nc)",
            )
    from_east = any(field.attrs.get("GRIB_iScansNegatively") for field in dataset.data_vars.values())
    if not from_east or dataset["longitude"].dims != ("longitude",) or dataset.sizes["longitude"] < 2:
        return dataset
    x = dataset["longitude"]
    return dataset.assign_coords(longitude=x.copy(data=x.values[::-1])) if x[0] < x[-1] else dataset


def _check_forecasts(valid: np.ndarray, path: str) -> None:
    if len(np.unique(valid)) < valid.size:
        raise TimeError(
            f"{path} has several forecasts for the same time ({valid.shape[0]} start times × {valid.shape[1]} steps)",
            hint="expected one value for each time",
            action="select one step first (grib_copy -w step=… in.grib out.grib)",
        )
