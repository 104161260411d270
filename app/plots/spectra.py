"""Curves by wavelength and by lead time."""

from __future__ import annotations

from collections.abc import Mapping

import holoviews as hv
import numpy as np

from app.plots.products import colour_of, name_of


def radial_spectra(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], kind: str, units: str, dark: bool = False
) -> hv.Overlay:
    """Power (log) or coherence (0 to 1) of each product against wavelength, long waves left.

    curves : product → wavelength in km and value, both (ring,); `units` : of the field.
    """
    is_power = kind == "power"
    x = hv.Dimension("wavelength", label="wavelength (km)")
    y = hv.Dimension(kind, label=f"power ({units}²)" if is_power and units else kind)
    lines = []
    for product, (wavelength, values) in curves.items():
        drawn = values > 0 if is_power else np.isfinite(values)
        line = hv.Curve((wavelength[drawn], values[drawn]), x, y, label=name_of(product))
        lines.append(line.opts(color=colour_of(product, dark), line_width=2.0 if product == "hr" else 1.4))
    lengths = np.concatenate([wavelength for wavelength, _ in curves.values()])
    ticks = np.outer(10.0 ** np.arange(-3, 6), [1, 2, 5]).ravel()
    shown = ticks[(ticks >= lengths.min()) & (ticks <= lengths.max())].tolist()
    range_of_y = {} if is_power else {"ylim": (0.0, 1.05)}
    return hv.Overlay(lines).opts(logx=True, logy=is_power, invert_xaxis=True, xticks=shown, **range_of_y)


def by_lead_time(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], label: str, dark: bool = False) -> hv.Overlay:
    """A score of each product against lead time; curves : product → lead time in days and value, both (lead,)."""
    x, y = hv.Dimension("lead", label="lead time (days)"), hv.Dimension("score", label=label)
    return hv.Overlay(
        [
            hv.Curve(values, x, y, label=name_of(product)).opts(color=colour_of(product, dark), line_width=1.4)
            for product, values in curves.items()
        ]
    )
