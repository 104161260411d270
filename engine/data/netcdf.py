"""NetCDF files, touched by one thread at a time.

Neither the NetCDF library nor HDF5 is safe in threads, netCDF4-python lets go of the GIL while it is in them, and
xarray locks reading but neither the opening nor the closing of a file. So all files are opened with one lock of
ours, which is held while they are opened, and which xarray takes to read them and to close them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import netCDF4
import xarray as xr
from pandas.api.types import infer_dtype

CACHE_BYTES = 2**24  # of chunks of each variable that is read; the library's own 64 MiB are much for several files

_LOCK = threading.RLock()


def open_netcdf(path: str | Path, **options: Any) -> xr.Dataset:
    """Open a NetCDF file lazily, with the options of `xarray.open_dataset`; raises what that raises."""
    with _LOCK:
        netCDF4.set_chunk_cache(CACHE_BYTES)  # also holds when xarray closes files, and opens them again
        return xr.open_dataset(path, engine="netcdf4", lock=_LOCK, **options)


@contextmanager
def netcdf_file(path: str | Path, mode: Literal["r", "a"] = "r") -> Iterator[netCDF4.Dataset]:
    """Open the file itself. Others wait meanwhile, so compute nothing inside."""
    netCDF4.set_chunk_cache(CACHE_BYTES)
    with _LOCK, netCDF4.Dataset(path, mode) as file:
        yield file


def write_netcdf(
    dataset: xr.Dataset, path: str | Path, encoding: Mapping[str, Mapping[str, Any]] | None = None, **options: Any
) -> None:
    """Write with the options of `Dataset.to_netcdf`; raises OSError or RuntimeError if the file can't be written.

    Words are written as characters of fixed length: HDF5 (1.14.2 to 2.2.0 tried) ends the process when variables of
    strings are opened after another file that has some was closed.
    """
    dataset = dataset.compute()  # outside the lock, for which other threads wait
    encodings: dict[Any, Mapping[str, Any]] = {
        name: {"dtype": "S1"}
        for name, variable in dataset.variables.items()
        if infer_dtype(variable.values.ravel()) == "string"
    }
    with _LOCK:
        dataset.to_netcdf(path, engine="netcdf4", encoding={**encodings, **(encoding or {})}, **options)
