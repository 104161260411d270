"""Climate and Atmosphere Data Store, and forecasts by start, member and lead time."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tests.engine.data.kinds.kind import (
    EPOCH,
    LAT,
    LON,
    NORTH,
    Kind,
    gap,
    made,
    netcdf,
    on_levels,
    packed,
    saved,
    truth,
    zarr,
)

ERA5 = {"names": ("time", "latitude", "longitude"), "lat": NORTH, "since": "hours since 1900-01-01 00:00:00.0"}
HOURS_1900 = 24.0 * 36890  # to 2001-01-01: 101 years, 25 leap days (1904 to 2000)
HOURS = {"count": lambda days: (days * 24 + HOURS_1900).astype("i4"), "calendar": "gregorian"}
NEW_ERA5: dict[str, Any] = {"names": ("valid_time", "latitude", "longitude"), "lat": NORTH, "calendar": "gregorian"}
SECONDS = {"since": "seconds since 1970-01-01", "count": lambda days: (978307200 + days * 86400).astype("i8")}
CROSSING = np.array([358.5, 359.0, 359.5, 0.0, 0.5, 1.0])


def era5_new(at: Path, **more: Any) -> Path:
    scalar = {"number": ((), 0, {"standard_name": "realization"})}
    versions = {"expver": ("valid_time", np.array(["0001", "0001", "0005"]))}
    return saved(made(**NEW_ERA5, **SECONDS, **more).assign_coords({**scalar, **versions}), at)


def era5_versions(at: Path) -> Path:
    dataset = made(**ERA5, **HOURS)
    final, early = dataset["t2m"].values.copy(), dataset["t2m"].values.copy()
    final[2], early[:2] = np.nan, np.nan
    both = (
        ("time", "expver", "latitude", "longitude"),
        np.stack([final, early], 1),
        {"units": "K", "_FillValue": np.nan},
    )
    return saved(dataset.assign(t2m=both).assign_coords(expver=[1, 5]), at)


def zipped(at: Path) -> Path:
    with zipfile.ZipFile(at / "download.nc", "w") as archive:
        archive.write(netcdf()(at), "data_stream-oper_stepType-instant.nc")
    return at / "download.nc"


def cams_hours() -> xr.Dataset:
    dataset = made(count=lambda days: (days * 24).astype("f4"), since="hours")
    dataset["time"].attrs = {"units": "hours", "long_name": "FORECAST time from 20010101"}
    return dataset


def hindcast(at: Path, dims: tuple[str, str, str], *, valid: bool = False, months: bool = False) -> Path:
    """Two starts, two members, three lead times of a day; members are equal."""
    start, member, lead = dims
    days = np.array([[0, 1, 2], [10, 11, 12]])
    values = truth(days[:, None, :, None, None], LAT[:, None], LON)
    data = np.broadcast_to(values, (2, 2, 3, 4, 6)).astype("f4")
    coords = {
        start: (start, np.array([0, 10]), {"units": EPOCH, "standard_name": "forecast_reference_time"}),
        member: (member, [0, 1], {"standard_name": "realization", "units": "1"}),
        lead: (lead, np.array([0, 24, 48]), {"units": "hours", "standard_name": "forecast_period"}),
        "latitude": ("latitude", LAT, {"units": "degrees_north"}),
        "longitude": ("longitude", LON, {"units": "degrees_east"}),
    }
    if valid:
        coords["valid_time"] = ((start, lead), days, {"units": EPOCH, "standard_name": "time"})
    if months:
        coords[lead][2]["units"] = "months"
    about = {"units": "K", **({"coordinates": "valid_time"} if valid else {})}
    return saved(xr.Dataset({"t2m": ((*dims, "latitude", "longitude"), data, about)}, coords), at)


KINDS = [
    # Climate Data Store
    Kind(
        "CDS, before 2024",
        "ERA5: north first, packed, hours since 1900",
        lambda at: saved(packed(made(**ERA5, **HOURS)), at),
        within=6e-3,
    ),
    Kind("CDS, before 2024", "ERA5 of the last months: ERA5 and ERA5T along expver", era5_versions),
    Kind(
        "CDS, before 2024",
        "ERA5 pressure levels, one selected",
        lambda at: saved(on_levels(made(**ERA5, **HOURS), "level", np.array([500, 850], "i4"), units="millibars"), at),
        select={"level": 850},
    ),
    Kind(
        "CDS, before 2024",
        "ERA5 pressure levels, none selected",
        lambda at: saved(on_levels(made(**ERA5, **HOURS), "level", [500, 850]), at),
        "choose one with select: {level: 500}",
    ),
    Kind(
        "CDS, before 2024",
        "ERA5 ensemble, member selected",
        lambda at: saved(on_levels(made(**ERA5, **HOURS), "number", [0, 1]), at),
        select={"number": 1},
    ),
    Kind("CDS", "ERA5: valid_time, expver as text, number", era5_new),
    Kind(
        "CDS",
        "ERA5 pressure levels (pressure_level)",
        lambda at: saved(on_levels(made(**NEW_ERA5, **SECONDS), "pressure_level", [500.0, 850.0], units="hPa"), at),
        select={"pressure_level": 850},
    ),
    Kind(
        "CDS",
        "ERA5 monthly: date as YYYYMMDD",
        netcdf(
            names=("date", "latitude", "longitude"), lat=NORTH, since="", count=lambda days: 20010101 + days.astype(int)
        ),
    ),
    Kind("CDS", "ERA5 precipitation in m", lambda at: era5_new(at, name="tp", units="m", factor=1000.0), to="mm"),
    Kind(
        "CDS",
        "ERA5-Land: sea missing as NaN",
        lambda at: saved(gap(made(**NEW_ERA5, **SECONDS), np.nan, _FillValue=np.float32(np.nan)), at),
        missing=1,
    ),
    Kind("CDS", "several files in a ZIP archive called .nc", zipped, "unpack it first (unzip"),
    Kind(
        "CDS",
        "SEAS5: starts, members and lead times, with valid_time",
        lambda at: hindcast(at, ("forecast_reference_time", "number", "forecast_period"), valid=True),
    ),
    Kind("CDS", "ERA5 on the globe, 0 to 360", netcdf(lat=np.arange(-88, 89, 8.0), lon=np.arange(0, 360, 10.0))),
    Kind("ARCO", "ERA5: Zarr, longitudes from 180 to 360", lambda at: zarr(made(lon=LON + 340, lat=NORTH), at, 2)),
    # Atmosphere Data Store
    Kind(
        "ADS",
        "CAMS EAC4: mixing ratio kg kg-1",
        netcdf(**{**ERA5, **HOURS}, name="no2", units="kg kg**-1", factor=1e9),
        to="1e-9",
        units="1",
    ),
    Kind("ADS", "CAMS Europe: µg/m3", netcdf(units="µg/m3", name="no2_conc"), to="ug m-3"),
    Kind("ADS", "CAMS Europe: longitudes across 0 (358.5 to 1)", netcdf(lon=CROSSING)),
    Kind("ADS", "CAMS Europe: time in hours, start in long_name", lambda at: saved(cams_hours(), at)),
    Kind(
        "ADS",
        "CAMS global forecasts: starts and lead times",
        lambda at: hindcast(at, ("forecast_reference_time", "number", "forecast_period")),
    ),
    Kind("ADS", "CAMS: variable called NO", netcdf(name="NO", units="ppb"), to="1e-9"),
    # Seasonal and medium-range forecasts
    Kind("CFSv2", "starts, members, lead times in days", lambda at: hindcast(at, ("init", "member", "lead"))),
    Kind(
        "NMME (IRI)",
        "S, M, L: leads in months",
        lambda at: hindcast(at, ("S", "M", "L"), months=True),
        "lacks the times for which it holds",
    ),
    Kind("SubX", "S, M, L in hours", lambda at: hindcast(at, ("S", "M", "L"))),
    Kind(
        "climpred",
        "init, member, lead with valid_time",
        lambda at: hindcast(at, ("init", "member", "lead"), valid=True),
    ),
]
