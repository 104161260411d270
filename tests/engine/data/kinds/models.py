"""Models of climate, weather and ocean: CMIP, CORDEX, WRF, NEMO, ROMS, …"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tests.engine.data.kinds.grids import LAT2, LON2, curvilinear, projected
from tests.engine.data.kinds.kind import (
    EPOCH,
    LON,
    Kind,
    gap,
    made,
    netcdf,
    on_levels,
    packed,
    saved,
    zarr,
)

RAIN: dict[str, Any] = {"name": "pr", "units": "kg m-2 s-1", "factor": 86400.0}  # truth is in mm day-1
SECONDS = {"since": "seconds since 1970-01-01", "count": lambda days: (978307200 + days * 86400).astype("i8")}
ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
EURO_CORDEX = ("", ROTATED)
LAMBERT = {
    "grid_mapping_name": "lambert_conformal_conic",
    "standard_parallel": 49.5,
    "longitude_of_central_meridian": 10.5,
    "latitude_of_projection_origin": 49.5,
    "earth_radius": 6371229.0,
}
ALADIN = ("+proj=lcc +lat_1=49.5 +lat_2=49.5 +lat_0=49.5 +lon_0=10.5 +R=6371229", LAMBERT)
NATIONAL_GRID = {
    "grid_mapping_name": "transverse_mercator",
    "longitude_of_central_meridian": -2.0,
    "latitude_of_projection_origin": 49.0,
    "false_easting": 400000.0,
    "false_northing": -100000.0,
    "scale_factor_at_central_meridian": 0.9996012717,
    "semi_major_axis": 6377563.396,
    "semi_minor_axis": 6356256.909,
}
OSGB = ("+proj=tmerc +lat_0=49 +lon_0=-2 +k=0.9996012717 +x_0=400000 +y_0=-100000 +a=6377563.396 +b=6356256.909",)
BRITAIN: dict[str, Any] = {
    "y": 12000.0 * np.arange(1, 5),
    "x": 400000.0 + 12000 * np.arange(6),
    "sides": ("projection_y_coordinate", "projection_x_coordinate"),
}


def cordex(at: Path) -> Path:
    dataset = projected(
        *EURO_CORDEX, -1 + 0.11 * np.arange(4), -5 + 0.11 * np.arange(6), unit="degrees", sides=("rlat", "rlon")
    )
    corners = {f"{side}_vertices": (("rlat", "rlon", "vertices"), np.zeros((4, 6, 4))) for side in ("lat", "lon")}
    height = {"height": ((), 2.0, {"units": "m", "axis": "Z", "standard_name": "height"})}
    return saved(dataset.assign(corners).assign_coords(height), at)


def ukcp18(at: Path) -> Path:
    dataset = projected(*OSGB, NATIONAL_GRID, **BRITAIN, calendar="360_day", name="tas", units="degC", offset=273.15)
    with_member = dataset.assign(tas=dataset["tas"].expand_dims("ensemble_member"))
    helpers = {"month_number": ("time", [1, 1, 1]), "year": ("time", [2001, 2001, 2001]), "ensemble_member": [1]}
    return saved(with_member.assign_coords(helpers), at)


def wrf(at: Path, *, with_xtime: bool = True, moves: bool = False) -> Path:
    dataset = made(lat=LAT2, lon=LON2, name="T2")
    dims = ("Time", "south_north", "west_east")
    drift = np.arange(3.0)[:, None, None] * moves
    places = {
        "XLAT": (dims, np.stack([LAT2] * 3) + drift, {"units": "degree_north"}),
        "XLONG": (dims, np.stack([LON2] * 3), {"units": "degree_east"}),
    }
    text = np.array([f"2001-01-0{day}_00:00:00" for day in (1, 2, 3)], "S19")
    data = {"T2": (dims, dataset["T2"].values, {"units": "K", "coordinates": "XLONG XLAT" + " XTIME" * with_xtime})}
    minutes = {"XTIME": ("Time", [0.0, 1440.0, 2880.0], {"units": "minutes since 2001-01-01 00:00:00"})}
    return saved(
        xr.Dataset({**data, "Times": ("Time", text), **places, **(minutes if with_xtime else {})}),
        at,
        encoding={"Times": {"char_dim_name": "DateStrLen"}},
    )


def one_dimensional() -> xr.Dataset:
    sides = {"lat": ("cell", np.linspace(50, 51, 9), {"units": "degrees_north"})}
    sides["lon"] = ("cell", np.linspace(10, 11, 9), {"units": "degrees_east"})
    return xr.Dataset(
        {"t2m": (("time", "cell"), np.zeros((3, 9), "f4"))}, {"time": ("time", [0, 1, 2], {"units": EPOCH}), **sides}
    )


KINDS = [
    # CMIP and CORDEX
    Kind(
        "CMIP6",
        "tas: noleap calendar, height",
        lambda at: saved(made(calendar="noleap").assign_coords(height=((), 2.0, {"units": "m", "axis": "Z"})), at),
    ),
    Kind("CMIP6", "360-day calendar", netcdf(calendar="360_day", days=(57, 58, 59, 60))),
    Kind("CMIP6", "365_day calendar over 29 February 2004", netcdf(calendar="365_day", days=(1153, 1154))),
    Kind("CMIP6", "all_leap calendar", netcdf(calendar="all_leap", days=(58, 59, 60))),
    Kind(
        "CMIP6",
        "proleptic_gregorian from 1850",
        netcdf(calendar="proleptic_gregorian", since="days since 1850-01-01", count=lambda days: days + 55152),
    ),
    Kind("CMIP6", "julian calendar", netcdf(calendar="julian")),
    Kind(
        "PMIP",
        "noleap calendar in the year 850",
        netcdf(calendar="noleap", since="days since 0850-01-01", count=lambda days: days + 1151 * 365.0),
    ),
    Kind("CMIP6", "pr: flux to mm day-1", netcdf(**RAIN), to="mm day-1"),
    Kind(
        "CMIP6",
        "ta: pressure level selected",
        lambda at: saved(on_levels(made(), "plev", [50000.0, 85000.0], units="Pa"), at),
        select={"plev": 85000},
    ),
    Kind(
        "CMIP6",
        "tos: ocean on (j, i) with latitude, longitude and vertices",
        lambda at: curvilinear(at, "time", "latitude", "longitude", ("j", "i"), "tos", units="degC", offset=273.15),
    ),
    Kind("CMIP6", "orog: static", netcdf(static=True, name="orog", units="m"), static=True, to="m"),
    Kind(
        "CMIP6",
        "missing 1e20 in float32",
        lambda at: saved(gap(made(), 1e20, _FillValue=np.float32(1e20), missing_value=np.float32(1e20)), at),
        missing=1,
    ),
    Kind(
        "CMIP6 (Pangeo)",
        "Zarr with member_id of one",
        lambda at: zarr(made().assign(t2m=made()["t2m"].variable.expand_dims("member_id")), at, 2),
    ),
    Kind("CMIP5", "tas: longitudes 0 to 360 in Pacific", netcdf(lon=LON + 175)),
    Kind("EURO-CORDEX", "rotated pole, lat_vertices, height", cordex),
    Kind(
        "EURO-CORDEX",
        "ALADIN: Lambert in km",
        lambda at: saved(projected(*ALADIN, 12.5 * np.arange(4), 12.5 * np.arange(6), unit="km"), at),
    ),
    Kind(
        "CORDEX",
        "Lambert in m",
        lambda at: saved(projected(*ALADIN, 50000.0 * np.arange(4), 50000.0 * np.arange(6)), at),
    ),
    Kind(
        "CORDEX",
        "2-D lat and lon alone",
        lambda at: curvilinear(at, "time", "lat", "lon", ("y", "x"), "pr", units="mm/day"),
        to="mm day-1",
    ),
    Kind(
        "CORDEX",
        "grid mapping named that isn't there",
        lambda at: saved(made(attrs={"grid_mapping": "rotated_pole"}), at),
        "names the grid mapping 'rotated_pole', which isn't in the file",
    ),
    Kind("UKCP18", "British grid, 360-day, helper coordinates", ukcp18),
    Kind("HadUK-Grid", "British grid in m", lambda at: saved(projected(*OSGB, NATIONAL_GRID, **BRITAIN), at)),
    # Regional and ocean models
    Kind("WRF", "wrfout: XLAT, XLONG over time, XTIME", wrf, variable="T2"),
    Kind("WRF", "wrfout without XTIME: Times as text", lambda at: wrf(at, with_xtime=False), variable="T2"),
    Kind("WRF", "moving nest", lambda at: wrf(at, moves=True), "changes with time", variable="T2"),
    Kind(
        "NEMO",
        "nav_lat, nav_lon, time_counter",
        lambda at: curvilinear(
            at, "time_counter", "nav_lat", "nav_lon", ("y", "x"), "sosstsst", units="degC", offset=273.15
        ),
    ),
    Kind(
        "NEMO",
        "level selected (deptht)",
        lambda at: curvilinear(at, "time_counter", "nav_lat", "nav_lon", ("y", "x"), "votemper", level="deptht"),
        select={"deptht": 10},
    ),
    Kind(
        "NEMO",
        "nav_lat and nav_lon that the variable doesn't name",
        lambda at: curvilinear(at, "time_counter", "nav_lat", "nav_lon", ("y", "x"), "sosstsst", link=False),
        variable="sosstsst",
    ),
    Kind(
        "ROMS",
        "lat_rho, lon_rho, ocean_time; s_rho selected",
        lambda at: curvilinear(
            at, "ocean_time", "lat_rho", "lon_rho", ("eta_rho", "xi_rho"), "temp", level="s_rho", **SECONDS
        ),
        select={"s_rho": 10},
    ),
    Kind(
        "HYCOM",
        "packed int16, hours since 2000, longitudes 180 to 360",
        lambda at: saved(
            packed(made(lon=LON + 200, since="hours since 2000-01-01", count=lambda days: (days + 366) * 24)), at
        ),
        within=6e-3,
    ),
    Kind(
        "CMEMS",
        "GLORYS: depth selected",
        lambda at: saved(
            on_levels(
                made(units="degrees_C", offset=273.15, names=("time", "latitude", "longitude")),
                "depth",
                [0.494, 1.541],
                units="m",
            ),
            at,
        ),
        select={"depth": 1.541},
    ),
    Kind(
        "CMEMS",
        "currents in m s-1, hours since 1950",
        netcdf(name="uo", units="m s-1", since="hours since 1950-01-01", count=lambda days: (days + 18628) * 24),
        to="m s-1",
    ),
    Kind(
        "COSMO-CLM",
        "rotated pole",
        lambda at: saved(
            projected(
                *EURO_CORDEX, 0.0 + 0.22 * np.arange(4), 0.22 * np.arange(6), unit="degrees", sides=("rlat", "rlon")
            ),
            at,
        ),
    ),
    Kind("ICON", "cells on one dimension", lambda at: saved(one_dimensional(), at), "both lie along cell"),
    Kind(
        "MPAS",
        "cells without latitude and longitude",
        lambda at: saved(made().rename_dims(lat="nCells", lon="nVertLevels").drop_vars(["lat", "lon"]), at),
        "has no coordinate along y",
    ),
]
