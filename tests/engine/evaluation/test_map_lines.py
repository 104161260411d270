"""Coast lines: where they are, and in which coordinates."""

import numpy as np
import pyproj

from engine.data.grids import Grid
from engine.evaluation.map_lines import coast_line
from tests.app.fake import ALBERS

LANDS_END = (-5.716, 50.066)  # degrees east and north, the south-western tip of Great Britain
CAPE_HOWE = (149.975, -37.505)  # the south-eastern corner of Australia


def nearest(line: np.ndarray, point: tuple[float, float]) -> float:
    return float(np.nanmin(np.hypot(*(line - np.array(point)).T)))


def test_coast_passes_by_lands_end():
    line = coast_line(Grid(np.linspace(58, 50, 33), np.linspace(-10, 2, 49)))
    assert nearest(line, LANDS_END) < 0.15


def test_longitudes_from_0_to_360_are_followed():
    line = coast_line(Grid(np.linspace(58, 50, 33), np.linspace(350, 362, 49)))
    assert nearest(line, (360 + LANDS_END[0], LANDS_END[1])) < 0.15


def test_coast_is_cut_to_the_surroundings():
    line = coast_line(Grid(np.linspace(58, 50, 33), np.linspace(-10, 2, 49)))
    inside = np.isfinite(line[:, 0])
    assert 100 < inside.sum() < 5000
    # Half the region's width (6.1°) and height (4.1°) on each side; one point beyond is kept to reach the edge.
    assert np.mean(np.abs(line[inside, 0] + 4) < 12.3) > 0.97


def test_no_coast_in_the_middle_of_the_pacific():
    line = coast_line(Grid(np.linspace(-30, -32, 9), np.linspace(-120, -122, 9)))
    assert np.isfinite(line).sum() == 0


def test_projected_grid_gets_the_coast_in_its_own_coordinates():
    crs = pyproj.CRS.from_cf(ALBERS)
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*CAPE_HOWE)
    axes = {"y_attrs": {"units": "km"}, "x_attrs": {"units": "km"}}
    grid = Grid(y / 1000 + np.linspace(50, -50, 51), x / 1000 + np.linspace(-50, 50, 51), ALBERS, **axes)
    assert nearest(coast_line(grid), (x / 1000, y / 1000)) < 15  # km
