"""Groups of NetCDF-4 and HDF5 files."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

from tests.engine.data.kinds.grids import LAT2, LON2
from tests.engine.data.kinds.kind import Kind, gap, made, saved, truth

NO2 = "nitrogendioxide_tropospheric_column"


def grouped(at: Path, fields: dict[str, xr.Dataset], name: str = "file.HDF5") -> Path:
    """A NetCDF-4 (HDF5) file with a dataset in each group."""
    netCDF4.Dataset(at / name, "w").close()
    for group, dataset in fields.items():
        encoding = {one: {"_FillValue": None} for one in dataset.variables if "_FillValue" not in dataset[one].attrs}
        dataset.to_netcdf(at / name, mode="a", group=group, engine="netcdf4", encoding=encoding)
    return at / name


def imerg() -> xr.Dataset:
    dataset = made(
        name="precipitation",
        units="mm/hr",
        days=(0,),
        since="seconds since 1970-01-01 00:00:00 UTC",
        count=lambda days: days * 86400 + 978307200,
    )
    return gap(dataset.transpose("time", "lon", "lat"), -9999.9, "precipitation", _FillValue=np.float32(-9999.9))


def sentinel_5p(at: Path) -> Path:
    place = {"latitude": LAT2, "longitude": LON2}
    dims = ("time", "scanline", "ground_pixel")
    coords = {
        name: (dims, side[None].astype("f4"), {"units": f"degrees_{'north' if name == 'latitude' else 'east'}"})
        for name, side in place.items()
    }
    values = truth(0.0, LAT2, LON2)[None].astype("f4")
    about = {"units": "mol m-2", "coordinates": "longitude latitude"}
    product = xr.Dataset(
        {NO2: (dims, values, about), **coords},
        {
            "time": (
                "time",
                np.array([0], "i4"),
                {"units": "seconds since 2001-01-01 00:00:00", "standard_name": "time"},
            )
        },
    )
    support = xr.Dataset({"snow_ice_flag": (dims, np.zeros((1, 4, 6), "f4"))})
    return grouped(at, {"PRODUCT": product, "PRODUCT/SUPPORT_DATA": support}, "S5P_OFFL_L2__NO2.nc")


def inherited(at: Path) -> Path:
    """Fields in a group, over dimensions and coordinates of the root."""
    dataset = made()
    saved(dataset.drop_vars("t2m"), at)
    with netCDF4.Dataset(at / "file.nc", "a") as file:
        field = file.createGroup("fields").createVariable("t2m", "f4", ("time", "lat", "lon"))
        field.units, field[:] = "K", dataset["t2m"].values
    return at / "file.nc"


def odim(at: Path) -> Path:
    return grouped(
        at, {"dataset1/data1": xr.Dataset({"data": ("phony", np.zeros(4, "u1"))}), "where": xr.Dataset()}, "file.h5"
    )


def one_each(at: Path) -> Path:
    return grouped(at, {"a": made(), "b": made()}, "file.nc")


def grid_group(at: Path) -> Path:
    return grouped(at, {"Grid": imerg()})


KINDS = [
    Kind("IMERG", "HDF5: group Grid, (time, lon, lat), mm/hr", grid_group, missing=1, to="mm/h"),
    Kind("IMERG", "group and variable named", grid_group, variable="Grid/precipitation", missing=1, to="mm/h"),
    Kind("Sentinel-5P", "swath in the group PRODUCT", sentinel_5p, variable=NO2, to="mol m-2"),
    Kind("Sentinel-5P", "variable not named", sentinel_5p, "has groups, and it has several variables"),
    Kind("NetCDF-4", "group with coordinates of the root", inherited, variable="t2m"),
    Kind("NetCDF-4", "one name in two groups", one_each, "is in several groups (a/t2m, b/t2m)", variable="t2m"),
    Kind("NetCDF-4", "one name in two groups, one named", one_each, variable="b/t2m"),
    Kind("NetCDF-4", "group that isn't there", one_each, "has no variable 'c/t2m'", variable="c/t2m"),
    Kind("ODIM", "HDF5 composite (/dataset1/data1/data)", odim, "no variable over a grid"),
]
