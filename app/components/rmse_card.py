"""Per-pixel RMSE over the common test steps: maps, and how it is distributed over the cells."""

from __future__ import annotations

from collections.abc import Mapping

import panel as pn
import xarray as xr

from app.components.cards import card, heading
from app.components.map_board import MapBoard, best_columns
from app.components.map_frames import rmse_frames
from app.plots.colours import ERRORS, colour_range
from app.plots.histogram import histogram
from app.plots.lines import line_figure
from app.plots.live import SharedView
from app.services.comparison import Comparison

HISTOGRAM_HEIGHT = 250


class RmseMaps:
    """The RMSE of all runs, read and drawn; to be made in a thread."""

    def __init__(self, comparison: Comparison, view: SharedView, dark: bool) -> None:
        maps = comparison.rmse_maps()
        frames = rmse_frames(comparison, maps)
        label = {"long_name": "RMSE", "units": comparison.first.units}
        columns = max(best_columns(3 + len(comparison.shown)), best_columns(len(frames)))
        clim = (0.0, colour_range([frame.field for frame in frames])[1])
        last = comparison.n_steps - 1
        self.period = f"{last + 1} test steps, {comparison.label(0)} to {comparison.label(last)}"
        self.board = MapBoard(frames, view, clim=clim, cmap=ERRORS, attrs=label, columns=columns)
        self.histogram = _histogram(maps, label, dark)


class RmseCard:
    """Shows what was drawn last."""

    def __init__(self) -> None:
        self.view = card()
        self.board: MapBoard | None = None

    def show(self, maps: RmseMaps) -> None:
        """Put what was drawn in its place."""
        self.board = maps.board
        self.view[:] = [heading("Per-pixel RMSE", maps.period), maps.board.grid(maps.histogram)]


def _histogram(maps: Mapping[str, xr.DataArray], attrs: Mapping[str, str], dark: bool) -> pn.Column:
    """How RMSE is distributed over the cells: what the eye can't add up on a map."""
    values = {product: field.values.ravel() for product, field in maps.items()}
    figure = line_figure(histogram(values, attrs, "share of cells (%)", dark), height=HISTOGRAM_HEIGHT)
    pane = pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=0)
    return pn.Column(pane, css_classes=["beside"], sizing_mode="stretch_width", margin=(6, 0, 0, 12))
