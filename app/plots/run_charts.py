"""Charts of many runs: a score against training time, and against the settings in which the runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bokeh.models as bm
import numpy as np
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from app.services.run_costs import SettingAxis
from app.theme import FAINT, INK, LINE, SURFACE

HEIGHT = 320
COLOURS = {"light": Viridis256[:216], "dark": Viridis256[40:]}  # without the end that is invisible on the background
WIDE_S = 20  # times the shortest training: from there on, the axis is logarithmic
LONGEST_WORD = 16  # characters beside an axis
Columns = dict[str, Any]


def cost_chart(
    source: bm.ColumnDataSource, front: Sequence[tuple[float, float]], score: str, *, dark: bool = False
) -> Any:
    """One dot a run; `source` : columns seconds, score, title, time, settings.

    front : seconds and score of the best runs, in the order of their time, joined by a line.
    """
    seconds = np.asarray(source.data["seconds"], dtype=float)
    is_wide = bool(len(seconds)) and seconds.max() > WIDE_S * seconds.min()
    plot = quiet_figure(
        dark, x_axis_label="training time (s)", y_axis_label=score, x_axis_type="log" if is_wide else "linear"
    )
    if is_wide:
        decades = np.arange(np.floor(np.log10(seconds.min())), np.ceil(np.log10(seconds.max())) + 1)
        plot.xaxis.ticker = np.outer(10.0**decades, (1, 3)).ravel().tolist()
        plot.xaxis.formatter = bm.NumeralTickFormatter(format="0.[00]")
    dots = plot.scatter(
        "seconds", "score", source=source, size=9, color=_colour(source, dark), line_color=None,
        fill_alpha=0.85, nonselection_fill_alpha=0.25, selection_line_color=_mode(INK, dark),
    )  # fmt: skip
    if len(front) > 1:
        seconds_of_front, scores = zip(*front, strict=True)
        plot.step(seconds_of_front, scores, mode="after", line_dash="dashed", line_color=_mode(FAINT, dark))
    _explain(plot, dots, score)
    return plot


def setting_chart(source: bm.ColumnDataSource, axes: Sequence[SettingAxis], *, dark: bool = False) -> Any:
    """One line a run through parallel axes; `source` : columns xs, ys (see `setting_lines`), score, title, time.

    axes : the last one is the score.
    """
    plot = quiet_figure(dark, x_range=(-0.45, len(axes) - 0.55), y_range=(-0.16, 1.12))
    plot.grid.visible = False
    plot.yaxis.visible = False
    names = [axis.option.partition(".")[2] or axis.option for axis in axes]
    lines_of_names = {x: "\n" * (x % 2) + name for x, name in enumerate(names)}  # beside each other on a phone
    plot.xaxis.update(ticker=list(range(len(axes))), major_label_overrides=lines_of_names)
    plot.segment(list(range(len(axes))), 0, list(range(len(axes))), 1, color=_mode(FAINT, dark), line_width=1)
    lines = plot.multi_line(
        "xs", "ys", source=source, color=_colour(source, dark), line_width=1.5, line_alpha=0.75,
        nonselection_line_alpha=0.12, selection_line_width=3,
    )  # fmt: skip
    for x, axis in enumerate(axes):
        is_last = x == len(axes) - 1  # what stood beside it would be cut off
        baselines = ["middle" if not is_last else "bottom" if place >= 0.5 else "top" for place in axis.ticks]
        plot.text(
            [x] * len(axis.ticks), list(axis.ticks),
            [text if len(text) <= LONGEST_WORD else f"{text[: LONGEST_WORD - 1]}…" for text in axis.ticks.values()],
            x_offset=0 if is_last else 5, text_align="center" if is_last else "left", text_baseline=baselines,
            text_font_size="11px", text_color=_mode(INK, dark), background_fill_color=_mode(SURFACE, dark),
            background_fill_alpha=0.7,
        )  # fmt: skip
    _explain(plot, lines, axes[-1].option)
    return plot


def setting_lines(axes: Sequence[SettingAxis], n_runs: int) -> Columns:
    """Columns xs and ys: the line of each run through the axes."""
    places = np.array([axis.places for axis in axes]).reshape(len(axes), n_runs)
    return {"xs": [list(range(len(axes)))] * n_runs, "ys": places.T.tolist()}


def _explain(plot: Any, renderer: Any, score: str) -> None:
    rows = [("", "@title"), (score, "@score{0.0000}"), ("training", "@time"), ("", "@settings")]
    plot.add_tools(
        bm.HoverTool(renderers=[renderer], tooltips=rows, point_policy="follow_mouse", line_policy="interp"),
        bm.TapTool(renderers=[renderer]),
    )


def _colour(source: bm.ColumnDataSource, dark: bool) -> dict[str, Any]:
    values = np.asarray(source.data["score"], dtype=float)
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    return {
        "field": "score",
        "transform": bm.LinearColorMapper(palette=COLOURS["dark" if dark else "light"], low=low, high=high),
    }


def _mode(colours: dict[str, str], dark: bool) -> str:
    return colours["dark" if dark else "light"]


def quiet_figure(dark: bool, **given: Any) -> Any:
    """A figure of Bokeh without tools, in the colours of the page; as wide as its place unless `given` has a size."""
    size = {} if "frame_width" in given else {"height": HEIGHT, "sizing_mode": "stretch_width"}
    plot = figure(toolbar_location=None, tools="", min_border=8, output_backend="canvas", **size, **given)
    plot.update(background_fill_color=None, border_fill_color=None, outline_line_color=None)
    plot.grid.grid_line_color = _mode(LINE, dark)
    faint = _mode(FAINT, dark)
    for axis in plot.axis:
        axis.update(
            axis_line_color=None, major_tick_line_color=None, minor_tick_line_color=None, axis_label_text_color=faint,
            major_label_text_color=faint, axis_label_text_font_style="normal", axis_label_text_font_size="12px",
            major_label_text_font_size="11px",
        )  # fmt: skip
    return plot
