"""Taylor diagram: correlation and standard deviation of products, and with them their error, in one figure.

Source: Taylor (2001), J. Geophys. Res. 106, 7183.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bokeh.models as bm
import numpy as np

from app.plots.products import colour_of
from app.plots.run_charts import quiet_figure

WIDTH, HEIGHT = 285, 190  # of the frame, in px: fits on a phone
CORRELATIONS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
MOST_ARCS = 6
OTHERS = "#8a929b"  # products that aren't runs
GRID = {"line_alpha": 0.3, "fill_color": None, "line_color": OTHERS}


def taylor_diagram(points: Mapping[str, tuple[float, float]], names: Mapping[str, str], dark: bool = False) -> Any:
    """Draw a Bokeh figure, cut to where the points are; HR is at (1, 0).

    points : product → standard deviation over that of HR, and correlation with HR; the distance from the origin, and
        the cosine of the angle. The distance from HR is the error without bias, over the standard deviation of HR.
    names : product → what the pointer reads.
    """
    ratios, correlations = np.array(list(points.values())).T
    x, y = ratios * correlations, ratios * np.sqrt(1 - correlations**2)
    left, right, top = frame(x, y)
    step = _arc_step(right - left)
    plot = quiet_figure(
        dark, frame_width=WIDTH, frame_height=HEIGHT, x_range=(left, right), y_range=(-0.05 * top, top),
        x_axis_label="standard deviation over that of HR",
    )  # fmt: skip
    plot.grid.visible = plot.yaxis.visible = False
    plot.circle(0, 0, radius=step * np.arange(1, np.hypot(max(right, -left), top) / step + 1), **GRID)
    plot.circle(1, 0, radius=step * np.arange(1, 2 * MOST_ARCS), line_dash="dashed", **GRID)
    exits = ray_exits(left, right, top)
    for correlation, (end_x, end_y) in exits.items():
        plot.segment(0, 0, end_x, end_y, line_color=OTHERS, line_alpha=0.3)
        at = {"x": end_x, "y": end_y, "text": [f"{correlation:g}"], "text_align": "right", "text_baseline": "top"}
        plot.text(**at, text_font_size="10px", text_color=OTHERS, x_offset=-2, y_offset=2)
    plot.scatter(1, 0, marker="star", size=14, color=colour_of("hr", dark))
    source = bm.ColumnDataSource(
        {
            "x": x, "y": y, "ratio": ratios, "correlation": correlations, "error": np.hypot(x - 1, y),
            "name": [names[product] for product in points],
            "colour": [colour_of(product) if len(product) == 1 else OTHERS for product in points],
        }
    )  # fmt: skip
    dots = plot.scatter("x", "y", source=source, size=9, color="colour", line_color=None)
    rows = [
        ("", "@name"),
        ("σ over that of HR", "@ratio{0.000}"),
        ("r", "@correlation{0.0000}"),
        ("error", "@error{0.000}"),
    ]
    plot.add_tools(bm.HoverTool(renderers=[dots], tooltips=rows))
    return plot


def frame(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Choose left, right and top, so that all points and HR are inside and both axes have one scale."""
    low, high = min(1.0, x.min()), max(1.0, x.max())
    width = 1.3 * max(high - low, y.max() * WIDTH / HEIGHT, 0.02)
    middle = (low + high) / 2
    return middle - width / 2, middle + width / 2, width * HEIGHT / WIDTH


def ray_exits(left: float, right: float, top: float) -> dict[float, tuple[float, float]]:
    """Places where lines of one correlation leave the frame, of those that have room for a label."""
    found: dict[float, tuple[float, float]] = {}
    for correlation in CORRELATIONS + tuple(-c for c in CORRELATIONS[1:]):
        sine = np.sqrt(1 - correlation**2)
        side = right if correlation > 0 else left
        lengths = [top / sine] + ([side / correlation] if correlation * side > 0 else [])
        end = (min(lengths) * correlation, min(lengths) * sine)
        has_room = all(np.hypot(end[0] - x, end[1] - y) > 0.12 * (right - left) for x, y in found.values())
        if left <= end[0] <= right and end[1] > 0.08 * top and has_room:
            found[correlation] = end
    return found


def _arc_step(width: float) -> float:
    """1, 2 or 5 times a power of ten, MOST_ARCS in `width` at most."""
    least = width / MOST_ARCS
    power = 10.0 ** np.floor(np.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)
