"""Scores of forecasts by lead time, as the verification.nc of compared runs has them; no widget, no plot."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from app.services.comparison import Comparison
from engine.data.forecasts import LEAD, START
from engine.evaluation.lead_times import climate_note, names_of, over_all_leads

SHOWN = {"rmse": "RMSE", "mean_rmse": "RMSE of the mean", "crps": "CRPS", "spread_error": "spread / error"}
SIMPLE = ("interpolated", "climatology")


@dataclass(frozen=True)
class LeadScores:
    """Scores of `SHOWN` by lead time of simple products of the first forecast, and of each run by its letter.

    curves : score → product → lead time in days and value, both (lead,); over_all : product → score → mean over leads.
    note : on lead times that are climate; unverified : runs of which `engine verify` would give these scores.
    """

    curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    over_all: dict[str, dict[str, float]] = field(default_factory=dict)
    note: str = ""
    unverified: tuple[str, ...] = ()


def lead_scores(comparison: Comparison) -> LeadScores:
    """Read them; empty where no run is of a forecast."""
    curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    over_all: dict[str, dict[str, float]] = {}
    unverified, note = [], ""
    for result in comparison.results:
        stored = result.verification
        if stored is None or "lead" not in stored:
            if {START, LEAD} <= set(result.data["hr"]["time"].coords):
                unverified.append(result.run.id)
            continue
        simple = [name for name in SIMPLE if not over_all and name in stored["product"].values]
        means = over_all_leads(stored)
        for key, product in [*zip(simple, simple, strict=True), (result.letter, "downscaled")]:
            over_all[key] = means[product]
            for name in names_of(stored):
                if name in SHOWN:
                    of_product = stored[f"lead_{name}"].sel(product=product)
                    curves.setdefault(name, {})[key] = (stored["lead"].values, of_product.values)
        note = note or climate_note(stored["lead"].values)
    return LeadScores({name: curves[name] for name in SHOWN if name in curves}, over_all, note, tuple(unverified))
