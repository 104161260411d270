"""Pairs in memory, on grids so small that numbers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from engine.data.grid_coordinates import grid_of
from engine.data.grids import LATITUDE, LONGITUDE
from engine.data.pairs import Pairs
from engine.data.resample import coarsen
from engine.data.times import Parts
from tests.engine.data.mock import steps


def make_pairs(
    hr: np.ndarray,
    *,
    lr: np.ndarray | None = None,
    predictors: Sequence[np.ndarray] = (),
    static: Sequence[np.ndarray] = (),
    scale: int = 2,
    times: Any = None,
    parts: tuple[Sequence[int], Sequence[int], Sequence[int]] | None = None,
    interpolation: str = "bicubic",
    standard_name: str = "",
    is_global: bool = False,
) -> Pairs:
    """Pairs of (time, y, x) on cells of 1° from the equator on; the first half trains, a quarter each for the rest.

    is_global : columns go around the globe instead.

    `lr` and `predictors` are (time, y // scale, x // scale), `static` (y, x); without `lr` it is HR coarsened.
    """
    n, ny, nx = hr.shape
    time = {"time": steps(n) if times is None else times}
    width = 360 / nx if is_global else 1.0
    field = _field(hr, {**time, "y": 0.5 + np.arange(ny), "x": (0.5 + np.arange(nx)) * width}, "t2m", standard_name)
    field["y"].attrs, field["x"].attrs = dict(LATITUDE), dict(LONGITUDE)
    grid = grid_of(field)
    lr_grid = grid.coarsen(scale)
    at_lr = {**time, "y": lr_grid.y, "x": lr_grid.x}
    n_train, n_validation = n // 2, n // 4
    bounds = (range(n_train), range(n_train, n_train + n_validation), range(n_train + n_validation, n))
    return Pairs(
        hr=field,
        lr=coarsen(field, scale) if lr is None else _field(lr, at_lr, "t2m"),
        given_lr=None,
        predictors=tuple(_field(values, at_lr, f"p{k}") for k, values in enumerate(predictors)),
        static=tuple(_field(values, {"y": grid.y, "x": grid.x}, f"s{k}") for k, values in enumerate(static)),
        hr_grid=grid,
        lr_grid=lr_grid,
        data_shape=(ny, nx),
        scale=scale,
        interpolation=interpolation,
        parts=Parts(*(np.array(part, int) for part in parts or bounds)),
        notes=(),
    )


def waves(n: int = 16, ny: int = 8, nx: int = 8, *, seed: int = 0) -> np.ndarray:
    """(time, y, x) waves that wander from step to step, plus noise."""
    rng = np.random.default_rng(seed)
    time, y, x = np.ogrid[:n, :ny, :nx]
    return (280 + np.sin(y / 2 + time) + np.cos(x / 3 + time / 2) + 0.3 * rng.normal(size=(n, ny, nx))).astype("f4")


def _field(values: np.ndarray, coords: dict[str, Any], name: str, standard_name: str = "") -> xr.DataArray:
    attrs = {"units": "K", **({"standard_name": standard_name} if standard_name else {})}
    return xr.DataArray(np.asarray(values, np.float32), coords, tuple(coords), name, attrs)
