"""Functions of time series at each cell, applied to some cells at a time, so that their copies stay small."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

VALUES_AT_ONCE = 4_000_000  # 32 MB as float64


def by_cells(compute: Callable[..., np.ndarray], *fields: np.ndarray) -> np.ndarray:
    """Apply a function to columns of fields (step, cell): returns its (…, cell) of all cells."""
    steps, cells = fields[0].shape
    width = max(1, VALUES_AT_ONCE // max(1, steps))
    starts = range(0, max(cells, 1), width)
    return np.concatenate([compute(*(field[:, start : start + width] for field in fields)) for start in starts], -1)
