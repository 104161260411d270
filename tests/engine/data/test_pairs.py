import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from engine.data import lazy
from engine.data.fields import open_field
from engine.data.grid_coordinates import grid_of
from engine.data.input_values import check_values, sample_values
from engine.data.pairs import pair
from engine.data.resample import coarsen
from engine.errors import DataError, GridError, SpecError, TimeError, UnitError
from engine.spec import DataOptions, Source
from tests.engine.data.mock import ALBERS, make_field, steps, write_field


def options(target: str, **given) -> DataOptions:
    """Data options with defaults that suit small fields."""
    named = {key: {"path": value} if isinstance(value, str) and key == "lr" else value for key, value in given.items()}
    for key in ("predictors", "static"):
        named[key] = [{"path": path} for path in given.get(key, [])]
    return DataOptions(
        **({"target": {"path": target}, "scale": 4, "split": {"train": 0.5, "validation": 0.25, "test": 0.25}} | named)
    )


def refusal(kind, chosen: DataOptions) -> str:
    with pytest.raises(kind) as caught:
        pair(chosen)
    return str(caught.value)


@pytest.fixture
def hr(tmp_path) -> str:
    return write_field(tmp_path / "hr.nc", ny=10, nx=13, missing=0.2)


@pytest.fixture
def lr(tmp_path) -> str:
    """A field of 2°, around that of `hr` and not nesting in it."""
    return write_field(tmp_path / "lr.nc", ny=5, nx=6, south=38.3, west=-1.4, dy=2.0, dx=2.0, seed=1)


def test_perfect_prog_crops_and_coarsens(hr):
    pairs = pair(options(hr))
    assert pairs.hr_grid.shape == pairs.data_shape == (8, 12)
    assert pairs.lr_grid.shape == (2, 3)
    assert pairs.notes == ("HR cropped from 10 × 13 to 8 × 12 cells, multiples of scale 4",)
    arrays = pairs.read(np.arange(20))
    expected = make_field(ny=10, nx=13, missing=0.2)["t2m"].values[:, :8, :12]
    np.testing.assert_array_equal(arrays.hr, expected)
    weights = np.repeat(grid_of(pairs.hr).cell_areas()[:4, :1], 4, axis=1)
    block = expected[3, :4, :4]
    known = np.isfinite(block)
    assert arrays.lr[3, 0, 0] == pytest.approx((block[known] * weights[known]).sum() / weights[known].sum(), rel=1e-6)
    assert arrays.predictors.shape == (20, 2, 3, 0)


def test_reading_follows_the_order_asked_for(hr):
    pairs = pair(options(hr))
    whole = pairs.read(np.arange(20))
    some = pairs.read(np.array([7, 3, 3, 15]))
    np.testing.assert_array_equal(some.hr, whole.hr[[7, 3, 3, 15]])
    np.testing.assert_array_equal(some.lr, whole.lr[[7, 3, 3, 15]])
    assert {a.dtype for a in (some.hr, some.lr, some.predictors)} == {np.dtype(np.float32)}
    assert pairs.read(np.array([], int)).hr.shape == (0, 8, 12)


def test_pairing_reads_no_values(hr, lr, monkeypatch):
    def forbidden(*_):
        raise AssertionError("values were read")

    monkeypatch.setattr(lazy._AsFloat32, "_read", forbidden)
    pairs = pair(options(hr, pairing="mos", lr=lr, predictors=[lr]))
    with pytest.raises(AssertionError, match="values were read"):
        pairs.read(np.array([0]))


def test_only_what_is_asked_for_is_read_and_once(hr, lr, monkeypatch):
    shapes, original = [], lazy._AsFloat32._read

    def counted(self, key):
        values = original(self, key)
        shapes.append(values.shape)
        return values

    monkeypatch.setattr(lazy._AsFloat32, "_read", counted)
    pair(options(hr)).read(np.array([9, 5, 18, 5]))
    assert shapes == [(3, 8, 12)]  # HR, of which LR is made, without what is cropped
    del shapes[:]
    celsius = {"path": lr, "units": "degC"}
    pair(options(hr, pairing="mos", lr=celsius, predictors=[lr])).read(np.array([0, 17]))
    assert shapes == [(2, 10, 13), (2, 5, 6), (2, 5, 6)]


def test_perfect_prog_learns_from_hr_and_is_applied_to_a_given_lr_field(hr, lr):
    without_lr, given = pair(options(hr)), pair(options(hr, lr=lr))
    steps = np.arange(20)
    np.testing.assert_array_equal(given.read(steps).lr, without_lr.read(steps).lr)
    expected = xr.open_dataset(lr)["t2m"].interp(lat=given.lr_grid.y, lon=given.lr_grid.x)
    bilinear = pair(options(hr, lr=lr, interpolation="bilinear")).for_evaluation()
    np.testing.assert_allclose(bilinear.read(steps).lr, expected, rtol=1e-6)
    np.testing.assert_array_equal(bilinear.read(steps).hr, given.read(steps).hr)
    assert without_lr.for_evaluation() is without_lr
    assert given.notes[-1] == "the network learns from coarsened HR, and is applied to data.lr in the test part"


def test_only_steps_that_the_given_lr_field_has_are_used(hr, tmp_path):
    short = write_field(tmp_path / "short.nc", ny=5, nx=6, south=38.3, west=-1.4, dy=2.0, dx=2.0, seed=1, times=12)
    assert pair(options(hr, lr=short)).hr.sizes["time"] == 12


def test_mos_extends_hr_and_brings_the_rest_onto_the_lr_grid(hr, lr, tmp_path):
    predictor = write_field(
        tmp_path / "p.nc", ny=30, nx=40, south=39.5, west=-0.5, dy=0.25, dx=0.25, seed=2, units="Pa"
    )
    pairs = pair(options(hr, pairing="mos", lr=lr, predictors=[predictor], interpolation="bilinear"))
    assert (pairs.hr_grid.shape, pairs.data_shape, pairs.lr_grid.shape) == ((12, 16), (10, 13), (3, 4))
    np.testing.assert_allclose(pairs.hr_grid.y, 40 + 0.5 * np.arange(12))
    np.testing.assert_allclose(pairs.lr_grid.x, [0.75, 2.75, 4.75, 6.75])
    arrays = pairs.read(np.arange(20))
    np.testing.assert_array_equal(arrays.hr[:, :10, :13], make_field(ny=10, nx=13, missing=0.2)["t2m"])
    assert np.isnan(arrays.hr[:, 10:]).all()
    assert np.isnan(arrays.hr[:, :, 13:]).all()
    given = xr.open_dataset(lr)["t2m"]
    expected = given.interp(lat=pairs.lr_grid.y, lon=pairs.lr_grid.x)
    np.testing.assert_allclose(arrays.lr, expected, rtol=1e-6)
    assert arrays.predictors.shape == (20, 3, 4, 1)
    assert pairs.notes == (
        "HR extended by missing cells from 10 × 13 to 12 × 16 cells, multiples of scale 4",
        "data.lr (5 × 6 cells) regridded to the 3 × 4 LR cells by bilinear",
        "data.predictors[0] (30 × 40 cells) regridded to the 3 × 4 LR cells by area",
    )


def test_lr_on_the_nested_grid_is_taken_as_it_is(tmp_path):
    hr = write_field(tmp_path / "hr.nc", ny=8, nx=12)
    nested = write_field(tmp_path / "lr.nc", ny=2, nx=3, south=40.75, west=0.75, dy=2.0, dx=2.0, seed=3)
    pairs = pair(options(hr, pairing="mos", lr=nested))
    assert pairs.notes == ()
    np.testing.assert_array_equal(pairs.read(np.arange(20)).lr, xr.open_dataset(nested)["t2m"])


def test_lr_is_converted_to_the_unit_of_the_target(hr, tmp_path):
    celsius = write_field(tmp_path / "lr.nc", ny=8, nx=10, south=37.0, west=-3.0, dy=2.0, dx=2.0, units="degC")
    arrays = pair(options(hr, pairing="mos", lr=celsius, interpolation="nearest")).read(np.array([0]))
    assert arrays.lr.min() > 500  # 280 °C and more, so over 550 K
    psl = write_field(tmp_path / "psl.nc", ny=8, nx=10, south=37.0, west=-3.0, dy=2.0, dx=2.0, units="Pa")
    assert refusal(UnitError, options(hr, pairing="mos", lr=psl)).startswith(
        "data.lr is in 'Pa', which can't be converted to 'K'"
    )


def test_a_conversion_is_noted(hr, tmp_path):
    celsius = write_field(tmp_path / "lr.nc", ny=8, nx=10, south=37.0, west=-3.0, dy=2.0, dx=2.0, units="degC")
    notes = pair(options(hr, pairing="mos", lr=celsius)).notes
    assert "data.lr is converted from 'degC' to 'K' (× 1 + 273.15)" in notes


def test_predictors_keep_their_unit_and_match_in_time(hr, tmp_path):
    later = write_field(tmp_path / "p.nc", ny=10, nx=13, times=steps(20, start="2001-01-06"), units="Pa", seed=4)
    pairs = pair(options(hr, predictors=[later]))
    assert len(pairs.times) == 15
    assert pairs.predictors[0].attrs["units"] == "Pa"
    assert str(pairs.times.values[0])[:10] == "2001-01-06"
    assert "data.target: 5 of 20 time steps have no partner and are left out" in pairs.notes
    given = make_field(ny=10, nx=13, seed=4)["t2m"].rename(lat="y", lon="x")[:, :8, :12]
    np.testing.assert_allclose(pairs.read(np.arange(15)).predictors[..., 0], coarsen(given, 4)[:15], rtol=1e-6)


def test_static_variables_on_the_hr_grid(hr, lr, tmp_path):
    coarse = write_field(tmp_path / "s.nc", ny=20, nx=20, south=39.0, west=-1.0, times=0, units="m")
    same = write_field(tmp_path / "t.nc", ny=10, nx=13, times=0, units="m", name="z")
    pairs = pair(options(hr, static=[coarse, same]))
    assert [field.shape for field in pairs.static] == [(8, 12), (8, 12)]
    np.testing.assert_allclose(pairs.static[1], make_field(ny=10, nx=13, times=0, name="z")["z"][:8, :12], rtol=1e-6)
    np.testing.assert_allclose(
        pairs.static[0], xr.open_dataset(coarse)["t2m"].interp(lat=pairs.hr_grid.y, lon=pairs.hr_grid.x), rtol=1e-6
    )
    extended = pair(options(hr, pairing="mos", lr=lr, static=[same]))
    assert extended.static[0].shape == (12, 16)
    assert np.isfinite(extended.static[0]).all()
    small = write_field(tmp_path / "u.nc", ny=6, nx=13, times=0)
    assert refusal(GridError, options(hr, static=[small])).startswith("data.static[0] covers lat 40 to 42.5")


def test_north_first_and_south_first_pair_alike(tmp_path):
    what = {"ny": 8, "nx": 12, "missing": 0.2}
    up = pair(options(write_field(tmp_path / "up.nc", **what))).read(np.arange(20))
    down = pair(options(write_field(tmp_path / "down.nc", north_first=True, **what))).read(np.arange(20))
    np.testing.assert_array_equal(up.hr[:, ::-1], down.hr)
    np.testing.assert_allclose(up.lr[:, ::-1], down.lr, rtol=1e-6)


def test_both_conventions_of_longitude_pair_alike(hr, tmp_path):
    what = {"ny": 5, "nx": 6, "south": 38.3, "dy": 2.0, "dx": 2.0}
    west = write_field(tmp_path / "w.nc", west=-1.4, **what)
    turned = write_field(tmp_path / "e.nc", west=358.6, **what)
    one, other = (pair(options(hr, pairing="mos", lr=path)).read(np.arange(20)) for path in (west, turned))
    np.testing.assert_allclose(one.lr, other.lr, rtol=1e-6)


def test_a_projected_hr_grid_with_a_predictor_in_degrees(tmp_path):
    hr = write_field(
        tmp_path / "hr.nc", ny=8, nx=8, south=-35, west=-35, dy=10, dx=10, crs=ALBERS, names=("time", "y", "x")
    )
    wide = write_field(tmp_path / "p.nc", ny=20, nx=20, south=-32, west=149, units="Pa")
    pairs = pair(options(hr, predictors=[wide]))
    assert pairs.lr_grid.shape == (2, 2)
    lon, lat = pairs.lr_grid.lonlat()
    at = {"lon": ("p", lon.ravel()), "lat": ("p", lat.ravel())}
    expected = xr.open_dataset(wide)["t2m"].interp(at).values.reshape(20, 2, 2)
    bilinear = pair(options(hr, predictors=[wide], interpolation="bilinear")).read(np.arange(20))
    np.testing.assert_allclose(bilinear.predictors[..., 0], expected, rtol=1e-6)


@pytest.mark.parametrize("calendar", ["360_day", "noleap"])
def test_calendars(tmp_path, calendar):
    times = steps(70, calendar=calendar)
    pairs = pair(options(write_field(tmp_path / "a.nc", times=times), period=["2001-01-11", "2001-02-28"]))
    assert pairs.times.dt.calendar == calendar
    assert len(pairs.times) == (48 if calendar == "360_day" else 49)


def test_region_and_period(tmp_path):
    path = write_field(tmp_path / "a.nc", ny=40, nx=40)
    chosen = options(path, region={"lat": [45, 49], "lon": [5, 9]}, period=["2001-01-03", "2001-01-12"])
    pairs = pair(chosen)
    assert pairs.hr_grid.shape == (8, 8)
    assert pairs.hr_grid.y[0] == 45
    given = "40 × 40 cells, lat 40 to 59.5, lon 0 to 19.5"
    assert pairs.notes[0] == f"data.region: 9 × 9 cells, lat 45 to 49, lon 5 to 9 of {given}"
    expected = make_field(ny=40, nx=40)["t2m"][2:12, 10:18, 10:18]
    np.testing.assert_array_equal(pairs.read(np.arange(10)).hr, expected)


def test_region_across_the_seam_of_a_global_file(tmp_path):
    path = write_field(tmp_path / "a.nc", ny=20, nx=72, south=-47.5, dy=5.0, dx=5.0)
    pairs = pair(options(path, region={"lat": [-20, 20], "lon": [-20, 15]}))
    np.testing.assert_allclose(pairs.hr_grid.x % 360, [340, 345, 350, 355, 0, 5, 10, 15])
    given = make_field(ny=20, nx=72)["t2m"].values
    np.testing.assert_array_equal(pairs.read(np.arange(20)).hr, given[:, 6:14][:, :, [68, 69, 70, 71, 0, 1, 2, 3]])


def test_other_coarsening(hr):
    nearest = pair(options(hr, coarsening="nearest")).read(np.arange(20))
    np.testing.assert_array_equal(nearest.lr, nearest.hr[:, 2::4, 2::4])


def test_lr_of_another_scale_is_noted(tmp_path):
    hr = write_field(tmp_path / "hr.nc", ny=16, nx=16, dy=0.1, dx=0.1)
    lr = write_field(tmp_path / "lr.nc", ny=6, nx=6, south=36.0, west=-4.0, dy=2.0, dx=2.0)
    notes = pair(options(hr, pairing="mos", lr=lr, scale=4)).notes
    assert any("scale 4 makes LR cells" in note and note.endswith("scale 20 would suit it") for note in notes)


def test_lr_that_does_not_cover_hr(hr, tmp_path):
    small = write_field(tmp_path / "s.nc", ny=3, nx=3, south=38.0, dy=2.0, dx=2.0)
    message = refusal(GridError, options(hr, pairing="mos", lr=small))
    assert message.startswith("data.lr covers lat 38 to 42, lon 0 to 4, but lat 40.75 to 44.5")
    assert message.endswith("crop with data.region to where both have data, or choose a file that covers the region")


def test_too_few_cells_for_the_scale(hr):
    assert refusal(GridError, options(hr, scale=8)) == (
        "HR has 10 × 13 cells, which at scale 8 gives fewer than 2 × 2 LR cells: expected at least 16 cells a side; "
        "choose a smaller scale or a larger region"
    )


def test_an_uneven_hr_grid(tmp_path):
    dataset = make_field(ny=8, nx=8)
    lat = 40 + np.array([0, 1, 2, 3, 4, 5, 6, 7.3])
    dataset.assign_coords(lat=("lat", lat, dataset["lat"].attrs)).to_netcdf(tmp_path / "a.nc")
    assert "y of the HR grid has cells from 1 to 1.3 wide" in refusal(GridError, options(str(tmp_path / "a.nc")))


def test_region_and_period_outside_the_data(hr):
    far = options(hr, region={"lat": [10, 20], "lon": [0, 5]})
    assert "data.region is lat 10 to 20" in refusal(GridError, far)
    assert refusal(TimeError, options(hr, period=["1990", "1991"])) == (
        "data.period is 1990 to 1991, but the data have 20 steps, 2001-01-01T00:00 to 2001-01-20T00:00: choose a "
        "period within them"
    )


def test_times_without_partner_or_of_another_calendar(hr, lr, tmp_path):
    what = {"ny": 5, "nx": 6, "south": 38.3, "west": -1.4, "dy": 2.0, "dx": 2.0}
    later = write_field(tmp_path / "later.nc", times=steps(5, start="2005-01-01"), **what)
    other = write_field(tmp_path / "other.nc", times=steps(20, start="2005-01-01", calendar="noleap"), **what)
    assert "no time step is in all fields" in refusal(TimeError, options(hr, pairing="mos", lr=later))
    assert "no time step is in all fields" in refusal(TimeError, options(hr, pairing="mos", lr=other))


def test_one_time_step_in_common(tmp_path):
    path = write_field(tmp_path / "a.nc")
    assert refusal(TimeError, options(path, period=["2001-01-02", "2001-01-02"])) == (
        "there is 1 step, 2001-01-02T00:00 to 2001-01-02T00:00: expected enough to train, validate and test; add files"
    )


def test_all_missing_and_constant(tmp_path):
    empty = pair(options(write_field(tmp_path / "a.nc", missing=1.1)))
    with pytest.raises(DataError, match="data.target has no value at all in the first, middle and last training step"):
        sample_values(empty)
    dataset = make_field()
    dataset["t2m"][:] = 3
    dataset.to_netcdf(tmp_path / "b.nc")
    assert check_values(sample_values(pair(options(str(tmp_path / "b.nc"))))) == (
        "data.target is 3 everywhere in the first, middle and last training step",
        "LR is 3 everywhere in the first, middle and last training step",
    )
    assert check_values(sample_values(pair(options(write_field(tmp_path / "c.nc"))))) == ()


def test_a_file_that_vanishes_after_pairing(tmp_path):
    pairs = pair(options(write_field(tmp_path / "a.nc")))
    (tmp_path / "a.nc").write_bytes(b"")
    xr.backends.file_manager.FILE_CACHE.clear()
    with pytest.raises(DataError, match="t2m and its predictors can no longer be read"):
        pairs.read(np.array([0]))


def test_scale_one_is_refused_by_the_options(hr):
    with pytest.raises(SpecError, match="data.scale is 1: expected a whole number from 2 to 64"):
        options(hr, scale=1)


@pytest.mark.parametrize(
    "probe",
    [
        "import sys, engine.data.pairs; sys.exit('tensorflow' in sys.modules)",
        "import engine.data.pairs, eccodes, pyproj; pyproj.CRS.from_epsg(3857)",  # two builds of PROJ in one process
    ],
)
def test_what_an_import_brings_along(probe):
    assert subprocess.run([sys.executable, "-c", probe]).returncode == 0


def test_era5_as_it_is(shared_data):
    pairs = pair(options(str(shared_data / "era5_uk_t2m.grib")))
    assert (pairs.hr_grid.shape, pairs.lr_grid.shape, len(pairs.times)) == ((32, 48), (8, 12), 744)
    arrays = pairs.read(np.array([743, 0]))
    raw = open_field(Source(str(shared_data / "era5_uk_t2m.grib")))
    np.testing.assert_array_equal(arrays.hr, raw[[743, 0], :32, :48])
    plain = arrays.hr.reshape(2, 8, 4, 12, 4).mean((2, 4))
    np.testing.assert_allclose(arrays.lr, plain, atol=0.02)  # weights of the rows in a cell differ by 2.5 % at most


def test_eobs_and_ncep_as_they_are(shared_data):
    names = ("psl", "hus850", "ta850")
    pairs = pair(
        options(
            str(shared_data / "eobs_iberia_tas.nc"),
            pairing="mos",
            scale=5,
            lr=str(shared_data / "ncep_iberia_tas.nc"),
            predictors=[str(shared_data / f"ncep_iberia_{name}.nc") for name in names],
        )
    )
    assert (pairs.hr_grid.shape, pairs.data_shape, pairs.lr_grid.shape) == ((20, 30), (19, 29), (4, 6))
    arrays = pairs.read(np.arange(0, 1805, 100))
    assert arrays.predictors.shape == (19, 4, 6, 3)
    assert np.isfinite(arrays.lr).all()
    assert np.isfinite(arrays.predictors).all()
    assert 0.35 < np.isnan(arrays.hr[:, :19, :29]).mean() < 0.45


def test_bom_radar_as_it_is(shared_data):
    pairs = pair(options(str(shared_data / "bom_radar_precipitation.nc")))
    assert pairs.lr_grid.shape == (128, 128)
    assert pairs.lr_grid.cell_size_km() == pytest.approx(2.0)
    arrays = pairs.read(np.array([70]))
    expected = np.nanmean(arrays.hr.reshape(1, 128, 4, 128, 4), (2, 4))
    np.testing.assert_allclose(arrays.lr, expected, atol=1e-6)
