"""Small plots beside a map or a run: how values are spread, and how the loss falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bokeh.models as bm
import numpy as np
from bokeh.plotting import figure

from app.theme import ACCENT, FAINT, LINE

VALIDATION = "#d9822b"


def spread(counts: np.ndarray, edges: np.ndarray, label: str, *, dark: bool = False, height: int = 190) -> Any:
    """A histogram figure: counts of cells (n,), edges (n + 1,) in the unit that `label` names; shares in %."""
    share = 100 * counts / max(int(counts.sum()), 1)
    source = bm.ColumnDataSource({"left": edges[:-1], "right": edges[1:], "share": share})
    plot = _figure(dark, height=height, x_axis_label=label, y_axis_label="cells (%)")
    plot.quad("left", "right", "share", 0, source=source, color=_mode(ACCENT, dark), line_color=None, fill_alpha=0.85)
    plot.add_tools(
        bm.HoverTool(tooltips=[("from", "@left{0.000a}"), ("to", "@right{0.000a}"), ("cells", "@share{0.0} %")])
    )
    plot.xgrid.visible = False
    plot.y_range.start = 0
    return plot


class LearningCurves:
    """Training and validation loss against epochs; drawn once, then only the values change."""

    def __init__(self, *, log: bool = False, dark: bool = False, height: int = 300):
        self._log = log
        self._training = bm.ColumnDataSource({"epoch": [], "loss": []})
        self._validation = bm.ColumnDataSource({"epoch": [], "loss": []})
        self.figure: Any = _figure(
            dark, height=height, x_axis_label="epoch", y_axis_label="loss", y_axis_type="log" if log else "linear"
        )
        training = {"source": self._training, "color": _mode(ACCENT, dark), "legend_label": "training"}
        validation = {"source": self._validation, "color": VALIDATION, "legend_label": "validation"}
        self.figure.line("epoch", "loss", line_width=1.3, **training)
        self.figure.line("epoch", "loss", line_width=2, **validation)
        self.figure.scatter("epoch", "loss", size=4, **validation)
        self.figure.add_tools(bm.HoverTool(tooltips=[("epoch", "@epoch{0.00}"), ("loss", "@loss{0.00000}")]))
        self.figure.legend[0].update(
            background_fill_alpha=0.0, border_line_color=None, label_text_color=_mode(FAINT, dark),
            label_text_font_size="12px", padding=4,
        )  # fmt: skip

    def show(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Draw records of progress.jsonl; what isn't a number, or not above zero on a log axis, is left out."""
        losses, val_losses = curves_of(records, self._log)
        self._training.data = _columns(losses)
        self._validation.data = _columns(val_losses)


def curves_of(
    records: Sequence[Mapping[str, Any]], log: bool = False
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """(epochs completed, loss) of training and of validation; a step in the middle of epoch 3 stands at 2.5."""
    losses = [(_completed_epochs(record), record["loss"]) for record in records if _drawable(record.get("loss"), log)]
    validated = [record for record in records if _drawable(record.get("val_loss"), log)]
    return losses, [(float(record["epoch"]), record["val_loss"]) for record in validated]


def _completed_epochs(record: Mapping[str, Any]) -> float:
    """Epochs are counted from 1 while they run."""
    steps = record.get("steps") or 1
    return max(record.get("epoch", 1) - 1, 0) + min(record.get("step", steps) / steps, 1.0)


def _drawable(value: Any, log: bool) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value)) and (value > 0 or not log)


def _columns(points: list[tuple[float, float]]) -> dict[str, list[float]]:
    return {"epoch": [epoch for epoch, _ in points], "loss": [loss for _, loss in points]}


def _mode(colours: dict[str, str], dark: bool) -> str:
    return colours["dark" if dark else "light"]


def _figure(dark: bool, *, height: int, **given: Any) -> Any:
    """A quiet figure that fills its width."""
    plot = figure(height=height, sizing_mode="stretch_width", toolbar_location=None, tools="", min_border=4, **given)
    plot.update(background_fill_color=None, border_fill_color=None, outline_line_color=None)
    plot.grid.grid_line_color = _mode(LINE, dark)
    faint = _mode(FAINT, dark)
    for axis in plot.axis:
        axis.update(
            axis_line_color=_mode(LINE, dark), major_tick_line_color=_mode(LINE, dark), minor_tick_line_color=None,
            major_label_text_color=faint, axis_label_text_color=faint, axis_label_text_font_style="normal",
            axis_label_text_font_size="12px", major_label_text_font_size="11px", axis_label_standoff=6,
        )  # fmt: skip
    return plot
