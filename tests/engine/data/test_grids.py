import numpy as np
import pytest
import xarray as xr

from engine.data.fields import open_field
from engine.data.grid_coordinates import coordinates_of, grid_of
from engine.data.grids import Grid
from engine.data.lengths import EARTH_RADIUS_KM
from engine.data.regions import cells_within
from engine.errors import GridError
from engine.spec import Region, Source
from tests.engine.data.mock import ALBERS, steps

ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
    "north_pole_grid_longitude": 0.0,
}
KM_Y = {"units": "km", "standard_name": "projection_y_coordinate"}
KM_X = {"units": "km", "standard_name": "projection_x_coordinate"}


def latlon(ny=6, nx=8, south=40.0, west=0.0, step=0.5) -> Grid:
    return Grid(south + step * np.arange(ny), west + step * np.arange(nx))


def albers(ny=6, nx=8, step=10.0) -> Grid:
    y, x = (step * (np.arange(n) - (n - 1) / 2) for n in (ny, nx))
    return Grid(y, x, ALBERS, KM_Y, KM_X)


def test_crop_extend_and_coarsen():
    grid = latlon(7, 9)
    assert grid.crop(4).shape == (4, 8)
    assert grid.extend(4).shape == (8, 12)
    np.testing.assert_allclose(grid.extend(4).x[-3:], [4.5, 5.0, 5.5])
    np.testing.assert_allclose(grid.crop(4).coarsen(4).y, [40.75])  # mean of 40, 40.5, 41, 41.5
    assert latlon(8, 12).crop(4) == latlon(8, 12) == latlon(8, 12).extend(4)


def test_north_first_is_extended_to_the_south():
    grid = Grid(np.array([42.0, 41.0, 40.0]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(grid.extend(2).y, [42, 41, 40, 39])
    np.testing.assert_allclose(grid.extend(2).coarsen(2).y, [41.5, 39.5])


def test_what_does_not_nest_is_refused():
    with pytest.raises(GridError, match="y has 6 cells, but scale 4 needs a multiple of 4: crop with data.region"):
        latlon(6, 8).coarsen(4)
    uneven = Grid(np.array([40.0, 40.5, 41.0, 41.6]), np.arange(4.0))
    with pytest.raises(GridError, match="y of the HR grid has cells from 0.5 to 0.6 wide: expected equally spaced"):
        uneven.coarsen(2)
    single_precision = Grid(np.linspace(40, 41, 11, dtype=np.float32).astype(float)[:10], np.arange(4.0))
    assert single_precision.coarsen(2).shape == (5, 2)


def test_cell_areas_cover_the_sphere():
    globe = Grid(np.arange(-87.5, 90, 5), np.arange(0.0, 360, 10))
    assert globe.cell_areas().sum() == pytest.approx(4 * np.pi * EARTH_RADIUS_KM**2, rel=1e-12)
    north_first = Grid(globe.y[::-1], globe.x)
    np.testing.assert_allclose(north_first.cell_areas(), globe.cell_areas()[::-1])


def test_cell_areas_on_a_plane():
    np.testing.assert_allclose(albers(step=0.5).cell_areas(), 0.25)  # 0.5 km × 0.5 km
    metres = Grid(np.arange(0, 4000.0, 1000), np.arange(0, 4000.0, 2000), ALBERS, {"units": "m"}, {"units": "m"})
    np.testing.assert_allclose(metres.cell_areas(), 2.0)
    assert metres.cell_size_km() == pytest.approx(np.sqrt(2))
    feet = Grid(metres.y, metres.x, ALBERS, {"units": "ft"}, {"units": "ft"})
    with pytest.raises(GridError, match="y is in 'ft': expected m or km"):
        feet.cell_areas()


def test_a_quarter_degree_at_the_equator_is_28_km():
    assert latlon(4, 4, south=-0.25, step=0.25).cell_size_km() == pytest.approx(27.8, abs=0.05)


def test_lonlat_of_a_projection():
    lon, lat = albers(3, 3).lonlat()
    assert (lon[1, 1], lat[1, 1]) == pytest.approx((153.24, -27.7178), abs=1e-9)  # its own origin
    assert lat[2, 1] - lat[0, 1] == pytest.approx(20 / 110.8, rel=0.01)  # 20 km north; a degree is 110.8 km here
    broken = Grid(albers().y, albers().x, {"grid_mapping_name": "albers_conical_equal_area"}, KM_Y, KM_X)
    with pytest.raises(GridError, match="the grid mapping 'albers_conical_equal_area' can't be read"):
        broken.lonlat()


def test_a_rotated_pole():
    # EURO-CORDEX: the rotated origin lies at 50.75 °N, 18 °E, opposite to the rotated north pole.
    grid = Grid(
        np.array([-1.0, 0.0, 1.0]), np.array([-1.0, 0.0, 1.0]), ROTATED, {"units": "degrees"}, {"units": "degrees"}
    )
    lon, lat = grid.lonlat()
    assert (lon[1, 1], lat[1, 1]) == pytest.approx((18.0, 50.75), abs=1e-9)
    assert grid.cell_areas()[1, 1] == pytest.approx(111.195**2, rel=1e-3)  # a degree is 111.195 km near its equator


def test_coords_survive_a_file(tmp_path):
    for number, grid in enumerate((latlon(), albers())):
        field = xr.DataArray(
            np.zeros((2, *grid.shape)), {"time": steps(2), **coordinates_of(grid)}, ["time", "y", "x"], "t"
        )
        field.attrs = {"grid_mapping": "crs"} if grid.crs else {}
        field.to_netcdf(tmp_path / f"{number}.nc")
        assert grid_of(open_field(Source(str(tmp_path / f"{number}.nc")))) == grid


def test_equality_and_likeness():
    assert latlon() == latlon()
    assert hash(latlon()) == hash(latlon())
    assert latlon() != latlon(step=0.25)
    assert latlon() != albers()
    assert latlon(west=350).is_close_to(latlon(west=-10))
    assert latlon().is_close_to(Grid(latlon().y + 0.004, latlon().x))  # 0.8 % of a cell
    assert not latlon().is_close_to(Grid(latlon().y + 0.006, latlon().x))


def test_region_takes_the_centres_inside():
    grid = latlon(6, 8)
    rows, columns, chosen = cells_within(grid, Region((40.4, 41.5), (0.5, 2.2)))
    np.testing.assert_array_equal(chosen.y, [40.5, 41.0, 41.5])
    np.testing.assert_array_equal(chosen.x, [0.5, 1.0, 1.5, 2.0])
    np.testing.assert_array_equal(chosen.y, grid.y[rows])
    np.testing.assert_array_equal(chosen.x, grid.x[columns])


@pytest.mark.parametrize("west", [0.0, -180.0])
@pytest.mark.parametrize("region", [(350.0, 10.0), (-10.0, 10.0), (-10.0, 370.0)])
def test_region_across_the_seam(west, region):
    globe = Grid(np.arange(-80.0, 81, 10), west + np.arange(0.0, 360, 5))
    _, columns, chosen = cells_within(globe, Region((0, 30), region))
    np.testing.assert_allclose(globe.x[columns] % 360, [350, 355, 0, 5, 10])
    np.testing.assert_allclose(np.diff(chosen.x), 5)


def test_a_whole_turn_takes_all():
    globe = Grid(np.arange(-80.0, 81, 10), np.arange(0.0, 360, 5))
    for sides in ((0, 360), (-180, 180)):
        assert cells_within(globe, Region((-90, 90), sides))[2].shape == globe.shape


def test_region_of_a_projected_grid_is_the_box_around_it():
    grid = albers(21, 21, step=10)
    rows, columns, chosen = cells_within(grid, Region((-28.0, -27.5), (153.0, 153.5)))
    lon, lat = grid.lonlat()
    inside = (lat >= -28.0) & (lat <= -27.5) & (lon >= 153.0) & (lon <= 153.5)
    assert inside.any()
    assert inside[np.ix_(rows, columns)].sum() == inside.sum()
    assert inside[rows[0]].any()
    assert inside[rows[-1]].any()
    assert chosen.shape == (len(rows), len(columns))
    assert chosen.crs == grid.crs


def test_region_outside_or_across_a_gap_is_refused():
    with pytest.raises(
        GridError,
        match="data.region is lat 10 to 20, lon 0 to 5, but the data cover lat 40 to 42.5, lon 0 to 3.5: choose",
    ):
        cells_within(latlon(), Region((10, 20), (0, 5)))
    with pytest.raises(GridError, match="but the data cover lat -27.9"):
        cells_within(albers(), Region((10, 20), (0, 5)))
    half = Grid(np.arange(40.0, 45), np.arange(0.0, 101, 10))
    with pytest.raises(GridError, match="reaches across longitudes without data"):
        cells_within(half, Region((40, 45), (90, 15)))
