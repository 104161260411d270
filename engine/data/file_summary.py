"""Summary of a file for choosing from it: variables, grid and times, without reading fields."""

from __future__ import annotations

import os
from dataclasses import dataclass

import xarray as xr

from engine.data.axes import fields_of
from engine.data.fields import open_field
from engine.data.formats import open_all
from engine.data.grid_coordinates import grid_of
from engine.data.times import first_and_last
from engine.errors import DataError, TimeError
from engine.spec import Source


@dataclass(frozen=True)
class Variable:
    """One variable as its file describes it."""

    name: str
    long_name: str
    units: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class FileSummary:
    """Variables of a file, with the grid and times of the first."""

    path: str
    variables: tuple[Variable, ...]  # those with two dimensions or more
    grid: str  # in words, or the reason why it can't be used
    first_time: str  # empty without a time axis
    last_time: str
    n_times: int
    n_bytes: int


def describe(path: str) -> FileSummary:
    """Sum up a file or Zarr store without reading fields; raises DataError if it can't be read."""
    fields = [data for dataset in open_all(path) for data in fields_of(dataset)]
    variables = tuple(
        Variable(
            name=str(data.name),
            long_name=str(data.attrs.get("long_name", "")),
            units=str(data.attrs.get("units", "")),
            dims=tuple(map(str, data.dims)),
            shape=data.shape,
            dtype=str(data.dtype),
        )
        for data in fields
    )
    grid, times = _grid_and_times(path, variables[0].name) if variables else ("no variable over a grid", None)
    first, last = ("", "") if times is None else first_and_last(times)
    n_times = 0 if times is None else len(times)
    return FileSummary(path, variables, grid, first, last, n_times, _n_bytes(path))


def _grid_and_times(path: str, variable: str) -> tuple[str, xr.DataArray | None]:
    """Describe the grid, or what is wrong with it; and give the times, if any."""
    try:
        field = open_field(Source(path, variable))
        return str(grid_of(field)), field["time"]
    except TimeError as error:
        return _grid_of_static(path, variable, str(error)), None
    except DataError as error:
        return str(error), None


def _grid_of_static(path: str, variable: str, why_no_times: str) -> str:
    try:
        return str(grid_of(open_field(Source(path, variable), static=True)))
    except TimeError:  # it has times, which can't be used
        return why_no_times
    except DataError as error:
        return str(error)


def _n_bytes(path: str) -> int:
    """Add up the bytes on disk of a file, or of all files of a store."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names)
