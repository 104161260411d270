"""Vectors from each cell to the next ones of its grid, on the sphere or in the plane of a projection."""

from __future__ import annotations

import numpy as np

from engine.data.grids import CurvilinearGrid, Grid, is_periodic
from engine.data.spherical_cells import to_vectors

CHANNELS = 4  # to the next column: east, north; to the next row: east, north


def cell_vectors(grid: Grid) -> np.ndarray:
    """Compute vectors to the next column and row, in units of the mean side of a cell: (y, x, CHANNELS) float32.

    On the sphere they are central differences of the centres, in the plane that touches it at the cell, along its
    parallel and meridian, of a rotated pole those of its own coordinates; on a projected grid differences of x and y.
    At borders they are one-sided, but around the globe.
    """
    if grid.is_spherical or isinstance(grid, CurvilinearGrid):
        lon, lat = grid.lonlat() if isinstance(grid, CurvilinearGrid) else np.meshgrid(grid.x, grid.y)
        vectors = _on_the_sphere(lon, lat, is_periodic(grid))
    else:
        y, x = (_differences(grid.axis(side), 0) for side in "yx")
        vectors = np.zeros((*grid.shape, CHANNELS))
        vectors[..., 0], vectors[..., 3] = x[None, :], y[:, None]
    areas = np.abs(vectors[..., 0] * vectors[..., 3] - vectors[..., 1] * vectors[..., 2])
    return (vectors / np.sqrt(areas.mean() or 1.0)).astype(np.float32)


def _on_the_sphere(lon: np.ndarray, lat: np.ndarray, periodic: bool) -> np.ndarray:
    centres = to_vectors(lon, lat)
    around = np.concatenate([centres[:, -1:], centres, centres[:, :1]], axis=1) if periodic else centres
    along_x = _differences(around, 1)[:, 1:-1] if periodic else _differences(centres, 1)
    lon, lat = np.deg2rad(lon), np.deg2rad(lat)
    east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], -1)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], -1)
    along = (along_x, _differences(centres, 0))
    return np.stack([(vector * side).sum(-1) for vector in along for side in (east, north)], axis=-1)


def _differences(centres: np.ndarray, axis: int) -> np.ndarray:
    """Central differences along an axis; zero where there is one cell."""
    return np.gradient(centres, axis=axis) if centres.shape[axis] > 1 else np.zeros_like(centres)
