"""Summaries of files: variables, grid and times, or what is wrong with them."""

from __future__ import annotations

import pytest

from engine.data.file_summary import describe
from engine.errors import DataError
from tests.engine.data.mock import make_field, steps, write_field


def test_describe(tmp_path):
    summary = describe(write_field(tmp_path / "a.nc", times=steps(40, frequency="6h")))
    assert [(v.name, v.units, v.dims, v.shape) for v in summary.variables] == [
        ("t2m", "K", ("time", "lat", "lon"), (40, 8, 12))
    ]
    assert summary.grid == "8 × 12 cells, lat 40 to 43.5, lon 0 to 5.5"
    assert (summary.first_time, summary.last_time, summary.n_times) == ("2001-01-01T00:00", "2001-01-10T18:00", 40)
    assert summary.n_bytes == (tmp_path / "a.nc").stat().st_size


def test_describe_says_what_is_wrong_with_a_grid(tmp_path):
    static = describe(write_field(tmp_path / "orog.nc", times=0))
    assert (static.grid, static.n_times) == ("8 × 12 cells, lat 40 to 43.5, lon 0 to 5.5", 0)
    make_field(ny=3, nx=3).expand_dims(level=[850.0, 500.0]).to_netcdf(tmp_path / "levels.nc")
    assert "has 2 values along level" in describe(str(tmp_path / "levels.nc")).grid
    store = describe(write_field(tmp_path / "a.zarr"))
    assert store.n_bytes > 8 * 12 * 4
    with pytest.raises(DataError, match="doesn't exist"):
        describe(str(tmp_path / "none.nc"))
