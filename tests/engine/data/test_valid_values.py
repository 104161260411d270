"""What files declare as missing, as valid time and as degrees, and files with brackets in their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr

from engine.data.fields import open_field
from engine.spec import Source
from tests.engine.data.mock import make_field, steps, write_field


def opened(dataset: xr.Dataset, path: Path, **encoding: Any) -> np.ndarray:
    dataset.to_netcdf(path, encoding={"t2m": encoding})
    return open_field(Source(str(path))).values


def field_of(*values: float, dtype: str = "f4", **attrs: Any) -> xr.Dataset:
    """Two steps of 2 × 3 cells, 280 but for the first values of the first step."""
    dataset = make_field(ny=2, nx=3, times=2)
    dataset["t2m"] = dataset["t2m"].astype(dtype)
    dataset["t2m"][:] = 280.0
    dataset["t2m"][0, 0, : len(values)] = list(values)
    dataset["t2m"].attrs |= attrs
    return dataset


@pytest.mark.parametrize(
    ("attrs", "missing"),
    [
        ({"valid_min": 200.0}, [True, False, False]),
        ({"valid_max": np.float32(300)}, [False, False, True]),
        ({"valid_range": np.array([200.0, 300.0])}, [True, False, True]),
        ({"valid_range": np.array([100.1, 350.7])}, [False, False, False]),  # limits themselves are valid
        ({"valid_range": "200 to 300"}, [False, False, False]),
    ],
)
def test_values_outside_the_valid_range_are_missing(tmp_path, attrs, missing):
    values = opened(field_of(100.1, 250.0, 350.7, **attrs), tmp_path / "a.nc", _FillValue=None)
    np.testing.assert_array_equal(np.isnan(values[0, 0]), missing)
    assert np.isnan(values).sum() == sum(missing)


def test_the_range_of_packed_values_is_packed(tmp_path):
    """Packed as (value - 280) / 0.01: 250 is -3000, 350 is 7000."""
    packing = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}
    dataset = field_of(250.0, 350.0, 270.0, valid_range=np.array([-1000, 6999], "i2"))
    values = opened(dataset, tmp_path / "a.nc", **packing)
    np.testing.assert_array_equal(np.isnan(values[0, 0]), [True, True, False])  # 270 is -1000


@pytest.mark.parametrize("value", [-999.9, 1e20])
def test_a_missing_value_in_double_is_found_in_single_precision(tmp_path, value):
    values = opened(field_of(value, 270.0, missing_value=value), tmp_path / "a.nc", _FillValue=None)
    np.testing.assert_array_equal(np.isnan(values[0, 0]), [True, False, False])


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_what_was_never_written_is_missing(tmp_path, kind):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for name, values, units in (
            ("time", [0, 1], "days since 2001-01-01"),
            ("lat", [0, 1, 2], "degrees_north"),
            ("lon", [0, 1, 2], "degrees_east"),
        ):
            file.createDimension(name, len(values))
            file.createVariable(name, "f8", (name,))[:] = values
            file[name].units = units
        file.createVariable("t2m", kind, ("time", "lat", "lon"))[0] = 280.0
    field = open_field(Source(str(tmp_path / "a.nc")))
    np.testing.assert_array_equal(np.isnan(field).all(("y", "x")), [False, True])
    assert (field[0] == 280.0).all()


@pytest.mark.parametrize("version", [2, 3])
def test_zeros_of_a_zarr_store_that_fills_with_zero_are_values(tmp_path, version):
    group = zarr.open_group(tmp_path / "rain.zarr", mode="w", zarr_format=version)
    axes = {"time": np.arange(3), "lat": np.arange(4.0), "lon": np.arange(5.0)}
    units = {"time": "days since 2001-01-01", "lat": "degrees_north", "lon": "degrees_east"}
    rain = np.arange(60, dtype="f4").reshape(3, 4, 5)
    for name, values in {**axes, "rain": rain}.items():
        dims = list(axes) if name == "rain" else [name]
        names = {"dimension_names": dims} if version == 3 else {}
        array = group.create_array(name, shape=values.shape, dtype=values.dtype, fill_value=0, **names)
        array[...] = values
        array.attrs.update({"_ARRAY_DIMENSIONS": dims, "units": units.get(name, "mm/day")})
    field = open_field(Source(str(tmp_path / "rain.zarr")))
    np.testing.assert_array_equal(field, rain)
    assert field["x"].values[0] == 0.0


def test_a_zarr_store_of_packed_values_keeps_its_fill_value(tmp_path):
    dataset = make_field(ny=3, nx=4, missing=0.3)
    packing = {"dtype": "uint16", "scale_factor": 0.01, "add_offset": 270.0, "_FillValue": 0}
    dataset.to_zarr(tmp_path / "a.zarr", encoding={"t2m": packing}, zarr_format=2, consolidated=False)
    field = open_field(Source(str(tmp_path / "a.zarr")))
    np.testing.assert_array_equal(np.isnan(field), np.isnan(dataset["t2m"]))
    assert not isinstance(field.variable._data, np.ndarray)  # lazy


@pytest.mark.parametrize("start_name", ["time", "reference_time"])
@pytest.mark.parametrize("attrs", [{"standard_name": "time"}, {}])
def test_the_time_of_a_forecast_is_when_it_is_valid(tmp_path, start_name, attrs):
    dataset = make_field(ny=3, nx=4, times=5)
    starts = xr.Variable("time", steps(5, start="2000-12-31"), {"standard_name": "forecast_reference_time"})
    valid = xr.Variable("time", dataset["time"].values, attrs)
    names = {start_name: starts, "valid_time" if start_name == "time" else "time": valid}
    dataset.drop_vars("time").assign_coords(names).to_netcdf(tmp_path / "a.nc")
    np.testing.assert_array_equal(open_field(Source(str(tmp_path / "a.nc")))["time"], dataset["time"])


@pytest.mark.parametrize("units", ["radian", "radians", "rad"])
def test_latitude_and_longitude_in_radians(tmp_path, units):
    dataset = make_field(ny=3, nx=4, south=45.0, west=90.0)
    for side in ("lat", "lon"):
        name = dataset[side].attrs["standard_name"]
        dataset[side] = (side, np.deg2rad(dataset[side].values), {"standard_name": name, "units": units})
    dataset.to_netcdf(tmp_path / "a.nc")
    field = open_field(Source(str(tmp_path / "a.nc")))
    np.testing.assert_allclose(field["y"], [45, 45.5, 46])
    np.testing.assert_allclose(field["x"], [90, 90.5, 91, 91.5])
    assert field["y"].attrs["units"] == "degrees_north"


def test_brackets_are_taken_literally_where_such_a_file_exists(tmp_path):
    for folder in ("run[1]", "run1"):
        (tmp_path / folder).mkdir()
        for name in ("data[1].nc", "data1.nc", "data2.nc"):
            write_field(tmp_path / folder / name)
    inside = tmp_path / "run[1]"
    assert Source(str(inside / "data[1].nc")).files() == [str(inside / "data[1].nc")]
    assert Source(str(inside / "data?.nc")).files() == [str(inside / name) for name in ("data1.nc", "data2.nc")]
    plain = tmp_path / "run1"
    assert Source(str(plain / "data[12].nc")).files() == [str(plain / name) for name in ("data1.nc", "data2.nc")]
    assert Source(str(plain / "none[1].nc")).files() == [str(plain / "none[1].nc")]
