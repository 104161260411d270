"""Scores of a forecast by lead time: of each member by itself, of the members' mean, and of the members together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import xarray as xr

from engine.data.forecasts import LEAD, LEAD_UNITS, MEMBER, START
from engine.data.times import in_blocks
from engine.evaluation.ensemble import fair_crps, mean_and_spread
from engine.evaluation.moments import ratio
from engine.evaluation.tables import aligned

WEATHER_DAYS = 14  # how far weather can be predicted at most: Zhang et al. (2019), J. Atmos. Sci. 76, 1077
LABELS = {
    "rmse": "root-mean-square error of each member",
    "mae": "mean absolute error of each member",
    "bias": "bias of each member",
    "mean_rmse": "root-mean-square error of the members' mean",
    "crps": "fair CRPS of the members",
    "spread_error": "spread of the members over the error of their mean",
}


@dataclass(frozen=True)
class Leads:
    """Lead time of each step, and the steps that are members of one forecast: of one start at one lead time.

    days : (lead,) lead times, ascending; of_step : (time,) numbers of them; forecast : (time,) numbers of forecasts.
    members : of the largest forecast.
    """

    days: np.ndarray
    of_step: np.ndarray
    forecast: np.ndarray
    members: int

    @classmethod
    def of(cls, times: xr.DataArray) -> Self | None:
        """Find them in the coordinates of a results file; None where it is no forecast."""
        if START not in times.coords or LEAD not in times.coords or not times.size:
            return None
        days, of_step = np.unique(_in_days(times[LEAD]), return_inverse=True)
        _, of_start = np.unique(times[START].values, return_inverse=True)
        _, forecast, sizes = np.unique(of_start * len(days) + of_step, return_inverse=True, return_counts=True)
        return cls(days, of_step, forecast, int(sizes.max()) if MEMBER in times.coords else 1)

    def blocks(self, shape: tuple[int, ...], cells: int) -> Iterator[np.ndarray]:
        """Cut the steps into blocks of whole forecasts of about so many cells; `shape` is that of one step."""
        order = np.argsort(self.forecast, kind="stable")
        for some in in_blocks(np.arange(self.forecast.max() + 1), (self.members, *shape), cells):
            yield np.sort(order[np.isin(self.forecast[order], some)])

    @property
    def coordinate(self) -> tuple[str, np.ndarray, dict[str, str]]:
        """Coordinate `lead` of a dataset; with "d", which xarray doesn't decode to durations as it does "days"."""
        return "lead", self.days, {"standard_name": LEAD, "long_name": "lead time", "units": "d"}


class LeadSums:
    """Sums over forecasts of the scores of members, (product, lead) each; a cell counts by its area."""

    def __init__(self, leads: Leads, products: int):
        self.leads = leads
        self.area = np.zeros(len(leads.days))
        self.crps, self.variance, self.squares = np.zeros((3, products, len(leads.days)))

    def add(self, rows: np.ndarray, fields: np.ndarray, compared: np.ndarray) -> None:
        """Add whole forecasts.

        rows : (n,) steps; fields : (1 + product, n, y, x), HR first; compared : (n, y, x) areas, 0 where not compared.

        Members without any value are left out; of the others, cells count where all have one. A forecast with one
        member has no such scores.
        """
        for forecast in np.unique(self.leads.forecast[rows]):
            chosen = np.flatnonzero((self.leads.forecast[rows] == forecast) & (compared > 0).any(axis=(1, 2)))
            many = len(chosen)
            if many < 2:
                continue
            areas = compared[chosen].min(axis=0)
            cells, lead = areas > 0, self.leads.of_step[rows[chosen[0]]]
            values, weights = fields[:, chosen][:, :, cells], areas[cells]  # (1 + product, member, cell)
            hr = values[0, 0]
            self.area[lead] += weights.sum()
            for number, members in enumerate(values[1:]):
                mean, spread = mean_and_spread(members)
                self.crps[number, lead] += (fair_crps(members, hr) * weights).sum()
                # Fortin et al. (2014), J. Hydrometeorol. 15, 1708, eq. 15
                self.variance[number, lead] += (many + 1) / many * (spread**2 * weights).sum()
                self.squares[number, lead] += ((mean - hr) ** 2 * weights).sum()


def lead_variables(sums: LeadSums, step_errors: np.ndarray, step_areas: np.ndarray) -> dict[str, tuple]:
    """Give the scores by lead time as variables over (product, lead).

    step_errors : (3, product, time) mean |f - o|, (f - o)² and f - o of each step; step_areas : (time,).
    """
    leads, n = sums.leads, len(sums.leads.days)
    area = np.bincount(leads.of_step, step_areas, n)
    mae, squares, bias = (
        np.stack([ratio(np.bincount(leads.of_step, np.nan_to_num(e) * step_areas, n), area) for e in errors])
        for errors in step_errors
    )
    scores = {"rmse": np.sqrt(squares), "mae": mae, "bias": bias}
    areas: dict[str, tuple] = {
        "lead_area": ("lead", area, {"long_name": "area that is compared, of all steps", "units": "km2"})
    }
    if sums.area.any():
        error = ratio(sums.squares, sums.area)
        spread_error = np.sqrt(ratio(sums.variance, sums.squares))
        scores |= {"mean_rmse": np.sqrt(error), "crps": ratio(sums.crps, sums.area), "spread_error": spread_error}
        label = "area where members are compared, of all starts"
        areas["lead_member_area"] = ("lead", sums.area, {"long_name": label, "units": "km2"})
    return areas | {f"lead_{name}": (("product", "lead"), values) for name, values in scores.items()}


def names_of(verification: xr.Dataset) -> list[str]:
    """Name the scores by lead time that are there, as in `LABELS`."""
    return [name for name in LABELS if f"lead_{name}" in verification]


def over_all_leads(verification: xr.Dataset) -> dict[str, dict[str, float]]:
    """Average over lead times: {product: {score: value}}, of squares where a score is a root."""
    of_steps = verification["lead_area"].values
    of_members = verification["lead_member_area"].values if "lead_member_area" in verification else None
    found: dict[str, dict[str, float]] = {}
    for product in verification["product"].values:
        stored = verification.sel(product=product)
        scores = {name: stored[f"lead_{name}"].values for name in names_of(verification)}

        def mean(values: np.ndarray, areas: np.ndarray) -> float:
            return float(ratio(np.asarray((np.nan_to_num(values) * areas).sum()), areas.sum()))

        numbers = {name: mean(scores[name], of_steps) for name in ("mae", "bias")}
        numbers["rmse"] = mean(scores["rmse"] ** 2, of_steps) ** 0.5
        if of_members is not None:
            squares = mean(scores["mean_rmse"] ** 2, of_members)
            variance = mean((scores["spread_error"] * scores["mean_rmse"]) ** 2, of_members)
            numbers |= {"mean_rmse": squares**0.5, "crps": mean(scores["crps"], of_members)}
            numbers["spread_error"] = float(np.sqrt(ratio(np.asarray(variance), np.asarray(squares))))
        found[str(product)] = {name: numbers[name] for name in names_of(verification)}
    return found


def summary(verification: xr.Dataset) -> dict[str, object]:
    """Give the scores by lead time as plain values; empty where the run is no forecast."""
    if "lead" not in verification:
        return {}
    by_lead = {
        str(product): {
            name: verification[f"lead_{name}"].sel(product=product).values.tolist() for name in names_of(verification)
        }
        for product in verification["product"].values
    }
    return {
        "days": verification["lead"].values.tolist(),
        "products": by_lead,
        "all": over_all_leads(verification),
        "note": climate_note(verification["lead"].values),
    }


def table_of(verification: xr.Dataset) -> list[list[str]]:
    """Format the scores over all lead times: rows of texts, heads first."""
    rows = [["product", *names_of(verification)]]
    for product, numbers in over_all_leads(verification).items():
        rows.append([product, *(f"{value:.4g}" for value in numbers.values())])
    return rows


def to_text(verification: xr.Dataset) -> str:
    """Format the scores over all lead times as a table with a head."""
    days = verification["lead"].values
    head = (
        f"Lead times of {days[0]:g} to {days[-1]:g} days, all together "
        "(each one: --csv, --json, or results/verification.nc):"
    )
    return "\n".join(filter(None, [head, aligned(table_of(verification)), climate_note(days)]))


def climate_note(days: np.ndarray) -> str:
    """Say which lead times are beyond the weather; '' if none are."""
    late = days[days > WEATHER_DAYS]
    if not late.size:
        return ""
    span = f"{late[0]:g} to {late[-1]:g} days" if late.size > 1 else f"{late[0]:g} days"
    return (
        f"Lead times of {span} are climate, not weather: the weather of a day can't be predicted beyond about "
        f"{WEATHER_DAYS} days, and scores show how well its distribution is met."
    )


def _in_days(lead: xr.DataArray) -> np.ndarray:
    """Convert lead times to days, whether they were decoded as durations or not."""
    if lead.dtype.kind == "m":
        return lead.values / np.timedelta64(1, "D")
    unit = LEAD_UNITS.get(str(lead.attrs.get("units", "")).strip().rstrip("s").lower(), "D")
    return lead.values.astype(float) / (24 if unit == "h" else 1)
