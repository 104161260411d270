"""Scores of a vector, as wind: of both components together, and of its divergence and vorticity.

Fields are (time, y, x); all scores are over all values of the test part that every product has, weighted by the area of
their cells. docs/verification.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from engine.data.grid_coordinates import grid_of
from engine.data.grids import Grid, is_periodic
from engine.evaluation.products import SECOND, open_products, products_of
from engine.evaluation.score_records import Scores
from engine.evaluation.scores import score, time_blocks

EARTH_RADIUS_M = 6_371_008.8  # IUGG mean radius, Moritz (2000)
LEAST_COSINE = 1e-6  # of the latitude of a row: below it, that is at a pole, there is no east
Vector = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class VectorScores:
    """Scores of one product, in the target's unit unless said otherwise; None where there is nothing to compare.

    rmse : √ of the mean of |f - o|², f and o being vectors.
    speed_bias, speed_rmse : of |f| against |o|.
    direction_error : mean angle between f and o in degrees, weighted by |o| too, from 0 to 180.
    divergence_…, vorticity_… : per second, if the unit is m s-1; None unless the grid has rows along latitudes.
    """

    rmse: float | None = None
    speed_bias: float | None = None
    speed_rmse: float | None = None
    direction_error: float | None = None
    divergence_bias: float | None = None
    divergence_rmse: float | None = None
    vorticity_bias: float | None = None
    vorticity_rmse: float | None = None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `asdict` gives, beside which more may stand."""
        return cls(**{name: plain.get(name) for name in cls.__dataclass_fields__})


def has_second(results: xr.Dataset) -> bool:
    """True if a results file holds both components of a vector."""
    return f"hr{SECOND}" in results


def vector_scores(results_path: Path) -> dict[str, VectorScores]:
    """Compute the scores of each product of a results file; empty if it has one target."""
    with open_products(results_path) as first:
        if not has_second(first):
            return {}
        with open_products(results_path, second=True) as second:
            products = [name for name in products_of(first) if name in second]
            return _scores(first, second, products)


def with_vector(scores: Scores, results_path: Path) -> Scores:
    """Add the scores of the second component and of the vector; unchanged if there is one target."""
    if not (found := vector_scores(results_path)):
        return scores
    with open_products(results_path, second=True) as results:
        return replace(scores, second=score(results), vector=plain(found))


def _scores(first: xr.Dataset, second: xr.Dataset, products: list[str]) -> dict[str, VectorScores]:
    grid = grid_of(first["hr"])
    areas = grid.cell_areas()
    derive: Callable[..., Vector] | None = None
    if type(grid) is Grid and not grid.crs:  # of latitudes and longitudes
        derive = partial(divergence_and_vorticity, lat=grid.y, lon=grid.x, around=is_periodic(grid))
    sums = {name: _Sums() for name in products}
    names = ["hr", *products]
    for block, other in zip(time_blocks(first), time_blocks(second), strict=True):
        u, v = (np.stack([part[name].values for name in names]).astype(np.float64) for part in (block, other))
        valid = (np.isfinite(u) & np.isfinite(v)).all(axis=0)
        weights = np.where(valid, areas, 0.0)
        u, v = (np.where(valid, field, np.nan) for field in (u, v))
        for number, name in enumerate(products, 1):
            sums[name].add((u[0], v[0]), (u[number], v[number]), weights, areas, derive)
    return {name: each.scores() for name, each in sums.items()}


class _Sums:
    """Weighted sums over time of what the scores of one product are means of."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.totals: dict[str, float] = {}

    def add(
        self, hr: Vector, field: Vector, weights: np.ndarray, areas: np.ndarray, derive: Callable[..., Vector] | None
    ) -> None:
        """Add some steps; `derive` gives divergence and vorticity, or is None."""
        speed = np.hypot(*hr)
        faster = np.hypot(*field) - speed
        self._add("rmse", (field[0] - hr[0]) ** 2 + (field[1] - hr[1]) ** 2, weights)
        self._add("speed_bias", faster, weights)
        self._add("speed_rmse", faster**2, weights)
        self._add("direction_error", angle_between(hr, field), weights * np.nan_to_num(speed))
        if derive is None:
            return
        of_hr, of_field = derive(*hr), derive(*field)
        for name, expected, found in zip(("divergence", "vorticity"), of_hr, of_field, strict=True):
            error = found - expected
            at = np.where(np.isfinite(error), areas, 0.0)
            self._add(f"{name}_bias", error, at)
            self._add(f"{name}_rmse", error**2, at)

    def _add(self, name: str, values: np.ndarray, weights: np.ndarray) -> None:
        known = (weights > 0) & np.isfinite(values)
        self.sums[name] = self.sums.get(name, 0.0) + float((values[known] * weights[known]).sum())
        self.totals[name] = self.totals.get(name, 0.0) + float(weights[known].sum())

    def scores(self) -> VectorScores:
        means = {name: self.sums[name] / total for name, total in self.totals.items() if total > 0}
        return VectorScores(**{name: mean**0.5 if "rmse" in name else mean for name, mean in means.items()})


def angle_between(one: Vector, other: Vector) -> np.ndarray:
    """Compute the angle between vectors in degrees, 0 to 180; NaN where one of them has no length."""
    dot = one[0] * other[0] + one[1] * other[1]
    cross = one[0] * other[1] - one[1] * other[0]
    angle = np.degrees(np.abs(np.arctan2(cross, dot)))
    return np.where((np.hypot(*one) > 0) & (np.hypot(*other) > 0), angle, np.nan)


def divergence_and_vorticity(u: np.ndarray, v: np.ndarray, lat: np.ndarray, lon: np.ndarray, around: bool) -> Vector:
    """Compute divergence and vertical vorticity on the sphere by differences of the cells on both sides.

    div = (∂u/∂λ + ∂(v cos φ)/∂φ) / (a cos φ), ζ = (∂v/∂λ - ∂(u cos φ)/∂φ) / (a cos φ).

    Parameters
    ----------
    u, v : eastward and northward (…, y, x).
    lat, lon : of rows and columns, in degrees, in either order.
    around : the last column lies beside the first one.

    Returns
    -------
    (…, y, x) each, in the unit of u per metre; NaN in the outermost rows and columns (if not around), at a pole, and
    beside missing cells.

    Source: Holton and Hakim (2013), An Introduction to Dynamic Meteorology, 5th ed., section 2.3, metric terms; as
    MetPy's `divergence` and `vorticity`.
    """
    phi, lam = np.radians(lat), np.radians(lon)
    cosine = np.cos(phi)[:, None]
    scale = EARTH_RADIUS_M * np.where(cosine > LEAST_COSINE, cosine, np.nan)
    along_lon, along_lat = _differences(lam, -1, around), _differences(phi, -2, False)
    divergence = (along_lon(u) + along_lat(v * cosine)) / scale
    vorticity = (along_lon(v) - along_lat(u * cosine)) / scale
    return divergence, vorticity


def _differences(at: np.ndarray, axis: int, around: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Make the central difference along an axis whose cells are at `at`, for second order also of uneven spacing."""
    step = np.full(len(at), np.nan)
    step[1:-1] = at[2:] - at[:-2]
    if around:
        step[[0, -1]] = 2 * np.mean(np.diff(at))
    step = step[:, None] if axis == -2 else step

    def difference(field: np.ndarray) -> np.ndarray:
        return (np.roll(field, -1, axis) - np.roll(field, 1, axis)) / step

    return difference


def rows_of(scores: Mapping[str, VectorScores]) -> list[list[str]]:
    """Format a table of the scores of each product, its heading first."""
    names = list(VectorScores.__dataclass_fields__)
    texts = [[getattr(each, name) for name in names] for each in scores.values()]
    numbers = [["" if number is None else f"{number:.4g}" for number in row] for row in texts]
    return [["vector", *names], *([product, *row] for product, row in zip(scores, numbers, strict=True))]


def plain(scores: Mapping[str, VectorScores]) -> dict[str, dict[str, float | None]]:
    return {name: asdict(each) for name, each in scores.items()}
