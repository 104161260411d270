"""Differences of errors between compared runs and a reference, by score and season; no widget, no plot."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from app.services.comparison import Comparison
from app.services.conditions import ALL
from app.services.verification import missing_reason
from engine.evaluation.conditions import SEASONS

ERRORS = {  # → 0 where a product equals HR
    "RMSE": lambda of_product: of_product["area_rmse"],
    "MAE": lambda of_product: of_product["area_mae"],
    "bias": lambda of_product: abs(of_product["area_bias"]),
    "1 − correlation": lambda of_product: 1 - of_product["area_pearson"],
    "std ratio": lambda of_product: abs(1 - of_product["area_std_ratio"]),
}


@dataclass(frozen=True)
class Scorecard:
    """Relative change of errors, (error - that of the reference) / that of the reference; NaN where it has none.

    changes : letter → (error, season); `reference` : a simple method, or a letter; `offered` : all that can be one.
    """

    changes: dict[str, xr.DataArray] = field(default_factory=dict)
    reference: str = ""
    offered: tuple[str, ...] = ()
    reason: str = ""


def scorecard(comparison: Comparison, reference: str = "") -> Scorecard:
    """Compare each run with a reference; '' for the simple method of the least RMSE."""
    if reason := missing_reason(comparison):
        return Scorecard(reason=reason)
    stored = {r.letter: r.verification for r in comparison.results if r.verification is not None}  # of all
    seasons = [
        name for name in SEASONS if any(bool(v["compared_steps"].sel(season=name).any()) for v in stored.values())
    ]
    seasons = [ALL, *seasons] if len(seasons) > 1 else [ALL]  # a single season has all steps
    first = stored[comparison.first.letter]
    simple = [str(product) for product in first["product"].values if product != "downscaled"]
    errors = {product: _errors(first, product, seasons) for product in simple}
    best = min(simple, key=lambda product: float(errors[product].sel(error="RMSE", season=ALL)))
    errors |= {letter: _errors(verification, "downscaled", seasons) for letter, verification in stored.items()}
    chosen = reference if reference in errors else best
    of_reference = errors[chosen].where(errors[chosen] > 0)
    changes = {letter: errors[letter] / of_reference - 1 for letter in stored if letter != chosen}
    return Scorecard(changes, chosen, tuple(errors))


def _errors(verification: xr.Dataset, product: str, seasons: list[str]) -> xr.DataArray:
    """(error, season)."""
    of_product = verification.sel(product=product, season=seasons)
    rows = {name: read(of_product) for name, read in ERRORS.items()}
    if "quantile_bias" in of_product:
        for level in of_product["quantile"].values:
            rows[f"{100 * level:g} % quantile"] = abs(of_product["quantile_bias"].sel(quantile=level))
    values = np.stack([row.values for row in rows.values()])
    return xr.DataArray(values, {"error": list(rows), "season": seasons}, ("error", "season"))
