"""Scores of vectors: angles and differences by hand, divergence and vorticity of flows that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from engine.data.grids import LATITUDE, LONGITUDE
from engine.evaluation.vector_scores import (
    EARTH_RADIUS_M,
    angle_between,
    divergence_and_vorticity,
    vector_scores,
)

LAT, LON = np.arange(-88.0, 89.0, 2.0), np.arange(1.0, 360.0, 2.0)


@pytest.mark.parametrize("north_first", [False, True])
def test_solid_body_rotation_has_no_divergence_and_twice_its_rate_as_vorticity(north_first: bool) -> None:
    # u = ω a cos φ: ζ = -∂(u cos φ)/∂φ / (a cos φ) = 2 ω sin φ, and nothing depends on longitude.
    omega, lat = 1e-5, LAT[::-1] if north_first else LAT
    u = np.tile(omega * EARTH_RADIUS_M * np.cos(np.radians(lat))[:, None], (1, len(LON)))
    divergence, vorticity = divergence_and_vorticity(u, np.zeros_like(u), lat, LON, around=True)
    np.testing.assert_allclose(divergence[1:-1], 0, atol=1e-20)
    expected = np.broadcast_to(2 * omega * np.sin(np.radians(lat))[:, None], u.shape)
    np.testing.assert_allclose(vorticity[1:-1], expected[1:-1], atol=1e-3 * 2 * omega)  # second order in 2°
    assert np.isnan(vorticity[[0, -1]]).all()


def test_a_potential_flow_has_the_divergence_of_its_potential_and_no_vorticity() -> None:
    # χ = a cos φ cos λ: u = -sin λ, v = -sin φ cos λ; ∇²χ = -2 χ / a² (a spherical harmonic of degree one).
    phi, lam = np.radians(LAT)[:, None], np.radians(LON)
    u, v = np.broadcast_to(-np.sin(lam), (len(LAT), len(LON))), -np.sin(phi) * np.cos(lam)
    divergence, vorticity = divergence_and_vorticity(u, v, LAT, LON, around=True)
    size = 2 / EARTH_RADIUS_M
    inside = slice(2, -2)
    np.testing.assert_allclose(divergence[inside], -size * (np.cos(phi) * np.cos(lam))[inside], atol=0.02 * size)
    np.testing.assert_allclose(vorticity[inside], 0, atol=0.02 * size)


def test_a_row_at_a_pole_and_cells_beside_a_gap_have_neither() -> None:
    lat, lon = np.array([-90.0, -80.0, -70.0, -60.0]), np.arange(0.0, 40.0, 10.0)
    u = np.ones((4, 4))
    u[2, 2] = np.nan
    divergence, _ = divergence_and_vorticity(u, np.ones((4, 4)), lat[::-1], lon, around=False)
    assert np.isnan(divergence[-1]).all()
    assert np.isfinite(divergence[2, 1]) == np.False_
    assert np.isnan(divergence[:, [0, -1]]).all()


def test_the_angle_is_between_0_and_180_and_missing_without_direction() -> None:
    one = np.array([1.0, 1.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.0, 0.0])
    other = np.array([0.0, -2.0, 1.0, 1.0]), np.array([3.0, 0.0, -1.0, 0.0])
    np.testing.assert_allclose(angle_between(one, other), [90, 180, 45, np.nan])


def test_scores_of_a_file_by_hand(tmp_path: Path) -> None:
    # One row on both sides of the equator (equal areas), two columns; HR (3, 4) everywhere, speed 5.
    # downscaled (3, 4) in one column and (4, 3) in the other: difference² 2, the same speed,
    # angle acos(24 / 25); interpolated (6, 8) everywhere: difference² 25, speed too high by 5, no angle.
    shape = (1, 2, 2)
    fields = {"hr": (3, 4), "interpolated": (6, 8), "downscaled": (3, 4)}
    coords = {"time": [np.datetime64("2001-01-01", "ns")], "y": [-0.5, 0.5], "x": [0.5, 1.5]}
    data = {}
    for name, parts in fields.items():
        for ending, value in zip(("", "_v"), parts, strict=True):
            data[f"{name}{ending}"] = ("time", "y", "x"), np.full(shape, value, "f4"), {"units": "m s-1"}
    data["downscaled"][1][..., 1], data["downscaled_v"][1][..., 1] = 4, 3
    dataset = xr.Dataset(data, coords)
    dataset["y"].attrs, dataset["x"].attrs = dict(LATITUDE), dict(LONGITUDE)
    dataset.to_netcdf(tmp_path / "test.nc")
    found = vector_scores(tmp_path / "test.nc")
    assert (found["interpolated"].rmse, found["interpolated"].speed_bias) == pytest.approx((5, 5))
    assert found["interpolated"].direction_error == pytest.approx(0, abs=1e-5)
    downscaled = found["downscaled"]
    assert (downscaled.rmse, downscaled.speed_rmse) == pytest.approx((1, 0), abs=1e-6)
    assert downscaled.direction_error == pytest.approx(np.degrees(np.arccos(24 / 25)) / 2, rel=1e-6)
    assert downscaled.divergence_rmse is None  # no cell has neighbours on all sides


def test_a_file_of_one_target_has_none(tmp_path: Path) -> None:
    empty = ("time", "y", "x"), np.zeros((1, 2, 2), "f4")
    coords = {"time": [np.datetime64("2001-01-01", "ns")], "y": [0.0, 1.0], "x": [0.0, 1.0]}
    xr.Dataset(dict.fromkeys(("hr", "interpolated", "downscaled"), empty), coords).to_netcdf(tmp_path / "test.nc")
    assert vector_scores(tmp_path / "test.nc") == {}
