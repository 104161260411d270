"""Arrows of vectors: direction on the screen, length, and what is left out; angles by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from app.plots.arrows import ACROSS, arrow_lines
from app.plots.projection import MapProjection
from engine.data.grid_coordinates import grid_of

LAT, LON = np.linspace(40.0, 60.0, 21), np.linspace(-10.0, 10.0, 21)


def wind(value: complex, name: str = "eastward_wind") -> xr.DataArray:
    """The same vector everywhere; 1° apart."""
    values = np.full((len(LAT), len(LON)), value, complex)
    return xr.DataArray(values, {"y": LAT, "x": LON}, ("y", "x"), attrs={"standard_name": name})


def drawn(field: xr.DataArray, projection: str = "native", largest: float = 10.0):
    """Middles (n,) complex and arrows (n,) complex from tail to tip, on the screen in units of the map's width."""
    shown = MapProjection.of(projection, grid_of(field))
    box = shown.box()
    x, y = arrow_lines(field, shown, box, largest)
    points = x / (box.east - box.west) + 1j * y / (box.north - box.south) / box.aspect
    tails, tips, gap, left, tip, right, _ = points.reshape(-1, 7).T
    assert np.isnan(gap).all()
    np.testing.assert_allclose(tips, tip)
    np.testing.assert_allclose(abs(left - tip), abs(right - tip))
    return (tails + tips) / 2, tips - tails


@pytest.mark.parametrize("vector", [10, 10j, -6 + 8j, -10j])
def test_an_arrow_points_where_the_vector_does_and_the_largest_has_its_length(vector):
    _, arrows = drawn(wind(vector))
    np.testing.assert_allclose(np.angle(arrows / vector), 0, atol=1e-9)
    np.testing.assert_allclose(abs(arrows), 1 / ACROSS)  # of the width
    np.testing.assert_allclose(abs(drawn(wind(vector / 2))[1]), abs(arrows) / 2)


def test_east_turns_with_the_meridians_of_a_map():
    """On a cone or a plane about the middle, north at the eastern end leans to the west, and east to the north."""
    middles, arrows = drawn(wind(10), "stereographic")
    angles = np.rad2deg(np.angle(arrows))
    order = np.argsort(middles.real)
    assert angles[order[0]] < -4
    assert angles[order[-1]] > 4
    assert abs(angles).max() < 10  # 10° of longitude from the middle, times less than one


def test_a_grid_s_own_components_follow_its_rows_and_columns():
    """On a rotated pole, x of the grid is no east: native arrows are level, those to the east aren't."""
    angles = {}
    mapping = {"grid_mapping_name": "rotated_latitude_longitude", "grid_north_pole_latitude": 39.25,
               "grid_north_pole_longitude": -162.0}  # fmt: skip
    for name in ("x_wind", "eastward_wind"):
        field = wind(10, name).assign_coords(y=LAT - 50, x=LON - 18)
        field = field.assign_coords(crs=xr.DataArray(0, attrs=mapping))
        angles[name] = np.rad2deg(np.angle(drawn(field)[1]))
    np.testing.assert_allclose(angles["x_wind"], 0, atol=1e-9)
    assert abs(angles["eastward_wind"]).max() > 5


def test_missing_and_tiny_vectors_have_none_and_a_fine_field_has_some():
    field = wind(10)
    field[0, :], field[:, 0] = np.nan, 0.1
    assert len(drawn(field)[0]) < len(drawn(wind(10))[0])
    fine = xr.DataArray(
        np.full((300, 400), 5 + 0j), {"y": np.linspace(40, 60, 300), "x": np.linspace(0, 20, 400)}, ("y", "x")
    )
    middles, _ = drawn(fine)
    assert len(np.unique(middles.real.round(9))) == ACROSS
