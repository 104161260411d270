"""One cell through time: series and power spectrum."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr
from scipy.signal import welch

from app.plots.colours import label_of
from app.plots.products import colour_of, name_of

DAY_S = 86_400.0
FEWEST_STEPS = 16  # evenly spaced and without a gap, for a meaningful spectrum


def cell_series(
    series: Mapping[str, np.ndarray],
    times: pd.Index,
    attrs: Mapping[str, Any],
    dark: bool = False,
    intervals: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    *,
    joined: bool = True,
) -> hv.Overlay:
    """A line a product against time, on the band of its interval, if it has one; a gap in time breaks both.

    series : product → (time,) in the unit of `attrs`; `times` : of any calendar; intervals : product → bounds (time,);
    joined : by lines; else each step is a dot.
    """
    x, axis = time_axis(times)
    value = hv.Dimension("value", label=label_of(attrs))
    gaps = _gaps(times)
    lines: list[hv.Element] = []
    for product, bounds in (intervals or {}).items():
        lower, upper = (np.insert(bound, gaps, np.nan) for bound in bounds)
        band = hv.Area((np.insert(x, gaps, x[gaps]), lower, upper), axis, [value, "upper"])
        lines.append(band.opts(color=colour_of(product, dark), alpha=0.2, line_width=0))
    for product, values in series.items():
        if not joined:
            dots = hv.Scatter((x, values), axis, value, label=name_of(product))
            lines.append(dots.opts(color=colour_of(product, dark), size=6))
            continue
        points = (np.insert(x, gaps, x[gaps]), np.insert(values, gaps, np.nan))
        lines.append(hv.Curve(points, axis, value, label=name_of(product)).opts(**_line(product, dark)))
    return hv.Overlay(lines)


def cell_spectrum(
    series: Mapping[str, np.ndarray], times: pd.Index, units: str, dark: bool = False
) -> hv.Overlay | None:
    """Power spectral density of each product, Welch's method on the longest stretch without a gap.

    None where that stretch has fewer than 16 steps. Source: Welch (1967), IEEE Trans. Audio Electroacoust. 15, 70.
    """
    stretch = longest_stretch(series, times)
    n_steps = stretch.stop - stretch.start
    if n_steps < FEWEST_STEPS:
        return None
    step_days = float(np.median(np.diff(seconds(times[stretch])))) / DAY_S
    x = hv.Dimension("frequency", label="frequency (1/day)")
    y = hv.Dimension("power", label=f"power ({units}² day)" if units else "power (day)")
    lines = []
    for product, values in series.items():
        frequency, power = welch(values[stretch], fs=1 / step_days, nperseg=min(256, n_steps))
        above = (frequency > 0) & (power > 0)
        line = hv.Curve((frequency[above], power[above]), x, y, label=name_of(product))
        lines.append(line.opts(**_line(product, dark)))
    return hv.Overlay(lines).opts(logx=True, logy=True)


def time_axis(times: pd.Index) -> tuple[np.ndarray, hv.Dimension]:
    """Dates; for a calendar that isn't the world's, days since the first step."""
    if isinstance(times, xr.CFTimeIndex):
        label = f"days since {times[0].strftime('%Y-%m-%d %H:%M')} ({times.calendar})"
        return (seconds(times) / DAY_S), hv.Dimension("days", label=label)
    return times.values, hv.Dimension("time", label="time (UTC)")


def seconds(times: pd.Index) -> np.ndarray:
    """(time,) seconds since the first step."""
    return np.array([step.total_seconds() for step in times - times[0]], dtype=float)


def longest_stretch(series: Mapping[str, np.ndarray], times: pd.Index) -> slice:
    """The longest run of steps that are evenly spaced and have a value in every series."""
    has_values = np.all([np.isfinite(values) for values in series.values()], axis=0)
    borders = np.unique(
        np.concatenate([[0], _gaps(times), np.flatnonzero(~has_values), np.flatnonzero(~has_values) + 1, [len(times)]])
    )
    pieces = [slice(a, b) for a, b in itertools.pairwise(borders) if has_values[a:b].all()]
    return max(pieces, key=lambda piece: piece.stop - piece.start, default=slice(0, 0))


def _line(product: str, dark: bool) -> dict[str, Any]:
    return {"color": colour_of(product, dark), "line_width": 2.0 if product == "hr" else 1.4}


def _gaps(times: pd.Index) -> np.ndarray:
    """Number of each step that comes later after its forerunner than steps usually do, or not later at all."""
    if len(times) < 3:
        return np.array([], dtype=int)
    waits = np.diff(seconds(times))
    return np.flatnonzero((waits > 1.5 * np.median(waits)) | (waits <= 0)) + 1
