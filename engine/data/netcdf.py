"""NetCDF files, touched by one thread at a time.

Neither the NetCDF library nor HDF5 is safe in threads, netCDF4-python lets go of the GIL while it is in them, and
xarray locks reading but neither the opening nor the closing of a file. So all files are opened with one lock of
ours, which is held while they are opened, and which xarray takes to read them and to close them.

Once a file with variables of strings was closed, HDF5 (1.14.2 to 2.2.0 tried) may read freed memory when it opens
another one, and end the process. So such files stay open, and those that are written hold characters instead.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import netCDF4
import numpy as np
import xarray as xr
from pandas.api.types import infer_dtype

from engine.spec import is_url

ANSWER_S = 120  # that an OPeNDAP server may take for each request, while others wait
CACHE_BYTES = 2**24  # of chunks of each variable that is read; the library's own 64 MiB are much for several files

_LOCK = threading.RLock()
_WITH_STRINGS: dict[tuple[str, int, int, str], xr.Dataset] = {}  # by file, its version, and options
_LISTED_WITH_STRINGS: list[netCDF4.Dataset] = []  # stay open, too
MOST_WITH_STRINGS = 500  # of the 1024 files that a process may usually have open


def open_netcdf(path: str | Path, **options: Any) -> xr.Dataset:
    """Open a NetCDF file or OPeNDAP URL lazily, with the options of `xarray.open_dataset`; raises what that raises."""
    with _LOCK:
        if is_url(str(path)):
            netCDF4.rc_set("HTTP.TIMEOUT", str(ANSWER_S))
            store = xr.backends.NetCDF4DataStore.open(path, lock=_LOCK)
            store.is_remote = False  # xarray would try seven times, holding the lock meanwhile
            return xr.open_dataset(store, engine="store", **{"cache": False, **options})
        stat = os.stat(path)
        key = (str(path), stat.st_mtime_ns, stat.st_size, repr(sorted(options.items())))
        if key in _WITH_STRINGS:
            return _WITH_STRINGS[key].copy()
        netCDF4.set_chunk_cache(CACHE_BYTES)  # also holds when xarray closes files, and opens them again
        dataset = xr.open_dataset(path, engine="netcdf4", lock=_LOCK, **{"cache": False, **options})
        stored = [np.dtype(each.encoding.get("dtype", each.dtype)) for each in dataset.variables.values()]
        if len(_WITH_STRINGS) == MOST_WITH_STRINGS or not any(dtype.kind in "OUT" for dtype in stored):
            return dataset
        dataset.set_close(None)
        _WITH_STRINGS[key] = dataset
        xr.set_options(file_cache_maxsize=128 + len(_WITH_STRINGS))  # xarray closes what is beyond it
        return dataset.copy()


def group_names(path: str) -> list[str]:
    """List the groups of a NetCDF-4 file at any depth, as in 'PRODUCT/SUPPORT_DATA'; raises OSError."""

    def below(group: netCDF4.Dataset) -> list[netCDF4.Dataset]:
        return [each for inner in group.groups.values() for each in (inner, *below(inner))]

    with _LOCK:
        file = netCDF4.Dataset(path)
        groups = below(file)
        if any(variable.dtype is str for group in (file, *groups) for variable in group.variables.values()):
            _LISTED_WITH_STRINGS.append(file)
        names = [group.path.strip("/") for group in groups]
        if file not in _LISTED_WITH_STRINGS:
            file.close()
        return names


@contextmanager
def netcdf_file(path: str | Path, mode: Literal["r", "a"] = "r") -> Iterator[netCDF4.Dataset]:
    """Open the file itself. Others wait meanwhile, so compute nothing inside."""
    netCDF4.set_chunk_cache(CACHE_BYTES)
    with _LOCK, netCDF4.Dataset(path, mode) as file:
        yield file


def write_netcdf(
    dataset: xr.Dataset, path: str | Path, encoding: Mapping[str, Mapping[str, Any]] | None = None, **options: Any
) -> None:
    """Write with the options of `Dataset.to_netcdf`; raises OSError or RuntimeError if the file can't be written."""
    dataset = dataset.compute()  # outside the lock, for which other threads wait
    encodings: dict[Any, Mapping[str, Any]] = {
        name: {"dtype": "S1"}
        for name, variable in dataset.variables.items()
        if infer_dtype(variable.values.ravel()) == "string"
    }
    with _LOCK:
        dataset.to_netcdf(path, engine="netcdf4", encoding={**encodings, **(encoding or {})}, **options)
