import numpy as np
import pytest
import xarray as xr
from scipy import ndimage
from skimage.transform import resize

from engine.data.gaps import fill_missing
from engine.data.grid_coordinates import grid_of
from engine.data.grids import Grid
from engine.data.kernels import upsampling_matrix
from engine.data.lazy import apply_lazily
from engine.data.resample import coarsen, coarsening, interpolate, regrid
from engine.errors import GridError
from engine.spec import KERNELS
from tests.engine.data.mock import ALBERS, make_field

INTERPOLATING = ["nearest", "bilinear", "bicubic", "lanczos"]


def field(**what) -> xr.DataArray:
    """A field as open_field hands it on: dimensions time, y, x."""
    dataset = make_field(names=("time", "y", "x"), **what)
    plain = dataset["t2m"].astype(float)
    return plain.assign_coords(crs=((), 0, dict(what["crs"]))) if what.get("crs") else plain


def on_grid(lat, lon, values) -> xr.DataArray:
    return xr.DataArray(
        np.asarray(values, float), {"y": np.asarray(lat, float), "x": np.asarray(lon, float)}, ["y", "x"]
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [2, 3, 5])
@pytest.mark.parametrize("n", [2, 7, 40])
def test_weights_of_each_hr_cell_sum_to_one(kernel, scale, n):
    matrix = upsampling_matrix(n, scale, kernel)
    assert matrix.shape == (n * scale, n)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)


def test_bilinear_weights_by_hand():
    # Two LR cells with centres 0 and 1; HR centres at -0.25, 0.25, 0.75, 1.25; beyond the border the edge repeats.
    np.testing.assert_allclose(
        upsampling_matrix(2, 2, "bilinear"), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]], atol=1e-12
    )


def test_nearest_and_area_repeat_each_cell():
    expected = np.repeat(np.eye(3), 4, axis=0)
    np.testing.assert_array_equal(upsampling_matrix(3, 4, "nearest"), expected)
    np.testing.assert_array_equal(upsampling_matrix(3, 4, "area"), expected)


def test_lanczos_weights_by_hand():
    # HR centre 0.25 beyond cell 4 of 9, with L(d) = sinc(d) sinc(d / 3) and cells 2 … 7 in reach.
    distances = np.array([2.25, 1.25, 0.25, -0.75, -1.75, -2.75])
    taps = np.sin(np.pi * distances) * np.sin(np.pi * distances / 3) * 3 / (np.pi * distances) ** 2
    matrix = upsampling_matrix(9, 2, "lanczos")
    np.testing.assert_allclose(matrix[9, 2:8], taps / taps.sum(), atol=1e-12)


@pytest.mark.parametrize("scale", [2, 4, 5])
def test_bilinear_and_bicubic_are_those_of_scipy_and_scikit_image(scale):
    lr = np.random.default_rng(1).normal(size=(9, 14))
    for order, kernel in ((1, "bilinear"), (3, "bicubic")):
        ours = interpolate(lr, scale, kernel)
        theirs = ndimage.zoom(lr, scale, order=order, mode="nearest", grid_mode=True)
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
        inner = np.s_[3 * scale : -3 * scale, 3 * scale : -3 * scale]
        again = resize(lr, ours.shape, order=order, mode="edge")
        np.testing.assert_allclose(ours[inner], again[inner], atol=0.02)


@pytest.mark.parametrize("kernel", INTERPOLATING)
def test_constant_fields_stay_constant_and_leading_dimensions_are_kept(kernel):
    hr = interpolate(np.full((2, 3, 4, 5), 7.5, np.float32), 3, kernel)
    assert hr.shape == (2, 3, 12, 15)
    assert hr.dtype == np.float32
    np.testing.assert_allclose(hr, 7.5, rtol=1e-6)


def test_coarsening_by_area_on_paper():
    # Rows at 0 and 60 °N, 10° high: weights sin(5) - sin(-5) = 0.174311 and sin(65) - sin(55) = 0.0871557.
    values = on_grid([0, 10, 20, 30], [0, 1, 2, 3], np.zeros((4, 4)))
    values[:2, :2] = [[1, 1], [4, 4]]
    sine = np.sin(np.deg2rad([-5, 5, 15]))
    low, high = sine[1] - sine[0], sine[2] - sine[1]
    lr = coarsen(values, 2)
    assert lr.values[0, 0] == pytest.approx((1 * low + 4 * high) / (low + high), abs=1e-12)
    np.testing.assert_array_equal(lr["y"], [5, 25])
    np.testing.assert_array_equal(lr["x"], [0.5, 2.5])


@pytest.mark.parametrize("crs", [None, ALBERS])
def test_coarsening_keeps_the_area_mean(crs):
    hr = field(ny=12, nx=18, crs=crs)
    lr = coarsen(hr, 3)
    before, after = grid_of(hr).cell_areas(), grid_of(lr).cell_areas()
    for step in range(3):
        assert np.average(lr[step], weights=after) == pytest.approx(np.average(hr[step], weights=before), abs=1e-9)


def test_coarsening_leaves_missing_cells_out():
    values = on_grid([0, 1, 2, 3], [0, 1, 2, 3], np.arange(16.0).reshape(4, 4))
    values[0, 0] = np.nan
    values[2:, 2:] = np.nan
    weights = np.ones((4, 4))
    lr = coarsen(values, 2, areas=weights)
    assert lr.values[0, 0] == pytest.approx((1 + 4 + 5) / 3)
    assert lr.values[0, 1] == pytest.approx((2 + 3 + 6 + 7) / 4)
    assert np.isnan(lr.values[1, 1])


def test_coarsening_by_sampling_takes_the_field_at_the_lr_centre():
    # A plane 10 y + x: every interpolating kernel finds its value at the centre, rows 1 and 4, columns 1 and 4.
    plane = on_grid(np.arange(6), np.arange(6), 10 * np.arange(6)[:, None] + np.arange(6))
    for kernel in ("nearest", "bilinear"):
        np.testing.assert_allclose(coarsen(plane, 3, kernel).values, [[11, 14], [41, 44]], atol=1e-9)
    np.testing.assert_allclose(coarsen(plane, 2, "bilinear").values[0], [5.5, 7.5, 9.5], atol=1e-9)


def test_coarsening_is_lazy_and_step_by_step():
    hr = field(ny=8, nx=8, missing=0.2)
    lazy = coarsen(hr, 2)
    assert not isinstance(lazy.variable._data, np.ndarray)
    whole = coarsening(grid_of(hr), 2)(hr.values)
    np.testing.assert_array_equal(lazy, whole)
    np.testing.assert_array_equal(lazy[[5, 2], 1, ::-1], whole[[5, 2], 1, ::-1])
    np.testing.assert_array_equal(lazy[3], whole[3])


def test_north_first_and_south_first_give_the_same_flipped():
    up, down = field(ny=9), field(ny=9, north_first=True)
    target = Grid(np.array([40.7, 41.9, 43.2]), np.array([1.1, 2.2, 3.3, 5.4]))
    for kernel in KERNELS:
        np.testing.assert_allclose(coarsen(up, 3, kernel)[:, ::-1], coarsen(down, 3, kernel), atol=1e-9)
        np.testing.assert_allclose(regrid(up, target, kernel), regrid(down, target, kernel), atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_longitudes_of_both_conventions_are_the_same(kernel):
    here = field(west=-3.0)
    eastern = here.assign_coords(x=here["x"] % 360).sortby("x")[..., 6:]  # only the columns from 0 °E on
    target = Grid(np.array([41.0, 42.0]), np.array([0.6, 1.2]))
    turned = Grid(target.y, target.x + 360)
    np.testing.assert_allclose(regrid(here, target, kernel), regrid(here, turned, kernel), atol=1e-9)
    assert eastern.sizes["x"] == 6


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_global_field_closes_at_its_seam(kernel):
    lat, lon = np.arange(-60.0, 61, 10), np.arange(0.0, 360, 10)
    values = np.cos(np.deg2rad(lon)) * np.ones((len(lat), 1))
    east = on_grid(lat, lon, values)
    turned = on_grid(lat, lon - 180, np.roll(values, 18, axis=1))
    target = Grid(np.array([-11.0, 3.0, 17.0]), np.array([-12.0, -4.0, 4.0, 12.0]))
    result = regrid(east, target, kernel)
    np.testing.assert_allclose(result, regrid(turned, target, kernel), atol=1e-9)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result[:, ::-1], result, atol=1e-9 if kernel != "nearest" else 0.05)


def test_bilinear_regridding_is_that_of_xarray():
    source = field(ny=9, nx=11)
    target = Grid(np.array([40.2, 41.63, 43.9]), np.array([0.1, 2.77, 4.9]))
    expected = source.interp(y=target.y, x=target.x, method="linear")
    np.testing.assert_allclose(regrid(source, target, "bilinear"), expected, atol=1e-9)


def test_a_gaussian_axis_is_interpolated_between_its_own_latitudes():
    lat = np.array([35.2375, 37.1422, 39.0468, 40.9514])
    source = on_grid(lat, [0, 2, 4], lat[:, None] * np.ones(3))
    target = Grid(np.array([36.0, 40.0]), np.array([1.0, 3.0]))
    np.testing.assert_allclose(regrid(source, target, "bilinear"), [[36, 36], [40, 40]], atol=1e-9)


def test_area_regridding_by_hand_and_conserving():
    # New cell 0…3 °E covers two old cells of 2° by 2 and 1 parts; the rows coincide.
    source = on_grid([0, 2], [1, 3, 5], [[1, 4, 10], [1, 4, 10]])
    target = Grid(np.array([0.0, 2.0]), np.array([1.5, 4.5]))
    np.testing.assert_allclose(regrid(source, target, "area"), [[2, 8], [2, 8]], atol=1e-12)


def test_area_regridding_equals_coarsening_where_grids_nest():
    hr = field(ny=12, nx=12, missing=0.3)
    lr = coarsen(hr, 4)
    np.testing.assert_allclose(regrid(hr, grid_of(lr), "area"), lr, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_missing_source_cells_are_left_out(kernel):
    source = field(ny=10, nx=10)
    source[:, :5, :5] = np.nan
    source[:, 5:, :] = 3.0
    source[:, :, 5:] = 3.0
    target = Grid(np.array([40.6, 41.9, 42.6, 44.1]), np.array([0.6, 1.9, 2.6, 4.1]))
    result = regrid(source, target, kernel)
    assert np.isnan(result[:, 0, 0]).all()  # all around is missing
    np.testing.assert_allclose(result[:, 2:, 2:], 3.0, atol=1e-6)
    known = result.values[np.isfinite(result)]
    np.testing.assert_allclose(known, 3.0, atol=1e-6)


def test_a_projected_target_samples_latitudes_and_longitudes():
    # A field that is its own latitude: on any grid, bilinear interpolation must give the latitude of the centre.
    lat, lon = np.arange(-32.0, -23, 0.1), np.arange(148.0, 159, 0.1)
    source = on_grid(lat, lon, lat[:, None] * np.ones(len(lon)))
    target = grid_of(field(ny=6, nx=5, south=-100, west=-90, dy=40, dx=45, crs=ALBERS))
    latitudes = target.lonlat()[1]
    for kernel, tolerance in (("nearest", 0.05), ("bilinear", 1e-9), ("bicubic", 1e-3), ("area", 0.05)):
        np.testing.assert_allclose(regrid(source, target, kernel), latitudes, atol=tolerance)


def test_a_projected_source_in_km_meets_a_target_in_m():
    source = field(ny=8, nx=8, south=0, west=0, dy=2, dx=2, crs=ALBERS)
    metres = {"units": "m", "standard_name": "projection_y_coordinate"}
    target = Grid(np.array([3000.0, 7000.0]), np.array([4000.0, 5000.0]), ALBERS, metres, metres)
    expected = source.interp(y=[3, 7], x=[4, 5])
    np.testing.assert_allclose(regrid(source, target, "bilinear"), expected, atol=1e-9)


def test_a_target_outside_is_refused_with_both_extents():
    source = field(ny=4, nx=4)
    for y, x in ((39.7, 0.5), (40.5, 1.8)):
        with pytest.raises(GridError, match="t2m covers lat 40 to 41.5, lon 0 to 1.5, but lat .* is needed: crop with"):
            regrid(
                source, Grid(np.array([y, 41.0]), np.array([x, 1.0])[::-1] if x > 1 else np.array([x, 1.0])), "bilinear"
            )
    half_a_cell = Grid(np.array([39.76, 41.0]), np.array([0.0, 1.74]))
    assert np.isfinite(regrid(source, half_a_cell, "bilinear")).all()
    just_short = Grid(np.array([39.73, 41.0]), np.array([0.0, 1.77]))  # by 0.02 of cells of 0.5, where 0.025 is allowed
    np.testing.assert_array_equal(regrid(source, just_short, "bilinear"), regrid(source, half_a_cell, "bilinear"))


def test_only_what_is_needed_is_read():
    wide = field(ny=200, nx=300, dy=0.1, dx=0.1)
    read = []

    def recorded(values):
        read.append(values.shape)
        return values

    target = Grid(np.array([45.0, 45.5]), np.array([10.0, 10.5]))
    part = regrid(apply_lazily(wide, recorded), target, "bicubic").isel(time=[7, 3])
    np.testing.assert_allclose(part, regrid(wide, target, "bicubic")[[7, 3]], atol=1e-9)
    assert read == [(2, 48, 48)]  # 6 cells around the two centres; on each side 16 and the width of a new one


def test_fill_missing_takes_the_nearest_value():
    values = np.array([[[1.0, np.nan, np.nan, np.nan, 2.0]], [[np.nan] * 5], [[5.0] * 5]])
    filled = fill_missing(values)
    np.testing.assert_array_equal(filled[0, 0, [0, 1, 3, 4]], [1, 1, 2, 2])
    assert filled[0, 0, 2] in (1.0, 2.0)
    assert np.isnan(filled[1]).all()
    np.testing.assert_array_equal(filled[2], values[2])
    assert np.isnan(values[0, 0, 1])  # the argument is left alone


def test_bicubic_is_the_yardstick_of_the_reference_scores(shared_data):
    raw = xr.open_dataset(shared_data / "era5_uk_t2m.grib", engine="cfgrib", backend_kwargs={"indexpath": ""})
    hr = raw["t2m"].values[:, :32, :48]
    test = hr[round(0.8 * len(hr)) :]
    lr = test.reshape(-1, 8, 4, 12, 4).mean((2, 4))
    for kernel, rmse in (("bilinear", 0.749), ("bicubic", 0.682)):
        assert np.sqrt(np.mean((interpolate(lr, 4, kernel) - test) ** 2)) == pytest.approx(rmse, abs=5e-4)
