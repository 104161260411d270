"""Grids whose latitude and longitude have two dimensions: as files have them, their areas, LR, regridding, faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
import xarray as xr

from engine.data.fields import open_field
from engine.data.grid_coordinates import COLUMN, ROW, coordinates_of, grid_of
from engine.data.grids import CurvilinearGrid, Grid
from engine.data.normalizer import fit_normalizer, load_hr_template
from engine.data.pairs import pair, pair_for_downscaling
from engine.data.resample import interpolate, regrid
from engine.errors import GridError
from engine.spec import DataOptions, Source
from tests.engine.data.mock import make_field, refusal, steps, write_field

ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
POLAR = {
    "grid_mapping_name": "polar_stereographic",
    "straight_vertical_longitude_from_pole": 0.0,
    "latitude_of_projection_origin": 90.0,
    "scale_factor_at_projection_origin": 1.0,
    "false_easting": 0.0,
    "false_northing": 0.0,
    "earth_radius": 6371000.0,
}
M = {"units": "m"}
AT_NORTH, AT_EAST = {"units": "degrees_north"}, {"units": "degrees_east"}


def curved(grid: Grid) -> CurvilinearGrid:
    """The cells of a grid, known by their latitudes and longitudes alone."""
    lon, lat = grid.lonlat()
    numbers = (np.arange(n, dtype=float) for n in grid.shape)
    return CurvilinearGrid(*numbers, {}, ROW, COLUMN, lat=lat, lon=lon)


def rotated(ny: int = 8, nx: int = 12, step: float = 0.5) -> Grid:
    """A grid about 48° N, 18° E whose rows lie askew to the parallels."""
    return Grid(-2.0 + step * np.arange(ny), 9.0 + step * np.arange(nx), ROTATED)


def write_curved(path: Path, grid: Grid, **what) -> xr.Dataset:
    """Write noise on a grid with 2-D lat and lon and no other coordinates of its cells."""
    flat = make_field(ny=grid.shape[0], nx=grid.shape[1], names=("time", "j", "i"), **what).drop_vars(["j", "i"])
    lon, lat = grid.lonlat()
    dataset = flat.assign_coords(lat=(("j", "i"), lat, AT_NORTH), lon=(("j", "i"), lon, AT_EAST))
    dataset.to_netcdf(path)
    return dataset


def options(path: Path, **given) -> DataOptions:
    split = {"train": 0.5, "validation": 0.25, "test": 0.25}
    return DataOptions(**{"target": {"path": str(path), "variable": "t2m"}, "scale": 2, "split": split, **given})


@pytest.mark.parametrize(
    ("lat", "lon", "dims", "is_named"),
    [
        ("lat", "lon", ("rlat", "rlon"), True),  # regional models
        ("XLAT", "XLONG", ("south_north", "west_east"), True),  # WRF
        ("nav_lat", "nav_lon", ("y", "x"), True),  # NEMO
        ("lat_rho", "lon_rho", ("eta_rho", "xi_rho"), True),  # ROMS
        ("latitude", "longitude", ("scanline", "pixel"), False),  # swaths that don't name their coordinates
    ],
)
def test_coordinates_are_found_by_attributes_and_names(tmp_path, lat, lon, dims, is_named):
    grid = rotated()
    field = make_field(ny=8, nx=12, names=("time", *dims)).drop_vars([d for d in dims if d != "rlat"])
    east, north = grid.lonlat()
    places = {lat: (dims, north, AT_NORTH), lon: (dims, east, AT_EAST)}
    (field.assign_coords(places) if is_named else field.assign(places)).to_netcdf(tmp_path / "a.nc")
    notes: list[str] = []
    opened = open_field(Source(str(tmp_path / "a.nc"), "t2m"), notes=notes)
    assert notes == [f"t2m in {tmp_path}/a.nc is curvilinear: latitude and longitude from {lat} and {lon}"]
    np.testing.assert_array_equal(opened, field["t2m"])
    np.testing.assert_array_equal(grid_of(opened).lonlat(), (east, north))
    assert opened["y"].values.tolist() == list(range(8))


def test_coordinates_for_each_time_step_must_stand_still(tmp_path):
    dataset = write_curved(tmp_path / "a.nc", rotated(), times=3)
    moving = dataset["lat"] + xr.DataArray([0.0, 0.1, 0.2], dims="time")
    for name, lat in (("still", moving * 0 + dataset["lat"]), ("moving", moving)):
        lat.attrs = AT_NORTH
        dataset.assign_coords(lat=lat.transpose("time", "j", "i")).to_netcdf(tmp_path / f"{name}.nc")
    still = grid_of(open_field(Source(str(tmp_path / "still.nc"))))
    np.testing.assert_array_equal(still.lonlat()[1], dataset["lat"])
    assert "lat in " in (message := refusal(GridError, tmp_path / "moving.nc"))
    assert message.endswith("changes with time: expected a grid that doesn't move")


@pytest.mark.parametrize("has_xtime", [True, False])
def test_files_of_wrf_open_with_their_times(tmp_path, has_xtime):
    dims = ("Time", "south_north", "west_east")
    lon, lat = (np.broadcast_to(side.astype("f4"), (3, 8, 12)) for side in rotated().lonlat())
    texts = [f"2001-01-0{day}_06:00:00" for day in (1, 2, 3)]
    dataset = xr.Dataset({"T2": (dims, np.ones((3, 8, 12), "f4"), {"units": "K", "coordinates": "XLONG XLAT"})})
    dataset["XLAT"], dataset["XLONG"] = (dims, lat, {"units": "degree_north"}), (dims, lon, {"units": "degree_east"})
    dataset["Times"] = ("Time", np.array(texts, "S19"))
    if has_xtime:
        dataset["XTIME"] = ("Time", [0.0, 1440, 2880], {"units": "minutes since 2001-01-01 06:00:00"})
        dataset["T2"].attrs["coordinates"] += " XTIME"
    dataset.to_netcdf(tmp_path / "wrfout.nc", encoding={"Times": {"char_dim_name": "DateStrLen"}})
    opened = open_field(Source(str(tmp_path / "wrfout.nc"), "T2"))
    assert opened["time"].dt.strftime("%Y-%m-%d_%H:%M:%S").values.tolist() == texts
    np.testing.assert_array_equal(grid_of(opened).lonlat()[1], lat[0])


@pytest.mark.parametrize(
    "grid",
    [
        rotated(),
        Grid(np.arange(-8.0, 9, 2), np.arange(171.0, 190, 2)),  # across the dateline
        Grid(np.arange(-900.0, 901, 200) * 1e3, np.arange(-900.0, 901, 200) * 1e3, POLAR, M, M),  # around the pole
    ],
    ids=["rotated", "dateline", "pole"],
)
def test_areas_and_places_are_those_of_the_sphere(grid):
    cells = curved(grid)
    x, y = np.meshgrid(np.linspace(-0.4, len(grid.x) - 0.6, 23), np.linspace(-0.4, len(grid.y) - 0.6, 17))
    np.testing.assert_allclose(cells.from_lonlat(*cells.to_lonlat(x, y)), (x, y), atol=1e-9)
    found = cells.cells_at(*cells.to_lonlat(x, y)).ravel()
    geodesic = pyproj.Geod(ellps="sphere")
    for number in range(0, x.size, 7):
        place = (float(np.ravel(side)[number]) for side in cells.to_lonlat(x, y))
        from_lon, from_lat = (np.full(cells.lon.size, side) for side in place)
        away = geodesic.inv(from_lon, from_lat, cells.lon.ravel(), cells.lat.ravel())[2]
        assert away[found[number]] == pytest.approx(away.min())
    beyond = grid.to_lonlat(grid.x[0] - 0.6 * (grid.x[1] - grid.x[0]), grid.y[3:4])
    assert cells.cells_at(*(np.ravel(side) for side in beyond)).tolist() == [-1]
    # A place halfway between two centres of a projection lies almost halfway between them on the sphere.
    middle = grid.to_lonlat(grid.x[4] + (grid.x[5] - grid.x[4]) / 2, grid.y[4])
    np.testing.assert_allclose(np.ravel(cells.from_lonlat(*middle)), (4.5, 4), atol=0.02)
    # The areas between corners that lie amid four centres, by pyproj; the outermost cells have no such corners.
    lon, lat = grid.lonlat()
    geod = pyproj.Geod(a=6371008.8, b=6371008.8)
    for row, column in ((1, 1), (4, 5), (6, 2)):
        corners = []
        for i, j in ((0, 0), (0, 1), (1, 1), (1, 0)):
            part = np.s_[row - 1 + i : row + 1 + i, column - 1 + j : column + 1 + j]
            east, north = np.deg2rad(lon[part]), np.deg2rad(lat[part])
            point = [np.mean(f) for f in (np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north))]
            corners.append(
                (np.rad2deg(np.arctan2(point[1], point[0])), np.rad2deg(np.arctan2(point[2], np.hypot(*point[:2]))))
            )
        area = abs(geod.polygon_area_perimeter(*zip(*corners, strict=True))[0]) / 1e6
        assert cells.cell_areas()[row, column] == pytest.approx(area, rel=1e-4)


def test_areas_are_near_those_of_the_projection_that_the_cells_come_from():
    np.testing.assert_allclose(curved(rotated()).cell_areas(), rotated().cell_areas(), rtol=1e-3)


def test_the_whole_of_a_band_around_the_globe():
    # From 60° S to 60° N lie sin 60° = 86.6 % of the sphere; great circles instead of parallels lose little at 2°.
    band = curved(Grid(np.arange(-59.0, 60, 2), np.arange(1.0, 360, 2)))
    assert band.cell_areas().sum() == pytest.approx(np.sin(np.pi / 3) * 4 * np.pi * 6371.0088**2, rel=1e-3)


def test_lr_is_the_mean_by_area_and_lies_in_the_middle(tmp_path):
    grid = curved(rotated(9, 12))
    written = write_curved(tmp_path / "hr.nc", grid, missing=0.2)
    pairs = pair(options(tmp_path / "hr.nc"))
    assert pairs.hr_grid.shape == (8, 12)
    assert pairs.lr_grid.shape == (4, 6)
    values, areas = written["t2m"].values[3, 2:4, 4:6].astype(float), grid.cell_areas()[2:4, 4:6]
    known = np.isfinite(values)
    assert pairs.read(np.array([3])).lr[0, 1, 2] == pytest.approx((values * areas)[known].sum() / areas[known].sum())
    middle = grid.to_lonlat(np.array(4.5), np.array(2.5))
    np.testing.assert_allclose([side[1, 2] for side in pairs.lr_grid.lonlat()], middle, atol=1e-4)


def test_fields_go_from_any_grid_to_any_other():
    """Height above a plane through the globe is smooth everywhere, so what is interpolated is near what is there."""

    def height(grid: Grid) -> xr.DataArray:
        lon, lat = (np.deg2rad(side) for side in grid.lonlat())
        values = np.cos(lat) * np.sin(lon - 0.3) + 0.5 * np.sin(lat)
        return xr.DataArray(
            values[None].astype(np.float32), coordinates_of(grid) | {"time": [0]}, ("time", "y", "x"), "h"
        )

    lon, lat = rotated().lonlat()
    inner = Grid(np.linspace(lat.mean() - 0.8, lat.mean() + 0.8, 7), np.linspace(lon.mean() - 1, lon.mean() + 1, 9))
    outer = Grid(np.arange(lat.min() - 1, lat.max() + 1, 0.4), np.arange(lon.min() - 1, lon.max() + 1, 0.4))
    for source, grid in ((curved(rotated()), inner), (outer, curved(rotated())), (curved(outer), curved(rotated()))):
        for method, near in (("bilinear", 5e-5), ("bicubic", 3e-4), ("nearest", 0.01), ("area", 0.01)):
            new = regrid(height(source), grid, method)
            np.testing.assert_allclose(new, height(grid), atol=near, err_msg=method)
            assert grid_of(new).is_close_to(grid)
    with pytest.raises(GridError, match=r"h covers lat .*is needed"):
        regrid(height(curved(rotated())), outer, "bilinear")


def test_lr_static_and_new_data_on_grids_of_their_own(tmp_path):
    grid = curved(rotated())
    write_curved(tmp_path / "hr.nc", grid)
    coarse = Grid(-3.0 + np.arange(8), 8.0 + np.arange(9), ROTATED)
    write_curved(tmp_path / "lr.nc", coarse, seed=1)
    write_curved(tmp_path / "dem.nc", grid, times=0, name="z")
    given = {"lr": {"path": str(tmp_path / "lr.nc")}, "static": [{"path": str(tmp_path / "dem.nc")}]}
    chosen = options(tmp_path / "hr.nc", pairing="mos", scale=3, **given)
    pairs = pair(chosen)
    assert pairs.hr_grid.shape == (9, 12)  # 8 rows, extended to a multiple of 3
    assert pairs.data_shape == (8, 12)
    assert np.isfinite(pairs.read(np.arange(4)).lr).all()
    fit_normalizer(pairs, "standard").save(tmp_path / "scaling.nc", pairs)
    template = load_hr_template(tmp_path / "scaling.nc")
    assert grid_of(template.hr).is_close_to(pairs.hr_grid)
    new = pair_for_downscaling(chosen, template, str(tmp_path / "lr.nc"))
    np.testing.assert_array_equal(new.read(np.arange(4)).lr, pairs.read(np.arange(4)).lr)
    write_field(tmp_path / "elsewhere.nc", south=-40)
    with pytest.raises(GridError, match="is needed"):
        pair_for_downscaling(chosen, template, str(tmp_path / "elsewhere.nc"))


def test_a_region_takes_the_smallest_box_that_holds_it(tmp_path):
    grid = curved(rotated())
    write_curved(tmp_path / "hr.nc", grid)
    lon, lat = grid.lonlat()
    inside = (lat >= lat[2, 3]) & (lat <= lat[6, 8]) & (lon >= lon[6, 3]) & (lon <= lon[2, 8])
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    region = {"lat": [float(lat[2, 3]), float(lat[6, 8])], "lon": [float(lon[6, 3]), float(lon[2, 8])]}
    pairs = pair(options(tmp_path / "hr.nc", region=region, pairing="mos", lr={"path": str(tmp_path / "hr.nc")}))
    ny, nx = pairs.data_shape
    assert (ny, nx) == (np.ptp(rows) + 1, np.ptp(columns) + 1)
    assert 4 <= ny * nx < grid.y.size * grid.x.size
    own = pairs.hr_grid.select(slice(ny), slice(nx))
    cells = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    np.testing.assert_allclose(own.lonlat(), (lon[cells], lat[cells]), rtol=1e-12)


def test_rows_and_columns_that_repeat_others_are_left_out(tmp_path):
    # Columns go on for two beyond the whole turn; the last row folds back over the third from the end.
    closed = Grid(np.arange(-60.0, 61, 10), np.arange(0.0, 380, 10))
    lon, lat = closed.lonlat()
    folded = [np.concatenate([side, side[-2:-1, ::-1]]) for side in (lon, lat)]
    dims = ("j", "i")
    field = make_field(ny=14, nx=38, names=("time", *dims)).drop_vars(dims)
    field.assign_coords(lat=(dims, folded[1], AT_NORTH), lon=(dims, folded[0], AT_EAST)).to_netcdf(tmp_path / "a.nc")
    notes: list[str] = []
    opened = open_field(Source(str(tmp_path / "a.nc")), notes=notes)
    assert opened.shape[1:] == (13, 36)
    assert "repeat others and are left out: 13 × 36 cells remain" in notes[-1]
    np.testing.assert_array_equal(opened, field["t2m"][:, :13, :36])


def test_coordinates_that_make_no_grid_are_refused(tmp_path):
    lon, lat = rotated().lonlat()
    once_more, folded, absent = lat.copy(), lat.copy(), lat.copy()
    absent[2, 3] = np.nan
    folded[5] = lat[3] + 0.1
    for name, north, message in (
        ("absent", absent, "is missing, or no degrees, in 1 of 96 cells"),
        ("folded", folded, "folds over at"),
    ):
        field = make_field(ny=8, nx=12, names=("time", "j", "i")).drop_vars(["j", "i"])
        places = {"lat": (("j", "i"), north, AT_NORTH), "lon": (("j", "i"), lon, AT_EAST)}
        field.assign_coords(places).to_netcdf(tmp_path / f"{name}.nc")
        assert message in refusal(GridError, tmp_path / f"{name}.nc")
    east = lon.copy()
    once_more[4, 6], east[4, 6] = lat[2, 3], lon[2, 3]
    field = make_field(ny=8, nx=12, names=("time", "j", "i")).drop_vars(["j", "i"])
    places = {"lat": (("j", "i"), once_more, AT_NORTH), "lon": (("j", "i"), east, AT_EAST)}
    field.assign_coords(places).to_netcdf(tmp_path / "twice.nc")
    assert "2 cells of t2m in" in (message := refusal(GridError, tmp_path / "twice.nc"))
    assert "lie where others do, the first in row 2, column 3" in message


def test_several_files_must_have_the_same_cells(tmp_path):
    for number, grid in enumerate((rotated(), rotated(), rotated(step=0.51))):
        write_curved(tmp_path / f"{number}.nc", grid, times=steps(3, start=f"2001-01-0{3 * number + 1}"))
    joined = open_field(Source((str(tmp_path / "0.nc"), str(tmp_path / "1.nc"))))
    assert joined.shape == (6, 8, 12)
    with pytest.raises(GridError, match="has another grid"):
        open_field(Source((str(tmp_path / "0.nc"), str(tmp_path / "2.nc"))))


@pytest.mark.parametrize(("scale", "rmse"), [(2, 0.988), (4, 2.123)])
def test_a_regional_model_as_it_is(shared_data, scale, rmse):
    """Bicubic interpolation has the RMSE of the reference, cut at 0 and over the last fifth of the days."""
    pairs = pair(options(Path(), target={"path": str(shared_data / "cordex_iberia_pr.nc")}, scale=scale))
    block = pairs.read(np.arange(1444, 1805))
    interpolated = np.maximum(interpolate(block.lr, scale, "bicubic"), 0)
    assert np.sqrt(np.mean((interpolated - block.hr) ** 2.0)) == pytest.approx(rmse, abs=6e-4)
    # Areas by the cross product of the distances to the neighbours, in NumPy alone; they are all alike to 3 %.
    lon, lat = (np.deg2rad(side) for side in pairs.hr_grid.lonlat())
    centres = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    areas = np.linalg.norm(np.cross(np.gradient(centres, axis=0), np.gradient(centres, axis=1)), axis=-1)
    (ny, nx), shape = pairs.lr_grid.shape, (-1, pairs.lr_grid.shape[0], scale, pairs.lr_grid.shape[1], scale)
    means = (block.hr * areas).reshape(shape).sum((2, 4)) / areas.reshape(ny, scale, nx, scale).sum((1, 3))
    np.testing.assert_allclose(block.lr, means, atol=1e-3)
