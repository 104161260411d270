"""Gridded stations, satellites and radars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tests.engine.data.kinds.grids import projected
from tests.engine.data.kinds.kind import (
    EPOCH,
    LON,
    NORTH,
    Kind,
    content,
    gap,
    made,
    netcdf,
    packed,
    saved,
)
from tests.engine.data.kinds.rasters import tiff

LATLON = ("time", "latitude", "longitude")
HEIGHT = 35786023.0  # m, of a geostationary satellite above the Equator
GOES = {
    "grid_mapping_name": "geostationary",
    "perspective_point_height": HEIGHT,
    "semi_major_axis": 6378137.0,
    "semi_minor_axis": 6356752.31414,
    "latitude_of_projection_origin": 0.0,
    "longitude_of_projection_origin": -75.0,
    "sweep_angle_axis": "x",
}
FROM_GOES = f"+proj=geos +h={HEIGHT} +lon_0=-75 +sweep=x +a=6378137 +b=6356752.31414"
POLAR = {
    "grid_mapping_name": "polar_stereographic",
    "straight_vertical_longitude_from_pole": -45.0,
    "latitude_of_projection_origin": 90.0,
    "standard_parallel": 70.0,
    "false_easting": 0.0,
    "false_northing": 0.0,
    "semi_major_axis": 6378273.0,
    "semi_minor_axis": 6356889.44891,
}
NORTH_POLE = "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +a=6378273 +b=6356889.44891"
SINUSOIDAL = {"grid_mapping_name": "sinusoidal", "longitude_of_projection_origin": 0.0, "earth_radius": 6371007.181}
EASE = {
    "grid_mapping_name": "lambert_cylindrical_equal_area",
    "standard_parallel": 30.0,
    "longitude_of_central_meridian": 0.0,
    "false_easting": 0.0,
    "false_northing": 0.0,
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
}
DAYMET = {
    "grid_mapping_name": "lambert_conformal_conic",
    "standard_parallel": [25.0, 60.0],
    "longitude_of_central_meridian": -100.0,
    "latitude_of_projection_origin": 42.5,
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
}
Y, X = np.arange(4.0), np.arange(6.0)


def goes(at: Path) -> Path:
    """x and y are angles in radians, seen from the satellite; time is the scalar t."""
    dataset = projected(FROM_GOES, GOES, 3.0e6 - 1e5 * Y, -1e5 + 1e5 * X, days=(0,), name="CMI")
    angles = {
        side: (side, dataset[side].values / HEIGHT, {"units": "rad", "standard_name": f"projection_{side}_coordinate"})
        for side in "yx"
    }
    scan = {"t": ((), 0.0, {"units": EPOCH, "standard_name": "time"})}
    dataset = dataset.isel(time=0).drop_vars(["time", "lat", "lon"])
    dataset["CMI"].attrs["coordinates"] = "t y x"
    return saved(dataset.assign_coords(angles).assign(scan), at)


def undated(at: Path, name: str, **how: Any) -> Path:
    return saved(made(**{"days": (0,), **how}).isel(time=0, drop=True), at, name)


def no_mapping() -> xr.Dataset:
    dataset = projected(NORTH_POLE, POLAR, Y, X, unit="km").drop_vars(["crs", "lat", "lon"])
    del dataset["t2m"].attrs["grid_mapping"]
    return dataset


KINDS = [
    # Gridded stations and gauges
    Kind(
        "E-OBS",
        "packed, missing -9999, days since 1950",
        lambda at: saved(
            gap(
                packed(
                    made(
                        names=LATLON,
                        units="Celsius",
                        since="days since 1950-01-01 00:00",
                        count=lambda days: days + 18628,
                    )
                ),
                -9999,
                _FillValue=np.int16(-9999),
            ),
            at,
        ),
        missing=1,
        to="Celsius",
        within=6e-3,
    ),
    Kind(
        "CRU TS",
        "lon, lat, 9.96921e36 missing",
        lambda at: saved(
            gap(
                made(
                    units="degrees Celsius",
                    offset=273.15,
                    days=(15, 45),
                    since="days since 1900-1-1",
                    count=lambda days: days + 36890,
                    calendar="gregorian",
                ),
                9.96921e36,
                _FillValue=np.float32(9.96921e36),
            ),
            at,
        ),
        missing=1,
    ),
    Kind(
        "CPC",
        "0 to 360, north first, missing -9.96921e36, hours since 1900",
        lambda at: saved(
            gap(
                made(
                    lat=NORTH,
                    lon=LON + 230,
                    units="mm",
                    since="hours since 1900-01-01 00:00:00",
                    count=lambda days: (days + 36890) * 24.0,
                ),
                -9.96921e36,
                missing_value=np.float32(-9.96921e36),
            ),
            at,
        ),
        missing=1,
        to="mm",
    ),
    Kind(
        "NCEP/NCAR",
        "hours since 1800-01-01 00:00:0.0",
        netcdf(since="hours since 1800-01-01 00:00:0.0", count=lambda days: (days + 73414) * 24.0),
    ),
    Kind("GPCC", "mm/month is no rate in days", netcdf(units="mm/month"), "which can't be converted", to="K"),
    Kind(
        "CHIRPS",
        "NetCDF: latitude, longitude, missing -9999",
        lambda at: saved(
            gap(
                made(
                    names=LATLON,
                    units="mm/day",
                    since="days since 1980-1-1 0:0:0",
                    count=lambda days: days + 7671,
                    calendar="gregorian",
                ),
                -9999,
                missing_value=np.float32(-9999),
            ),
            at,
        ),
        missing=1,
        to="mm day-1",
    ),
    Kind("CHIRPS", "GeoTIFF, date with dots in the name", lambda at: tiff(at, "chirps-v2.0.2001.01.01.tif")),
    Kind("PRISM", "GeoTIFF, date in the name", lambda at: tiff(at, "prism_tmean_us_25m_20010101.tif")),
    Kind(
        "gridMET",
        "dimension day, north first, crs of degrees",
        lambda at: saved(
            made(
                names=("day", "lat", "lon"),
                lat=NORTH,
                lon=LON - 130,
                since="days since 1900-01-01 00:00:00",
                count=lambda days: days + 36890,
                attrs={"grid_mapping": "crs"},
            ).assign(crs=((), np.int32(0), {"grid_mapping_name": "latitude_longitude"})),
            at,
        ),
        variable="t2m",
    ),
    Kind(
        "Daymet",
        "Lambert in m, yearday over time",
        lambda at: saved(
            projected(
                "+proj=lcc +lat_1=25 +lat_2=60 +lat_0=42.5 +lon_0=-100 +ellps=WGS84",
                DAYMET,
                1e3 * Y[::-1],
                1e3 * X,
                name="tmax",
                units="degrees C",
                offset=273.15,
            ).assign(yearday=("time", [1, 2, 3])),
            at,
        ),
        variable="tmax",
    ),
    Kind(
        "Livneh",
        "lat, lon, packed missing_value of another type",
        lambda at: saved(gap(made(), 1e20, missing_value=np.float64(1e20)), at),
        missing=1,
    ),
    Kind(
        "OISST",
        "zlev of one, packed, 0 to 360",
        lambda at: saved(
            packed(
                made(lon=LON + 180, units="Celsius").assign(
                    t2m=made(lon=LON + 180, units="Celsius")["t2m"].variable.expand_dims("zlev")
                )
            ),
            at,
        ),
        to="Celsius",
        within=6e-3,
    ),
    Kind(
        "OSTIA",
        "kelvin, packed, seconds since 1981",
        lambda at: saved(
            packed(
                made(
                    units="kelvin", since="seconds since 1981-01-01 00:00:00", count=lambda days: (days + 7305) * 86400
                )
            ),
            at,
        ),
        within=6e-3,
    ),
    # Satellites
    Kind("GOES ABI", "geostationary, x and y in radians, scalar t", goes),
    Kind(
        "MODIS (AppEEARS)",
        "sinusoidal, julian calendar",
        lambda at: saved(
            projected(
                "+proj=sinu +lon_0=0 +R=6371007.181",
                SINUSOIDAL,
                5.6e6 - 1e3 * Y,
                1e6 + 1e3 * X,
                sides=("ydim", "xdim"),
                calendar="julian",
            ),
            at,
        ),
    ),
    Kind("MODIS", "HDF4", lambda at: content(at, b"\x0e\x03\x13\x01" + bytes(60), "MOD11A1.hdf"), "is HDF4"),
    Kind(
        "MODIS (OB.DAAC)",
        "L3m: no time, date in the name",
        lambda at: undated(at, "AQUA_MODIS.20010101.L3m.DAY.SST.nc", lat=NORTH),
    ),
    Kind(
        "VIIRS",
        "composite of 8 days: two dates in the name",
        lambda at: undated(at, "VIIRS.20010101_20010108.L3m.8D.nc"),
        "one date in the name of the file",
    ),
    Kind("Himawari", "hourly file, date and hour in the name", lambda at: undated(at, "NC_H08_20010101_0000.nc")),
    Kind(
        "CM SAF",
        "time, lat, lon; time_bnds and record_status",
        lambda at: saved(
            made(since="days since 1970-01-01", count=lambda days: days + 11323).assign(
                record_status=("time", np.zeros(3, "i1"))
            ),
            at,
        ),
    ),
    Kind(
        "SMAP",
        "EASE-Grid 2.0: cylindrical, m",
        lambda at: saved(
            projected("+proj=cea +lat_ts=30 +lon_0=0 +ellps=WGS84", EASE, 5.5e6 - 9e3 * Y, 1e6 + 9e3 * X), at
        ),
    ),
    Kind(
        "OSI SAF",
        "polar stereographic, xc and yc in km",
        lambda at: saved(
            projected(NORTH_POLE, POLAR, 25.0 * Y[::-1] + 500, 25.0 * X, unit="km", sides=("yc", "xc")), at
        ),
    ),
    Kind(
        "NSIDC",
        "polar stereographic in m, around the pole",
        lambda at: saved(projected(NORTH_POLE, POLAR, 2.5e4 * (1.5 - Y), 2.5e4 * (X - 2.5)), at),
    ),
    Kind(
        "ESA CCI",
        "date and hour in the name, YYYYMMDDhhmmss",
        lambda at: undated(at, "ESACCI-SOILMOISTURE-20010101120000-fv07.nc", days=(0.5,)),
    ),
    # Radars
    Kind(
        "RADKLIM",
        "polar stereographic in km",
        lambda at: saved(projected(NORTH_POLE, POLAR, -4600.0 + Y, -500.0 + X, unit="km"), at),
    ),
    Kind("BOM", "x and y in km without projection", lambda at: saved(no_mapping(), at), "names no projection"),
    Kind("MRMS", "no time in the file or its name", lambda at: undated(at, "composite.nc"), "has no time dimension"),
]
