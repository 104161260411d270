"""Places on maps: the same place of the world lies under the same place of the map, in every projection."""

import numpy as np
import pyproj
import pytest

from app.plots.geography import graticule, map_lines
from app.plots.projection import Box, MapProjection
from app.plots.sampling import Sampling
from app.session import PROJECTIONS
from engine.data.grids import CurvilinearGrid, Grid
from tests.app.fake import ALBERS

ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
LANDS_END = (-5.716, 50.066)  # degrees east and north, the south-western tip of Great Britain
CAPE_HOWE = (149.975, -37.505)  # the south-eastern corner of Australia


def rotated(lon: float, lat: float) -> tuple[float, float]:
    """Rotated longitude and latitude by spherical trigonometry, for the pole of ROTATED."""
    east, north = np.deg2rad(lon - ROTATED["grid_north_pole_longitude"]), np.deg2rad(lat)
    pole = np.deg2rad(ROTATED["grid_north_pole_latitude"])
    y = np.sin(north) * np.sin(pole) + np.cos(north) * np.cos(pole) * np.cos(east)
    along = np.sin(north) * np.cos(pole) - np.cos(north) * np.sin(pole) * np.cos(east)
    return float(np.rad2deg(np.arctan2(-np.cos(north) * np.sin(east), along))), float(np.rad2deg(np.arcsin(y)))


def grids() -> dict[str, tuple[Grid, tuple[float, float]]]:
    """Grids of three kinds around a known place, as pyproj puts it there."""
    albers = pyproj.Transformer.from_crs("EPSG:4326", pyproj.CRS.from_cf(ALBERS), always_xy=True)
    x, y = albers.transform(*CAPE_HOWE)
    lon, lat = rotated(*LANDS_END)
    axes = {"y_attrs": {"units": "m"}, "x_attrs": {"units": "m"}}
    around = Grid(lat + np.linspace(-5, 5, 81), lon + np.linspace(-6, 6, 97), ROTATED)
    curved_lon, curved_lat = around.lonlat()
    return {
        "latitude and longitude": (Grid(np.linspace(58, 46, 97), np.linspace(-12, 4, 129)), LANDS_END),
        "rotated pole": (around, LANDS_END),
        "curvilinear": (CurvilinearGrid(np.arange(81.0), np.arange(97.0), lat=curved_lat, lon=curved_lon), LANDS_END),
        "Albers": (Grid(y + np.linspace(2e5, -2e5, 101), x + np.linspace(-2e5, 2e5, 101), ALBERS, **axes), CAPE_HOWE),
    }


@pytest.mark.parametrize("kind", list(grids()))
@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_known_place_lies_in_its_cell_and_on_its_coast(kind, name):
    grid, place = grids()[kind]
    projection = MapProjection.of(name, grid)
    box = projection.box()
    x, y = (float(side[0]) for side in projection.from_lonlat(np.array([place[0]]), np.array([place[1]])))
    assert box.west < x < box.east
    assert box.south < y < box.north
    sampling = Sampling.of(grid, projection, box, 400)
    column = int((x - sampling.left) / (sampling.right - sampling.left) * sampling.index.shape[1])
    row = int((y - sampling.bottom) / (sampling.top - sampling.bottom) * sampling.index.shape[0])
    cell_row, cell_column = divmod(int(sampling.index[row, column]), len(grid.x))
    lon, lat = grid.lonlat()
    size_km = grid.cell_size_km()
    away_km = pyproj.Geod(ellps="sphere").inv(lon[cell_row, cell_column], lat[cell_row, cell_column], *place)[2] / 1000
    assert away_km < 1.5 * size_km
    coast = map_lines(projection, box)["coast"]
    nearest = np.nanmin(np.hypot(coast[:, 0] - x, coast[:, 1] - y))
    assert nearest < 0.02 * (box.east - box.west)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_there_and_back_is_the_same_place(name):
    grid = Grid(np.linspace(58, 46, 25), np.linspace(350, 364, 29))
    projection = MapProjection.of(name, grid)
    x, y = projection.from_grid(grid, *np.meshgrid(grid.x, grid.y))
    back_x, back_y = projection.to_grid(grid, x, y)
    np.testing.assert_allclose(back_x, np.broadcast_to(grid.x, x.shape), atol=1e-6)
    np.testing.assert_allclose(back_y, np.broadcast_to(grid.y[:, None], y.shape), atol=1e-6)


def test_what_lies_behind_the_globe_is_not_drawn():
    grid = Grid(np.linspace(89, -89, 90), np.linspace(0, 358, 180))
    projection = MapProjection.of("orthographic", grid)
    sampling = Sampling.of(grid, projection, projection.box(), 200)
    corner, middle = sampling.index[0, 0], sampling.index[sampling.index.shape[0] // 2, 100]
    assert corner == -1
    assert middle >= 0
    assert np.isfinite(map_lines(projection, projection.box())["coast"]).any()


def test_land_far_from_real_coasts_has_the_coast_of_its_own_mask():
    # Cells of 1° around 46° N, 30° W, in the open Atlantic; two of land, of which one is only just.
    grid = Grid(np.array([47.0, 46.0, 45.0]), np.array([-31.0, -30.0, -29.0]))
    land = np.array([[0, 0, 0], [0, 1, 0.5], [0, 0, 0.4]])
    projection = MapProjection.of("native", grid)
    coast = map_lines(projection, projection.box(), lambda: land)["coast"]
    sides = {tuple(map(tuple, side)) for side in coast.reshape(-1, 3, 2)[:, :2].tolist()}
    level = {((x, y), (x + 1, y)) for x in (-30.5, -29.5) for y in (45.5, 46.5)}
    assert sides == level | {((-30.5, 46.5), (-30.5, 45.5))}
    cornwall = MapProjection.of("native", Grid(np.linspace(52, 49, 3), np.linspace(-7, -4, 3)))
    coast, own = (map_lines(cornwall, cornwall.box(), lambda given=given: given)["coast"] for given in (None, land))
    np.testing.assert_array_equal(coast, own)


def test_the_graticule_has_round_degrees_and_labels_at_its_edges():
    grid = Grid(np.linspace(58, 50, 33), np.linspace(-10, 2, 49))
    projection = MapProjection.of("native", grid)
    drawn = graticule(projection, projection.box())
    assert {"5°W", "0°"} <= set(drawn.labels["text"])
    assert {"52°N", "54°N", "56°N"} <= set(drawn.labels["text"])
    at = drawn.labels["text"].index("54°N")
    assert drawn.labels["y"][at] == pytest.approx(54)
    assert drawn.labels["x"][at] == projection.box().west


def test_a_view_that_was_moved_has_the_labels_of_both_edges():
    projection = MapProjection.of("native", Grid(np.linspace(58, 50, 33), np.linspace(-10, 2, 49)))
    view = Box(-7.026867469879517, -3.0268674698795195, 52.89895170789164, 55.565618374558305, 1.0)
    # Degrees that are no nearer to a corner than 6 % of the width: 7°W and 53°N are.
    assert graticule(projection, view).labels["text"] == ["6°W", "5°W", "4°W", "54°N", "55°N"]
