"""Distribution of the values of a cell, or of a map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np

from app.plots.colours import label_of
from app.plots.products import colour_of, name_of

MOST_BINS = 40


def histogram(
    series: Mapping[str, np.ndarray], attrs: Mapping[str, Any], share: str = "share of steps (%)", dark: bool = False
) -> hv.Overlay:
    """Share of the values in each bin, a stepped line a product, the same bins for all; gaps left out."""
    values = {product: v[np.isfinite(v)] for product, v in series.items()}
    edges = bin_edges(values)
    x, y = hv.Dimension("value", label=label_of(attrs)), hv.Dimension("share", label=share)
    lines = []
    for product, v in values.items():
        shares = 100 * np.histogram(v, edges)[0] / max(v.size, 1)
        line = hv.Curve((np.repeat(edges, 2)[1:-1], np.repeat(shares, 2)), x, y, label=name_of(product))
        lines.append(line.opts(color=colour_of(product, dark), line_width=2.0 if product == "hr" else 1.4))
    return hv.Overlay(lines)


def bin_edges(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Edges for all values together, by the rule of Freedman and Diaconis (1981), at most 40 bins."""
    together = np.concatenate(list(values.values()))
    if not together.size or np.ptp(together) == 0:
        middle = float(together[0]) if together.size else 0.0
        return middle + np.array([-0.5, 0.5])
    first = next(iter(values.values()))
    edges = np.histogram_bin_edges(first if first.size else together, "fd")
    n_bins = int(np.clip(len(edges) - 1, 8, MOST_BINS))
    return np.linspace(together.min(), together.max(), n_bins + 1)
