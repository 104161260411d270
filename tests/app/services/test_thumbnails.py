"""Thumbnails: the first step as a picture, north up, missing values clear; none where there is nothing to draw."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from app.services.thumbnails import SIDE, thumbnail
from engine.spec import Source


def picture(path) -> np.ndarray:
    """Red, green, blue and opacity (y, x, 4) of a thumbnail."""
    kind, _, content = thumbnail(Source(str(path))).partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(content))).convert("RGBA")).astype(int)


@pytest.mark.parametrize("lat", [[50.0, 51, 52], [52.0, 51, 50]], ids=["south first", "north first"])
def test_it_shows_the_first_step_with_north_up_and_missing_values_clear(tmp_path, lat):
    """The further north, the larger (brighter); the cell in the south-west is missing, the second step is."""
    values = np.broadcast_to(np.array(lat)[None, :, None], (2, 3, 4)).copy()
    values[0, lat.index(50.0), 0] = values[1] = np.nan
    coords = {"time": xr.date_range("2001-01-01", periods=2), "lat": lat, "lon": np.arange(4.0)}
    xr.DataArray(values, coords, list(coords), "a").to_netcdf(tmp_path / "a.nc")
    drawn = picture(tmp_path / "a.nc")
    assert drawn.shape == (3, 4, 4)
    brightness = drawn[..., :3].sum(-1)[:, 1]
    assert brightness[0] > brightness[1] > brightness[2]
    assert np.argwhere(drawn[..., 3] == 0).tolist() == [[2, 0]]


def test_a_large_field_is_thinned(tmp_path):
    coords = {"lat": np.linspace(40, 60, 300), "lon": np.linspace(0, 10, 70)}
    xr.DataArray(np.random.default_rng(0).random((300, 70)), coords, list(coords), "a").to_netcdf(tmp_path / "a.nc")
    assert max(picture(tmp_path / "a.nc").shape[:2]) == 300 // -(-300 // SIDE)


def test_a_file_that_changed_is_drawn_anew(tmp_path):
    path, coords = tmp_path / "a.nc", {"lat": np.arange(3.0), "lon": np.arange(4.0)}
    for sign in (1, -1):
        xr.DataArray(sign * np.arange(12.0).reshape(3, 4), coords, list(coords), "a").to_netcdf(path)
        drawn = picture(path)[..., :3].sum(-1)
        assert (drawn[0, 0] > drawn[-1, -1]) == (sign == 1)
        path.unlink()


@pytest.mark.parametrize("path", ["https://example.org/a.zarr", "nowhere.nc", "no_*.nc", "text.nc"])
def test_there_is_none_of_what_is_elsewhere_or_cannot_be_read(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.nc").write_text("no NetCDF")
    assert thumbnail(Source(path)) == ""
