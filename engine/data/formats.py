"""Opening a file, store or URL as a lazy dataset, in whatever format its content is: NetCDF, GRIB, Zarr, GeoTIFF."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

import numpy as np
import xarray as xr

from engine.data import remote_files
from engine.data.axes import FOR_STATIONS, fields_of
from engine.data.dates import with_days_since
from engine.data.grib import grib_datasets, open_grib
from engine.data.groups import open_group, open_groups
from engine.data.lazy import cached_on_disk
from engine.data.netcdf import netcdf_file, open_netcdf
from engine.data.rasters import open_raster
from engine.errors import DataError, TimeError
from engine.options import nearest
from engine.spec import is_url

ZARR_MARKERS = ("zarr.json", ".zgroup", ".zmetadata")
EXPECTED = "a NetCDF, GRIB or GeoTIFF file, or a Zarr store"
MAGIC = {
    b"CDF": "netcdf",
    b"\x89HDF": "netcdf",
    b"GRIB": "grib",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "raster"),  # TIFF and BigTIFF, in either byte order
    b"\0\0\0\x0cjP  ": "raster",  # JPEG 2000, as of Sentinel-2
}
RASTERS = (".tif", ".tiff", ".jp2")  # how addresses of rasters end
UNPACK = "unpack it first ({} {{path}}), and give what comes out"
REFUSED = {  # magic → in words, and what to do
    b"PK\x03\x04": ("a ZIP archive, as the Climate Data Store sends several files", UNPACK.format("unzip")),
    b"\x1f\x8b": ("compressed by gzip", UNPACK.format("gunzip -k")),
    b"BZh": ("compressed by bzip2", UNPACK.format("bunzip2 -k")),
    b"\xfd7zXZ": ("compressed by xz", UNPACK.format("unxz -k")),
    b"\x28\xb5\x2f\xfd": ("compressed by Zstandard", UNPACK.format("unzstd")),
    b"\x0e\x03\x13\x01": ("HDF4, as of MODIS", "convert it first (gdal_translate -of GTiff …, or h4tonccf_nc4)"),
    b"version ": ("a pointer of Git LFS, not the file itself", "download it (git lfs pull)"),
    b"<!DOCTYP": ("a web page, as of a login or an error", "download it again, signed in"),
    b"<!doctyp": ("a web page, as of a login or an error", "download it again, signed in"),
    b"<html": ("a web page, as of a login or an error", "download it again, signed in"),
}
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError)  # what the readers raise


def open_dataset(path: str, variable: str) -> xr.Dataset:
    """Open a file or store lazily.

    Parameters
    ----------
    variable : for GRIB, the variable to open; may be empty where the file has just one.

    Raises
    ------
    DataError
        If the file is missing, damaged, or of another format.
    TimeError
        If its time axis can't be decoded.
    """
    kind = _format_of(path)
    try:
        return _with_dates(OPENERS[kind](path, variable))
    except READ_ERRORS as error:
        if (dated := _with_other_times(path, kind, error)) is None:
            raise _fault(path, kind, error) from error
        return dated


def open_all(path: str) -> list[xr.Dataset]:
    """Open everything in a file or store, in as many datasets as it takes: GRIB may have several kinds of levels."""
    kind = _format_of(path)
    try:
        if kind == "grib":
            return grib_datasets(path)
        if kind == "netcdf" and (grouped := _open_groups(path)):
            return grouped
        return [_with_dates(OPENERS[kind](path, ""))]
    except READ_ERRORS as error:
        if (dated := _with_other_times(path, kind, error)) is None:
            raise _fault(path, kind, error) from error
        return [dated]


def _with_dates(dataset: xr.Dataset) -> xr.Dataset:
    """Decode the times that xarray left as numbers or couldn't decode."""
    converted = with_days_since(dataset)
    if converted is dataset:
        return dataset
    return xr.decode_cf(converted, mask_and_scale=False, concat_characters=False, decode_timedelta=False)


def _with_other_times(path: str, kind: str, error: Exception) -> xr.Dataset | None:
    """Open a file whose times xarray can't decode, but we can, as calendar months; else None."""
    if kind == "grib" or isinstance(error, OSError):
        return None
    try:
        undecoded = OPENERS[kind](path, "", decode_times=False)
        dataset = _with_dates(undecoded)
    except READ_ERRORS:
        return None
    return None if dataset is undecoded else dataset


def _fault(path: str, kind: str, error: Exception) -> DataError:
    """Say what is wrong with a file that can't be opened: its time axis, or all of it."""
    why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    if kind != "grib" and not isinstance(error, OSError) and _opens_without_times(path, kind):
        return TimeError(
            f"{path} has a time axis that can't be decoded ({why})",
            hint="expected CF units such as 'days since 2000-01-01' and a CF calendar",
            action="fix its attributes (CDO: cdo setreftime; NCO: ncatted)",
        )
    if is_url(path):
        return DataError(
            f"{path} can't be read ({why})",
            hint="expected Zarr (.zarr in its address), a Kerchunk reference (.json), GeoTIFF (.tif), or OPeNDAP",
            action="check the address and your access to it, or try again later",
        )
    return DataError(
        f"{path} can't be read ({why})", hint="it may be damaged or cut off", action="copy or download it again"
    )


def _opens_without_times(path: str, kind: str) -> bool:
    try:
        OPENERS[kind](path, "", decode_times=False).close()
    except READ_ERRORS:
        return False
    return True


def _format_of(path: str) -> str:
    """Find the format, one of OPENERS, from the content of a file, or from an address."""
    if is_url(path):
        kind = "raster" if path.lower().endswith(RASTERS) else "opendap"
        return "reference" if path.endswith(".json") else "zarr" if ".zarr" in path else kind
    if not os.path.exists(path):
        folder, name = os.path.split(path)
        beside = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        raise DataError(
            f"{path} doesn't exist",
            hint="expected a file, a glob with a match, or a Zarr store",
            action=nearest(name, beside),
        )
    if os.path.isdir(path):
        if any(os.path.exists(os.path.join(path, mark)) for mark in ZARR_MARKERS):
            return "zarr"
        inside = os.path.join(path, "*.nc")
        raise DataError(f"{path} is a folder, but no Zarr store", action=f"name the files in it, as in {inside}")
    if not os.path.isfile(path):  # a pipe would wait for a writer
        raise DataError(f"{path} is neither a file nor a folder", hint=f"expected {EXPECTED}")
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror})", action="check its permissions") from error
    if start.startswith(b"{") and path.endswith(".json"):
        return "reference"
    for magic, kind in MAGIC.items():
        if start.startswith(magic):
            return kind
    for magic, (what, action) in REFUSED.items():
        if start.startswith(magic):
            raise DataError(f"{path} is {what}", hint=f"expected {EXPECTED}", action=action.format(path=path))
    problem = "is empty" if not start else "is neither NetCDF nor GRIB nor GeoTIFF"
    action = FOR_STATIONS if path.lower().endswith((".csv", ".tsv", ".txt")) else ""
    raise DataError(f"{path} {problem}", hint=f"expected {EXPECTED}", action=action)


def _open_netcdf(path: str, variable: str, decode_times: bool = True) -> xr.Dataset:
    with open(path, "rb") as file:
        is_classic = file.read(3) == b"CDF"
    if is_classic:
        _check_length(path)
    options = {"decode_timedelta": False, "decode_times": decode_times}
    dataset = open_netcdf(path, **options)
    if is_classic or variable in dataset.data_vars or (not variable and fields_of(dataset)):
        return dataset
    grouped = open_group(path, variable, **options)
    return dataset if grouped is None else grouped


def _open_groups(path: str) -> list[xr.Dataset]:
    """Open the groups of a file that has fields in groups alone."""
    if fields_of(open_netcdf(path, decode_timedelta=False, decode_times=False)):
        return []
    return [_with_dates(dataset) for dataset in open_groups(path, decode_timedelta=False)]


def _check_length(path: str) -> None:
    """Raise OSError if a classic NetCDF file is cut off: the NetCDF library would read zeros past its end."""
    with netcdf_file(path) as file:
        expected = sum(int(np.prod(v.shape)) * v.dtype.itemsize for v in file.variables.values())
    if (found := os.path.getsize(path)) < expected:
        raise OSError(f"{found} bytes, but its variables take {expected}")


def _open_opendap(url: str, variable: str, decode_times: bool = True) -> xr.Dataset:
    """Open lazily; a dataset that has the same attributes and coordinates is the same, for a day at most."""
    dataset = open_netcdf(url, decode_timedelta=False, decode_times=decode_times)
    about = [(name, array.dims, array.shape, array.attrs) for name, array in dataset.variables.items()]
    places = b"".join(index.values.tobytes() for index in dataset.coords.values() if index.ndim == 1)
    version = hashlib.sha256(repr([dataset.attrs, about]).encode() + places).hexdigest()
    kept = {
        name: cached_on_disk(array.variable, f"{url} {version} {name}", remote_files.EXPIRES_S, remote_files.PAUSES_S)
        for name, array in dataset.data_vars.items()
        if array.ndim > 1 and array.dtype.kind in "fiu"
    }
    return dataset.assign(kept)


def _open_zarr(path: str, variable: str, decode_times: bool = True) -> xr.Dataset:
    if is_url(path):
        from engine.data.remote import open_remote_zarr  # imports Zarr, which takes half a second

        return _decode_zarr(open_remote_zarr(path), decode_times)
    is_consolidated = os.path.exists(os.path.join(path, ".zmetadata"))
    dataset = xr.open_dataset(path, engine="zarr", decode_cf=False, consolidated=is_consolidated)
    return _decode_zarr(dataset, decode_times)


def _open_reference(path: str, variable: str, decode_times: bool = True) -> xr.Dataset:
    from engine.data.remote import open_reference

    return _decode_zarr(open_reference(path), decode_times)


def _decode_zarr(dataset: xr.Dataset, decode_times: bool) -> xr.Dataset:
    for array in dataset.variables.values():
        # Zarr's own default for what was never written, not a mark of missing values, unless they are packed.
        if array.attrs.get("_FillValue") == 0 and not {"scale_factor", "add_offset"} & set(array.attrs):
            del array.attrs["_FillValue"]
    return xr.decode_cf(dataset, decode_timedelta=False, decode_times=decode_times)


OPENERS: dict[str, Callable[..., xr.Dataset]] = {
    "netcdf": _open_netcdf,
    "grib": open_grib,
    "zarr": _open_zarr,
    "raster": open_raster,
    "opendap": _open_opendap,
    "reference": _open_reference,
}
