"""Spellings of units, and marks of missing values."""

from __future__ import annotations

import netCDF4
import numpy as np

from tests.engine.data.kinds.kind import (
    Kind,
    gap,
    made,
    netcdf,
    packed,
    saved,
)


def unit(text: str, factor: float, offset: float = 0.0, to: str = "K", within: float = 2e-3) -> Kind:
    writer = netcdf(units=text, factor=factor, offset=offset, dtype="f8")
    return Kind("units", f"`{text}`", writer, to=to, within=within)


def refused_unit(text: str, to: str, words: str) -> Kind:
    return Kind("units", f"`{text}` where {to} is needed", netcdf(units=text), words, to=to)


KINDS = [
    # Units
    unit("degrees Celsius", 1, 273.15),
    unit("deg. C", 1, 273.15),
    unit("oC", 1, 273.15),
    unit("C", 1, 273.15),
    unit("°C", 1, 273.15),
    unit("degC", 1, 273.15),
    unit("Celsius", 1, 273.15),
    unit("degF", 5 / 9, 459.67 * 5 / 9),
    unit("Kelvin", 1),
    unit("deg K", 1),
    unit("mm/day", 1, to="mm day-1"),
    unit("mm d-1", 1, to="mm day-1"),
    unit("kg m-2 day-1", 1, to="mm day-1"),
    unit("kg/m^2/s", 86400, to="mm day-1"),
    unit("mm/3h", 8, to="mm day-1"),
    unit("m s-1", 86400e3, to="mm day-1"),
    unit("inch/day", 25.4, to="mm day-1"),
    unit("0.1 mm", 0.1, to="mm"),
    unit("m of water equivalent", 1000, to="mm"),
    unit("hPa", 100, to="Pa"),
    unit("mb", 100, to="Pa"),
    unit("millibars", 100, to="Pa"),
    unit("ppb", 1, to="1e-9"),
    unit("ppmv", 1000, to="1e-9"),
    unit("ug m-3", 1, to="ug m-3"),
    unit("kg m**-3", 1e9, to="ug m-3"),
    unit("km/h", 1 / 3.6, to="m s-1"),
    unit("knots", 1852 / 3600, to="m s-1"),
    unit("%", 0.01, to="1"),
    unit("unitless", 1, to="1"),
    unit("(0 - 1)", 1, to="1"),
    unit("m**2 s**-2", 1, to="J kg-1"),
    unit("dam", 10, to="m"),
    unit("W m**-2", 1, to="W/m2"),
    unit("1e-3 kg m-2", 1e-3, to="mm"),
    Kind("units", "none in the file, given by `units`", netcdf(units=None, offset=273.15), units="degC"),
    Kind("units", "none in the file, none given", netcdf(units=None), "has no units, but data.target is in 'K'"),
    refused_unit("m2 s-2", "Pa", "which can't be converted to 'Pa'"),
    refused_unit("psu", "1", "which can't be converted to '1'"),
    refused_unit("dBZ", "mm/h", "isn't a CF unit"),
    refused_unit("mm", "mm day-1", "which can't be converted to 'mm day-1'"),
    refused_unit("kg kg-1", "kg m-3", "which can't be converted to 'kg m-3'"),
    refused_unit("10**10**8 m", "m", "isn't a CF unit"),
    # What marks missing values
    Kind(
        "missing",
        "_FillValue of float32",
        lambda at: saved(gap(made(), -999, _FillValue=np.float32(-999)), at),
        missing=1,
    ),
    Kind(
        "missing",
        "missing_value alone",
        lambda at: saved(gap(made(), -999, missing_value=np.float32(-999)), at),
        missing=1,
    ),
    Kind("missing", "NaN undeclared", lambda at: saved(gap(made(), np.nan), at), missing=1),
    Kind("missing", "infinite", lambda at: saved(gap(made(), np.inf), at), missing=1),
    Kind(
        "missing",
        "NetCDF's default, undeclared",
        lambda at: saved(gap(made(), netCDF4.default_fillvals["f4"]), at),
        missing=1,
    ),
    Kind("missing", "below valid_min", lambda at: saved(gap(made(), -1, valid_min=np.float32(0)), at), missing=1),
    Kind("missing", "above valid_max", lambda at: saved(gap(made(), 1e6, valid_max=np.float32(1000)), at), missing=1),
    Kind(
        "missing",
        "outside valid_range",
        lambda at: saved(gap(made(), -1, valid_range=np.array([0, 1000], "f4")), at),
        missing=1,
    ),
    Kind(
        "missing",
        "outside valid_range of packed values",
        lambda at: saved(gap(packed(made()), 32000, valid_range=np.array([-10, 20000], "i2")), at),
        missing=1,
        within=6e-3,
    ),
    Kind(
        "missing",
        "_Unsigned bytes",
        lambda at: saved(
            gap(
                packed(made(), 0.1, "u1")
                .astype("i1", keep_attrs=True)
                .drop_vars("time")
                .assign_coords(time=made()["time"], lat=made()["lat"], lon=made()["lon"]),
                -1,
                _Unsigned="true",
                _FillValue=np.int8(-1),
            ),
            at,
        ),
        missing=1,
        within=0.06,
    ),
    Kind("missing", "values beyond float32", lambda at: saved(gap(made(dtype="f8"), 1e300), at), missing=1),
]
