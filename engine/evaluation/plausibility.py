"""Physical plausibility of products: negative values, values beyond all of HR, and whether area means are LR."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from engine.data.grid_coordinates import grid_of
from engine.data.grids import Grid
from engine.evaluation.moments import ratio
from engine.evaluation.products import products_of
from engine.evaluation.scores import lr_difference, time_blocks
from engine.evaluation.tables import aligned

NUMBERS = {
    "lowest": "lowest",
    "highest": "highest",
    "negative": "negative",
    "below_hr": "below all of HR",
    "above_hr": "above all of HR",
    "lr_difference": "area mean − LR",
}


def plausibility(results: xr.Dataset) -> dict[str, dict[str, float]]:
    """Compute {product: {number: value}} over all values, HR first.

    Returns
    -------
    lowest, highest : in the unit of the field.
    negative : share of values below 0; NaN where HR has such values itself.
    below_hr, above_hr : shares of values below the lowest, and above the highest value of HR.
    lr_difference : root mean square, over LR cells and steps, of the area mean of the cells of an LR cell minus its LR
        value; with mos, LR is of another model.
    """
    products = ("hr", *products_of(results))
    grid = grid_of(results["hr"])
    scale, areas = _lr_cells(results, grid)
    low, high = (np.full(len(products), edge) for edge in (np.inf, -np.inf))
    n, below_zero, squares, lr_cells = (np.zeros(len(products)) for _ in range(4))
    for block in time_blocks(results):
        for k, name in enumerate(products):
            values = block[name].values[np.isfinite(block[name].values)]
            if values.size:
                low[k], high[k] = min(low[k], values.min()), max(high[k], values.max())
            n[k] += values.size
            below_zero[k] += (values < 0).sum()
            if scale:
                error = lr_difference(block, areas, scale, name)
                squares[k] += np.nansum(error**2)
                lr_cells[k] += np.isfinite(error).sum()
    beyond = np.zeros((2, len(products)))
    for block in time_blocks(results):
        fields = np.stack([block[name].values for name in products])
        beyond += [(fields < low[0]).sum(axis=(1, 2, 3)), (fields > high[0]).sum(axis=(1, 2, 3))]
    numbers = {
        "lowest": np.where(n > 0, low, np.nan),
        "highest": np.where(n > 0, high, np.nan),
        "negative": ratio(below_zero, n) if not below_zero[0] else np.full(len(products), np.nan),
        "below_hr": ratio(beyond[0], n),
        "above_hr": ratio(beyond[1], n),
        "lr_difference": np.sqrt(ratio(squares, lr_cells)),
    }
    return {product: {name: float(values[k]) for name, values in numbers.items()} for k, product in enumerate(products)}


def table_of(found: dict[str, dict[str, float]], units: str) -> list[list[str]]:
    """Rows of texts, heads first; shares in percent."""
    in_unit = ("lowest", "highest", "lr_difference")
    rounding = 1e-6 * max(abs(found["hr"]["lowest"]), abs(found["hr"]["highest"]))  # single precision

    def text(name: str, value: float) -> str:
        if value != value:
            return "–"
        if name == "lr_difference" and value < rounding:
            return "0"
        return f"{value:.4g}" if name in in_unit else f"{100 * value:.3g}"

    heads = [f"{label} ({units if name in in_unit else '%'})" for name, label in NUMBERS.items()]
    rows = [[product, *(text(*number) for number in numbers.items())] for product, numbers in found.items()]
    return [["", *heads], *rows]


def to_text(found: dict[str, dict[str, float]], units: str) -> str:
    """Format the numbers as a table."""
    return "\n".join(["plausibility:", aligned(table_of(found, units))])


def _lr_cells(results: xr.Dataset, grid: Grid) -> tuple[int, np.ndarray]:
    """Scale, and areas of the HR cells of all LR cells, 0 beyond HR; scale 0 where the results have no LR."""
    if "lr" not in results:
        return 0, np.zeros(grid.shape)
    scale = math.ceil(grid.shape[0] / results["lr"].shape[1])
    areas = np.zeros([scale * side for side in results["lr"].shape[1:]])
    areas[: grid.shape[0], : grid.shape[1]] = grid.cell_areas()
    return scale, areas
