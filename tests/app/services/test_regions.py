"""A drawn box as a region: on latitude and longitude, across the seam, on a rotated pole and a projection."""

from __future__ import annotations

import cartopy.crs as ccrs
import numpy as np
import pytest

from app.services.regions import (
    along,
    cells_in_polygon,
    cells_of,
    outline_of_cells,
    outline_of_polygon,
    outline_of_region,
    polygon_of,
)
from engine.data.grids import Grid
from engine.data.regions import region_of_box
from engine.errors import GridError
from engine.evaluation.conditions import MOST_CORNERS
from engine.spec import Region
from tests.app.fake import ALBERS

LATLON = Grid(np.array([53.0, 52, 51, 50]), np.array([0.0, 1, 2, 3, 4]))
ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
KM_2 = Grid(
    -2_000_000.0 + 2000 * np.arange(60),
    400_000.0 + 2000 * np.arange(80),
    ALBERS,
    {"units": "m"},
    {"units": "m"},
)


def test_a_box_ends_at_the_borders_of_its_cells():
    # Centres 51 and 52 north, 1 to 3 east; the cells are 1° wide.
    region = region_of_box(LATLON, (0.7, 3.4), (52.3, 50.6))
    assert region == Region((50.5, 52.5), (0.5, 3.5))
    assert cells_of(LATLON, region).shape == (2, 3)


def test_a_box_across_the_seam_counts_longitudes_from_minus_180():
    around = Grid(np.array([-1.0, 0, 1]), np.arange(0.0, 360, 10))
    region = region_of_box(around, (168, 192), (-2, 2))  # 170, 180 and 190 east
    assert region == Region((-1.5, 1.5), (165.0, -165.0))
    cells = cells_of(around, region)
    assert cells.x.tolist() == [170, 180, 190]


def test_the_whole_globe_is_a_region():
    around = Grid(np.arange(-85.0, 90, 10), np.arange(0.0, 360, 10))
    region = region_of_box(around, (-50, 400), (-100, 100))
    assert region.lat == (-90, 90)
    assert cells_of(around, region).shape == (18, 36)


@pytest.mark.parametrize("box", [((1.1, 1.9), (50.9, 51.1)), ((10, 20), (50, 53)), ((1.5, 1.5), (51.5, 51.5))])
def test_a_box_without_a_centre_is_refused(box):
    with pytest.raises(GridError, match="holds no cell of the grid: draw a larger one"):
        region_of_box(LATLON, *box)


def test_a_box_on_a_rotated_pole_holds_its_cells():
    grid = Grid(np.arange(-3.0, 3.1, 0.5), np.arange(-5.0, 5.1, 0.5), ROTATED)
    region = region_of_box(grid, (-2.1, 1.1), (-1.1, 1.6))
    # cartopy, independently of the engine: the corners' latitudes and longitudes lie in the region.
    pole = ccrs.RotatedPole(pole_longitude=-162.0, pole_latitude=39.25)
    x, y = np.meshgrid(np.arange(-2.0, 1.1, 0.5), np.arange(-1.0, 1.6, 0.5))
    lon, lat, _ = np.moveaxis(ccrs.PlateCarree().transform_points(pole, x, y), -1, 0)
    assert region.lat == (pytest.approx(lat.min(), abs=0.05), pytest.approx(lat.max(), abs=0.05))
    assert region.lon == (pytest.approx(lon.min(), abs=0.05), pytest.approx(lon.max(), abs=0.05))
    cells = cells_of(grid, region)
    assert set(np.arange(-2.0, 1.1, 0.5)) <= set(cells.x)
    assert set(np.arange(-1.0, 1.6, 0.5)) <= set(cells.y)


def test_a_box_on_a_projection_in_metres_holds_its_cells():
    region = region_of_box(KM_2, (420_000, 480_000), (-1_980_000, -1_930_000))
    cells = cells_of(KM_2, region)
    assert (cells.x.min() <= 420_000, cells.x.max() >= 480_000) == (True, True)
    assert (cells.y.min() <= -1_980_000, cells.y.max() >= -1_930_000) == (True, True)
    # 60 km across at some 43° south are 0.7° of longitude, and the region is no more than a few cells wider.
    assert cells.shape[0] < 36
    assert cells.shape[1] < 42


def test_the_outline_of_a_region_runs_along_its_sides():
    x, y = outline_of_region(LATLON, Region((50.5, 52.5), (0.5, 3.5)))
    assert (x.min(), x.max(), y.min(), y.max()) == (0.5, 3.5, 50.5, 52.5)
    assert np.isfinite(x).all()


def test_an_outline_across_the_seam_has_gaps_and_no_line_through_the_map():
    around = Grid(np.array([-1.0, 0, 1]), np.arange(-180.0, 180, 10))
    for line in (
        outline_of_region(around, Region((-1.5, 1.5), (165, -165))),
        outline_of_cells(around, cells_of(around, Region((-1.5, 1.5), (165, -165)))),
    ):
        x, _ = line
        assert np.isnan(x).any()
        assert np.nanmax(np.abs(np.diff(x))) < 10


def test_the_outline_of_cells_is_their_outer_border():
    x, y = outline_of_cells(KM_2, KM_2.select(slice(0, 3), slice(0, 2)))
    assert (x.min(), x.max()) == (399_000, 403_000)
    assert (y.min(), y.max()) == (-2_001_000, -1_995_000)


def test_cells_with_their_centre_in_a_triangle_also_across_the_seam():
    # Between (50.5, 0.5), (50.5, 4.5) and (53.5, 4.5) the slanting side is at lat 50.5 + 3/4 (lon - 0.5): centres below
    # it are 51° N from 2° E (51.6) on, 52° N from 3° E (52.4) on, 53° N at 4° E (53.1).
    corners = ((50.5, 0.5), (50.5, 4.5), (53.5, 4.5))
    inside = cells_in_polygon(LATLON, corners)
    assert [row.nonzero()[0].tolist() for row in inside] == [[4], [3, 4], [2, 3, 4], []]
    shifted = Grid(LATLON.y, (LATLON.x + 178) % 360)
    turned = tuple((lat, (lon + 178 + 180) % 360 - 180) for lat, lon in corners)  # 178.5, -177.5 east
    np.testing.assert_array_equal(cells_in_polygon(shifted, turned), inside)


def test_a_drawn_line_becomes_few_corners_that_enclose_the_same_cells():
    angle = np.linspace(0, 2 * np.pi, 500)
    lon, lat = 145.0 + 0.4 * np.cos(angle), -44.5 + 0.3 * np.sin(angle)
    grid = Grid(np.linspace(-44.9, -44.1, 81), np.linspace(144.5, 145.5, 101))
    corners = polygon_of(lon, lat)
    assert len(corners) <= MOST_CORNERS
    inside = cells_in_polygon(grid, corners)
    x, y = np.meshgrid(grid.x, grid.y)
    ellipse = ((x - 145) / 0.4) ** 2 + ((y + 44.5) / 0.3) ** 2
    assert inside[ellipse < 0.95].all()
    assert not inside[ellipse > 1.05].any()
    shown_lon, shown_lat = outline_of_polygon(grid, corners)
    ellipse = ((shown_lon - 145) / 0.4) ** 2 + ((shown_lat + 44.5) / 0.3) ** 2
    assert np.abs(ellipse - 1).max() < 0.05


def test_a_box_drawn_on_a_projection_is_a_polygon_of_its_own_cells():
    west, east, south, north = KM_2.x[10] - 500, KM_2.x[29] + 500, KM_2.y[5] - 500, KM_2.y[24] + 500
    x, y = np.array([west, east, east, west]), np.array([south, south, north, north])
    inside = cells_in_polygon(KM_2, polygon_of(*KM_2.to_lonlat(*along(x, y))))
    expected = np.zeros(KM_2.shape, bool)
    expected[5:25, 10:30] = True
    np.testing.assert_array_equal(inside, expected)


@pytest.mark.parametrize("lon", [[1.0, 1.0, 1.0], [np.nan, np.nan, 1.0], [np.nan] * 3, [1.0, 2.0, 3.0]])
def test_a_line_that_encloses_nothing_is_refused(lon):
    with pytest.raises(GridError, match="encloses no area"):
        polygon_of(np.array(lon), np.array([2.0, 2.0, 2.0]))
