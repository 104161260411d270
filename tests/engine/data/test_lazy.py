"""Lazy fields: what NumPy would give, with no more read than is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from engine.data import lazy
from engine.data.fields import open_field
from engine.data.lazy import apply_lazily, join_times
from engine.spec import Source
from tests.engine.data.mock import make_field, steps

KEYS: list[Any] = [
    (slice(None), slice(None), slice(None)),
    (3, 1, 2),
    (-1, slice(1, None), slice(None, None, -1)),
    ([6, 0, 6, 3], slice(1, 3), [4, 0]),
    (np.array([], int), slice(None), 0),
    (slice(5, 1, -2), [2, 0], slice(0, 5, 2)),
]


def field(n: int = 7, first: int = 0) -> xr.DataArray:
    dataset = make_field(ny=4, nx=5, times=steps(30)[first : first + n], names=("time", "y", "x"), seed=first)
    return dataset["t2m"]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing_is_numpys_along_each_dimension(key):
    parts = [field(3), field(1, 3), field(3, 4)]
    whole = np.concatenate([part.values for part in parts])
    halves = {"y": xr.Variable("y", [0.5, 2.5]), "x": xr.Variable("x", np.arange(5.0))}
    of_all = join_times(parts)
    for found, values in (
        (of_all, whole),
        (apply_lazily(of_all, lambda v: 2 * v), 2 * whole),
        (of_all.isel(time=slice(None, None, -1)), whole[::-1]),
    ):
        np.testing.assert_array_equal(found[key], _outer(values, key), strict=False)
    regridded = apply_lazily(of_all, lambda v: v[..., ::2, :], halves)
    if key[1] not in (1, slice(1, 3), [2, 0]):
        np.testing.assert_array_equal(regridded[key], _outer(whole[:, ::2], key))


def _outer(values: np.ndarray, key: tuple[Any, ...]) -> np.ndarray:
    """Of each dimension what its key says, the last first, so that the others keep their places."""
    for axis in (2, 1, 0):
        values = values[(slice(None),) * axis + (key[axis],)]
    return values


def test_joined_fields_have_all_times_and_the_first_ones_grid():
    first, second = field(3).assign_attrs(units="K"), field(4, 3)
    both = join_times([first, second])
    np.testing.assert_array_equal(both["time"], xr.concat([first["time"], second["time"]], "time"))
    assert (both.name, both.attrs, both.dtype) == ("t2m", first.attrs, np.float32)
    assert set(both.coords) == {"time", "y", "x"}


def test_a_folder_with_a_file_for_each_step_is_read_step_by_step(tmp_path: Path, monkeypatch):
    whole = make_field(ny=4, nx=5, times=6)
    for number in range(6):
        whole.isel(time=number).to_netcdf(tmp_path / f"{number}.nc")
    shapes, original = [], lazy._AsFloat32._read

    def counted(self: lazy._AsFloat32, key: lazy.Key) -> np.ndarray:
        values = original(self, key)
        shapes.append(values.shape)
        return values

    monkeypatch.setattr(lazy._AsFloat32, "_read", counted)
    found = open_field(Source(str(tmp_path / "*.nc")))
    assert not shapes
    part = found.isel(time=[4, 1], y=slice(1, 3))
    np.testing.assert_array_equal(part, whole["t2m"][[4, 1], 1:3])
    assert shapes == [(1, 2, 5), (1, 2, 5)]


def test_a_change_of_each_cell_reads_the_cells_that_are_asked_for():
    shapes = []

    def counted(values: np.ndarray) -> np.ndarray:
        shapes.append(values.shape)
        return -values

    found = apply_lazily(field(), counted).isel(time=[2, 5], x=slice(2, 4))
    np.testing.assert_array_equal(found, -field().values[[2, 5], :, 2:4])
    assert shapes == [(2, 4, 2)]
