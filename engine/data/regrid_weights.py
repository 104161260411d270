"""Weights that take a field from one grid to another: apart along y and x, or from cell to cell across projections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from engine.data.grids import CurvilinearGrid, Grid, edges, is_periodic
from engine.data.kernels import SPLINE_PAD, cell_positions, kernel_taps, kernel_weights, spline_filter
from engine.data.projections import from_lonlat

MARGIN = 16  # cells kept around a region, more than half the width of any kernel


@dataclass(frozen=True)
class SideWeights:
    """Weights along y and along x, (new, old) each; a row of NaN where no old cell contributes."""

    rows: np.ndarray
    columns: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(…, y, x) → (…, new y, new x), in the type of `values`."""
        return self.rows.astype(values.dtype) @ values @ self.columns.T.astype(values.dtype)


@dataclass(frozen=True)
class PointWeights:
    """Weights of all old cells for each new cell, where two projections share no axis."""

    matrix: sparse.csr_array  # (new cells, old cells)
    shape: tuple[int, int]
    is_spline: bool  # the weights belong to the coefficients of the spline filter

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(…, y, x) → (…, new y, new x), in the type of `values`."""
        if self.is_spline:
            pad = [(0, 0)] * (values.ndim - 2) + [(SPLINE_PAD, SPLINE_PAD)] * 2
            values = spline_filter(spline_filter(np.pad(values, pad, mode="edge"), -1), -2).astype(values.dtype)
        old = values.reshape(-1, values.shape[-2] * values.shape[-1])
        new = (self.matrix.astype(values.dtype) @ old.T).T
        return np.ascontiguousarray(new).reshape(*values.shape[:-2], *self.shape)


def weights_between(source: Grid, grid: Grid, method: str) -> SideWeights | PointWeights:
    """Weigh the cells of `source` for each cell of `grid`; method as in `resample.regrid`.

    Source of area: Jones (1999), Mon. Wea. Rev. 127, 2204, first-order conservative remapping.
    """
    return (_along_sides if _is_along_axes(source, grid) else _by_point)(source, grid, method)


def centres_in(source: Grid, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Give the centres of `grid` along y and x in the projection of `source`: (ny,) and (nx,), else (ny * nx,) both."""
    if _is_along_axes(source, grid):
        y, x = grid.axis("y"), grid.axis("x")
    elif isinstance(source, CurvilinearGrid):
        x, y = (side.ravel() for side in source.nearest_place(*grid.lonlat()))
    else:
        x, y = (side.ravel() for side in from_lonlat(source.crs, *grid.lonlat()))
    if source.is_lonlat:  # move longitudes by whole turns into the range that the source uses
        west = edges(source.x).min() if is_periodic(source) else (source.x.min() + source.x.max()) / 2 - 180
        x = west + (x - west) % 360
    return y, x


def _is_along_axes(source: Grid, grid: Grid) -> bool:
    return source.shares_axes(grid) and not isinstance(source, CurvilinearGrid)


def _along_sides(source: Grid, grid: Grid, method: str) -> SideWeights:
    """Weigh along y and x apart, within one projection; periodic longitudes go on across the seam."""
    y, x = centres_in(source, grid)
    rows = _along(y, grid.axis("y"), source.axis("y"), method, _sine if source.is_spherical else np.asarray)
    if not is_periodic(source):
        return SideWeights(rows, _along(x, grid.axis("x"), source.axis("x"), method))
    n, turn = len(source.x), 360 * np.sign(source.x[-1] - source.x[0])
    copies = n if method == "area" else min(n, MARGIN)
    around = np.concatenate([source.x[n - copies :] - turn, source.x, source.x[:copies] + turn])
    columns = _along(x, grid.x, around, method)
    folded = columns[:, copies : copies + n].copy()
    folded[:, n - copies :] += columns[:, :copies]
    folded[:, :copies] += columns[:, copies + n :]
    return SideWeights(rows, folded)


def _along(
    targets: np.ndarray,
    new_centres: np.ndarray,
    centres: np.ndarray,
    method: str,
    to_extent: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """Weigh along one side: (new, old); `targets` are `new_centres`, moved by whole turns or not at all."""
    if method != "area":
        return kernel_weights(cell_positions(targets, centres), len(centres), method)
    new, old = edges(new_centres), to_extent(edges(centres))
    sides = np.stack([to_extent(targets + new[:-1] - new_centres), to_extent(targets + new[1:] - new_centres)])
    lower, upper = np.minimum(old[:-1], old[1:]), np.maximum(old[:-1], old[1:])
    overlap = np.minimum(sides.max(0)[:, None], upper) - np.maximum(sides.min(0)[:, None], lower)
    overlap = np.maximum(overlap, 0)
    total = overlap.sum(1, keepdims=True)
    return np.divide(overlap, total, out=np.full_like(overlap, np.nan), where=total > 0)


def _sine(latitudes: np.ndarray) -> np.ndarray:
    return np.sin(np.deg2rad(np.clip(latitudes, -90, 90)))


def _by_point(source: Grid, grid: Grid, method: str) -> PointWeights:
    """Weigh across projections; area takes the mean of the old cells whose centre lies in the new cell."""
    if method == "area":
        return _average_within(source, grid)
    y, x = centres_in(source, grid)
    pad = SPLINE_PAD if method == "bicubic" else 0
    ny, nx = (n + 2 * pad for n in source.shape)
    rows, row_weights = kernel_taps(cell_positions(y, source.axis("y")) + pad, ny, method)
    columns, column_weights = kernel_taps(cell_positions(x, source.axis("x")) + pad, nx, method)
    old = rows[:, :, None] * nx + columns[:, None, :]  # (new cells, y taps, x taps)
    weights = row_weights[:, :, None] * column_weights[:, None, :]
    new = np.broadcast_to(np.arange(len(y))[:, None, None], old.shape)
    matrix = sparse.csr_array((weights.ravel(), (new.ravel(), old.ravel())), shape=(len(y), ny * nx))
    return PointWeights(matrix, grid.shape, bool(pad))


def _average_within(source: Grid, grid: Grid) -> PointWeights:
    """Weigh old cells by area in the new cell that holds their centre; a new cell without any takes the nearest."""
    y, x = centres_in(grid, source)
    rows, columns = (cell_positions(t, grid.axis(side)) for side, t in (("y", y), ("x", x)))
    (ny, nx), old = grid.shape, np.arange(len(y))
    inside = (np.abs(rows - (ny - 1) / 2) < ny / 2) & (np.abs(columns - (nx - 1) / 2) < nx / 2)
    new = (np.rint(rows) * nx + np.rint(columns)).astype(int)[inside]
    areas = source.cell_areas().ravel()[inside]
    total = np.bincount(new, areas, ny * nx)
    matrix = sparse.csr_array((areas / total[new], (new, old[inside])), shape=(ny * nx, len(old)))
    empty = np.flatnonzero(total == 0)  # smaller than the old cells around
    nearest = _by_point(source, grid, "nearest").matrix
    chosen = sparse.diags_array(np.isin(np.arange(ny * nx), empty).astype(float))
    return PointWeights(sparse.csr_array(matrix + chosen @ nearest), grid.shape, False)
