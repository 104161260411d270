"""CDO, NCO and xarray: variants of NetCDF that tools write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tests.engine.data.kinds.grids import curvilinear
from tests.engine.data.kinds.kind import (
    EPOCH,
    LAT,
    LON,
    NORTH,
    Kind,
    gap,
    made,
    netcdf,
    packed,
    saved,
    zarr,
)

BOUNDS = {"lat_bnds": (("lat", "bnds"), np.zeros((4, 2))), "time_bnds": (("time", "bnds"), np.zeros((3, 2)))}
MIDDLE = {"days": (15.5, 45.0, 74.5), "since": EPOCH}
GAUSSIAN = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(96)[0]))[76:80]  # of N48


def parts(at: Path, second: dict[str, Any] | None = None) -> Path:
    """Two files, one after the other."""
    saved(made(days=(0, 1)), at, "t2m_1.nc")
    saved(made(**{"days": (2, 3), **(second or {})}), at, "t2m_2.nc")
    return at / "t2m_*.nc"


def bare(dataset: xr.Dataset) -> xr.Dataset:
    time = next(iter(dataset["t2m"].dims))
    for name, variable in dataset.variables.items():
        variable.attrs = variable.attrs if name == time else {}
    return dataset


def in_radians() -> xr.Dataset:
    dataset = made()
    for side in ("lat", "lon"):
        values, name = np.deg2rad(dataset[side].values), dataset[side].attrs["standard_name"]
        dataset = dataset.assign_coords({side: (side, values, {"units": "radian", "standard_name": name})})
    return dataset


KINDS = [
    # CDO and NCO
    Kind(
        "CDO",
        "-f nc4: relative time, CF axes",
        netcdf(calendar="proleptic_gregorian", since="days since 2001-1-1 00:00:00"),
    ),
    Kind("CDO", "-f nc: classic NetCDF, float64", lambda at: saved(made(dtype="f8"), at, format="NETCDF3_CLASSIC")),
    Kind("CDO", "-f nc2: 64-bit offset", lambda at: saved(made(), at, format="NETCDF3_64BIT")),
    Kind(
        "CDO",
        "-z zip: compressed chunks",
        lambda at: saved(made(), at, encoding={"t2m": {"zlib": True, "chunksizes": (1, 4, 6)}}),
    ),
    Kind("CDO", "-a: absolute time", netcdf(since="day as %Y%m%d.%f", count=lambda days: 20010101.0 + days)),
    Kind("CDO", "-b I16: packed", lambda at: saved(packed(made(), _FillValue=np.int16(-32768)), at), within=6e-3),
    Kind(
        "CDO",
        "monmean: time in months",
        netcdf(days=(0, 31, 59), since="months since 2001-01-01", count=lambda days: np.arange(3.0)),
    ),
    Kind(
        "CDO",
        "yearmean: years since",
        netcdf(days=(0, 365, 730), since="years since 2001-01-01", count=lambda days: np.arange(3.0)),
    ),
    Kind("CDO", "monmean with bounds of time and cells", lambda at: saved(made(**MIDDLE).assign(BOUNDS), at)),
    Kind("CDO", "seltimestep: one step", netcdf(days=(5,))),
    Kind("CDO", "invertlat: north first", netcdf(lat=NORTH)),
    Kind("CDO", "gaussian latitudes", netcdf(lat=GAUSSIAN)),
    Kind("CDO", "sellonlatbox: longitudes below 0", netcdf(lon=LON - 20)),
    Kind("CDO", "zonmean: one longitude", netcdf(lon=[0.0])),
    Kind(
        "CDO",
        "merge: several variables, one named",
        lambda at: saved(made().assign(d2m=made(units="Pa")["t2m"]), at),
        variable="t2m",
    ),
    Kind(
        "CDO",
        "merge: several variables, none named",
        lambda at: saved(made().assign(d2m=made()["t2m"]), at),
        "has several variables (t2m, d2m)",
    ),
    Kind(
        "CDO",
        "curvilinear grid (coordinates = lon lat)",
        lambda at: curvilinear(at, "time", "lat", "lon", ("y", "x"), "t2m"),
    ),
    Kind("CDO", "splitday: two files, given as a glob", parts),
    Kind("CDO", "two files, one turned north first", lambda at: parts(at, {"lat": NORTH})),
    Kind("CDO", "two files in K and degC", lambda at: parts(at, {"units": "degC", "offset": 273.15})),
    Kind("CDO", "two files on different grids", lambda at: parts(at, {"lat": LAT + 1}), "has another grid"),
    Kind(
        "CDO", "two files of different calendars", lambda at: parts(at, {"calendar": "noleap"}), "has another calendar"
    ),
    Kind("CDO", "two files that overlap in time", lambda at: parts(at, {"days": (1, 2)}), "comes twice"),
    Kind("NCO", "ncrcat: record dimension", lambda at: saved(made(), at, unlimited_dims=["time"])),
    Kind(
        "NCO",
        "ncpdq -P: packed with missing_value",
        lambda at: saved(gap(packed(made()), -32767, missing_value=np.int16(-32767)), at),
        missing=1,
        within=6e-3,
    ),
    Kind(
        "NCO",
        "ncecat: record of one in front",
        lambda at: saved(made().assign(t2m=made()["t2m"].variable.expand_dims("record")), at),
    ),
    Kind(
        "NCO",
        "ncwa -a level: level as a scalar",
        lambda at: saved(made().assign_coords(level=((), 850.0, {"units": "hPa"})), at),
    ),
    Kind("NCO", "ncks -5: CDF-5", lambda at: saved(made(), at, format="NETCDF3_64BIT_DATA")),
    Kind("NCO", "ncrename: dimensions (t, j, i), named by CF attributes", netcdf(names=("t", "j", "i"))),
    # Of xarray itself
    Kind(
        "xarray",
        "assign_coords: month, hour, dayofyear over time",
        lambda at: saved(
            made().assign_coords(month=("time", [1, 1, 1]), hour=("time", [0, 0, 0]), dayofyear=("time", [1, 2, 3])), at
        ),
    ),
    Kind("xarray", "dimensions (lat, lon, time)", lambda at: saved(made().transpose("lat", "lon", "time"), at)),
    Kind(
        "xarray",
        "dimensions (lon, lat, time), as of MATLAB and R",
        lambda at: saved(made().transpose("lon", "lat", "time"), at),
    ),
    Kind("xarray", "longitudes from east to west", netcdf(lon=LON[::-1])),
    Kind("xarray", "no attributes at all, usual names", lambda at: saved(bare(made()), at), units="K"),
    Kind(
        "xarray",
        "names x and y without projection",
        lambda at: saved(bare(made(names=("time", "y", "x"))), at),
        "names no projection",
    ),
    Kind("xarray", "rename to Latitude, Longitude", netcdf(names=("Time", "Latitude", "Longitude"))),
    Kind(
        "xarray",
        "groupby('time.month').mean(): 12 months, no dates",
        lambda at: saved(
            made(names=("month", "lat", "lon"), since="").drop_vars("month").assign_coords(month=[1, 2, 3]), at
        ),
        "is plain numbers",
    ),
    Kind("xarray", "float64 values", netcdf(dtype="f8")),
    Kind("xarray", "float16 values", lambda at: zarr(made(dtype="f2"), at, 2), within=0.2),
    Kind("xarray", "int32 values without packing", netcdf(dtype="i4"), within=1.0),
    Kind(
        "xarray",
        "two times; one named time",
        lambda at: saved(made().assign_coords(time_centered=("time", np.arange(3) + 0.5, {"units": EPOCH})), at),
    ),
    Kind("xarray", "units in radians for the coordinates", lambda at: saved(in_radians(), at)),
]
