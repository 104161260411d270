"""Missing values of fields, filled from the nearest cells."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage


def fill_missing(values: np.ndarray, periodic: bool = False) -> np.ndarray:
    """Give each missing cell the value of the nearest cell that has one, step by step.

    Parameters
    ----------
    values : (time, y, x); NaN = missing.
    periodic : the last column lies beside the first one.

    Returns
    -------
    (time, y, x), a new array, same type; a step without any value stays missing.
    """
    missing = np.isnan(values)
    filled = values.copy()
    for step in np.flatnonzero(missing.any((1, 2)) & ~missing.all((1, 2))):
        rows, columns = _nearest_valid(np.packbits(missing[step]).tobytes(), missing.shape[1:], periodic)
        filled[step] = values[step][rows, columns]
    return filled


@lru_cache(maxsize=64)
def _nearest_valid(packed: bytes, shape: tuple[int, int], periodic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Find row and column of the nearest cell with a value, (y, x) each, for a mask of missing cells as bits."""
    missing = np.unpackbits(np.frombuffer(packed, np.uint8), count=shape[0] * shape[1]).reshape(shape)
    beside = (shape[1] + 1) // 2 if periodic else 0  # columns: no cell is farther away than half the way round
    wide = np.pad(missing, ((0, 0), (beside, beside)), mode="wrap")
    rows, columns = ndimage.distance_transform_edt(wide, return_distances=False, return_indices=True)
    middle = slice(beside, beside + shape[1])
    return rows[:, middle], (columns[:, middle] - beside) % shape[1]
