"""Files as other tools write them: helper coordinates, unusual times, versions, corners, and what has no grid."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from engine.data import fields
from engine.data.axes import find_axes
from engine.data.fields import open_field
from engine.data.file_summary import describe
from engine.data.pairs import pair
from engine.errors import DataError, GridError, TimeError
from engine.spec import DataOptions, Source
from tests.engine.data.mock import make_field, refusal, steps, write_field


def opened(dataset: xr.Dataset, path: Path, variable: str = "") -> tuple[xr.DataArray, list[str]]:
    """Write a file and open its field, with the notes on it."""
    dataset.to_netcdf(path)
    notes: list[str] = []
    return open_field(Source(str(path), variable), notes=notes), notes


def test_stations_and_unstructured_cells_are_refused(tmp_path):
    n = 30
    coords = {
        "time": steps(20),
        "lat": ("cell", np.linspace(40, 50, n), {"units": "degrees_north"}),
        "lon": ("cell", np.linspace(0, 10, n), {"units": "degrees_east"}),
    }
    xr.Dataset({"t2m": (("time", "cell"), np.zeros((20, n), "f4"))}, coords).to_netcdf(tmp_path / "icon.nc")
    message = refusal(GridError, tmp_path / "icon.nc")
    assert message.startswith(f"latitude and longitude of t2m in {tmp_path}/icon.nc both lie along cell: these are")
    assert describe(str(tmp_path / "icon.nc")).grid == message


@pytest.mark.parametrize(
    ("empty", "kind", "words"),
    [
        ("time", TimeError, "has no time step: expected at least one; leave this file out"),
        ("lat", GridError, "has no cell along lat: expected a grid"),
        ("lon", GridError, "has no cell along lon: expected a grid"),
    ],
)
def test_a_field_without_steps_or_cells_is_refused(tmp_path, empty, kind, words):
    make_field().isel(time=slice(10)).to_netcdf(tmp_path / "1.nc")
    make_field().isel({empty: slice(0)}).to_netcdf(tmp_path / "2.nc")
    assert refusal(kind, tmp_path / "2.nc") == f"t2m in {tmp_path}/2.nc {words}"
    assert refusal(kind, tmp_path / "*.nc") == f"t2m in {tmp_path}/2.nc {words}"
    assert describe(str(tmp_path / "2.nc")).grid == f"t2m in {tmp_path}/2.nc {words}"


@pytest.mark.parametrize("value", ["0.1", "abc"])
def test_packing_as_text_is_refused(tmp_path, value):
    path = write_field(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file["t2m"].setncattr("scale_factor", value)
    assert refusal(DataError, path).startswith(
        f"scale_factor of t2m in {path} is the text {value!r}: expected a number"
    )


def test_helper_coordinates_over_time_leave_time_alone(tmp_path):
    dataset = make_field()
    clock = dataset["time"].dt
    helpers = {"month": clock.month, "hour": clock.hour, "dayofyear": clock.dayofyear, "year": clock.year}
    field, notes = opened(dataset.assign_coords(helpers), tmp_path / "a.nc")
    np.testing.assert_array_equal(field["time"], dataset["time"])
    assert notes == []


def test_of_two_times_the_one_named_so_is_taken_with_a_note(tmp_path):
    dataset = make_field()
    noon = ("time", dataset["time"].values + np.timedelta64(12, "h"))
    field, notes = opened(dataset.assign_coords(a_time_centered=noon), tmp_path / "a.nc")
    np.testing.assert_array_equal(field["time"], dataset["time"])
    assert notes == [f"t2m in {tmp_path}/a.nc has several times (time, a_time_centered): time is used"]


@pytest.mark.parametrize(
    ("numbers", "units", "dates"),
    [
        ([20010131, 20010201], "day as %Y%m%d.%f", ["2001-01-31", "2001-02-01"]),
        ([20010131.25, 20010201.5], "day as %Y%m%d.%f", ["2001-01-31T06", "2001-02-01T12"]),
        ([20010131, 20010201], "", ["2001-01-31", "2001-02-01"]),
        ([0, 1, 13], "months since 2000-01-15", ["2000-01-15", "2000-02-15", "2001-02-15"]),
        ([0.5, 1.5], "months since 2001-01-01 00:00:00", ["2001-01-16T12", "2001-02-15"]),  # of 31 and of 28 days
        ([-1, 1], "years since 2000-03-01", ["1999-03-01", "2001-03-01"]),
    ],
)
def test_times_as_dates_in_digits_and_as_calendar_months(tmp_path, numbers, units, dates):
    dataset = make_field(times=len(numbers)).drop_vars("time")
    attrs = {"units": units} if units else {}
    field, notes = opened(dataset.assign_coords(time=("time", np.array(numbers), attrs)), tmp_path / "a.nc")
    np.testing.assert_array_equal(field["time"], np.array(dates, "datetime64[s]"))
    assert len(notes) == 1
    assert notes[0].startswith(f"time in {tmp_path}/a.nc is {units or 'YYYYMMDD without units'!r}, read as dates from")
    assert "decoded_from" not in field["time"].attrs
    assert describe(str(tmp_path / "a.nc")).n_times == len(numbers)


def test_other_times_of_a_file_with_months_are_still_decoded(tmp_path):
    dataset = make_field(times=3).drop_vars("time")
    when = xr.Variable("time", [0, 1, 2], {"units": "months since 2000-01-01"})
    made = xr.Variable("time", [5, 6, 7], {"units": "days since 2000-01-01"})
    field, notes = opened(dataset.assign_coords(time=when, time_made=made), tmp_path / "a.nc")
    np.testing.assert_array_equal(field["time"], np.array(["2000-01-01", "2000-02-01", "2000-03-01"], "datetime64[s]"))
    assert any("has several times (time, time_made): time is used" in note for note in notes)


@pytest.mark.parametrize("number", [20011301, 20010230, 2001])
def test_numbers_that_are_no_dates_are_refused(tmp_path, number):
    dataset = make_field(times=1).drop_vars("time").assign_coords(time=("time", [number]))
    dataset.to_netcdf(tmp_path / "a.nc")
    assert f"time in {tmp_path}/a.nc is plain numbers" in refusal(TimeError, tmp_path / "a.nc")


@pytest.mark.parametrize("names", [("lat_vertices", "lon_vertices"), ("vertices_latitude", "vertices_longitude")])
def test_corners_of_cells_are_no_fields(tmp_path, names):
    dataset = make_field()
    corners = {name: (("lat", "lon", "vertices"), np.zeros((8, 12, 4))) for name in names}
    field, _ = opened(dataset.assign(corners), tmp_path / "a.nc")
    assert field.name == "t2m"
    assert [variable.name for variable in describe(str(tmp_path / "a.nc")).variables] == ["t2m"]


@pytest.mark.parametrize("missing", [np.nan, netCDF4.default_fillvals["f4"]])  # declared, or what was never written
@pytest.mark.parametrize("versions", [[1, 5], [5, 1]])
def test_the_versions_of_era5_are_merged(tmp_path, versions, missing):
    dataset = make_field()
    final, preliminary = dataset["t2m"].copy(), dataset["t2m"] + 1
    final[15:] = missing  # not released yet
    by_version = {1: final, 5: preliminary}
    both = xr.concat([by_version[version] for version in versions], xr.Variable("expver", versions))
    both.encoding["_FillValue"] = np.float32(np.nan) if np.isnan(missing) else None
    field, notes = opened(both.transpose("time", "expver", "lat", "lon").to_dataset(name="t2m"), tmp_path / "a.nc")
    expected = dataset["t2m"].values.copy()
    expected[15:] += 1
    np.testing.assert_array_equal(field, expected)
    np.testing.assert_array_equal(field[17, 2:5], expected[17, 2:5])  # a step and some rows alone
    np.testing.assert_array_equal(field[[3, 18], :, 7], expected[[3, 18], :, 7])
    assert notes == [
        f"t2m in {tmp_path}/a.nc has several expver: each value is of the first that has one (ERA5, then ERA5T)"
    ]


def test_files_that_run_the_other_way_are_turned(tmp_path):
    dataset = make_field()
    dataset.isel(time=slice(10)).to_netcdf(tmp_path / "1.nc")
    dataset.isel(time=slice(10, 20), lat=slice(None, None, -1)).to_netcdf(tmp_path / "2.nc")
    notes: list[str] = []
    field = open_field(Source(str(tmp_path / "*.nc")), notes=notes)
    np.testing.assert_array_equal(field, dataset["t2m"])
    np.testing.assert_array_equal(field[15, 1:3, [2, 4]], dataset["t2m"][15, 1:3, [2, 4]])
    words = "have y or x in the other order than"
    assert notes == [f"1 of 2 files {words} {tmp_path}/1.nc, and are turned: the first is {tmp_path}/2.nc"]


def test_coordinates_are_looked_for_in_the_first_file_alone(tmp_path, monkeypatch):
    dataset = make_field()
    for number in range(20):
        dataset.isel(time=[number]).to_netcdf(tmp_path / f"{number:02}.nc")
    looked_at = []

    def count(field, is_projected, path, notes):
        looked_at.append(Path(path).name)
        return find_axes(field, is_projected, path, notes)

    monkeypatch.setattr(fields, "find_axes", count)
    np.testing.assert_array_equal(open_field(Source(str(tmp_path / "*.nc"))), dataset["t2m"])
    assert looked_at == ["00.nc"]
    dataset.isel(time=[7]).rename(lat="latitude").to_netcdf(tmp_path / "07.nc")
    np.testing.assert_array_equal(open_field(Source(str(tmp_path / "*.nc"))), dataset["t2m"])
    assert set(looked_at[1:]) == {"00.nc", "07.nc", "08.nc"}  # and once more where the names are the first ones again


def test_packed_files_are_refused_with_the_command_that_unpacks_them(tmp_path):
    path = write_field(tmp_path / "a.nc")
    with zipfile.ZipFile(tmp_path / "cds.nc", "w") as archive:
        archive.write(path, "data_stream-oper.nc")
    (tmp_path / "a.nc.gz").write_bytes(gzip.compress(Path(path).read_bytes()))
    assert refusal(DataError, tmp_path / "cds.nc") == (
        f"{tmp_path}/cds.nc is a ZIP archive, as the Climate Data Store sends several files: expected a NetCDF, GRIB "
        f"or GeoTIFF file, or a Zarr store; unpack it first (unzip {tmp_path}/cds.nc), and give what comes out"
    )
    assert f"unpack it first (gunzip -k {tmp_path}/a.nc.gz)" in refusal(DataError, tmp_path / "a.nc.gz")


def test_check_says_what_was_done_to_each_input(tmp_path):
    hr = make_field(times=24).drop_vars("time")
    months = xr.Variable("time", np.arange(24), {"units": "months since 2001-01-01"})
    hr.assign_coords(time=months).to_netcdf(tmp_path / "hr.nc")
    notes = pair(DataOptions(target={"path": str(tmp_path / "hr.nc")}, scale=2)).notes
    assert notes[0].startswith(f"time in {tmp_path}/hr.nc is 'months since 2001-01-01', read as dates from 2001-01-01")
