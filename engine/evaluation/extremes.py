"""Indices of extremes of daily temperature and precipitation, by cell and year, as ETCCDI defines them.

Zhang et al. (2011), WIREs Clim. Change 2, 851, appendix; docs/verification.md lists where these differ. Days pass one
by one, so that beside a block of steps one field of each index and product is held.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from engine.data.grid_coordinates import coordinates_of, grid_of
from engine.data.times import in_blocks
from engine.data.units import conversion
from engine.errors import DataError, UnitError
from engine.evaluation.baselines import sample_quantiles
from engine.evaluation.moments import ratio
from engine.evaluation.products import products_of
from engine.evaluation.sal import is_precipitation
from engine.evaluation.scores import CELLS_AT_ONCE
from engine.evaluation.tables import aligned

DAY = pd.Timedelta(days=1)
WET = 1.0  # mm from which on a day is wet
PERCENTILE_BYTES = 2**29  # of daily HR fields that are held for percentiles
Quantiles = tuple[np.ndarray | None, np.ndarray | None]  # (y, x) of HR


@dataclass(frozen=True)
class Index:
    """One index: its usual name, unit and definition, and the complete days that it needs."""

    label: str
    units: str
    definition: str
    days: int = 1


TEMPERATURE = {
    "txx": Index("TXx", "degC", "highest daily maximum"),
    "tnn": Index("TNn", "degC", "lowest daily minimum"),
    "su": Index("SU", "days", "days with a maximum above 25 °C"),
    "fd": Index("FD", "days", "days with a minimum below 0 °C"),
    "tx90p": Index("TX90p", "%", "share of days with a maximum above the 90 % quantile of HR of the cell", 30),
    "tn10p": Index("TN10p", "%", "share of days with a minimum below the 10 % quantile of HR of the cell", 30),
}
PRECIPITATION = {
    "prcptot": Index("PRCPTOT", "mm", "sum of the wet days, with at least 1 mm"),
    "sdii": Index("SDII", "mm/day", "mean of the wet days"),
    "rx1day": Index("Rx1day", "mm", "highest daily sum"),
    "rx5day": Index("Rx5day", "mm", "highest sum of five successive days", 5),
    "r10mm": Index("R10mm", "days", "days with at least 10 mm"),
    "cdd": Index("CDD", "days", "most successive days below 1 mm", 30),
    "cwd": Index("CWD", "days", "most successive wet days", 30),
    "r95ptot": Index("R95pTOT", "mm", "sum of days above the 95 % quantile of the wet days of HR of the cell", 30),
}
INDICES = TEMPERATURE | PRECIPITATION


@dataclass(frozen=True, eq=False)
class Days:
    """Complete days of a time axis.

    rows : (day, step of the day) numbers of time steps; starts : (day,) midnight of each.
    """

    rows: np.ndarray
    starts: pd.Index

    @classmethod
    def of(cls, times: pd.Index) -> Days:
        """Find the days that have all of their steps.

        Raises
        ------
        DataError
            If steps are longer than a day, don't divide one, or occur twice, as those of forecasts do.
        """
        if not times.is_monotonic_increasing or not times.is_unique:
            raise DataError("time steps occur twice or out of order, as of forecasts: no daily values")
        if len(times) < 2:
            raise DataError("a single time step doesn't say how long it is: no daily values")
        step = pd.Timedelta(min(np.diff(times)))
        if step > DAY or DAY % step:
            raise DataError(f"time steps are {step} apart: expected days, or steps that divide a day")
        starts = times.floor("D")
        firsts = np.flatnonzero(~starts.duplicated())
        counts = np.diff([*firsts, len(times)])
        n = int(DAY / step)
        whole = firsts[counts == n]
        return cls(whole[:, None] + np.arange(n), starts[whole])


@dataclass
class TemperatureYear:
    """Sums of one year: (product, y, x) of each, HR first; `high`, `low` are quantiles of HR, or None."""

    high: np.ndarray | None
    low: np.ndarray | None
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    days: np.ndarray | float = 0.0

    def add(self, steps: np.ndarray, is_next: bool) -> None:
        """Add a day's steps (product, step, y, x) in °C, NaN where not compared."""
        highest, lowest = steps.max(axis=1), steps.min(axis=1)
        valid, sums = np.isfinite(highest), self.sums
        self.days = self.days + valid
        sums["txx"] = np.fmax(sums.get("txx", highest), highest)
        sums["tnn"] = np.fmin(sums.get("tnn", lowest), lowest)
        events = {"su": highest > 25, "fd": lowest < 0}
        if self.high is not None and self.low is not None:
            events |= {"tx90p": highest > self.high, "tn10p": lowest < self.low}
        for name, event in events.items():
            sums[name] = sums.get(name, 0) + event

    def values(self) -> dict[str, np.ndarray]:
        """Give the indices, NaN in cells without a day."""
        found = {name: np.where(self.days > 0, total, np.nan) for name, total in self.sums.items()}
        for name in ("tx90p", "tn10p"):
            if name in found:
                found[name] = 100 * ratio(found[name], np.broadcast_to(self.days, found[name].shape))
        return found


@dataclass
class PrecipitationYear:
    """Sums of one year: (product, y, x) of each, HR first; `high` is the quantile of HR's wet days, or None."""

    high: np.ndarray | None
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    days: np.ndarray | float = 0.0
    wet_days: np.ndarray | float = 0.0
    spells: dict[str, np.ndarray | int] = field(default_factory=dict)
    last: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=5))

    def add(self, steps: np.ndarray, is_next: bool) -> None:
        """Add a day's steps (product, step, y, x) in mm, NaN where not compared; spells end where a day is missing."""
        day, sums = steps.sum(axis=1), self.sums
        if not is_next:
            self.last.clear()
            self.spells.clear()
        self.last.append(day)
        wet, dry = day >= WET, day < WET
        self.days, self.wet_days = self.days + np.isfinite(day), self.wet_days + wet
        sums["rx1day"] = np.fmax(sums.get("rx1day", day), day)
        if len(self.last) == 5:
            five = np.sum(self.last, axis=0)
            sums["rx5day"] = np.fmax(sums.get("rx5day", five), five)
        sums["r10mm"] = sums.get("r10mm", 0) + (day >= 10)
        sums["prcptot"] = sums.get("prcptot", 0) + np.where(wet, day, 0)
        for name, event in {"cdd": dry, "cwd": wet}.items():
            spell = np.where(event, self.spells.get(name, 0) + 1, 0)
            self.spells[name], sums[name] = spell, np.maximum(sums.get(name, 0), spell)
        if self.high is not None:
            sums["r95ptot"] = sums.get("r95ptot", 0) + np.where(wet & (day > self.high), day, 0)

    def values(self) -> dict[str, np.ndarray]:
        """Give the indices, NaN in cells without a day, or of `sdii` without a wet one."""
        found = {name: np.where(self.days > 0, total, np.nan) for name, total in self.sums.items()}
        return found | {"sdii": ratio(found["prcptot"], np.broadcast_to(self.wet_days, found["prcptot"].shape))}


def kind_of(attrs: Mapping[str, object]) -> Mapping[str, Index]:
    """Give the indices of a field by its names and unit; empty if it is neither temperature nor precipitation."""
    if is_precipitation(attrs):
        return PRECIPITATION
    names = f"{attrs.get('standard_name', '')} {attrs.get('long_name', '')}".lower()
    return TEMPERATURE if "temperature" in names else {}


@dataclass(frozen=True, eq=False)
class DailyFields:
    """HR and products of complete days, as (day, step, y, x) in °C, or mm of a step."""

    results: xr.Dataset
    names: tuple[str, ...]
    days: Days
    factor: float
    offset: float

    @classmethod
    def of(cls, results: xr.Dataset, indices: Mapping[str, Index]) -> DailyFields:
        """Find days and unit; raises what `extremes` does."""
        attrs, times = results["hr"].attrs, results.indexes["time"]
        if not indices:
            raise DataError("indices of extremes are those of temperature and precipitation")
        days = Days.of(times)
        if not len(days.starts):
            raise DataError(
                f"none of the {len(times)} time steps make a complete day", action="take a longer test part"
            )
        factor, offset = _conversion(attrs, indices, days.rows.shape[1])
        return cls(results, ("hr", *products_of(results)), days, factor, offset)

    def read(self, name: str, some: slice | np.ndarray) -> np.ndarray:
        """Read some days of a field."""
        rows = self.days.rows[some]
        flat = rows.ravel()
        is_dense = len(flat) == flat[-1] + 1 - flat[0]
        values = self.results[name].isel(time=slice(flat[0], flat[-1] + 1) if is_dense else flat).values
        return values.reshape(*rows.shape, *values.shape[1:]) * np.float32(self.factor) + np.float32(self.offset)

    def compared(self, some: np.ndarray) -> np.ndarray:
        """Read some days of all, (product, day, step, y, x), NaN on days on which a value is missing."""
        fields = np.stack([self.read(name, some) for name in self.names])
        has_all = np.isfinite(fields).all(axis=(0, 2))  # (day, y, x)
        return np.where(has_all[:, None], fields, np.float32(np.nan))


def extremes(results: xr.Dataset) -> xr.Dataset:
    """Compute the indices of HR and of each product over the complete days.

    Parameters
    ----------
    results : hr, interpolated, downscaled (time, y, x), as in results/test.nc, and baselines, if there are any. A day
        is compared in a cell where all have a value at all of its steps.

    Returns
    -------
    `value` (index, product, y, x), mean over the years, and `area_value` (index, product, year), weighted by area over
    the cells in which all products have one; product `hr` is first. `index_days` (year) are the complete days of each.
    The attribute `left_out` names the indices that need a longer test part.

    Raises
    ------
    DataError
        If the field is neither temperature nor precipitation in a known unit, or has no complete day.
    """
    indices, grid = kind_of(results["hr"].attrs), grid_of(results["hr"])
    fields, areas = DailyFields.of(results, indices), grid.cell_areas()
    days, names = fields.days, fields.names
    quantiles = _quantiles(fields, indices, grid.shape)
    sums: dict[str, np.ndarray] = {}  # index → (product, y, x)
    counts: dict[str, np.ndarray] = {}  # index → (y, x), of years
    by_year: dict[str, dict[int, np.ndarray]] = {}  # index → year → (product,)
    years = [int(year) for year in dict.fromkeys(days.starts.year)]
    for year in years:
        for name, values in _values_of_year(
            fields, np.flatnonzero(days.starts.year == year), quantiles, indices
        ).items():
            has_all = np.isfinite(values).all(axis=0)
            sums[name] = sums.get(name, 0) + np.where(has_all, values, 0)
            counts[name] = counts.get(name, 0) + has_all
            weights = np.where(has_all, areas, 0)
            total = np.where(has_all, values * weights, 0).sum((1, 2))
            by_year.setdefault(name, {})[year] = ratio(total, np.full(len(names), weights.sum()))
    short = [name for name, index in indices.items() if len(days.starts) < index.days]
    kept = [name for name in indices if name in sums and name not in short]
    nothing = np.full(len(names), np.nan)
    value = np.stack([ratio(sums[name], np.broadcast_to(counts[name], sums[name].shape)) for name in kept])
    area = np.array([[by_year[name].get(year, nothing) for year in years] for name in kept])  # (index, year, product)
    return xr.Dataset(
        {
            "value": (("index", "product", "y", "x"), value.astype(np.float32)),
            "area_value": (("index", "product", "year"), area.transpose(0, 2, 1)),
            "index_days": ("year", [int((days.starts.year == year).sum()) for year in years]),
        },
        {"index": kept, "product": list(names), "year": years, **coordinates_of(grid)},
        {"left_out": _left_out(short, len(days.starts), quantiles[0] is None)},
    )


def bias_of(found: xr.Dataset, name: str) -> xr.DataArray:
    """Difference of an index from that of HR: (product, y, x), mean over the years."""
    values = found["value"].sel(index=name)
    return values.drop_sel(product="hr") - values.sel(product="hr", drop=True)


def summary(found: xr.Dataset) -> dict[str, dict[str, object]]:
    """Give area means: {index: {units, hr, bias: {product: …}, years: {year: {product: …}}}}, NaN if there is none."""
    return {
        str(name): {
            "units": INDICES[str(name)].units,
            "hr": means["hr"],
            "bias": {product: mean - means["hr"] for product, mean in means.items() if product != "hr"},
            "years": {
                str(int(year)): dict(zip(map(str, found["product"].values), values.tolist(), strict=True))
                for year, values in zip(found["year"].values, found["area_value"].sel(index=name).values.T, strict=True)
            },
        }
        for name in found["index"].values
        for means in [area_means(found, str(name))]
    }


def area_means(found: xr.Dataset, name: str) -> dict[str, float]:
    """Mean of an index over area and years, of HR and each product."""
    means = found["area_value"].sel(index=name).mean("year").values
    return dict(zip(map(str, found["product"].values), means.tolist(), strict=True))


def table_of(found: xr.Dataset) -> list[list[str]]:
    """Rows of texts: product, and of each index the value of HR, then the biases; heads first."""
    means = {str(name): area_means(found, str(name)) for name in found["index"].values}
    heads = ["", *(f"{INDICES[name].label} ({INDICES[name].units.replace('degC', '°C')})" for name in means)]
    rows = [heads, ["HR", *(f"{of_index['hr']:.4g}" for of_index in means.values())]]
    for product in found["product"].values[1:]:
        biases = [of_index[str(product)] - of_index["hr"] for of_index in means.values()]
        rows.append([str(product), *(f"{bias:+.3g}".replace("-", "−") if bias else "0" for bias in biases)])
    return rows


def period_of(found: xr.Dataset) -> str:
    """Say over which days the indices are, and which are left out."""
    years, days = found["year"].values, found["index_days"].values
    whole = f"{days.sum()} complete days in {len(years)} year{'s' if len(years) > 1 else ''}"
    partial = f", {days.min()} to {days.max()} of each" if len(years) > 1 else ""
    return f"{whole}{partial}" + (f"; {found.attrs['left_out']}" if found.attrs["left_out"] else "")


def to_text(found: xr.Dataset) -> str:
    """Format the area means: HR, and the bias of each product."""
    return "\n".join(["indices of extremes, HR and bias of each product:", aligned(table_of(found)), period_of(found)])


def _conversion(attrs: Mapping[str, object], indices: Mapping[str, Index], steps: int) -> tuple[float, float]:
    """Factor and offset to °C, or to mm of a step, of rates and of sums of a step; raises UnitError."""
    given = str(attrs.get("units", ""))
    if indices is TEMPERATURE:
        return conversion(given, "degC", what="the temperature", reference="an index")
    try:
        factor, offset = conversion(given, "mm day-1", what="the precipitation", reference="an index")
        return factor / steps, offset
    except UnitError:
        return conversion(given, "mm", what="the precipitation", reference="an index")


def _values_of_year(
    fields: DailyFields, chosen: np.ndarray, quantiles: Quantiles, indices: Mapping[str, Index]
) -> dict[str, np.ndarray]:
    """Indices of the chosen days, in blocks of about CELLS_AT_ONCE values: index → (product, y, x)."""
    is_temperature = indices is TEMPERATURE
    of_year = TemperatureYear(*quantiles) if is_temperature else PrecipitationYear(quantiles[0])
    sides, before = fields.results["hr"].shape[1:], None
    for some in in_blocks(chosen, sides, CELLS_AT_ONCE // (len(fields.names) * fields.days.rows.shape[1])):
        for start, day in zip(fields.days.starts[some], np.moveaxis(fields.compared(some), 1, 0), strict=True):
            of_year.add(day, before is not None and start - before == DAY)
            before = start
    return of_year.values()


def _quantiles(fields: DailyFields, indices: Mapping[str, Index], sides: tuple[int, ...]) -> Quantiles:
    """90 % of daily maxima and 10 % of daily minima of HR, or 95 % of wet days and None; None where too large."""
    days, n_fields = fields.days, 2 if indices is TEMPERATURE else 1
    if n_fields * len(days.starts) * math.prod(sides) * 4 > PERCENTILE_BYTES:
        return None, None
    parts = []
    for some in in_blocks(np.arange(len(days.starts)), sides, CELLS_AT_ONCE // days.rows.shape[1]):
        steps = fields.read("hr", some)
        parts.append([steps.max(axis=1), steps.min(axis=1)] if n_fields == 2 else [steps.sum(axis=1)])
    whole = [np.concatenate(each).reshape(len(days.starts), -1) for each in zip(*parts, strict=True)]
    asked = zip(whole, (0.9, 0.1), strict=True)
    if n_fields == 1:
        asked = zip([np.where(whole[0] >= WET, whole[0], np.float32(np.nan))], [0.95], strict=True)
    found = [sample_quantiles(values, np.array([level]))[0].reshape(sides) for values, level in asked]
    return found[0], found[1] if n_fields == 2 else None


def _left_out(names: list[str], days: int, is_too_large: bool) -> str:
    by_need: dict[int, list[str]] = {}
    for name in names:
        by_need.setdefault(INDICES[name].days, []).append(INDICES[name].label)
    texts = [f"{', '.join(labels)} need {need} complete days, there are {days}" for need, labels in by_need.items()]
    if is_too_large:
        texts.append("quantiles of HR would take too much memory: indices of them are left out")
    return "; ".join(texts)
