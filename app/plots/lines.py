"""Figures of lines, drawn by HoloViews."""

from __future__ import annotations

import threading
from typing import Any

import holoviews as hv

DRAWING = threading.Lock()  # HoloViews keeps its options in one place for the whole process


def draw(element: hv.Overlay) -> Any:
    """Bokeh figure of an element; the caller holds DRAWING."""
    plot = hv.renderer("bokeh").get_plot(element)
    plot.document = None  # that of the process, which would hold the plot for ever
    return plot.state


def line_figure(lines: hv.Overlay, *, height: int) -> Any:
    """A quiet Bokeh figure of lines with a legend above, as wide as its place; safe to call in a thread."""
    with DRAWING:
        figure = draw(lines.opts(responsive=True, height=height, toolbar=None, show_grid=True))
    figure.update(outline_line_color=None, min_border_right=12, output_backend="canvas")
    for axis in figure.axis:
        axis.update(axis_label_text_font_style="normal", minor_tick_line_color=None)
    for legend in figure.legend:
        figure.center.remove(legend)
        legend.update(orientation="horizontal", location="right", margin=0, padding=0, border_line_color=None)
        figure.add_layout(legend, "above")
    return figure
