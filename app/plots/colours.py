"""Colours, ranges and labels of maps, by what a variable is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

hv.extension("bokeh")

DIFFERENCES = "cet_CET_D1"  # blue, white, red; Kovesi (2015)
ERRORS = "cet_CET_L18"  # white, yellow, red
ANY_VARIABLE = "viridis"
INK, PAPER, CLEAR = "#10151a", "#ffffff", "#ffffff00"  # of lines and text on maps, of their outlines, of nothing
GREY, FAINT_SHARE = 0xC4, 0.8  # tone and share of it in faint colours
MOST_RANGE_VALUES = 200_000  # that a colour range is found from: evenly spread ones of larger fields
# Perceptually uniform maps by what a variable's names say, the first that fits; Kovesi (2015), van der Walt (2015).
BY_WORD = {
    "precip": "cet_CET_L17",
    "rain": "cet_CET_L17",
    "humidity": "cet_CET_L17",
    "cloud": "cet_CET_L1",
    "temperature": "cet_CET_L8",
    "wind": "cet_CET_L9",
    "pressure": "cet_CET_L20",
    "no2": "inferno",
    "nitrogen": "inferno",
    "ozone": "inferno",
    "pm2": "inferno",
    "mole_fraction": "inferno",
    "concentration": "inferno",
    "altitude": "cet_CET_L10",
    "topography": "cet_CET_L10",
    "orography": "cet_CET_L10",
    "elevation": "cet_CET_L10",
}


def colour_map(field_or_attrs: xr.DataArray | Mapping[str, Any]) -> str:
    """A perceptually uniform colour map for what standard_name, long_name or the name say."""
    attrs = getattr(field_or_attrs, "attrs", field_or_attrs)
    words = [attrs.get("standard_name", ""), attrs.get("long_name", ""), getattr(field_or_attrs, "name", "") or ""]
    said = " ".join(map(str, words)).lower()
    return next((cmap for word, cmap in BY_WORD.items() if word in said), ANY_VARIABLE)


def palette(cmap: str, n: int = 256) -> list[str]:
    """The colours of a map's name, from the lower end to the upper."""
    provider = "colorcet" if cmap.startswith("cet_") else "matplotlib"
    return hv.plotting.util.process_cmap(cmap.removeprefix("cet_"), n, provider=provider)


def with_faint(colours: list[str]) -> list[str]:
    """Every second of an odd number of colours, then the same but the first in faint grey tones: as many."""
    every_second, faint = colours[::2], []
    for colour in every_second[1:]:
        parts = [round((1 - FAINT_SHARE) * int(colour[k : k + 2], 16) + FAINT_SHARE * GREY) for k in (1, 3, 5)]
        faint.append("#" + "".join(f"{part:02x}" for part in parts))
    return every_second + faint


def colour_range(fields: list[xr.DataArray], *, centred: bool = False) -> tuple[float, float]:
    """One range for many fields: all but the outermost 0.2 % of the values at each end.

    `centred`: as far below zero as above, for differences. Without any value: 0 to 1.
    """
    ends = np.cumsum([field.size for field in fields], dtype=int)
    step = max(int(ends[-1]) // MOST_RANGE_VALUES, 1) if fields else 1
    # Each step-th value of all fields one after another, without a copy of them all.
    starts = [-int(end - field.size) % step for field, end in zip(fields, ends, strict=True)]
    parts = [np.asarray(field).ravel()[start::step] for field, start in zip(fields, starts, strict=True)]
    values = np.concatenate(parts, dtype=float) if parts else np.array([])
    values = values[np.isfinite(values)]
    if not values.size:
        return (-1.0, 1.0) if centred else (0.0, 1.0)
    low, high = (float(v) for v in np.percentile(values, [0.2, 99.8]))
    if centred:
        reach = max(abs(low), abs(high)) or 1.0
        return -reach, reach
    return (low, high) if high > low else (low, low + (abs(low) * 1e-3 or 1.0))


def label_of(attrs: Mapping[str, Any]) -> str:
    """Name and unit as on an axis: '2 metre temperature (K)'."""
    name = str(attrs.get("long_name") or attrs.get("standard_name") or "value").replace("_", " ")
    units = str(attrs.get("units", ""))
    return f"{name} ({units})" if units and units != "1" else name
