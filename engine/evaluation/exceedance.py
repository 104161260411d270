"""Exceedance of thresholds: is the product above a threshold where and when HR is, and within which distance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from engine.data.grid_coordinates import grid_of
from engine.errors import DataError
from engine.evaluation.moments import ratio
from engine.evaluation.products import products_of
from engine.evaluation.scores import time_blocks
from engine.evaluation.tables import aligned

WINDOWS = (1, 3, 5, 9, 17, 33)  # cells along a side
CONTINGENCY = ("pod", "far", "csi", "frequency_bias")
Fractions = list[np.ndarray]


def exceedance(
    results: xr.Dataset,
    thresholds: Sequence[float],
    windows: Sequence[int] = WINDOWS,
    cells: np.ndarray | bool = True,
) -> xr.Dataset:
    """Score events, values at or above a threshold, over all time steps.

    Parameters
    ----------
    results : hr, interpolated, downscaled (time, y, x), as in results/test.nc, and baselines, if there are any. Values
        are compared where all are there, and weighted by the area of their cells.
    thresholds : in the unit of HR.
    windows : odd numbers of cells; those wider than the grid are left out.
    cells : (y, x) whether a cell is compared.

    Returns
    -------
    pod, far, csi, frequency_bias (product, threshold): hits / (hits + misses), false alarms / (hits + false alarms),
    hits / (hits + misses + false alarms), (hits + false alarms) / (hits + misses); Wilks (2019), section 8.2.
    hr_share (threshold): events in HR, as a share of all that is compared.
    fss (product, threshold, window): fractions skill score, 1 - Σ(F - O)² / (ΣF² + ΣO²), where F and O are the shares
    of events among the compared cells of a window; over all windows of all steps that lie in the grid and have a
    compared cell in their middle, all of equal weight. Roberts and Lean (2008), Mon. Wea. Rev. 136, 78, eq. 5 to 7.
    `cell_size` is in km. Scores are NaN where they aren't defined.

    Raises
    ------
    DataError
        If a threshold isn't finite.
    """
    if not np.isfinite(thresholds).all():
        raise DataError(f"the thresholds are {list(thresholds)}", hint="expected finite numbers")
    products, limits = products_of(results), np.array(thresholds, results["hr"].dtype)  # 0.7 is as stored in the file
    grid = grid_of(results["hr"])
    sides = [side for side in windows if side <= min(grid.shape)]
    areas = grid.cell_areas()
    table = np.zeros((3, len(products), len(limits)))  # areas of hits, of events in the product, of events in HR
    squares = np.zeros((2, len(products), len(limits), len(sides)))  # Σ(F - O)², ΣF² + ΣO²
    compared = 0.0
    for block in time_blocks(results):
        fields = np.stack([block[name].values for name in ("hr", *products)])
        valid = np.isfinite(fields).all(axis=0) & cells
        weights = np.where(valid, areas, 0)
        compared += float(weights.sum())
        counts = _window_counts(valid, sides)
        for number, limit in enumerate(limits):
            hr, *others = (fields >= limit) & valid
            fractions = _fractions(hr, sides, counts)
            for product, event in enumerate(others):
                of_cells = (hr & event, event, hr)
                table[:, product, number] += [weights[chosen].sum() for chosen in of_cells]
                for k, (f, o) in enumerate(zip(_fractions(event, sides, counts), fractions, strict=True)):
                    squares[:, product, number, k] += ((f - o) ** 2).sum(), (f**2).sum() + (o**2).sum()
    hits, forecast, observed = table
    scores = {
        "pod": ratio(hits, observed),
        "far": ratio(forecast - hits, forecast),
        "csi": ratio(hits, forecast + observed - hits),
        "frequency_bias": ratio(forecast, observed),
    }
    return xr.Dataset(
        {
            **{name: (("product", "threshold"), values) for name, values in scores.items()},
            "hr_share": ("threshold", ratio(observed[0], np.full(len(limits), compared))),
            "fss": (("product", "threshold", "window"), 1 - ratio(*squares)),
        },
        {"product": list(products), "threshold": np.array(thresholds, float), "window": sides},
        {"units": str(results["hr"].attrs.get("units", "")), "cell_size": grid.cell_size_km()},
    )


def summary(events: xr.Dataset) -> dict[str, dict[str, dict[str, float]]]:
    """Give the scores of `exceedance`: {threshold: {product: {score: value}}}, NaN where there is none."""
    return {
        f"{threshold:.15g}": {
            str(product): _numbers(events.sel(threshold=threshold, product=product))
            for product in events["product"].values
        }
        for threshold in events["threshold"].values
    }


def table_of(events: xr.Dataset) -> list[list[str]]:
    """Rows of texts, heads first; fractions skill scores by the width of the window in cells."""
    rows: list[list[str]] = []
    for threshold, products in summary(events).items():
        for product, numbers in products.items():
            rows = rows or [["threshold", "product", *numbers]]
            rows.append([threshold, product, *("–" if n != n else f"{n:.3f}" for n in numbers.values())])
    return rows


def title_of(events: xr.Dataset) -> str:
    """Say what the table is of."""
    return f"values at or above a threshold; fss of windows in cells of {events.attrs['cell_size']:.3g} km"


def to_text(events: xr.Dataset) -> str:
    """Format the scores as a table."""
    return "\n".join([f"{title_of(events)}:", aligned(table_of(events))])


def _numbers(of_product: xr.Dataset) -> dict[str, float]:
    skill = {f"fss_{side}": float(of_product["fss"].sel(window=side)) for side in of_product["window"].values}
    return {name: float(of_product[name]) for name in CONTINGENCY} | skill


def _window_counts(valid: np.ndarray, sides: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Count the compared cells of each window, and whether its middle is one: both as `_sums`, for each side."""
    counts = []
    for side, count in zip(sides, _sums(valid, sides), strict=True):
        edge = side // 2
        counts.append((count, valid[:, edge : edge + count.shape[1], edge : edge + count.shape[2]]))
    return counts


def _fractions(event: np.ndarray, sides: Sequence[int], counts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Fractions:
    """Shares of events among the compared cells of windows with a compared middle: (windows,) for each side."""
    sums = _sums(event, sides)
    return [each[middle] / count[middle] for each, (count, middle) in zip(sums, counts, strict=True)]


def _sums(chosen: np.ndarray, sides: Sequence[int]) -> list[np.ndarray]:
    """Count the chosen cells (time, y, x) of each window in the grid: (time, y - side + 1, x - side + 1) by side.

    By a summed-area table: Crow (1984), Comput. Graph. 18, 207.
    """
    table = np.pad(chosen.cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32), ((0, 0), (1, 0), (1, 0)))
    return [table[:, n:, n:] - table[:, :-n, n:] - table[:, n:, :-n] + table[:, :-n, :-n] for n in sides]
