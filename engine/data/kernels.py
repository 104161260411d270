"""Interpolation kernels along one side of a grid, as weight matrices.

Cells are aligned by their areas (an LR cell covers scale × scale HR cells). Beyond the border a field goes on with its
outermost value, or, where a side is periodic, with the values of the other end.

bicubic is the interpolating cubic B-spline of SciPy and scikit-image (`order=3`, `grid_mode=True`,
edges repeated): on ERA5 temperature it comes closer to HR than the local kernel of Keys (1981) with
a = -0.5, and so is the harder baseline.

Sources: Unser (1999), IEEE Signal Process. Mag. 16(6), 22 (cubic spline); Duchon (1979), J. Appl.
Meteor. 18, 1016 (Lanczos).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from engine.data.grids import edges

LANCZOS_LOBES = 3
SPLINE_PAD = 12  # edge cells repeated before the spline filter, as in SciPy; its memory fades as 0.27 per cell


def upsampling_matrix(n: int, scale: int, kernel: str, periodic: bool = False) -> np.ndarray:
    """Weights that interpolate n LR cells to n * scale HR cells along one side.

    Returns
    -------
    (n * scale, n) float64; each row sums to 1.
    """
    positions = (np.arange(n * scale) + 0.5) / scale - 0.5
    return kernel_weights(positions, n, kernel, periodic)


def kernel_weights(positions: np.ndarray, n: int, kernel: str, periodic: bool = False) -> np.ndarray:
    """Weigh n cells for each fractional cell number of `positions` (m,): (m, n), each row sums to 1."""
    if kernel != "bicubic" or periodic:
        weights = _dense(*kernel_taps(positions, n, kernel, periodic), n)
        return (
            weights @ ndimage.spline_filter1d(np.eye(n), axis=0, mode="grid-wrap") if kernel == "bicubic" else weights
        )
    padded = np.pad(np.eye(n), ((SPLINE_PAD, SPLINE_PAD), (0, 0)), mode="edge")
    weights = _dense(*kernel_taps(positions + SPLINE_PAD, len(padded), kernel), len(padded)) @ spline_filter(padded, 0)
    return weights / weights.sum(1, keepdims=True)


def cell_positions(targets: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Number `targets` by fractions of cells among monotonic `centres`, at most half a cell beyond the outer ones."""
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


KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {  # shape, and half its width in cells
    "nearest": (_box, 1),
    "bilinear": (_triangle, 1),
    "bicubic": (_cubic_b_spline, 2),  # on the coefficients of the spline filter
    "lanczos": (_windowed_sinc, LANCZOS_LOBES),
    "area": (_box, 1),
}
NEGATIVE_LOBES = ("bicubic", "lanczos")  # kernels with negative weights


def kernel_taps(positions: np.ndarray, n: int, kernel: str, periodic: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Give the cells within the kernel of each position and their weights, (m, 2 * half width).

    Beyond the ends stand the edge cells, again and again, or, where the side is periodic, those of the other end.
    """
    shape, half_width = KERNELS[kernel]
    cells = np.floor(positions).astype(int)[:, None] + np.arange(1 - half_width, half_width + 1)
    weights = shape(cells - positions[:, None])
    return cells % n if periodic else np.clip(cells, 0, n - 1), weights / weights.sum(1, keepdims=True)


def _dense(cells: np.ndarray, weights: np.ndarray, n: int) -> np.ndarray:
    matrix = np.zeros((len(cells), n))
    np.add.at(matrix, (np.arange(len(cells))[:, None], cells), weights)
    return matrix


def spline_filter(values: np.ndarray, axis: int) -> np.ndarray:
    """Give the coefficients of the interpolating cubic B-spline along an axis."""
    return ndimage.spline_filter1d(values, order=3, axis=axis, mode="mirror")
