"""Maps that stay: drawn once by HoloViews, then only their values change, so zoom and place are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import bokeh.models as bm
import holoviews as hv
import numpy as np
import xarray as xr
from bokeh.plotting import figure

from app.plots.maps import box_of, colour_halos, field_map, follow_ranges, label_of, palette, raster
from engine.data.grids import Grid

DRAWING = threading.Lock()  # HoloViews keeps its options in one place for the whole process
FRAME_WIDTH = 280  # first guess; the browser stretches a map to its column


class SharedView:
    """What linked maps have in common: the part of the world in view, the crosshair, the clicked cell."""

    def __init__(self, grid: Grid, on_cell: Callable[[float, float], None]):
        self.grid, self.box, self.on_cell = grid, box_of(grid), on_cell
        self.x_range = _range(self.box.west, self.box.east)
        self.y_range = _range(self.box.south, self.box.north)
        line = {"line_color": "#ffffff", "line_width": 1, "line_alpha": 0.7, "line_dash": "dashed"}
        self.crosshair = [bm.Span(dimension="width", **line), bm.Span(dimension="height", **line)]
        self.cell = bm.ColumnDataSource({"x": [], "y": []})

    def mark(self, cell: tuple[float, float] | None) -> None:
        """Put the marker on a cell's centre (y, x), or take it away."""
        self.cell.data = {"x": [cell[1]], "y": [cell[0]]} if cell else {"x": [], "y": []}

    def show_all(self) -> None:
        """Back to the whole region."""
        self.x_range.update(start=self.box.west, end=self.box.east)
        self.y_range.update(start=self.box.south, end=self.box.north)


def _range(low: float, high: float) -> bm.Range1d:
    """That can be left by half its width, no further."""
    reach = (high - low) / 2
    return bm.Range1d(low, high, bounds=(low - reach, high + reach))


class LiveMap:
    """One map in a set of linked maps."""

    def __init__(
        self,
        field: xr.DataArray,
        view: SharedView,
        *,
        clim: tuple[float, float],
        cmap: str,
        name: str,
        dark: bool = False,
    ):
        with DRAWING:
            self.figure: Any = hv.render(field_map(field, clim=clim, cmap=cmap, frame_width=FRAME_WIDTH, dark=dark))
        image = next(r for r in self.figure.renderers if isinstance(r.glyph, bm.Image))
        self._source, self._mapper = image.data_source, image.glyph.color_mapper
        self._view = view
        self._fit(name)
        self._link(view)

    def show(self, field: xr.DataArray) -> None:
        """Other values, (y, x)."""
        values, (left, bottom, right, top) = raster(field)
        place = {"x": [left], "y": [bottom], "dw": [right - left], "dh": [top - bottom]}
        self._source.data = {"image": [values], **place}

    def colour(self, clim: tuple[float, float], cmap: str | None = None) -> None:
        """Another colour range, and map."""
        self._mapper.update(low=clim[0], high=clim[1])
        if cmap:
            self._mapper.palette = palette(cmap)

    def darken(self, dark: bool) -> None:
        """Labels for the light or the dark page."""
        colour_halos(self.figure, dark)

    def _fit(self, name: str) -> None:
        """Fill the column's width at the region's shape; the frame is the whole figure."""
        figure = self.figure
        figure.update(frame_width=None, frame_height=None, width=None, height=None, name=name)
        figure.update(sizing_mode="stretch_width", aspect_ratio=self._view.box.aspect, min_width=120)
        figure.update(margin=0, toolbar_location=None, title=None, styles={"max-height": "none"})
        figure.update(min_border_left=0, min_border_right=0, min_border_top=0, min_border_bottom=0)

    def _link(self, view: SharedView) -> None:
        figure = self.figure
        figure.x_range, figure.y_range = view.x_range, view.y_range
        follow_ranges(figure, view.x_range, view.y_range)
        wheel = bm.WheelZoomTool(zoom_on_axis=False, modifiers="ctrl")  # the wheel alone scrolls the page
        figure.toolbar.tools = [t for t in figure.toolbar.tools if isinstance(t, bm.HoverTool)]
        figure.add_tools(bm.PanTool(), wheel, bm.TapTool(), bm.CrosshairTool(overlay=view.crosshair))
        figure.toolbar.active_scroll = wheel
        for colour, size in (("#ffffff", 12), ("#10151a", 15)):
            style = {"marker": "square", "fill_alpha": 0, "line_color": colour, "line_width": 2, "size": size}
            figure.scatter("x", "y", source=view.cell, **style)
        figure.on_event("tap", lambda event: view.on_cell(event.y, event.x))
        figure.on_event("doubletap", lambda _: view.show_all())


class ColourBar:
    """One colour bar for many maps: a strip with an axis."""

    def __init__(self, clim: tuple[float, float], cmap: str, attrs: Any, *, width: int = 74):
        self._range = bm.Range1d(*clim)
        self._mapper = bm.LinearColorMapper(palette=palette(cmap), low=0, high=255)
        self.figure: Any = figure(
            width=width, height=200, frame_width=14, toolbar_location=None, tools="",
            x_range=(0, 1), y_range=self._range, y_axis_location="right", min_border=8, outline_line_color=None,
            styles={"height": "auto", "align-self": "stretch"},
        )  # fmt: skip
        self._source = bm.ColumnDataSource(self._strip(clim))
        self.figure.image("image", "x", "y", "dw", "dh", source=self._source, color_mapper=self._mapper)
        self.figure.xaxis.visible = False
        self.figure.grid.visible = False
        axis = self.figure.yaxis[0]
        axis.axis_label = label_of(attrs)
        axis.major_tick_in, axis.minor_tick_out = 0, 0

    def colour(self, clim: tuple[float, float], cmap: str | None = None) -> None:
        self._range.update(start=clim[0], end=clim[1])
        self._source.data = self._strip(clim)
        if cmap:
            self._mapper.palette = palette(cmap)

    def label(self, attrs: Any) -> None:
        self.figure.yaxis[0].axis_label = label_of(attrs)

    @staticmethod
    def _strip(clim: tuple[float, float]) -> dict[str, list[Any]]:
        ramp = np.arange(256, dtype="float32")[:, None]
        return {"image": [ramp], "x": [0], "y": [clim[0]], "dw": [1], "dh": [clim[1] - clim[0]]}


def line_figure(lines: hv.Overlay, *, height: int) -> Any:
    """A quiet Bokeh figure of lines with a legend above, as wide as its place; safe to call in a thread."""
    with DRAWING:
        figure = hv.render(lines.opts(responsive=True, height=height, toolbar=None, show_grid=True))
    figure.update(outline_line_color=None, min_border_right=12, output_backend="canvas")
    for axis in figure.axis:
        axis.update(axis_label_text_font_style="normal", minor_tick_line_color=None)
    for legend in figure.legend:
        figure.center.remove(legend)
        legend.update(orientation="horizontal", location="right", margin=0, padding=0, border_line_color=None)
        figure.add_layout(legend, "above")
    return figure
