"""GRIB, Zarr, Kerchunk references, and files that are damaged or of other formats."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from engine.data.grib import grib_library
from tests.engine.data.kinds.kind import (
    LAT,
    LON,
    NORTH,
    Kind,
    content,
    made,
    netcdf,
    on_levels,
    packed,
    saved,
    truth,
    zarr,
)
from tests.engine.data.mock import write_grib

MISSING = 9999.0


def message(day: float = 0, lat: Any = NORTH, lon: Any = LON, wrong: float = 0.0, **keys: Any) -> dict[str, Any]:
    """Keys of ecCodes of a message on degrees; `wrong` is added to what isn't meant to be read."""
    grid = {
        "latitudeOfFirstGridPointInDegrees": lat[0],
        "latitudeOfLastGridPointInDegrees": lat[-1],
        "longitudeOfFirstGridPointInDegrees": lon[0],
        "longitudeOfLastGridPointInDegrees": lon[-1],
        "jScansPositively": int(lat[-1] > lat[0]),
        "iScansNegatively": int(lon[-1] < lon[0]),
        "dataDate": 20010101 + int(day // 1),
        "dataTime": 0,
        "bitsPerValue": 24,
    }
    return grid | {"values": truth(day + keys.pop("hours", 0) / 24, lat[:, None], lon) + wrong} | keys


def grib(*messages: dict[str, Any], name: str = "file.grib", edition: int = 1) -> Callable[[Path], str]:
    copies = [dict(each) for each in messages]
    return lambda at: write_grib(at / name, [dict(each) for each in copies], edition=edition)


def days(n: int = 3, **keys: Any) -> list[dict[str, Any]]:
    return [message(day, **keys) for day in range(n)]


def raw_grib(at: Path, sample: str) -> Path:
    """A sample of ecCodes on a grid of another type."""
    eccodes = grib_library("eccodes")
    handle = eccodes.codes_grib_new_from_samples(sample)
    with (at / "file.grib").open("wb") as file:
        eccodes.codes_write(handle, file)
    eccodes.codes_release(handle)
    return at / "file.grib"


def gap_of(keys: dict[str, Any]) -> dict[str, Any]:
    """Mark the first value as missing in the bitmap."""
    values = keys["values"].copy()
    values[0, 0] = MISSING
    return {"missingValue": MISSING, "bitmapPresent": 1, "values": values}


def level(hpa: int) -> dict[str, Any]:
    return {"indicatorOfParameter": 130, "indicatorOfTypeOfLevel": 100, "level": hpa}


def member(number: int) -> dict[str, Any]:
    return {"setLocalDefinition": 1, "localDefinitionNumber": 1, "type": "pf", "stream": "enfo", "number": number}


def fill_of_zero(at: Path) -> Path:
    """A store whose fill value is Zarr's own default, also of the longitudes, which begin with 0."""
    zarr(made(lon=LON - 10), at, 2)
    for path in (at / "store.zarr" / name / ".zarray" for name in ("t2m", "lon")):
        path.write_text(json.dumps({**json.loads(path.read_text()), "fill_value": 0.0}))
    return at / "store.zarr"


def folder(at: Path) -> Path:
    (at / "store.zarr").mkdir()
    return at / "store.zarr"


def on_store(change: Callable[[xr.Dataset], xr.Dataset] = lambda dataset: dataset, version: int = 2, **how: Any) -> Any:
    return lambda at: zarr(change(made()), at, version, **how)


def reference(at: Path) -> Path:
    store = zarr(made(), at, 2)
    files = {str(file.relative_to(store)): file for file in store.rglob("*") if file.is_file()}
    refs = {
        key: file.read_text() if file.name.startswith(".z") else [str(file), 0, file.stat().st_size]
        for key, file in files.items()
        if file.name != ".zmetadata"
    }
    return content(at, json.dumps({"version": 1, "refs": refs}).encode(), "reference.json")


def unconsolidated(at: Path) -> Path:
    made().to_zarr(at / "store.zarr", zarr_format=2, consolidated=False)
    return at / "store.zarr"


def in_group(at: Path) -> Path:
    made().to_zarr(at / "store.zarr", group="high/res", zarr_format=2, consolidated=False)
    return at / "store.zarr" / "high" / "res"


def packed_by(compress: Callable[[bytes], bytes], ending: str) -> Callable[[Path], Path]:
    return lambda at: content(at, compress(netcdf()(at).read_bytes()), f"file.nc.{ending}")


def cut(at: Path, how: str = "NETCDF4") -> Path:
    whole = saved(made(lat=50 + 0.1 * np.arange(60), lon=10 + 0.1 * np.arange(60)), at, format=how).read_bytes()
    return content(at, whole[: len(whole) // 2], "cut.nc")


def changed(change: Callable[[xr.Dataset], xr.Dataset], **how: Any) -> Callable[[Path], Path]:
    return lambda at: saved(change(made(**how)), at)


def swap(dim: str) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda dataset: dataset.isel({dim: [1, 0, 2]}) if dim == "time" else dataset.isel({dim: [1, 0, 2, 3]})


EAST = LON[::-1]
KINDS = [
    # GRIB
    Kind("GRIB 1", "ECMWF: regular, north first", grib(*days())),
    Kind("GRIB 1", "south first", grib(*days(lat=LAT))),
    Kind("GRIB 1", "scanned from the east", grib(*days(lon=EAST))),
    Kind("GRIB 1", "scanned along columns", grib(*days(jPointsAreConsecutive=1)), "is scanned along columns"),
    Kind("GRIB 1", "longitudes below 0", grib(*days(lon=LON - 20))),
    Kind("GRIB 1", "longitudes across 0", grib(*days(lon=LON - 11))),
    Kind("GRIB 1", "bitmap: missing values", grib(message() | gap_of(message())), missing=1),
    Kind("GRIB 1", "forecast steps of one start", grib(*[message(hours=h, stepRange=h) for h in (0, 6, 12)])),
    Kind(
        "GRIB 1",
        "several variables, one named",
        grib(*days(), *days(indicatorOfParameter=168, wrong=50.0)),
        variable="t2m",
    ),
    Kind(
        "GRIB 1",
        "several variables, none named",
        grib(*days(), *days(indicatorOfParameter=168, wrong=50.0)),
        "has several variables (t2m, d2m)",
    ),
    Kind(
        "GRIB 1",
        "levels, one selected",
        grib(*days(**level(850)), *days(**level(500), wrong=50.0)),
        variable="t",
        select={"isobaricInhPa": 850},
    ),
    Kind(
        "GRIB 1",
        "members, one selected",
        grib(*days(**member(0), wrong=50.0), *days(**member(1))),
        select={"number": 1},
    ),
    Kind("GRIB 1", "messages in disorder", grib(*days()[::-1])),
    Kind(
        "GRIB 1",
        "two forecasts for one time",
        grib(message(hours=24, stepRange=24), message(1), message(1, hours=24, stepRange=24), message(0)),
        "several forecasts for the same time",
    ),
    Kind("GRIB 2", "GFS, ICON-EU: regular", grib(*days(), edition=2)),
    Kind("GRIB 2", "scanned from the south", grib(*days(lat=LAT), edition=2)),
    Kind("GRIB 2", "steps of one start", grib(*[message(hours=h, forecastTime=h) for h in (0, 6, 12)], edition=2)),
    Kind("GRIB", "reduced Gaussian grid", lambda at: raw_grib(at, "reduced_gg_sfc_grib1"), "both lie along values"),
    Kind("GRIB", "spherical harmonics", lambda at: raw_grib(at, "sh_pl_grib1"), "no variable"),
    Kind(
        "GRIB",
        "cut off",
        lambda at: content(at, Path(grib(*days())(at)).read_bytes()[:-50], "cut.grib"),
        "can't be read",
    ),
    Kind("GRIB", "compressed by gzip", lambda at: content(at, gzip.compress(b"GRIB"), "file.grib.gz"), "gunzip -k"),
    # Zarr and references
    Kind("Zarr", "version 2, consolidated", on_store()),
    Kind("Zarr", "version 2, not consolidated", unconsolidated),
    Kind("Zarr", "version 3", on_store(version=3)),
    Kind(
        "Zarr",
        "version 3 with shards",
        on_store(version=3, encoding={"t2m": {"chunks": (1, 2, 3), "shards": (1, 4, 6)}}),
    ),
    Kind("Zarr", "version 2, packed", on_store(packed), within=6e-3),
    Kind("Zarr", "version 2, fill_value 0: longitude 0 is no gap", fill_of_zero),
    Kind("Zarr", "group of a store, given as a path", in_group),
    Kind(
        "Zarr",
        "level selected",
        on_store(lambda dataset: on_levels(dataset, "level", [500, 850])),
        select={"level": 850},
    ),
    Kind(
        "Zarr",
        "in a ZIP file",
        lambda at: content(at, b"PK\x03\x04" + bytes(40), "store.zarr.zip"),
        "unpack it first (unzip",
    ),
    Kind("Zarr", "folder without metadata", lambda at: folder(at), "is a folder, but no Zarr store"),
    Kind("Kerchunk", "reference to chunks here", reference),
    # Files that can't be used
    Kind("bad", "not there", lambda at: at / "file.nc", "doesn't exist"),
    Kind("bad", "name mistyped", lambda at: netcdf()(at).with_name("fil.nc"), "did you mean 'file.nc'?"),
    Kind("bad", "empty", lambda at: content(at, b""), "is empty"),
    Kind("bad", "text", lambda at: content(at, b"time,lat,lon\n"), "is neither NetCDF nor GRIB nor GeoTIFF"),
    Kind(
        "bad",
        "CSV of stations",
        lambda at: content(at, b"time,lat,lon\n", "stations.csv"),
        "measurements at stations are for verification",
    ),
    Kind("bad", "web page of a login", lambda at: content(at, b"<!DOCTYPE html><html>"), "is a web page"),
    Kind(
        "bad",
        "pointer of Git LFS",
        lambda at: content(at, b"version https://git-lfs.github.com/spec/v1\n"),
        "is a pointer of Git LFS",
    ),
    Kind("bad", "PNG", lambda at: content(at, b"\x89PNG\r\n\x1a\n"), "is neither NetCDF"),
    Kind("bad", "NumPy array", lambda at: content(at, b"\x93NUMPY\x01\x00"), "is neither NetCDF"),
    Kind("bad", "NetCDF-4 cut off", cut, "can't be read"),
    Kind("bad", "classic NetCDF cut off", lambda at: cut(at, "NETCDF3_CLASSIC"), "bytes, but its variables take"),
    Kind("bad", "compressed by gzip", packed_by(gzip.compress, "gz"), "gunzip -k"),
    Kind("bad", "compressed by bzip2", packed_by(bz2.compress, "bz2"), "bunzip2 -k"),
    Kind("bad", "compressed by xz", packed_by(lzma.compress, "xz"), "unxz -k"),
    Kind(
        "bad",
        "compressed by Zstandard",
        lambda at: content(at, b"\x28\xb5\x2f\xfd" + bytes(9), "file.nc.zst"),
        "unzstd",
    ),
    Kind("bad", "no time step", changed(lambda d: d.isel(time=slice(0))), "has no time step"),
    Kind("bad", "no latitude", changed(lambda d: d.isel(lat=slice(0))), "has no cell along lat"),
    Kind("bad", "times in disorder", changed(swap("time")), "doesn't increase"),
    Kind("bad", "time twice", changed(lambda d: d.isel(time=[0, 0, 1])), "comes twice"),
    Kind("bad", "latitudes in disorder", changed(swap("lat")), "is not monotonic"),
    Kind(
        "bad",
        "latitude missing",
        changed(lambda d: d.assign_coords(lat=("lat", [np.nan, 1, 2, 3], d["lat"].attrs))),
        "is not monotonic",
    ),
    Kind(
        "bad",
        "latitudes of 5000",
        changed(lambda d: d.assign_coords(lat=d["lat"] * 100)),
        "reaches 5150: expected degrees",
    ),
    Kind("bad", "time without units", netcdf(since=""), "is plain numbers"),
    Kind("bad", "time units of no date", netcdf(since="days since yesterday"), "has a time axis that can't be decoded"),
    Kind("bad", "calendar that CF doesn't know", netcdf(calendar="lunar"), "has a time axis that can't be decoded"),
    Kind(
        "bad",
        "text in place of numbers",
        changed(lambda d: d.assign(t2m=d["t2m"].astype(str))),
        "no numbers",
        variable="t2m",
    ),
    Kind(
        "bad",
        "scale_factor as text",
        changed(lambda d: d.assign(t2m=d["t2m"].astype("i2").assign_attrs(scale_factor="0.1"))),
        "is the text '0.1'",
        variable="t2m",
    ),
    Kind("bad", "variable that isn't there", netcdf(), "did you mean 't2m'?", variable="t2n"),
    Kind(
        "bad",
        "no coordinates",
        changed(lambda d: d.drop_vars(["lat", "lon"]).rename(lat="row", lon="column")),
        "has no coordinate along y",
    ),
    Kind("bad", "static variable over time", netcdf(), "changes with time", static=True),
    Kind(
        "bad",
        "level that isn't there",
        changed(lambda d: on_levels(d, "level", [500, 850])),
        "has no level 700",
        select={"level": 700},
    ),
]
