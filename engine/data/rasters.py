"""GeoTIFF and JPEG 2000 files, read by rasterio, an optional dependency: each band is a variable."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyproj
import xarray as xr
from xarray.core import indexing

from engine.data.lazy import Key, LazyArray, cached_on_disk
from engine.data.remote_files import version_of, with_server
from engine.errors import DataError, GridError
from engine.spec import is_url

MAPPING = "spatial_ref"  # GDAL's name of the grid mapping in NetCDF files
# https://gdal.org/en/stable/user/configoptions.html; times in seconds
REMOTE = {
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_CONNECTTIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "VSI_CACHE": True,
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",  # in memory after a file is closed, also when it has changed
}


def open_raster(path: str, variable: str, decode_times: bool = True) -> xr.Dataset:
    """Open a raster lazily: a variable (y, x) for each band, unpacked, NaN where it has no value.

    Bands have the names that describe them in the file, if each has one of its own, else band_1, band_2, …; y and x are
    the centres of pixels.

    Raises
    ------
    DataError
        If rasterio is missing, or the file holds several rasters.
    GridError
        If pixels have no place on Earth, or rows and columns don't follow x and y.
    """
    with _raster(path) as file:
        _check(file, path)
        names = list(file.descriptions)
        if not all(names) or len(set(names)) < len(names):
            names = [f"band_{number}" for number in file.indexes]
        bands = {name: _band(file, number, path) for number, name in enumerate(names, 1)}
        crs, place, (ny, nx) = pyproj.CRS.from_user_input(file.crs.to_wkt()), file.transform, file.shape
    if is_url(path) and (version := version_of(path)):
        source = f"{with_server(path)} {version.text}"
        bands = {name: cached_on_disk(band, f"{source} {name}", version.max_age_s) for name, band in bands.items()}
    axes = {str(axis.get("axis")): axis for axis in crs.cs_to_cf()}
    centres = {"y": place.f + place.e * (np.arange(ny) + 0.5), "x": place.c + place.a * (np.arange(nx) + 0.5)}
    coords = {name: (name, values, axes.get(name.upper(), {})) for name, values in centres.items()}
    return xr.Dataset(bands, coords).assign_coords({MAPPING: ((), np.int32(0), {"crs_wkt": crs.to_wkt()})})


@contextmanager
def _raster(path: str) -> Iterator[Any]:
    """Open a file anew, which is safe in threads."""
    try:
        import rasterio
    except ImportError as error:
        raise DataError(
            f"{path} is read by rasterio, which isn't installed ({error})",
            action="pip install 'mesoscope[geotiff]', or with conda: conda install rasterio",
        ) from error
    with rasterio.Env(**(REMOTE if is_url(path) else {}), **(_s3_server() if path.startswith("s3:") else {})):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # refused by `_check`
            file = rasterio.open(path)
        with file:
            yield file


def _s3_server() -> dict[str, Any]:
    """Name the S3-compatible server of `$AWS_ENDPOINT_URL` to GDAL, which reads the other variables itself."""
    server = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
    if not server.netloc:
        return {}
    address = {"AWS_S3_ENDPOINT": f"{server.netloc}{server.path}".rstrip("/"), "AWS_VIRTUAL_HOSTING": False}
    return address | {"AWS_HTTPS": server.scheme == "https"}


def _check(file: Any, path: str) -> None:
    if parts := file.subdatasets:
        raise DataError(
            f"{path} holds {len(parts)} rasters", action="write each as a file of its own (gdal_translate -sds)"
        )
    if file.crs is None:
        raise GridError(
            f"{path} names no coordinate reference system",
            hint="expected a georeferenced raster",
            action="add it (gdal_edit.py -a_srs EPSG:…), or with ground control points gdalwarp -t_srs EPSG:…",
        )
    if not np.allclose([file.transform.b, file.transform.d], 0, atol=1e-9 * abs(file.transform.a)):
        raise GridError(
            f"{path} is rotated: its rows and columns don't follow x and y",
            hint="expected a north-up raster",
            action="bring it onto x and y first (gdalwarp input.tif output.tif)",
        )


def _band(file: Any, number: int, path: str) -> xr.Variable:
    attrs = {"grid_mapping": MAPPING, "units": file.units[number - 1] or ""}
    values = indexing.LazilyIndexedArray(_Band(file, number, path))
    return xr.Variable(("y", "x"), values, attrs, {"source": path})


class _Band(LazyArray):
    def __init__(self, file: Any, number: int, path: str):
        self.path, self.number, self.shape = path, number, file.shape
        self.dtype = np.result_type(file.dtypes[number - 1], np.float32)
        self.scale, self.offset = file.scales[number - 1], file.offsets[number - 1]

    def _read(self, key: Key) -> np.ndarray:
        rows, columns = (np.arange(n)[part] for n, part in zip(self.shape, key, strict=True))
        if not rows.size or not columns.size:
            return np.empty((*rows.shape, *columns.shape), self.dtype)
        window = tuple((int(cells.min()), int(cells.max()) + 1) for cells in (rows, columns))
        try:
            with _raster(self.path) as file:
                packed = file.read(self.number, window=window, masked=True)
        except OSError as error:
            raise OSError(f"{self.path}: {error.__cause__ or error}") from error
        values = packed.astype(self.dtype).filled(np.nan) * self.dtype.type(self.scale) + self.dtype.type(self.offset)
        return values[rows - window[0][0]][..., columns - window[1][0]]
