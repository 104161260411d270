"""Files that are missing, damaged or of a foreign format, and both formats of Zarr."""

from __future__ import annotations

import os

import numpy as np
import pytest

from engine.data.fields import open_field
from engine.errors import DataError
from engine.spec import Source
from tests.engine.data.mock import make_field, refusal, write_field, write_grib


def test_missing_file_with_a_hint(tmp_path):
    write_field(tmp_path / "tas_2001.nc")
    path = f"{tmp_path}/tas_2010.nc"
    assert refusal(DataError, path) == (
        f"{path} doesn't exist: expected a file, a glob with a match, or a Zarr store; did you mean 'tas_2001.nc'?"
    )
    nothing = str(tmp_path / "none" / "*.nc")
    assert refusal(DataError, nothing).startswith(f"{nothing} doesn't exist: expected a file, a glob with a match")


def test_what_is_no_gridded_file(tmp_path):
    text, empty, folder = tmp_path / "notes.nc", tmp_path / "empty.nc", tmp_path / "folder"
    text.write_text("time,lat,lon\n")
    empty.touch()
    folder.mkdir()
    expected = "expected a NetCDF, GRIB or GeoTIFF file, or a Zarr store"
    assert refusal(DataError, text) == f"{text} is neither NetCDF nor GRIB nor GeoTIFF: {expected}"
    assert refusal(DataError, empty) == f"{empty} is empty: {expected}"
    assert refusal(DataError, folder) == (
        f"{folder} is a folder, but no Zarr store: name the files in it, as in {folder}/*.nc"
    )


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_truncated_netcdf(tmp_path, share):
    path = tmp_path / "cut.nc"
    make_field(ny=40, nx=40).to_netcdf(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    message = refusal(DataError, path)
    assert message.startswith(f"{path} can't be read (")
    assert message.endswith("): it may be damaged or cut off; copy or download it again")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_truncated_classic_netcdf(tmp_path, share):
    path = tmp_path / "cut.nc"
    make_field(ny=40, nx=40).to_netcdf(path, format="NETCDF3_CLASSIC")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "it may be damaged or cut off" in refusal(DataError, path)


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_truncated_grib(tmp_path, share):
    path = tmp_path / "cut.grib"
    write_grib(path, [{"dataDate": 20010101 + day} for day in range(5)])
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "it may be damaged or cut off" in refusal(DataError, path)


def test_damaged_zarr(tmp_path):
    write_field(tmp_path / "a.zarr")
    for mark in tmp_path.glob("a.zarr/zarr.json"):
        mark.write_text("{")
    assert "it may be damaged or cut off" in refusal(DataError, tmp_path / "a.zarr")


def test_zarr_format_2_with_and_without_consolidated_metadata(tmp_path):
    for consolidated in (True, False):
        path = tmp_path / f"{consolidated}.zarr"
        make_field().to_zarr(path, zarr_format=2, consolidated=consolidated)
        np.testing.assert_array_equal(open_field(Source(str(path))), make_field()["t2m"])


def test_a_pipe_is_refused_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.nc")
    assert refusal(DataError, tmp_path / "pipe.nc") == (
        f"{tmp_path / 'pipe.nc'} is neither a file nor a folder: expected a NetCDF, GRIB or GeoTIFF file, or a Zarr "
        "store"
    )
