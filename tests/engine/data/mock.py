"""Small synthetic fields and files of any resolution, calendar and orientation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from engine.data.fields import open_field
from engine.data.grib import grib_library
from engine.errors import DataError
from engine.spec import Source

ALBERS = {
    "grid_mapping_name": "albers_conical_equal_area",
    "standard_parallel": [-26.2, -29.3],
    "longitude_of_central_meridian": 153.24,
    "latitude_of_projection_origin": -27.7178,
    "false_easting": 0.0,
    "false_northing": 0.0,
    "semi_major_axis": 6378137.0,
    "semi_minor_axis": 6356752.31414,
}


def steps(n: int = 20, *, start: str = "2001-01-01", frequency: str = "D", calendar: str = "standard") -> Any:
    """n equally spaced times of any CF calendar."""
    return xr.date_range(start, periods=n, freq=frequency, calendar=calendar, use_cftime=calendar != "standard")


def make_field(
    *,
    ny: int = 8,
    nx: int = 12,
    times: Any = 20,
    south: float = 40.0,
    west: float = 0.0,
    dy: float = 0.5,
    dx: float = 0.5,
    north_first: bool = False,
    missing: float = 0.0,
    crs: Mapping[str, Any] | None = None,
    units: str | None = "K",
    name: str = "t2m",
    names: tuple[str, str, str] = ("time", "lat", "lon"),
    seed: int = 0,
) -> xr.Dataset:
    """A smooth field plus noise; `south` and `west` are the outermost centres, `times=0` leaves time out.

    With a `crs` the coordinates are projected, in km; `missing` is the share of cells without a value, the same
    at all times.
    """
    rng = np.random.default_rng(seed)
    when = times if not isinstance(times, int) else steps(times) if times else ()
    y, x = south + dy * np.arange(ny), west + dx * np.arange(nx)
    wave = np.sin(np.arange(ny) / 3)[:, None] + np.cos(np.arange(nx) / 4)
    values = 280 + wave + rng.normal(size=(max(len(when), 1), ny, nx))
    values[:, rng.random((ny, nx)) < missing] = np.nan
    if north_first:
        y, values = y[::-1], values[:, ::-1]
    time, lat, lon = names
    field = xr.DataArray(values.astype(np.float32), {lat: y, lon: x}, names, name)
    field = field.assign_coords({time: when}) if len(when) else field.isel({time: 0})
    return _with_attributes(field, names, crs, units)


def write_field(path: Path, **what: Any) -> str:
    """Write `make_field(**what)` as NetCDF, or as a Zarr store if the path ends so; returns the path."""
    dataset = make_field(**what)
    if path.suffix == ".zarr":
        dataset.to_zarr(path, consolidated=False)
    else:
        dataset.to_netcdf(path)
    return str(path)


def write_grib(path: Path, messages: list[dict[str, Any]], *, ny: int = 4, nx: int = 6, edition: int = 1) -> str:
    """Write GRIB messages, north first, from 50 °N and 10 °E on by 0.5°; each dict overrides ecCodes keys."""
    eccodes = grib_library("eccodes")

    with path.open("wb") as file:
        for number, keys in enumerate(messages):
            handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
            values = keys.pop("values", np.full((ny, nx), 280.0 + number))
            grid = {
                "Ni": nx,
                "Nj": ny,
                "latitudeOfFirstGridPointInDegrees": 50.0,
                "latitudeOfLastGridPointInDegrees": 50.0 - 0.5 * (ny - 1),
                "longitudeOfFirstGridPointInDegrees": 10.0,
                "longitudeOfLastGridPointInDegrees": 10.0 + 0.5 * (nx - 1),
                "iDirectionIncrementInDegrees": 0.5,
                "jDirectionIncrementInDegrees": 0.5,
                ("indicatorOfParameter" if edition == 1 else "paramId"): 167,
            }
            for key, value in (grid | keys).items():
                eccodes.codes_set(handle, key, value)
            eccodes.codes_set_values(handle, np.ravel(values))
            eccodes.codes_write(handle, file)
            eccodes.codes_release(handle)
    return str(path)


def refusal(kind: type[DataError], path: Path | str, variable: str = "", *, static: bool = False) -> str:
    """Give the message with which a file is refused."""
    with pytest.raises(kind) as caught:
        open_field(Source(str(path), variable), static=static)
    return str(caught.value)


def _with_attributes(
    field: xr.DataArray, names: tuple[str, str, str], crs: Mapping[str, Any] | None, units: str | None
) -> xr.Dataset:
    _, lat, lon = names
    if units is not None:
        field.attrs["units"] = units
    dataset = field.to_dataset()
    if crs is None:
        dataset[lat].attrs = {"units": "degrees_north", "standard_name": "latitude"}
        dataset[lon].attrs = {"units": "degrees_east", "standard_name": "longitude"}
        return dataset
    dataset[lat].attrs = {"units": "km", "standard_name": "projection_y_coordinate"}
    dataset[lon].attrs = {"units": "km", "standard_name": "projection_x_coordinate"}
    dataset[field.name].attrs["grid_mapping"] = "projection"
    return dataset.assign(projection=((), np.int8(0), dict(crs)))
