"""Interpolation, coarsening and regridding: the one place where fields change their grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from engine.data.gaps import fill_missing
from engine.data.grid_coordinates import GRID_MAPPING, coordinates_of, grid_of
from engine.data.grids import Grid, edges, is_periodic, spacing
from engine.data.kernels import NEGATIVE_LOBES, cell_positions, kernel_weights, upsampling_matrix
from engine.data.lazy import apply_lazily
from engine.data.regrid_weights import MARGIN, PointWeights, SideWeights, centres_in, weights_between
from engine.errors import GridError

SHORT = 0.05  # of a cell that a field may end before the outermost centre, which then takes its outermost value
MIN_COVERAGE = 1e-4  # of a new cell's weight: less is rounding


def interpolate(lr: np.ndarray, scale: int, kernel: str, periodic: bool = False) -> np.ndarray:
    """Interpolate LR fields to HR.

    Parameters
    ----------
    lr : (…, y, x), no missing values (see `fill_missing`): a missing value spreads over its surroundings.
    scale : HR cells per LR cell along each side.
    kernel : nearest, bilinear, bicubic, lanczos or area (the same as nearest here).
    periodic : the last column lies beside the first one.

    Returns
    -------
    (…, y * scale, x * scale) float32.
    """
    rows = upsampling_matrix(lr.shape[-2], scale, kernel).astype(np.float32)
    columns = upsampling_matrix(lr.shape[-1], scale, kernel, periodic).astype(np.float32)
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
    grid = grid_of(field)
    return _on_grid(field, grid.coarsen(scale), coarsening(grid, scale, kernel, areas))


def coarsening(
    grid: Grid, scale: int, kernel: str = "area", areas: np.ndarray | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Make the function that coarsens values (…, y, x) on a grid, as `coarsen` does."""
    if kernel == "area":
        weights = grid.cell_areas() if areas is None else areas
        return lambda values: _block_mean(values, weights, scale)
    sampling, coverage = (_at_lr_centres(grid, scale, kind) for kind in (kernel, _coverage_kernel(kernel)))
    return Resampling(sampling, coverage, kernel in NEGATIVE_LOBES, is_periodic(grid))


def regrid(
    field: xr.DataArray, grid: Grid, method: str, needed: Grid | None = None, beyond: float = SHORT
) -> xr.DataArray:
    """Bring a field onto the centres of any other grid.

    Parameters
    ----------
    field : (…, y, x) on any rectilinear grid of its own; missing values are left out.
    grid : where to: latitude and longitude in either convention, or another projection.
    method : nearest, bilinear, bicubic, lanczos, or area (mean over each new cell).
    needed : centres that must lie within the field's cells; those of `grid` when None. Beyond, the field
        goes on with its outermost value.
    beyond : cells of the field that needed centres may lie outside of it.

    Returns
    -------
    (…, y, x) on `grid`, same unit, lazy; missing where no old cell that contributes has a value.

    Raises
    ------
    GridError
        If a needed centre lies outside the field's cells, or a projection can't be read.
    """
    check_covers(grid_of(field), needed or grid, str(field.name), beyond)
    field = _crop_to(field, grid)
    source = grid_of(field)
    weights, coverage = (weights_between(source, grid, kind) for kind in (method, _coverage_kernel(method)))
    return _on_grid(field, grid, Resampling(weights, coverage, method in NEGATIVE_LOBES, is_periodic(source)))


def check_covers(source: Grid, grid: Grid, name: str, beyond: float = 0.0) -> None:
    """Raise GridError unless each centre of `grid` lies in a cell of `source`, or so many cells outside."""
    for targets, centres in zip(centres_in(source, grid), (source.axis("y"), source.axis("x")), strict=True):
        borders = edges(centres)
        slack = 1e-6 * abs(borders[-1] - borders[0]) + beyond * spacing(centres)
        if targets.min() < borders.min() - slack or targets.max() > borders.max() + slack:
            raise GridError(
                f"{name} covers {source.extent()}, but {grid.extent()} is needed",
                action="crop with data.region to where both have data, or choose a file that covers the region",
            )


@dataclass(frozen=True)
class Resampling:
    """Function that brings fields (…, y, x) onto a new grid and leaves missing values out.

    `coverage` has no negative weights and is the share of a new cell that is known. Where `weights` are the same, they
    are renormalised; with negative lobes that could divide by zero, so gaps are filled from the nearest cells first.
    """

    weights: SideWeights | PointWeights
    coverage: SideWeights | PointWeights
    has_negative_lobes: bool
    periodic: bool  # the last old column lies beside the first one

    def __call__(self, values: np.ndarray) -> np.ndarray:
        valid = np.isfinite(values)
        if valid.all():
            return self.weights.apply(values)
        share = self.coverage.apply(valid.astype(values.dtype))
        known = share > MIN_COVERAGE
        if self.has_negative_lobes:
            filled = fill_missing(values.reshape(-1, *values.shape[-2:]), self.periodic).reshape(values.shape)
            new = self.weights.apply(filled)
        else:
            new = self.weights.apply(np.where(valid, values, 0)) / np.where(known, share, 1)
        return np.where(known, new, np.nan).astype(values.dtype)


def _crop_to(field: xr.DataArray, grid: Grid) -> xr.DataArray:
    """Select the part that `grid` needs, so that no more is read; all longitudes where that crosses their seam."""
    source = grid_of(field)
    margin = MARGIN + int(grid.cell_size_km() / source.cell_size_km())
    parts = {}
    for side, targets in zip(("y", "x"), centres_in(source, grid), strict=True):
        cells = cell_positions(targets, source.axis(side))
        first, last = int(cells.min()) - margin, int(cells.max()) + margin + 1
        if side == "x" and is_periodic(source) and (first < 0 or last > len(source.x)):
            continue
        parts[side] = slice(max(first, 0), last)
    return field.isel(parts)


def _coverage_kernel(kernel: str) -> str:
    return "bilinear" if kernel in NEGATIVE_LOBES else kernel


def _at_lr_centres(grid: Grid, scale: int, kernel: str) -> SideWeights:
    """Weigh HR cells to sample a field at the LR centres."""
    centres = [np.arange(0, n, scale) + (scale - 1) / 2 for n in grid.shape]
    sides = zip(centres, grid.shape, (False, is_periodic(grid)), strict=True)
    rows, columns = (kernel_weights(p, n, kernel, periodic) for p, n, periodic in sides)
    return SideWeights(rows, columns)


def _on_grid(field: xr.DataArray, grid: Grid, change: Callable[[np.ndarray], np.ndarray]) -> xr.DataArray:
    """Apply `change` to each step (…, y, x), when it is read."""
    return apply_lazily(field.drop_vars(GRID_MAPPING, errors="ignore"), change, coordinates_of(grid))


def _block_mean(values: np.ndarray, weights: np.ndarray, scale: int) -> np.ndarray:
    """Average the cells with a value by `weights` (y, x): (…, y, x) → (…, y / scale, x / scale)."""
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
