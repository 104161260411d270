"""Contents of a file for the Data page: facts, range and histogram from a few steps; the map reads its own step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from app import formatting
from engine.data.fields import open_either
from engine.data.grid_coordinates import grid_of
from engine.data.grids import Grid
from engine.errors import DataError
from engine.spec import Source

MOST_STEPS = 24  # looked at for range, histogram and missing share
MOST_CELLS = 16_000_000
BINS = 48


@dataclass(frozen=True)
class Preview:
    """A variable ready to be shown."""

    source: Source
    field: xr.DataArray  # (time, y, x) or, static, (y, x); lazy
    grid: Grid
    facts: dict[str, str]
    clim: tuple[float, float]
    counts: np.ndarray  # (BINS,) cells
    edges: np.ndarray  # (BINS + 1,) unit of the field

    @property
    def steps(self) -> int:
        """Time steps; 1 for a static field."""
        return self.field.sizes.get("time", 1)

    @property
    def static(self) -> bool:
        return "time" not in self.field.dims

    @property
    def title(self) -> str:
        """'2 metre temperature (K)'."""
        attrs = self.field.attrs
        name = attrs.get("long_name") or str(attrs.get("standard_name", "")).replace("_", " ") or self.field.name
        return f"{name} ({attrs['units']})" if attrs.get("units") else str(name)

    def time_text(self, step: int) -> str:
        return "" if self.static else minute(self.field["time"].values[step])

    def read(self, step: int) -> xr.DataArray:
        """One step in memory, (y, x)."""
        one = self.field if self.static else self.field.isel(time=step)
        return one.load()


def open_preview(source: Source) -> Preview:
    """Open a variable and look at a few of its steps.

    Raises
    ------
    DataError
        If the file can't be used, or every value looked at is missing.
    """
    field = open_either(source)
    grid = grid_of(field)
    values, looked = _look(field)
    missing = float(np.isnan(values).mean())
    given = values[~np.isnan(values)]
    if not given.size:
        raise DataError(f"{source.path} has no value in {field.name}: all {looked} sampled steps are missing")
    low, high = (float(edge) for edge in np.quantile(given, (0.001, 0.999)))
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(given, bins=BINS)
    facts = _facts(field, grid, given, missing, looked)
    return Preview(source, field, grid, facts, (low, high), counts, edges)


def minute(moment: Any) -> str:
    """A numpy or cftime moment to the minute: '2019-03-14 06:00'."""
    text = np.datetime_as_string(moment, unit="m") if isinstance(moment, np.datetime64) else moment.isoformat()
    return text.replace("T", " ")[:16]


def _look(field: xr.DataArray) -> tuple[np.ndarray, int]:
    """Values of a few steps, evenly spread, and how many they are."""
    if "time" not in field.dims:
        return field.values, 1
    fit = max(1, min(MOST_STEPS, MOST_CELLS // (field.sizes["y"] * field.sizes["x"])))
    steps = np.unique(np.linspace(0, field.sizes["time"] - 1, fit).round().astype(int))
    return field.isel(time=steps).values, len(steps)


def _facts(field: xr.DataArray, grid: Grid, given: np.ndarray, missing: float, looked: int) -> dict[str, str]:
    unit = field.attrs.get("units", "")
    facts = {"Variable": str(field.name), "Unit": unit or "not given", "Grid": str(grid)}
    if "time" in field.dims:
        times = field["time"].values
        facts["Time steps"] = formatting.count(len(times))
        facts["First, last"] = f"{minute(times[0])}\n{minute(times[-1])}"
        if gap := _spacing(times):
            facts["Step"] = gap
    facts["Values"] = f"{formatting.number(float(given.min()), 4)} to {formatting.number(float(given.max()), 4)} {unit}"
    facts["Mean"] = f"{formatting.number(float(given.mean(dtype=float)), 4)} {unit}"
    facts["Missing"] = "none" if missing == 0 else f"{100 * missing:.1f} %"
    if "time" in field.dims and looked < field.sizes["time"]:
        facts["Sampled"] = f"{looked} steps, evenly spread"
    return facts


def _spacing(times: np.ndarray) -> str:
    """The usual distance of time steps, and how many gaps are longer."""
    if len(times) < 2:
        return ""
    differences = np.diff(times)
    if differences.dtype.kind == "m":
        seconds = differences / np.timedelta64(1, "s")
    else:
        seconds = np.array([difference.total_seconds() for difference in differences])
    usual = float(np.median(seconds))
    gaps = int((seconds > 1.5 * usual).sum())
    return formatting.duration(usual).removesuffix(" 0 min").removesuffix(" 0 s").removesuffix(" 0 h") + (
        f", {gaps} gaps" if gaps > 1 else ", 1 gap" if gaps else ""
    )
