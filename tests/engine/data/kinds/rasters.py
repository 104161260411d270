"""GeoTIFF files, by GDAL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.engine.data.kinds.kind import (
    LON,
    NORTH,
    Kind,
    truth,
)


def tiff(at: Path, name: str = "file_20010101.tif", *, epsg: int = 4326, day: float = 0.0, **profile: Any) -> Path:
    """A raster of truth on degrees, north first."""
    import rasterio

    values = truth(day, NORTH[:, None], LON).astype("f4")
    scale = profile.pop("scale", 0.0)
    if scale:
        values = np.rint((values - 280) / scale).astype("i2")
    if "nodata" in profile:
        values[0, 0] = profile["nodata"]
    place = rasterio.Affine(0.5, 0, 9.75, 0, -0.5, 51.75)
    crs = {"crs": f"EPSG:{epsg}"} if epsg else {}
    shape = {"height": 4, "width": 6, "count": 1, "dtype": values.dtype, "transform": place}
    with rasterio.open(at / name, "w", driver="GTiff", **{**shape, **crs, **profile}) as file:
        file.write(values, 1)
        file.units = ("K",)
        if scale:
            file.scales, file.offsets = (scale,), (280.0,)
    return at / name


def stack(at: Path, pattern: str, glob: str) -> Path:
    for day in (0, 1, 2):
        tiff(at, pattern.format(day + 1), day=day)
    return at / glob


KINDS = [
    # Rasters
    Kind("GDAL", "GeoTIFF, degrees", tiff),
    Kind("GDAL", "GeoTIFF stack, YYYY-MM-DD in the names", lambda at: stack(at, "ndvi_2001-01-0{}.tif", "ndvi_*.tif")),
    Kind("GDAL", "GeoTIFF stack, YYYY_MM_DD in the names", lambda at: stack(at, "ndvi_2001_01_0{}.tif", "ndvi_*.tif")),
    Kind("GDAL", "GeoTIFF stack, YYYYMMDD in the names", lambda at: stack(at, "ndvi_2001010{}.tif", "ndvi_*.tif")),
    Kind("GDAL", "GeoTIFF with nodata", lambda at: tiff(at, nodata=-9999.0), missing=1),
    Kind("GDAL", "GeoTIFF packed with scale and offset", lambda at: tiff(at, scale=0.01), within=6e-3),
    Kind(
        "GDAL",
        "cloud-optimised: tiles and DEFLATE",
        lambda at: tiff(at, tiled=True, blockxsize=16, blockysize=16, compress="deflate"),
    ),
    Kind("GDAL", "BigTIFF", lambda at: tiff(at, BIGTIFF="YES")),
    Kind("GDAL", "GeoTIFF as static variable", lambda at: tiff(at, "dem.tif"), static=True),
    Kind("GDAL", "GeoTIFF without date", lambda at: tiff(at, "dem.tif"), "one date in the name"),
    Kind(
        "GDAL",
        "GeoTIFF without coordinate reference system",
        lambda at: tiff(at, epsg=0),
        "names no coordinate reference system",
    ),
    Kind(
        "GDAL",
        "two dates in the name, as of Landsat",
        lambda at: tiff(at, "LE07_20010101_20010203.tif"),
        "one date in the name",
    ),
]
