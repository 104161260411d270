"""Interpolation, coarsening and regridding: the one place where fields change their grid.

All kernels are separable: a weight matrix for y and one for x. Cells are aligned by their areas (an LR
cell covers scale × scale HR cells), and beyond the border a field goes on with its outermost value.

bicubic is the interpolating cubic B-spline of SciPy and scikit-image (`order=3`, `grid_mode=True`,
edges repeated): on ERA5 temperature it comes closer to HR than the local kernel of Keys (1981) with
a = -0.5, and so is the harder yardstick.

Sources: Unser (1999), IEEE Signal Process. Mag. 16(6), 22 (cubic spline); Duchon (1979), J. Appl.
Meteor. 18, 1016 (Lanczos); Jones (1999), Mon. Wea. Rev. 127, 2204 (area, first-order conservative).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr
from scipy import ndimage, sparse

from engine.data.grids import GRID_MAPPING, Grid, edges, from_lonlat, is_periodic, is_same_crs
from engine.data.lazy import changed
from engine.errors import GridError

LANCZOS_LOBES = 3
SPLINE_PAD = 12  # edge cells repeated before the spline filter, as in SciPy; its memory fades as 0.27 per cell
MARGIN = 16  # cells kept around a region, more than any kernel's reach
LEAST_SHARE = 1e-4  # of a new cell's weight: less is rounding


def upsampling_matrix(n: int, scale: int, kernel: str) -> np.ndarray:
    """Weights that interpolate n LR cells to n * scale HR cells along one side.

    Returns
    -------
    (n * scale, n) float64; each row sums to 1.
    """
    positions = (np.arange(n * scale) + 0.5) / scale - 0.5
    return kernel_weights(positions, n, kernel)


def interpolate(lr: np.ndarray, scale: int, kernel: str) -> np.ndarray:
    """Interpolate LR fields to HR.

    Parameters
    ----------
    lr : (…, y, x), no missing values (see `fill_missing`): a missing value spreads over its surroundings.
    scale : HR cells per LR cell along each side.
    kernel : nearest, bilinear, bicubic, lanczos or area (the same as nearest here).

    Returns
    -------
    (…, y * scale, x * scale) float32.
    """
    rows = upsampling_matrix(lr.shape[-2], scale, kernel).astype(np.float32)
    columns = upsampling_matrix(lr.shape[-1], scale, kernel).astype(np.float32)
    return rows @ np.asarray(lr, np.float32) @ columns.T


def coarsen(field: xr.DataArray, scale: int, kernel: str = "area", areas: np.ndarray | None = None) -> xr.DataArray:
    """Bring an HR field onto the grid `scale` times coarser that nests in it.

    Parameters
    ----------
    field : (…, y, x), any unit; missing values are left out.
    scale : HR cells per LR cell along each side, at least 2.
    kernel : area takes the mean weighted by cell area; the others sample the field at the LR centres.
    areas : (y, x) weights of the cells; from the field's grid when None.

    Returns
    -------
    (…, y // scale, x // scale), same unit, lazy; missing where no HR cell has a value.

    Raises
    ------
    GridError
        If a side is not a multiple of `scale`, or the cells are not equally spaced.

    Source: Jones (1999), Mon. Wea. Rev. 127, 2204, first-order conservative remapping.
    """
    grid = Grid.of(field)
    return _on_grid(field, grid.coarsen(scale), coarsening(grid, scale, kernel, areas))


def coarsening(
    grid: Grid, scale: int, kernel: str = "area", areas: np.ndarray | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """What `coarsen` does to values (…, y, x) on a grid."""
    if kernel == "area":
        weights = grid.cell_areas() if areas is None else areas
        return lambda values: _block_mean(values, weights, scale)
    sampled, reach = (_at_lr_centres(grid, scale, kind) for kind in (kernel, _reach_of(kernel)))
    return Resampling(sampled, reach, kernel in WITH_LOBES)


def regrid(field: xr.DataArray, grid: Grid, method: str, needed: Grid | None = None) -> xr.DataArray:
    """Bring a field onto the centres of any other grid.

    Parameters
    ----------
    field : (…, y, x) on any rectilinear grid of its own; missing values are left out.
    grid : where to: latitude and longitude in either convention, or another projection.
    method : nearest, bilinear, bicubic, lanczos, or area (mean over each new cell).
    needed : centres that must lie within the field's cells; those of `grid` when None. Beyond, the field
        goes on with its outermost value.

    Returns
    -------
    (…, y, x) on `grid`, same unit, lazy; missing where no old cell in reach has a value.

    Raises
    ------
    GridError
        If a needed centre lies outside the field's cells, or a projection can't be read.
    """
    check_covers(Grid.of(field), needed or grid, str(field.name))
    field = _near(field, grid)
    source = Grid.of(field)
    between = _along_sides if is_same_crs(source.crs, grid.crs) else _by_point
    weights, reach = (between(source, grid, kind) for kind in (method, _reach_of(method)))
    return _on_grid(field, grid, Resampling(weights, reach, method in WITH_LOBES))


def fill_missing(values: np.ndarray) -> np.ndarray:
    """Give each missing cell the value of the nearest cell that has one, step by step.

    Parameters
    ----------
    values : (time, y, x); NaN = missing.

    Returns
    -------
    (time, y, x), a new array, same type; a step without any value stays missing.
    """
    missing = np.isnan(values)
    filled = values.copy()
    for step in np.flatnonzero(missing.any((1, 2)) & ~missing.all((1, 2))):
        rows, columns = _nearest_valid(np.packbits(missing[step]).tobytes(), missing.shape[1:])
        filled[step] = values[step][rows, columns]
    return filled


def check_covers(source: Grid, grid: Grid, name: str) -> None:
    """Raise GridError unless each centre of `grid` lies in a cell of `source`."""
    for targets, centres in zip(_targets(source, grid), (source.axis("y"), source.axis("x")), strict=True):
        borders = edges(centres)
        slack = 1e-6 * abs(borders[-1] - borders[0])
        if targets.min() < borders.min() - slack or targets.max() > borders.max() + slack:
            raise GridError(
                f"{name} covers {source.extent()}, but {grid.extent()} is needed: crop with data.region to where both "
                "have data, or choose a file that covers the region"
            )


def kernel_weights(positions: np.ndarray, n: int, kernel: str) -> np.ndarray:
    """(m, n) weights of n cells at fractional cell numbers `positions` (m,); each row sums to 1."""
    if kernel != "bicubic":
        return _dense(*_taps(positions, n, kernel), n)
    padded = np.pad(np.eye(n), ((SPLINE_PAD, SPLINE_PAD), (0, 0)), mode="edge")
    weights = _dense(*_taps(positions + SPLINE_PAD, len(padded), kernel), len(padded)) @ _spline_filter(padded, 0)
    return weights / weights.sum(1, keepdims=True)


def positions(targets: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Fractional cell numbers of `targets` among monotonic `centres`, at most half a cell beyond the outer ones."""
    sign = 1 if centres[-1] >= centres[0] else -1
    borders = edges(centres)
    known = sign * np.concatenate([borders[:1], centres, borders[-1:]])
    numbers = np.concatenate([[-0.5], np.arange(len(centres)), [len(centres) - 0.5]])
    return np.interp(sign * targets, known, numbers)


def _box(distance: np.ndarray) -> np.ndarray:
    return ((distance > -0.5) & (distance <= 0.5)).astype(float)


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - np.abs(distance))


def _cubic_b_spline(distance: np.ndarray) -> np.ndarray:
    d = np.abs(distance)
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.maximum(0, 2 - d) ** 3 / 6)


def _windowed_sinc(distance: np.ndarray) -> np.ndarray:
    return np.sinc(distance) * np.sinc(distance / LANCZOS_LOBES) * (np.abs(distance) < LANCZOS_LOBES)


KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {  # shape, and reach in cells
    "nearest": (_box, 1),
    "bilinear": (_triangle, 1),
    "bicubic": (_cubic_b_spline, 2),  # on the coefficients of the spline filter
    "lanczos": (_windowed_sinc, LANCZOS_LOBES),
    "area": (_box, 1),
}
WITH_LOBES = ("bicubic", "lanczos")  # kernels with negative weights


def _taps(positions: np.ndarray, n: int, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Cells in reach of each position and their weights, (m, 2 * reach) each; edge cells are repeated."""
    shape, reach = KERNELS[kernel]
    cells = np.floor(positions).astype(int)[:, None] + np.arange(1 - reach, reach + 1)
    weights = shape(cells - positions[:, None])
    return np.clip(cells, 0, n - 1), weights / weights.sum(1, keepdims=True)


def _dense(cells: np.ndarray, weights: np.ndarray, n: int) -> np.ndarray:
    matrix = np.zeros((len(cells), n))
    np.add.at(matrix, (np.arange(len(cells))[:, None], cells), weights)
    return matrix


def _spline_filter(values: np.ndarray, axis: int) -> np.ndarray:
    return ndimage.spline_filter1d(values, order=3, axis=axis, mode="mirror")


def _reach_of(method: str) -> str:
    return "bilinear" if method in WITH_LOBES else method


@dataclass(frozen=True)
class Sides:
    """Weights along y and along x, (new, old) each; a row of NaN where no old cell is in reach."""

    rows: np.ndarray
    columns: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(…, y, x) → (…, new y, new x), in the type of `values`."""
        return self.rows.astype(values.dtype) @ values @ self.columns.T.astype(values.dtype)


@dataclass(frozen=True)
class Points:
    """Weights of all old cells for each new cell, where two projections share no axis."""

    matrix: sparse.csr_array  # (new cells, old cells)
    shape: tuple[int, int]
    is_spline: bool  # the weights belong to the coefficients of the spline filter

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(…, y, x) → (…, new y, new x), in the type of `values`."""
        if self.is_spline:
            pad = [(0, 0)] * (values.ndim - 2) + [(SPLINE_PAD, SPLINE_PAD)] * 2
            values = _spline_filter(_spline_filter(np.pad(values, pad, mode="edge"), -1), -2).astype(values.dtype)
        old = values.reshape(-1, values.shape[-2] * values.shape[-1])
        new = (self.matrix.astype(values.dtype) @ old.T).T
        return np.ascontiguousarray(new).reshape(*values.shape[:-2], *self.shape)


@dataclass(frozen=True)
class Resampling:
    """Brings blocks of fields onto a new grid and leaves missing values out.

    `reach` has no negative weights and says how much of a new cell is known. Where it equals `weights`, these
    are renormalised; weights with negative lobes, which that could divide by nothing, are applied to fields
    whose gaps are filled from the nearest cells.
    """

    weights: Sides | Points
    reach: Sides | Points
    has_lobes: bool

    def __call__(self, values: np.ndarray) -> np.ndarray:
        valid = np.isfinite(values)
        if valid.all():
            return self.weights.apply(values)
        share = self.reach.apply(valid.astype(values.dtype))
        known = share > LEAST_SHARE
        if self.has_lobes:
            new = self.weights.apply(_filled(values))
        else:
            new = self.weights.apply(np.where(valid, values, 0)) / np.where(known, share, 1)
        return np.where(known, new, np.nan).astype(values.dtype)


def _at_lr_centres(grid: Grid, scale: int, kernel: str) -> Sides:
    centres = [np.arange(0, n, scale) + (scale - 1) / 2 for n in grid.shape]
    rows, columns = (kernel_weights(p, n, kernel) for p, n in zip(centres, grid.shape, strict=True))
    return Sides(rows, columns)


def _filled(values: np.ndarray) -> np.ndarray:
    return fill_missing(values.reshape(-1, *values.shape[-2:])).reshape(values.shape)


def _on_grid(field: xr.DataArray, grid: Grid, change: Callable[[np.ndarray], np.ndarray]) -> xr.DataArray:
    """Apply `change` to each step (…, y, x), when it is read."""
    return changed(field.drop_vars(GRID_MAPPING, errors="ignore"), change, grid.coords())


def _block_mean(values: np.ndarray, weights: np.ndarray, scale: int) -> np.ndarray:
    """(…, y, x) → (…, y / scale, x / scale): mean weighted by `weights` (y, x) over the cells with a value."""
    valid = np.isfinite(values)
    weights = weights.astype(values.dtype)
    if valid.all():
        return _block_sum(values * weights, scale) / _block_sum(weights, scale)
    total = _block_sum(np.where(valid, values, 0) * weights, scale)
    share = _block_sum(valid * weights, scale)
    return np.divide(total, share, out=np.full_like(total, np.nan), where=share > 0)


def _block_sum(values: np.ndarray, scale: int) -> np.ndarray:
    *steps, ny, nx = values.shape
    rows = values.reshape(*steps, ny // scale, scale, nx // scale, scale).sum(-3)  # one after the other: five times
    return rows.sum(-1)  # as fast as both at once


@lru_cache(maxsize=64)
def _nearest_valid(packed: bytes, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the nearest cell with a value, (y, x) each, for a mask of missing cells as bits."""
    missing = np.unpackbits(np.frombuffer(packed, np.uint8), count=shape[0] * shape[1]).reshape(shape)
    rows, columns = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    return rows, columns


def _targets(source: Grid, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """New centres along y and x in the source's projection: (ny,) and (nx,), or (ny * nx,) across projections."""
    if is_same_crs(source.crs, grid.crs):
        y, x = grid.axis("y"), grid.axis("x")
    else:
        x, y = (side.ravel() for side in from_lonlat(source.crs, *grid.lonlat()))
    return y, x if source.crs else _in_convention(x, source)


def _in_convention(longitudes: np.ndarray, source: Grid) -> np.ndarray:
    """Longitudes moved by whole turns to where the source has its own."""
    middle = (source.x.min() + source.x.max()) / 2
    west = edges(source.x).min() if is_periodic(source) else middle - 180
    return west + (longitudes - west) % 360


def _near(field: xr.DataArray, grid: Grid) -> xr.DataArray:
    """The part of the field that `grid` needs, so that no more is read; all of it where that crosses the seam."""
    source = Grid.of(field)
    reach = MARGIN + int(grid.cell_size_km() / source.cell_size_km())
    parts = {}
    for side, targets in zip(("y", "x"), _targets(source, grid), strict=True):
        cells = positions(targets, source.axis(side))
        first, last = int(cells.min()) - reach, int(cells.max()) + reach + 1
        if side == "x" and is_periodic(source) and (first < 0 or last > len(source.x)):
            continue
        parts[side] = slice(max(first, 0), last)
    return field.isel(parts)


def _along_sides(source: Grid, grid: Grid, method: str) -> Sides:
    y, x = _targets(source, grid)
    rows = _along(y, grid.axis("y"), source.axis("y"), method, _sine if source.is_spherical else np.asarray)
    if not is_periodic(source):
        return Sides(rows, _along(x, grid.axis("x"), source.axis("x"), method))
    n, turn = len(source.x), 360 * np.sign(source.x[-1] - source.x[0])
    copies = n if method == "area" else min(n, MARGIN)
    around = np.concatenate([source.x[n - copies :] - turn, source.x, source.x[:copies] + turn])
    columns = _along(x, grid.x, around, method)
    folded = columns[:, copies : copies + n].copy()
    folded[:, n - copies :] += columns[:, :copies]
    folded[:, :copies] += columns[:, copies + n :]
    return Sides(rows, folded)


def _along(
    targets: np.ndarray,
    own: np.ndarray,
    centres: np.ndarray,
    method: str,
    measure: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """(new, old) weights along one side; `targets` are the new centres `own`, moved by whole turns or not at all."""
    if method != "area":
        return kernel_weights(positions(targets, centres), len(centres), method)
    new, old = edges(own), measure(edges(centres))
    sides = np.stack([measure(targets + new[:-1] - own), measure(targets + new[1:] - own)])
    lower, upper = np.minimum(old[:-1], old[1:]), np.maximum(old[:-1], old[1:])
    overlap = np.minimum(sides.max(0)[:, None], upper) - np.maximum(sides.min(0)[:, None], lower)
    overlap = np.maximum(overlap, 0)
    total = overlap.sum(1, keepdims=True)
    return np.divide(overlap, total, out=np.full_like(overlap, np.nan), where=total > 0)


def _sine(latitudes: np.ndarray) -> np.ndarray:
    return np.sin(np.deg2rad(np.clip(latitudes, -90, 90)))


def _by_point(source: Grid, grid: Grid, method: str) -> Points:
    """Weights across projections; area takes the mean of the old cells whose centre lies in the new cell."""
    if method == "area":
        return _binned(source, grid)
    y, x = _targets(source, grid)
    pad = SPLINE_PAD if method == "bicubic" else 0
    ny, nx = (n + 2 * pad for n in source.shape)
    rows, row_weights = _taps(positions(y, source.axis("y")) + pad, ny, method)
    columns, column_weights = _taps(positions(x, source.axis("x")) + pad, nx, method)
    old = rows[:, :, None] * nx + columns[:, None, :]  # (new cells, y taps, x taps)
    weights = row_weights[:, :, None] * column_weights[:, None, :]
    new = np.broadcast_to(np.arange(len(y))[:, None, None], old.shape)
    matrix = sparse.csr_array((weights.ravel(), (new.ravel(), old.ravel())), shape=(len(y), ny * nx))
    return Points(matrix, grid.shape, bool(pad))


def _binned(source: Grid, grid: Grid) -> Points:
    y, x = _targets(grid, source)
    rows, columns = (positions(t, grid.axis(side)) for side, t in (("y", y), ("x", x)))
    (ny, nx), old = grid.shape, np.arange(len(y))
    inside = (np.abs(rows - (ny - 1) / 2) < ny / 2) & (np.abs(columns - (nx - 1) / 2) < nx / 2)
    new = (np.rint(rows) * nx + np.rint(columns)).astype(int)[inside]
    areas = source.cell_areas().ravel()[inside]
    total = np.bincount(new, areas, ny * nx)
    matrix = sparse.csr_array((areas / total[new], (new, old[inside])), shape=(ny * nx, len(old)))
    empty = np.flatnonzero(total == 0)  # smaller than the old cells around: take the nearest
    nearest = _by_point(source, grid, "nearest").matrix
    chosen = sparse.diags_array(np.isin(np.arange(ny * nx), empty).astype(float))
    return Points(sparse.csr_array(matrix + chosen @ nearest), grid.shape, False)
