"""Fields that are read when their values are needed, and of them only the steps and cells that are asked for.

They are xarray's own lazily indexed arrays, which xarray opens files as: cropping and choosing steps cost nothing and
reach the file. Arithmetic would read all of a field: `apply_lazily` puts it off until steps are read.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from engine.data import disk_cache

Key = tuple[Any, ...]  # for each dimension a whole number, a slice, or an array of whole numbers


def apply_lazily(
    field: xr.DataArray, change: Callable[[np.ndarray], np.ndarray], coords: Mapping[str, xr.Variable] | None = None
) -> xr.DataArray:
    """Apply a function to each step of a field, when it is read.

    Parameters
    ----------
    field : (…, y, x).
    change : (…, y, x) → (…, new y, new x), for any number of steps; without `coords`, each cell on its own.
    coords : new y and x, and what else describes them, where the grid changes.

    Returns
    -------
    (…, new y, new x), same name and attributes.
    """
    on_grid = [name for name, coord in field.coords.items() if {"y", "x"} & set(coord.dims)]
    remaining = field.drop_vars(on_grid) if coords else field
    values = indexing.LazilyIndexedArray(_Regridded(field, change, coords) if coords else _Applied(field, change))
    coords_left = {name: coord.variable for name, coord in remaining.coords.items()}
    return xr.DataArray(values, {**coords_left, **(coords or {})}, field.dims, field.name, field.attrs)


def as_float32(field: xr.DataArray, coords: Mapping[str, xr.Variable], is_single_step: bool = False) -> xr.DataArray:
    """Give a variable of a file one coordinate for each dimension; infinite values are missing.

    `is_single_step` adds a time dimension in front.
    """
    return xr.DataArray(indexing.LazilyIndexedArray(_AsFloat32(field.variable, is_single_step)), coords, list(coords))


def join_times(fields: Sequence[xr.DataArray]) -> xr.DataArray:
    """Join fields (time, y, x) on one grid, one after another; name, attributes and grid are those of the first."""
    over_time = [name for name, coord in fields[0].coords.items() if coord.dims == ("time",)]
    times = {name: xr.Variable.concat([field[name].variable for field in fields], "time") for name in over_time}
    values = indexing.LazilyIndexedArray(_Joined(fields))
    coords = {name: coord.variable for name, coord in fields[0].coords.items() if name not in over_time}
    return xr.DataArray(values, {**coords, **times}, fields[0].dims, fields[0].name, fields[0].attrs)


def first_valid(field: xr.DataArray, dim: str) -> xr.DataArray:
    """Take along a dimension the first value that isn't missing, when it is read; the dimension goes."""
    stacked = field.transpose(..., dim)
    values = indexing.LazilyIndexedArray(_FirstValid(stacked.variable))
    merged = xr.DataArray(values, dims=stacked.dims[:-1], name=field.name, attrs=field.attrs)
    return merged.assign_coords({name: coord for name, coord in field.coords.items() if dim not in coord.dims})


def stack_samples(field: xr.DataArray, dims: Sequence[str], times: xr.Variable) -> xr.DataArray:
    """Put some dimensions of a field, in this order, along one in front that is called time: (time, …)."""
    stacked = field.transpose(*dims, ...)
    values = indexing.LazilyIndexedArray(_Stacked(stacked.variable, len(dims)))
    rest = stacked.dims[len(dims) :]
    coords = {name: coord.variable for name, coord in field.coords.items() if set(coord.dims) <= set(rest)}
    made = xr.DataArray(values, {**coords, "time": times}, ("time", *rest), field.name, field.attrs)
    made.encoding = field.encoding
    return made


def take_steps(field: xr.DataArray, steps: np.ndarray) -> xr.DataArray:
    """Take time steps of a field (time, y, x), also more than once and in any order, when they are read."""
    if (np.diff(steps) > 0).all():
        return field.isel(time=steps)
    values = indexing.LazilyIndexedArray(_Repeated(field, steps))
    coords = {name: coord.variable for name, coord in field.coords.items() if "time" not in coord.dims}
    times = {name: coord.variable[steps] for name, coord in field.coords.items() if coord.dims == ("time",)}
    return xr.DataArray(values, {**coords, **times}, field.dims, field.name, field.attrs)


def cached_on_disk(variable: xr.Variable, source: str, max_age_s: float, pauses_s: Sequence[float] = ()) -> xr.Variable:
    """Keep what is read of a variable in the cache on disk: of three dimensions and more, by steps along the first.

    source : what the values are of, with its version. max_age_s : after which they are read again.
    pauses_s : before further tries where reading fails.
    """
    values = indexing.LazilyIndexedArray(_Cached(variable, source, max_age_s, pauses_s))
    return xr.Variable(variable.dims, values, variable.attrs, variable.encoding)


class LazyArray(BackendArray, ABC):
    """Base of arrays that xarray indexes lazily and reads with `_read`."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    @abstractmethod
    def _read(self, key: Key) -> np.ndarray:
        """Read the values of a key that has one part for each dimension."""


class _Cached(LazyArray):
    def __init__(self, variable: xr.Variable, source: str, max_age_s: float, pauses_s: Sequence[float]):
        self.variable, self.shape, self.dtype = variable, variable.shape, np.dtype(variable.dtype)
        self.source, self.max_age_s = f"{source} {variable.shape} {self.dtype.str}", max_age_s
        self.pauses_s = pauses_s

    def _read(self, key: Key) -> np.ndarray:
        steps, *cells = (np.arange(n)[part] for n, part in zip(self.shape, key, strict=True))
        if len(cells) < 2:  # a field of its own
            steps, cells, key = np.array(0), [steps, *cells], (slice(None), *key)
        shape = tuple(n for part in cells for n in part.shape)
        place = hashlib.sha256(b"".join(part.tobytes() + b" " for part in cells)).hexdigest()
        found = {step: self._kept(step, place, shape) for step in np.unique(steps).tolist()}
        if lacking := [step for step, values in found.items() if values is None]:
            run = slice(lacking[0], lacking[-1] + 1)
            is_run = len(lacking) == run.stop - run.start
            outer = (run if is_run else np.array(lacking),) if self.variable.ndim == len(key) else ()
            read = self._patiently((*outer, *key[1:])).reshape((len(lacking), *shape))
            for step, values in zip(lacking, read, strict=True):
                disk_cache.put(f"{self.source} {step} {place}", values.tobytes())
                found[step] = values
        return np.array([found[step] for step in np.atleast_1d(steps).tolist()], self.dtype).reshape(
            steps.shape + shape
        )

    def _patiently(self, key: Key) -> np.ndarray:
        for pause_s in self.pauses_s:
            try:
                return self.variable[key].values
            except (OSError, RuntimeError):
                time.sleep(pause_s)
        return self.variable[key].values

    def _kept(self, step: int, place: str, shape: tuple[int, ...]) -> np.ndarray | None:
        content = disk_cache.get(f"{self.source} {step} {place}", self.max_age_s)
        return None if content is None else np.frombuffer(content, self.dtype).reshape(shape)


class _AsFloat32(LazyArray):
    def __init__(self, variable: xr.Variable, is_single_step: bool):
        self.variable, self.is_single_step, self.dtype = variable, is_single_step, np.dtype(np.float32)
        self.shape = (1, *variable.shape) if is_single_step else variable.shape

    def _read(self, key: Key) -> np.ndarray:
        with np.errstate(over="ignore"):  # beyond the range of float32
            values = self.variable[key[self.is_single_step :]].values.astype(np.float32)
        values = np.where(np.isinf(values), np.float32(np.nan), values)
        return values[None][key[0]] if self.is_single_step else values


class _FirstValid(LazyArray):
    def __init__(self, variable: xr.Variable):
        self.variable, self.shape, self.dtype = variable, variable.shape[:-1], np.dtype(variable.dtype)

    def _read(self, key: Key) -> np.ndarray:
        given = self.variable[(*key, slice(None))].values
        values = given[..., 0]
        for other in range(1, given.shape[-1]):
            values = np.where(np.isnan(values), given[..., other], values)
        return values


class _Applied(LazyArray):
    def __init__(self, field: xr.DataArray, change: Callable[[np.ndarray], np.ndarray]):
        self.field, self.change, self.shape, self.dtype = field, change, field.shape, field.dtype

    def _read(self, key: Key) -> np.ndarray:
        return self.change(self.field[key].values)


class _Regridded(_Applied):
    def __init__(self, field: xr.DataArray, change: Callable[[np.ndarray], np.ndarray], coords: Mapping[str, Any]):
        super().__init__(field, change)
        self.shape = (*field.shape[:-2], coords["y"].size, coords["x"].size)

    def _read(self, key: Key) -> np.ndarray:
        *steps, y, x = key
        return self.change(self.field[tuple(steps)].values)[..., y, :][..., x]


class _Joined(LazyArray):
    def __init__(self, fields: Sequence[xr.DataArray]):
        self.fields, self.dtype = fields, fields[0].dtype
        self.ends = np.cumsum([field.sizes["time"] for field in fields])
        self.shape = (int(self.ends[-1]), *fields[0].shape[1:])

    def _read(self, key: Key) -> np.ndarray:
        steps = np.arange(self.shape[0])[key[0]]
        wanted = np.atleast_1d(steps)
        files = np.searchsorted(self.ends, wanted, side="right")
        cells = [np.arange(n)[part].shape for n, part in zip(self.shape[1:], key[1:], strict=True)]
        values = np.empty((len(wanted), *(n for shape in cells for n in shape)), self.dtype)
        for number in np.unique(files):
            in_file, field = files == number, self.fields[number]
            first = self.ends[number] - field.sizes["time"]
            values[in_file] = field.variable[(wanted[in_file] - first, *key[1:])].values
        return values if np.ndim(steps) else values[0]


class _Stacked(LazyArray):
    """Values over some outer dimensions, numbered in order; those along the last of them are read at once."""

    def __init__(self, variable: xr.Variable, outer: int):
        self.variable, self.dtype, self.outer = variable, np.dtype(variable.dtype), variable.shape[:outer]
        self.shape = (int(np.prod(self.outer)), *variable.shape[outer:])

    def _read(self, key: Key) -> np.ndarray:
        steps = np.arange(self.shape[0])[key[0]]
        wanted = np.atleast_1d(steps)
        lines, places = np.divmod(wanted, self.outer[-1])
        cells = [np.arange(n)[part].shape for n, part in zip(self.shape[1:], key[1:], strict=True)]
        values = np.empty((len(wanted), *(n for shape in cells for n in shape)), self.dtype)
        for line in np.unique(lines):
            on_line = lines == line
            at = np.unravel_index(line, self.outer[:-1])
            values[on_line] = self.variable[(*map(int, at), places[on_line], *key[1:])].values
        return values if np.ndim(steps) else values[0]


class _Repeated(LazyArray):
    def __init__(self, field: xr.DataArray, steps: np.ndarray):
        self.field, self.steps, self.dtype = field, steps, field.dtype
        self.shape = (len(steps), *field.shape[1:])

    def _read(self, key: Key) -> np.ndarray:
        steps = self.steps[key[0]]
        unique, order = np.unique(np.atleast_1d(steps), return_inverse=True)
        values = self.field.variable[(unique, *key[1:])].values[order]
        return values if np.ndim(steps) else values[0]
