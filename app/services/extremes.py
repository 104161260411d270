"""Indices of extremes and plausibility of compared runs; no widget, no plot."""

from __future__ import annotations

from dataclasses import dataclass, field

import xarray as xr

from app.services.comparison import Comparison
from engine.errors import DataError
from engine.evaluation import extremes, plausibility

INDICES, PLAUSIBILITY = "HR and bias", "plausibility"


@dataclass(frozen=True)
class Extremes:
    """Tables of texts by name, heads first, each row named by a product or letter; maps by index and product; notes.

    biases : index → 'interpolated' of the first run, and letter of each run that has it → (y, x).
    """

    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    biases: dict[str, dict[str, xr.DataArray]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def extremes_of(comparison: Comparison) -> Extremes:
    """Compute the indices of the whole test part of each run, against its own HR."""
    tables: dict[str, list[list[str]]] = {}
    biases: dict[str, dict[str, xr.DataArray]] = {}
    notes = []
    for result in comparison.results:
        products = result.products
        numbers = plausibility.table_of(plausibility.plausibility(products), result.units)
        _add(tables, PLAUSIBILITY, numbers, result.letter)
        if not extremes.kind_of(products["hr"].attrs):
            continue
        try:
            found = extremes.extremes(products)
        except DataError as error:
            notes.append(f"{result.letter} has no indices of extremes: {error}.")
            continue
        notes.append(f"{result.letter}: {extremes.period_of(found)}.")
        _add(tables, INDICES, extremes.table_of(found), result.letter)
        for name in map(str, found["index"].values):
            bias = extremes.bias_of(found, name)
            for product, key in (("interpolated", "interpolated"), ("downscaled", result.letter)):
                if product == "downscaled" or result is comparison.first:
                    on_map = result.rmse(product).copy(data=bias.sel(product=product).values)
                    biases.setdefault(name, {})[key] = on_map
    maps = {name: of_index for name, of_index in biases.items() if "interpolated" in of_index}
    return Extremes({name: tables[name] for name in (INDICES, PLAUSIBILITY) if name in tables}, maps, tuple(notes))


def _add(tables: dict[str, list[list[str]]], name: str, rows: list[list[str]], letter: str) -> None:
    """Add the downscaled field's row, and of the first run all: columns that another lacks are dashes."""
    table = tables.setdefault(name, [rows[0]])
    is_first = len(table) == 1
    for key, *values in sorted(rows[1:], key=lambda row: row[0] == "downscaled"):  # runs below simple methods
        if is_first or key == "downscaled":
            by_head = dict(zip(rows[0][1:], values, strict=True))
            shown = "HR" if key == "hr" else letter if key == "downscaled" else key
            table.append([shown, *(by_head.get(heading, "–") for heading in table[0][1:])])
