"""Opening fields: names, order, units, projections, times, several files, and what is refused."""

from __future__ import annotations

import os

import cftime
import numpy as np
import pyproj
import pytest
import xarray as xr

from engine.data import formats
from engine.data.fields import open_field, steps_per_chunk
from engine.data.file_summary import describe
from engine.data.grid_coordinates import grid_of
from engine.errors import DataError, GridError, TimeError, UnitError
from engine.spec import Source
from tests.engine.data.mock import ALBERS, make_field, refusal, steps, write_field, write_grib


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("north_first", [False, True])
@pytest.mark.parametrize("names", [("time", "lat", "lon"), ("valid_time", "latitude", "longitude"), ("t", "j", "i")])
def test_a_field_comes_out_the_same_whatever_its_names(tmp_path, suffix, north_first, names):
    what = {"ny": 5, "nx": 7, "missing": 0.2, "north_first": north_first}
    field = open_field(Source(write_field(tmp_path / f"data{suffix}", names=names, **what)))
    expected = make_field(**what)["t2m"]
    assert field.dims == ("time", "y", "x")
    assert field.dtype == np.float32
    assert field.name == "t2m"
    assert not isinstance(field.variable._data, np.ndarray)  # lazy
    np.testing.assert_array_equal(field, expected)
    np.testing.assert_array_equal(field["y"], expected["lat"])
    assert field["y"].attrs["units"] == "degrees_north"
    assert field["x"].attrs["standard_name"] == "longitude"
    assert set(field.coords) == {"time", "y", "x"}


def test_dimensions_in_another_order_and_of_size_one(tmp_path):
    dataset = make_field(ny=4, nx=5).expand_dims(height=[2.0]).transpose("lon", "height", "lat", "time")
    dataset.assign_coords(realization=3).to_netcdf(tmp_path / "odd.nc")
    field = open_field(Source(str(tmp_path / "odd.nc")))
    np.testing.assert_array_equal(field, make_field(ny=4, nx=5)["t2m"])
    assert set(field.coords) == {"time", "y", "x"}


def test_a_coordinate_named_unlike_its_dimension(tmp_path):
    dataset = make_field(ny=4, nx=5).rename_dims(time="record").rename_vars(time="when")
    dataset.to_netcdf(tmp_path / "record.nc")
    field = open_field(Source(str(tmp_path / "record.nc")))
    np.testing.assert_array_equal(field["time"], make_field()["time"])


def test_packed_integers_and_fill_values(tmp_path):
    dataset = make_field(ny=4, nx=4, missing=0.3)
    packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}
    dataset.to_netcdf(tmp_path / "packed.nc", encoding={"t2m": packing})
    field = open_field(Source(str(tmp_path / "packed.nc")))
    np.testing.assert_allclose(field, dataset["t2m"], atol=0.0051)  # half a step of the packing, and float32
    np.testing.assert_array_equal(np.isnan(field), np.isnan(dataset["t2m"]))


def test_missing_value_attribute_is_masked(tmp_path):
    dataset = make_field(ny=4, nx=4)
    dataset["t2m"][0, 0, 0] = -999.0
    dataset["t2m"].attrs["missing_value"] = np.float32(-999)
    dataset["t2m"].encoding["_FillValue"] = None
    dataset.to_netcdf(tmp_path / "old.nc")
    field = open_field(Source(str(tmp_path / "old.nc")))
    assert np.isnan(field.values).sum() == 1


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])  # the last is beyond float32
def test_infinite_values_are_missing(tmp_path, value):
    dataset = make_field(ny=4, nx=4).astype(np.float64)
    dataset["t2m"][0, 1, 2] = value
    dataset.to_netcdf(tmp_path / "infinite.nc")
    field = open_field(Source(str(tmp_path / "infinite.nc"))).values
    assert np.isnan(field[0, 1, 2])
    assert np.isnan(field).sum() == 1


def test_a_unit_of_a_megabyte_is_refused_and_can_be_replaced(tmp_path):
    path = write_field(tmp_path / "long.nc", units="K" * 10**6)
    assert refusal(UnitError, path) == (
        f"t2m in {path} has units of 1,000,000 characters: expected at most 200, as in 'K' or 'mm day-1'; say what "
        "the file means with units: beside its path"
    )
    assert open_field(Source(path, units="K")).attrs["units"] == "K"


def test_units_of_the_spec_win_over_the_file(tmp_path):
    path = write_field(tmp_path / "a.nc", units="m")
    assert open_field(Source(path)).attrs["units"] == "m"
    assert open_field(Source(path, units="K")).attrs["units"] == "K"
    assert open_field(Source(write_field(tmp_path / "b.nc", units=None))).attrs["units"] == ""


def test_a_projected_grid_keeps_its_mapping(tmp_path):
    field = open_field(Source(write_field(tmp_path / "a.nc", crs=ALBERS, names=("time", "y", "x"))))
    assert field["crs"].attrs["grid_mapping_name"] == "albers_conical_equal_area"
    assert field["y"].attrs["units"] == "km"
    assert grid_of(field).crs["standard_parallel"] == pytest.approx([-26.2, -29.3])


def test_a_projection_as_well_known_text_only(tmp_path):
    wkt = pyproj.CRS.from_epsg(3035).to_wkt()  # Lambert's equal-area projection of Europe, centred on 52 °N, 10 °E
    square = {"ny": 4, "nx": 4, "south": 3204, "west": 4315, "dy": 4, "dx": 4, "names": ("time", "y", "x")}
    grid = grid_of(open_field(Source(write_field(tmp_path / "a.nc", crs={"crs_wkt": wkt}, **square))))
    assert grid.crs["grid_mapping_name"] == "lambert_azimuthal_equal_area"
    lon, lat = grid.lonlat()
    assert (lon.mean(), lat.mean()) == pytest.approx((10, 52), abs=1e-3)  # x 4321 km, y 3210 km is the false origin
    message = refusal(GridError, write_field(tmp_path / "b.nc", crs={"crs_wkt": "none"}, **square), "t2m")
    assert message.startswith("the grid mapping has neither grid_mapping_name nor a crs_wkt that can be read")


def test_latitude_longitude_as_grid_mapping_is_no_projection(tmp_path):
    dataset = make_field().assign(crs=((), 0, {"grid_mapping_name": "latitude_longitude"}))
    dataset["t2m"].attrs["grid_mapping"] = "crs"
    dataset.to_netcdf(tmp_path / "a.nc")
    assert grid_of(open_field(Source(str(tmp_path / "a.nc")))).crs == {}


@pytest.mark.parametrize("calendar", ["360_day", "noleap"])
def test_calendars_stay_as_they_are(tmp_path, calendar):
    times = steps(70, start="2001-01-15", calendar=calendar)
    field = open_field(Source(write_field(tmp_path / "a.nc", times=times)))
    assert isinstance(field["time"].values[0], cftime.datetime)
    assert field["time"].dt.calendar == calendar
    assert list(field["time"].values) == list(times)


def test_times_kept_as_fractions_are_put_on_the_second(tmp_path):
    dataset = make_field(times=steps(48, frequency="h"))
    hours = np.arange(48) / 24
    dataset = dataset.assign_coords(time=("time", hours.astype(np.float32), {"units": "days since 2001-01-01"}))
    dataset.to_netcdf(tmp_path / "a.nc")
    np.testing.assert_array_equal(open_field(Source(str(tmp_path / "a.nc")))["time"], steps(48, frequency="h"))


def test_several_files_in_any_order(tmp_path):
    whole = make_field(ny=4, nx=4, times=30)
    for number, part in enumerate((slice(20, 30), slice(0, 10), slice(10, 20))):
        whole.isel(time=part).to_netcdf(tmp_path / f"part{number}.nc")
    listed = [str(tmp_path / f"part{number}.nc") for number in (2, 0, 1)]
    for path in (str(tmp_path / "part*.nc"), tuple(listed)):
        field = open_field(Source(path))
        np.testing.assert_array_equal(field, whole["t2m"])
        np.testing.assert_array_equal(field["time"], whole["time"])


def test_a_file_for_each_step_with_scalar_time(tmp_path):
    whole = make_field(ny=4, nx=4, times=3)
    for number in range(3):
        whole.isel(time=number).to_netcdf(tmp_path / f"{number}.nc")
    np.testing.assert_array_equal(open_field(Source(str(tmp_path / "*.nc"))), whole["t2m"])


def test_static_fields(tmp_path):
    path = write_field(tmp_path / "a.nc", times=0, name="orog", units="m")
    field = open_field(Source(path), static=True)
    assert field.dims == ("y", "x")
    one_step = write_field(tmp_path / "b.nc", times=1)
    assert open_field(Source(one_step), static=True).dims == ("y", "x")
    changing = write_field(tmp_path / "c.nc")
    assert refusal(TimeError, changing, static=True).endswith(
        "changes with time (20 steps), but static variables don't: list it under data.predictors"
    )


def test_one_of_several_variables(tmp_path):
    make_field().assign(psl=make_field(seed=1)["t2m"]).to_netcdf(tmp_path / "two.nc")
    path = str(tmp_path / "two.nc")
    assert open_field(Source(path, "psl")).name == "psl"
    assert refusal(DataError, path) == f"{path} has several variables (t2m, psl): name one as variable: beside path:"
    assert refusal(DataError, path, "t2n") == f"{path} has no variable 't2n': did you mean 't2m'?"
    assert refusal(DataError, path, "snow") == f"{path} has no variable 'snow': known are t2m, psl"


def test_grib_counts_by_valid_time_and_leaves_no_index(tmp_path):
    forecasts = [{"dataDate": 20010101, "dataTime": 0, "startStep": step, "endStep": step} for step in (3, 6, 9)]
    field = open_field(Source(write_grib(tmp_path / "fc.grib", forecasts)))
    assert [str(t)[:16] for t in field["time"].values] == ["2001-01-01T03:00", "2001-01-01T06:00", "2001-01-01T09:00"]
    np.testing.assert_allclose(field[:, 0, 0], [280, 281, 282])
    assert field["y"].values[0] == 50
    assert os.listdir(tmp_path) == ["fc.grib"]


def test_grib_with_starts_and_steps_that_follow_each_other(tmp_path):
    messages = [
        {"dataDate": 20010101, "dataTime": start, "startStep": step, "endStep": step}
        for start in (0, 1200)
        for step in (6, 12)
    ]
    field = open_field(Source(write_grib(tmp_path / "fc.grib", messages)))
    assert [int(h) for h in field["time"].dt.hour] == [6, 12, 18, 0]
    np.testing.assert_allclose(field[:, 0, 0], [280, 281, 282, 283])


def test_grib_with_two_forecasts_for_a_time_is_refused(tmp_path):
    messages = [
        {"dataDate": 20010101, "dataTime": start, "startStep": step, "endStep": step}
        for start in (0, 600)
        for step in (6, 12)
    ]
    path = write_grib(tmp_path / "fc.grib", messages)
    assert "has several forecasts for the same time (2 start times × 2 steps)" in refusal(TimeError, path)


def test_grib_with_several_variables(tmp_path):
    messages = [{"indicatorOfParameter": number, "dataDate": 20010100 + day} for day in (1, 2) for number in (167, 151)]
    path = write_grib(tmp_path / "two.grib", messages)
    np.testing.assert_allclose(open_field(Source(path, "msl"))[:, 0, 0], [281, 283])
    assert refusal(DataError, path, "t2n") == f"{path} has no variable 't2n': did you mean 't2m'?"
    assert "has several variables (" in refusal(DataError, path)


def test_no_time(tmp_path):
    path = write_field(tmp_path / "a.nc", times=0)
    assert refusal(TimeError, path, "t2m") == (
        f"t2m in {path} has no time dimension, only (lat, lon): expected time, y and x, or one date in the name "
        "of the file, as in 2020-01-31 or 20200131; list a field without time under data.static"
    )


def test_times_that_do_not_increase(tmp_path):
    dataset = make_field(ny=3, nx=3, times=4)
    dataset.isel(time=[0, 2, 1, 3]).to_netcdf(tmp_path / "mixed.nc")
    dataset.isel(time=[0, 1, 1, 2]).to_netcdf(tmp_path / "twice.nc")
    assert "2001-01-02T00:00:00.000000000 comes after 2001-01-03" in refusal(TimeError, tmp_path / "mixed.nc")
    message = refusal(TimeError, tmp_path / "twice.nc")
    assert "doesn't increase: 2001-01-02T00:00:00.000000000 comes twice; sort the steps and drop duplicates" in message
    assert "comes twice" in refusal(TimeError, tmp_path / "*w*.nc")


def test_time_without_units_or_with_nonsense(tmp_path):
    plain = make_field(ny=3, nx=3, times=4).assign_coords(time=np.arange(4))
    plain.to_netcdf(tmp_path / "plain.nc")
    assert "is plain numbers: expected the attribute units" in refusal(TimeError, tmp_path / "plain.nc")
    plain["time"].attrs["units"] = "days since yesterday"
    plain.to_netcdf(tmp_path / "odd.nc")
    assert "has a time axis that can't be decoded" in refusal(TimeError, tmp_path / "odd.nc")
    plain["time"].attrs |= {"units": "days since 2001-01-01", "calendar": "lunar"}
    plain.to_netcdf(tmp_path / "lunar.nc")
    assert "has a time axis that can't be decoded" in refusal(TimeError, tmp_path / "lunar.nc")
    plain.to_zarr(tmp_path / "lunar.zarr", consolidated=False)
    assert "has a time axis that can't be decoded" in refusal(TimeError, tmp_path / "lunar.zarr")


def test_a_reader_that_fails_is_no_matter_of_times_whatever_it_says(tmp_path, monkeypatch):
    def fails(path: str, variable: str, **options: bool) -> xr.Dataset:
        raise ValueError("unable to decode time units")

    write_field(tmp_path / "a.nc")
    monkeypatch.setitem(formats.OPENERS, "netcdf", fails)
    with pytest.raises(DataError, match="it may be damaged or cut off") as caught:
        formats.open_dataset(str(tmp_path / "a.nc"), "t2m")
    assert type(caught.value) is DataError


def test_a_longer_extra_dimension_is_refused(tmp_path):
    dataset = make_field(ny=3, nx=3).expand_dims(level=[850.0, 500.0])
    dataset.to_netcdf(tmp_path / "levels.nc")
    message = refusal(DataError, tmp_path / "levels.nc")
    assert (
        "has 2 values along level: expected a field over time, y and x; choose one with select: {level: 850}" in message
    )


def test_coordinates_that_say_too_little(tmp_path):
    bare = make_field(ny=3, nx=4)
    bare.drop_vars(["lat", "lon"]).rename_dims(lat="j", lon="i").to_netcdf(tmp_path / "none.nc")
    assert "has no coordinate along y: expected latitude and longitude" in refusal(GridError, tmp_path / "none.nc")
    make_field(crs=ALBERS).drop_vars("projection").to_netcdf(tmp_path / "lost.nc")
    assert "names the grid mapping 'projection', which isn't in the file" in refusal(GridError, tmp_path / "lost.nc")
    projected = make_field(crs=ALBERS, names=("time", "y", "x"))
    del projected["t2m"].attrs["grid_mapping"]
    projected.to_netcdf(tmp_path / "unnamed.nc")
    message = refusal(GridError, tmp_path / "unnamed.nc", "t2m")
    assert "has a coordinate y, but names no projection: expected latitude and longitude, or a CF grid map" in message
    make_field(south=89, dy=1).to_netcdf(tmp_path / "far.nc")
    assert "latitude in " in (message := refusal(GridError, tmp_path / "far.nc"))
    assert "reaches 96: expected degrees" in message


def test_a_coordinate_that_is_not_monotonic(tmp_path):
    dataset = make_field(ny=4, nx=4)
    for number, lat in enumerate(([40, 41, 41, 42], [40, 42, 41, 43], [40, 41, np.nan, 43])):
        path = tmp_path / f"{number}.nc"
        dataset.assign_coords(lat=("lat", np.array(lat, float), dataset["lat"].attrs)).to_netcdf(path)
        assert refusal(GridError, path).startswith(f"y in {path} is not monotonic: expected coordinates that only")


def test_a_text_variable_is_refused(tmp_path):
    dataset = make_field(ny=3, nx=3)
    dataset["note"] = (dataset["t2m"].dims, np.full(dataset["t2m"].shape, "wet", object))
    dataset.to_netcdf(tmp_path / "a.nc")
    assert "no numbers: choose another variable" in refusal(DataError, tmp_path / "a.nc", "note")


def test_files_in_several_units_are_joined_in_that_of_the_first(tmp_path):
    kelvin = write_field(tmp_path / "a.nc", times=steps(5))
    celsius = make_field(times=steps(5, start="2001-01-06"), units="degC")
    celsius["t2m"][:] = 20.0
    celsius.to_netcdf(tmp_path / "b.nc")
    field = open_field(Source((kelvin, str(tmp_path / "b.nc"))))
    assert field.attrs["units"] == "K"
    np.testing.assert_array_equal(field[:5], make_field(times=steps(5))["t2m"])
    np.testing.assert_allclose(field[5:], 293.15, rtol=1e-6)


def test_files_that_do_not_belong_together(tmp_path):
    first = write_field(tmp_path / "a.nc", times=steps(5))
    other_grid = write_field(tmp_path / "b.nc", times=steps(5, start="2002-01-01"), nx=11)
    other_unit = write_field(tmp_path / "c.nc", times=steps(5, start="2002-01-01"), units="Pa")
    no_unit = write_field(tmp_path / "n.nc", times=steps(5, start="2002-01-01"), units=None)
    other_days = write_field(tmp_path / "d.nc", times=steps(5, start="2002-01-01", calendar="noleap"))

    def both(kind, other) -> str:
        with pytest.raises(kind) as caught:
            open_field(Source((first, other)))
        return str(caught.value)

    assert both(GridError, other_grid).startswith(f"{other_grid} has another grid (8 × 11 cells")
    assert both(UnitError, other_unit).startswith(f"{other_unit} is in 'Pa', which can't be converted to 'K'")
    assert both(UnitError, no_unit).startswith(f"{no_unit} has no units, but {first} is in 'K'")
    assert both(TimeError, other_days) == (
        f"{other_days} has another calendar than {first}: expected one calendar in all files"
    )
    with pytest.raises(DataError, match=r"a static variable is given by 2 files .*: expected one file"):
        open_field(Source((write_field(tmp_path / "e.nc", times=0), first.replace("a.nc", "e.nc"))), static=True)


def test_steps_that_are_decompressed_together(tmp_path):
    def chunk(path: str) -> int:
        return steps_per_chunk(Source(path))

    field = make_field(times=20, names=("t", "y_", "x_"), north_first=True)
    packed = {"t2m": {"chunksizes": (7, 4, 12), "zlib": True}}
    field.to_netcdf(tmp_path / "packed.nc", encoding=packed)
    field.to_netcdf(tmp_path / "plain.nc")
    field.to_netcdf(tmp_path / "classic.nc", format="NETCDF3_64BIT")
    field.to_zarr(tmp_path / "a.zarr", encoding={"t2m": {"chunks": (6, 8, 12)}}, consolidated=False)
    turned = field.transpose("y_", "t", "x_")
    turned.to_netcdf(tmp_path / "turned.nc", encoding={"t2m": {"chunksizes": (8, 3, 12)}})
    found = {path.name: chunk(str(path)) for path in tmp_path.iterdir()}
    assert found == {"packed.nc": 7, "plain.nc": 1, "classic.nc": 1, "a.zarr": 6, "turned.nc": 3}
    assert chunk(write_grib(tmp_path / "a.grib", [{"dataDate": 20010101 + day} for day in range(3)])) == 1
    assert chunk(write_field(tmp_path / "step.nc", times=0)) == 1


FILES = {
    "era5_uk_t2m.grib": ("t2m", "K", (744, 33, 49)),
    "eobs_iberia_tas.nc": ("tg", "degC", (1805, 19, 29)),
    "eobs_iberia_pr.nc": ("rr", "mm day-1", (1805, 19, 29)),
    "ncep_iberia_tas.nc": ("tas", "degC", (1805, 6, 8)),
    "ncep_iberia_psl.nc": ("psl", "Pa", (1805, 5, 7)),
    "bom_radar_precipitation.nc": ("precipitation", "kg m-2", (144, 512, 512)),
}


@pytest.mark.parametrize("name", FILES)
def test_real_files_open_as_they_are(shared_data, name):
    before = set(os.listdir(shared_data))
    field = open_field(Source(str(shared_data / name)))
    assert (field.name, field.attrs["units"], field.shape) == FILES[name]
    assert field.dims == ("time", "y", "x")
    assert describe(str(shared_data / name)).n_times == len(field)
    assert set(os.listdir(shared_data)) == before


def test_real_values_are_those_of_the_file(shared_data):
    path = str(shared_data / "era5_uk_t2m.grib")
    raw = xr.open_dataset(path, engine="cfgrib", backend_kwargs={"indexpath": ""})["t2m"]
    np.testing.assert_array_equal(open_field(Source(path))[700:], raw[700:])
