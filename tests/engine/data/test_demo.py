import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from engine.data import demo
from engine.data.demo import area_mean, synthesize, write_demo
from engine.data.demo_land import Land
from engine.data.demo_physics import Weather, _transport, _upwind, traffic_factor
from engine.errors import DataError, GridError, TimeError
from engine.spec import Spec

NETCDF = ["no2_regional.nc", "no2_global.nc", "t2m.nc", "wind.nc", "static.nc"]
SPECS = ["demo_perfect_prog.yaml", "demo_mos.yaml"]
DAYS, SIZE = 28, (32, 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    paths = write_demo(folder, seed=3, days=DAYS, size=SIZE)
    assert paths == [folder / name for name in [*NETCDF, *SPECS, "README.txt"]]
    assert sorted(folder.iterdir()) == sorted(paths)  # no half-written sibling stays behind
    return folder


@pytest.fixture(scope="module")
def opened(folder):
    return {name: xr.load_dataset(folder / name) for name in NETCDF}


def test_same_seed_same_values_and_other_seed_others():
    first, again = (synthesize(1, 2, (32, 32)) for _ in range(2))
    other = synthesize(2, 2, (32, 32))
    for name in NETCDF:
        xr.testing.assert_identical(first[name], again[name])
        assert not first[name].equals(other[name])


def test_a_longer_record_begins_like_a_shorter_one():
    # Land and weather have random streams of their own, so more days only add to the end.
    short, long = (synthesize(1, days, (32, 32))["no2_regional.nc"] for days in (1, 2))
    xr.testing.assert_identical(short, long.isel(time=slice(8)))


@pytest.mark.parametrize(
    ("file", "variable", "standard_name", "units"),
    [
        ("no2_regional.nc", "no2", "mass_concentration_of_nitrogen_dioxide_in_air", "µg m-3"),
        ("no2_global.nc", "no2", "mass_concentration_of_nitrogen_dioxide_in_air", "µg m-3"),
        ("t2m.nc", "t2m", "air_temperature", "K"),
        ("wind.nc", "wind_speed", "wind_speed", "m s-1"),
        ("static.nc", "topography", "surface_altitude", "m"),
        ("static.nc", "land_mask", "land_binary_mask", "1"),
        ("static.nc", "urban_fraction", None, "1"),
    ],
)
def test_variables_follow_cf(opened, file, variable, standard_name, units):
    field = opened[file][variable]
    assert field.attrs.get("standard_name") == standard_name
    assert field.attrs["units"] == units
    assert field.dims[-2:] == ("lat", "lon")
    assert np.isfinite(field).all()
    assert field.encoding["zlib"]
    assert field.encoding["dtype"] == ("int8" if variable == "land_mask" else "float32")


@pytest.mark.parametrize("file", NETCDF)
def test_coordinates_follow_cf_with_contiguous_bounds(opened, file):
    dataset = opened[file]
    assert dataset.attrs["Conventions"] == "CF-1.11"
    for name, axis, units in (("lat", "Y", "degrees_north"), ("lon", "X", "degrees_east")):
        attrs, bounds = dataset[name].attrs, dataset[f"{name}_bnds"].values
        assert (attrs["axis"], attrs["units"], attrs["bounds"]) == (axis, units, f"{name}_bnds")
        np.testing.assert_allclose(bounds.mean(axis=1), dataset[name], atol=1e-9)
        np.testing.assert_allclose(bounds[1:, 0], bounds[:-1, 1], atol=1e-9)
    if "time" in dataset.coords:
        assert dataset.time.attrs["axis"] == "T"
        assert dataset.time.encoding["units"].startswith("hours since 2023-10-02")
        assert dataset.sizes["time"] == DAYS * 8
        assert set(np.diff(dataset.time) / np.timedelta64(1, "h")) == {3.0}


@pytest.mark.parametrize("file", ["no2_global.nc", "t2m.nc", "wind.nc"])
def test_lr_grid_nests_in_hr_grid(opened, file):
    hr, lr = opened["no2_regional.nc"], opened[file]
    for name in ("lat", "lon"):
        assert hr.sizes[name] == 8 * lr.sizes[name]
        np.testing.assert_allclose(lr[name], hr[name].values.reshape(-1, 8).mean(axis=1), atol=1e-9)
        assert lr[f"{name}_bnds"].values[0, 0] == hr[f"{name}_bnds"].values[0, 0]
        assert lr[f"{name}_bnds"].values[-1, 1] == hr[f"{name}_bnds"].values[-1, 1]
    np.testing.assert_array_equal(lr.time, hr.time)


def test_values_are_plausible(opened):
    hr, lr, static = (opened[name] for name in ("no2_regional.nc", "no2_global.nc", "static.nc"))
    assert hr.no2.min() > 0.5
    assert 20 < hr.no2.max() < 200
    assert lr.no2.min() > 0
    assert 250 < opened["t2m.nc"].t2m.min() < opened["t2m.nc"].t2m.max() < 310
    assert 0 <= opened["wind.nc"].wind_speed.min() < opened["wind.nc"].wind_speed.max() < 40
    assert set(np.unique(static.land_mask)) == {0, 1}
    assert 0.3 < static.land_mask.mean() < 0.7
    assert (static.topography.where(static.land_mask == 0, 0) == 0).all()
    assert (static.urban_fraction.where(static.land_mask == 0, 0) == 0).all()
    assert 0.2 < static.urban_fraction.max() < 1


def test_towns_have_a_day_a_week_and_dirtier_air_than_the_sea(opened):
    no2, static = opened["no2_regional.nc"].no2, opened["static.nc"]
    towns = no2.where(static.urban_fraction > 0.2).mean(("lat", "lon"))
    local = towns.time + np.timedelta64(-2, "h")
    assert towns.mean() > 2 * no2.where(static.land_mask == 0).mean()
    assert towns[local.dt.dayofweek >= 5].mean() < 0.9 * towns[local.dt.dayofweek < 5].mean()
    by_hour = towns.groupby(local.dt.hour).mean()
    assert by_hour.sel(hour=7) > by_hour.sel(hour=4)  # the morning's rush
    assert by_hour.sel(hour=19) > 1.5 * by_hour.sel(hour=13)  # the evening's, into a shallow layer


def test_traffic_has_two_rush_hours_on_working_days_and_rests_at_weekends():
    # Clocks are 2 h behind UTC. 2023-10-02 is a Monday, 2023-10-07 a Saturday, 2023-10-08 a Sunday.
    def day(date):
        start = np.datetime64(date) + np.timedelta64(2, "h")
        return np.array([traffic_factor(start + np.timedelta64(hour, "h")) for hour in range(24)])

    monday, saturday, sunday = day("2023-10-02"), day("2023-10-07"), day("2023-10-08")
    peaks = np.flatnonzero((monday[1:-1] > monday[:-2]) & (monday[1:-1] >= monday[2:])) + 1
    assert set(peaks) <= {7, 8, 17, 18}
    assert peaks.min() <= 8
    assert peaks.max() >= 17
    np.testing.assert_array_equal(monday, day("2023-10-06"))
    assert monday.mean() == pytest.approx(1, abs=0.1)  # the land's emission is that of a working day
    assert sunday.mean() < saturday.mean() < 0.8 * monday.mean()


def test_lr_field_is_biased_yet_related(opened):
    hr, lr = opened["no2_regional.nc"], opened["no2_global.nc"].no2.values
    truth = area_mean(hr.no2.values, hr.lat.values)
    assert np.corrcoef(lr.ravel(), truth.ravel())[0, 1] > 0.6
    clean = truth < 2
    assert (lr - truth)[clean].mean() > 0.2
    high = truth > np.quantile(truth, 0.98)
    assert (lr - truth)[high].mean() < -0.5


def test_area_mean_against_numpy_average():
    lat = np.linspace(40, 55, 16)
    field = np.random.default_rng(0).random((3, 16, 24))
    mean = area_mean(field, lat)
    weights = np.repeat(np.cos(np.deg2rad(lat[8:]))[:, None], 8, axis=1)
    assert mean.shape == (3, 2, 3)
    assert mean[1, 1, 2] == pytest.approx(np.average(field[1, 8:, 16:], weights=weights))


def test_upwind_moves_a_field_with_the_wind():
    field = np.zeros((5, 6))
    field[2, 2] = 4.0
    moved = _upwind(field, np.full((5, 6), 1.0), np.full((5, 6), 1.5))
    # One cell north, and one and a half east: halves in columns 3 and 4.
    expected = np.zeros((5, 6))
    expected[3, 3:5] = 2.0
    np.testing.assert_allclose(moved, expected)
    assert not _upwind(np.ones((5, 6)), np.zeros((5, 6)), np.full((5, 6), 9.0)).any()  # clean air comes in


def test_emission_makes_a_plume_downwind_only():
    # Without sun the loss rate is 1/16 h + 0.0015 m/s / 500 m. In an hour
    # 360 µg m-2 enter 500 m: 0.72 µg m-3.
    zeros = np.zeros((9, 30))
    land = Land(np.zeros(9), np.zeros(30), *[zeros] * 6)
    wind = np.full(zeros.shape, 0.1 * 111_195 * 3 / 3600)  # three cells an hour at the equator
    weather = Weather(wind, zeros, zeros + 283, zeros + 500, zeros - 1, zeros)
    emitted = zeros.copy()
    emitted[4, 5] = 0.1
    plume = _transport(zeros, emitted, weather, land)
    assert not plume[:4].any()
    assert not plume[5:].any()
    assert not plume[4, :5].any()
    assert (plume[4, 5:9] > 0).sum() >= 3
    loss = 1 / (16 * 3600) + 0.0015 / 500
    ages = 3600 * np.array([1 / 6, 1 / 2, 5 / 6])
    assert plume.sum() == pytest.approx(0.72 * np.exp(-loss * ages).mean())


@pytest.mark.parametrize("file", NETCDF)
def test_every_file_says_that_it_is_synthetic_and_its_seed(opened, file):
    attrs = opened[file].attrs
    assert "SYNTHETIC" in attrs["title"]
    assert "Synthetic" in attrs["comment"]
    assert "seed 3" in attrs["source"]


@pytest.mark.parametrize("file", [*SPECS, "README.txt"])
def test_every_text_says_that_it_is_synthetic(folder, file):
    assert "synthetic" in (folder / file).read_text(encoding="utf-8").lower()


@pytest.mark.parametrize(("file", "pairing"), [(SPECS[0], "perfect-prog"), (SPECS[1], "mos")])
def test_specs_are_valid_and_name_what_was_written(folder, opened, file, pairing):
    assert yaml.safe_load((folder / file).read_text(encoding="utf-8"))["version"] == 1
    data = Spec.read(folder / file).data
    assert (data.pairing, data.scale) == (pairing, 8)
    sources = [data.target, *([data.lr] if data.lr else []), *data.predictors, *data.static]
    assert len(sources) == (7 if pairing == "mos" else 6)
    for source in sources:
        assert Path(source.path).parent == folder
        assert source.variable in opened[Path(source.path).name]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"size": (36, 64)}, GridError, "size is 36 x 64 cells: expected multiples of 8 from 32 to 256"),
        ({"size": (64, 16)}, GridError, "size is 64 x 16 cells: expected multiples of 8 from 32 to 256"),
        ({"days": 0}, TimeError, "length is 0 days: expected 1 or more"),
        ({"seed": -1}, DataError, "seed is -1: expected 0 or a positive whole number"),
    ],
)
def test_refuses_what_it_cannot_make(tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        write_demo(tmp_path / "demo", **options)
    assert not (tmp_path / "demo").exists()


def test_refuses_a_folder_that_is_a_file(tmp_path):
    path = tmp_path / "taken"
    path.write_text("mine")
    with pytest.raises(DataError, match=r"taken can't be written \(File exists\): expected a folder that you may"):
        write_demo(path, days=1, size=(32, 32))
    assert path.read_text() == "mine"


def test_full_disk_is_said_and_leaves_no_half_file(tmp_path, monkeypatch):
    def fill(self, path, **options):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "no2_regional.nc").write_bytes(b"earlier")
    monkeypatch.setattr(xr.Dataset, "to_netcdf", fill)
    with pytest.raises(DataError, match=r"no2_regional.nc can't be written \(No space left on device\)"):
        write_demo(tmp_path, days=1, size=(32, 32))
    assert [path.name for path in tmp_path.iterdir()] == ["no2_regional.nc"]
    assert (tmp_path / "no2_regional.nc").read_bytes() == b"earlier"


def test_import_is_cheap():
    code = f"import sys, {demo.__name__}; print([m for m in ('numpy', 'scipy', 'xarray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("seed", range(6))
def test_small_lands_are_sound_for_any_seed(seed):
    static = synthesize(seed, 1, (32, 32))["static.nc"]
    assert 0 < static.land_mask.mean() < 1
    assert static.urban_fraction.max() > 0.1
    assert static.topography.max() > 100
