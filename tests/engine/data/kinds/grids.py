"""Writers of the field on projected and curvilinear grids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray as xr

from tests.engine.data.kinds.kind import (
    made,
    on_levels,
    saved,
)

Y, X = np.meshgrid(np.arange(4.0), np.arange(6.0), indexing="ij")
LAT2, LON2 = 50 + 0.4 * Y + 0.05 * X, 10 + 0.5 * X - 0.05 * Y  # rows and columns at an angle to the parallels


def from_rotated(x: np.ndarray, y: np.ndarray, inverse: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude of rotated ones, for the pole of EURO-CORDEX: turned by 50.75° about the axis of y."""
    tilt, lon, lat = np.deg2rad(90 - 39.25), np.deg2rad(x), np.deg2rad(y)
    a, b, c = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
    a, c = a * np.cos(tilt) - c * np.sin(tilt), a * np.sin(tilt) + c * np.cos(tilt)
    return 18 + np.rad2deg(np.arctan2(b, a)), np.rad2deg(np.arcsin(c))


def projected(proj: str, mapping: dict[str, Any], y: Any, x: Any, *, unit: str = "m", **more: Any) -> xr.Dataset:
    """The field on the y and x of a projection, given to PROJ as text and to the file as a CF grid mapping."""
    metres = 1000.0 if unit == "km" else 1.0
    names = more.pop("sides", ("y", "x"))
    to_lonlat = pyproj.Proj(proj) if proj else from_rotated
    lon, lat = to_lonlat(*np.meshgrid(np.asarray(x) * metres, np.asarray(y) * metres), inverse=True)
    dataset = made(lat=lat, lon=lon, **more).rename_dims(row=names[0], column=names[1])
    named = (
        ("grid_latitude", "grid_longitude") if unit == "degrees" else tuple(f"projection_{s}_coordinate" for s in "yx")
    )
    sides = zip(names, (y, x), named, strict=True)
    axes = {dim: (dim, np.asarray(side, float), {"units": unit, "standard_name": word}) for dim, side, word in sides}
    field = next(iter(dataset))
    dataset[field].attrs["grid_mapping"] = "crs"
    return dataset.assign_coords(axes).assign(crs=((), np.int32(0), mapping))


def curvilinear(at: Path, time: str, lat: str, lon: str, dims: tuple[str, str], name: str, **how: Any) -> Path:
    """A model on 2-D latitude and longitude, which the field may name among its coordinates."""
    level, link = how.pop("level", ""), how.pop("link", True)
    dataset = made(lat=LAT2, lon=LON2, name=name, names=(time, lat, lon), **how)
    dataset = dataset.rename_dims(row=dims[0], column=dims[1]).reset_coords([lat, lon])
    if link:
        dataset[name].attrs["coordinates"] = f"{lon} {lat}"
    else:
        dataset[lat].attrs, dataset[lon].attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    return saved(on_levels(dataset, level, [0.5, 10.0], units="m", positive="down") if level else dataset, at)
