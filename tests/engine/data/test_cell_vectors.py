"""Vectors from cells to the next ones, by hand and against pyproj's geodesics on the sphere."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Geod

from engine.data.cell_vectors import cell_vectors
from engine.data.grids import CurvilinearGrid, Grid

LAT, LON = np.arange(60.0, 50.0, -2.0), np.arange(-4.0, 6.0, 1.0)
ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
MERCATOR = {"grid_mapping_name": "mercator", "standard_parallel": 0.0, "longitude_of_projection_origin": 0.0}


def test_on_the_globe_they_are_the_way_on_the_sphere():
    vectors = cell_vectors(Grid(LAT, LON))
    east, north = vectors[..., 0], vectors[..., 3]
    sphere = Geod(a=1.0, b=1.0)
    along = sphere.line_length([-1.0, 1.0], [56.0, 56.0])  # of a great circle: the parallel's to 1e-4
    up = sphere.line_length([0.0, 0.0], [56.0, 58.0])
    np.testing.assert_allclose(east[2, 4] / -north[2, 4], along / 2 / up, rtol=1e-3)
    assert (north < 0).all()  # the next row lies to the south
    np.testing.assert_allclose(east[0] / east[4], np.cos(np.deg2rad(60)) / np.cos(np.deg2rad(52)), rtol=1e-3)
    np.testing.assert_allclose(vectors[2, 1:-1, 1:3], 0, atol=1e-6)  # columns lead east alone, rows north alone
    np.testing.assert_allclose(np.mean(np.abs(east * north)), 1, rtol=1e-3)  # a cell has the area 1


def test_around_the_globe_there_is_no_seam():
    vectors = cell_vectors(Grid(np.arange(-80.0, 81.0, 20.0), np.arange(0.0, 360.0, 30.0)))
    np.testing.assert_allclose(vectors, np.broadcast_to(vectors[:, :1], vectors.shape), atol=1e-6)
    assert np.isfinite(cell_vectors(Grid(np.array([90.0, 0.0, -90.0]), np.arange(0.0, 360.0, 90.0)))).all()


def test_rotated_coordinates_are_those_of_a_globe_with_another_pole():
    axes = np.arange(-3.0, 3.0), np.arange(5.0, 9.0)
    np.testing.assert_array_equal(cell_vectors(Grid(*axes, ROTATED)), cell_vectors(Grid(*axes)))


def test_on_a_projection_they_are_differences_of_x_and_y():
    # Cells of 2 km by 8 km: over √(2 · 8) = 4.
    km = {"units": "km"}
    grid = Grid(np.array([16.0, 8.0, 0.0]), np.array([0.0, 2.0]), MERCATOR, km, km)
    np.testing.assert_allclose(cell_vectors(grid), np.broadcast_to(np.array([0.5, 0, 0, -2]), (3, 2, 4)))


def test_of_a_curvilinear_grid_they_follow_its_lines():
    lon, lat = np.meshgrid(LON, LAT)
    rows, columns = np.arange(len(LAT)), np.arange(len(LON))
    same = CurvilinearGrid(rows, columns, lat=lat, lon=lon)
    np.testing.assert_allclose(cell_vectors(same), cell_vectors(Grid(LAT, LON)), atol=1e-6)
    # Turned by a quarter: rows lead east, columns south.
    turned = cell_vectors(CurvilinearGrid(columns, rows, lat=lat.T, lon=lon.T))
    np.testing.assert_allclose(turned, np.swapaxes(cell_vectors(same), 0, 1)[..., [2, 3, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (1, 1)])
def test_a_side_of_one_cell_leads_nowhere(shape):
    vectors = cell_vectors(Grid(np.arange(shape[0]) + 50.0, np.arange(shape[1]) + 1.0))
    assert np.isfinite(vectors).all()
    assert shape[1] > 1 or not vectors[..., :2].any()
