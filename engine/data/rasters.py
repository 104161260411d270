"""GeoTIFF and JPEG 2000 files, read by rioxarray, an optional dependency: each band is a variable."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from engine.errors import DataError, GridError


def open_raster(path: str, variable: str, decode_times: bool = True) -> xr.Dataset:
    """Open a raster lazily: a variable (y, x) for each band, unpacked, NaN where it has no value.

    Bands have the names that describe them in the file, if each has one of its own, else band_1, band_2, …; y and x are
    the centres of pixels.

    Raises
    ------
    DataError
        If rioxarray is missing, or the file holds several rasters.
    GridError
        If pixels have no place on Earth, or rows and columns don't follow x and y.
    """
    try:
        import rasterio
        import rioxarray  # noqa: F401 (gives xarray its engine and its .rio accessor)
    except ImportError as error:
        raise DataError(
            f"{path} is read by rioxarray, which isn't installed ({error})",
            action="pip install 'mesoscope[geotiff]', or with conda: conda install rioxarray",
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # refused below
        file = rasterio.open(path)
    with file:
        parts, crs, transform, described = file.subdatasets, file.crs, file.transform, file.descriptions
    if parts:
        raise DataError(
            f"{path} holds {len(parts)} rasters", action="write each as a file of its own (gdal_translate -sds)"
        )
    if crs is None:
        raise GridError(
            f"{path} names no coordinate reference system",
            hint="expected a georeferenced raster",
            action="add it (gdal_edit.py -a_srs EPSG:…), or with ground control points gdalwarp -t_srs EPSG:…",
        )
    if not np.allclose([transform.b, transform.d], 0, atol=1e-9 * abs(transform.a)):
        raise GridError(
            f"{path} is rotated: its rows and columns don't follow x and y",
            hint="expected a north-up raster",
            action="bring it onto x and y first (gdalwarp input.tif output.tif)",
        )
    dataset = xr.open_dataset(path, engine="rasterio", band_as_variable=True, mask_and_scale=True, cache=False)
    names = [text or "" for text in described]
    if all(names) and len(set(names)) == len(names):
        dataset = dataset.rename({f"band_{number}": name for number, name in enumerate(names, 1)})
    return dataset.rio.write_coordinate_system()
