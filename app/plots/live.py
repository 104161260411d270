"""Linked maps that stay: drawn once, then only their bytes change, so that zoom and place are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import bokeh.models as bm
import numpy as np
import xarray as xr
from bokeh.plotting import figure

from app.plots.arrows import arrow_lines
from app.plots.colours import CLEAR, INK, PAPER, label_of, palette, with_faint
from app.plots.drawn_area import DrawnArea
from app.plots.geography import Graticule, graticule, map_lines
from app.plots.projection import NATIVE, Box, MapProjection
from app.plots.sampling import N_COLOURS, Sampling, cell_index, mark_faint, to_colours
from app.services.newest import Newest
from app.theme import read_asset
from engine.data.grid_coordinates import grid_of
from engine.data.grids import Grid

PIXELS = 320  # first guess of a map's width; the browser then reports its width
SETTLE_S = 0.12  # a view that moves is sampled again once it has stood still so long
SURROUNDINGS = 0.25  # of the view on each side, sampled too, so that panning shows values at once
POINTER_JS = read_asset("pointer.js")
LINE_STYLES = {"coast": (0.9, 0.85), "borders": (0.7, 0.5), "water": (0.6, 0.4)}  # width, opacity
ARROW_STYLES: tuple[dict[str, Any], ...] = (
    {"line_color": PAPER, "line_width": 3, "line_alpha": 0.55},  # seen on dark colours
    {"line_color": INK, "line_width": 1.2, "line_alpha": 0.9},
)
Cell = tuple[float, float]


class SharedView:
    """State that linked maps share: projection, part of the world in view, lines, crosshair, clicked cell.

    on_cell : called with y and x of the grid when a map is clicked.
    read_land : as for `map_lines`.
    on_pointer : called with y and x of the grid under the pointer, or None when it leaves.
    shown : set once the browser has laid out the first map.
    """

    def __init__(
        self,
        grid: Grid,
        on_cell: Callable[[float, float], None],
        projection: str = NATIVE,
        read_land: Callable[[], np.ndarray | None] = lambda: None,
    ):
        self.grid, self.on_cell = grid, on_cell
        self.on_pointer: Callable[[Cell | None], None] = lambda _: None
        self.on_window: list[Callable[[], None]] = []
        self.projection = MapProjection.of(projection, grid)
        self.box, self.pixels = self.projection.box(), PIXELS
        self.x_range = _range(self.box.west, self.box.east)
        self.y_range = _range(self.box.south, self.box.north)
        style = {"line_color": PAPER, "line_width": 1, "line_alpha": 0.7, "line_dash": "dashed"}
        self.crosshair = [bm.Span(dimension="width", **style), bm.Span(dimension="height", **style)]
        self.cell = bm.ColumnDataSource(_cell_columns())
        self.pointer = bm.ColumnDataSource({"x": [], "y": []})
        self.pointer.on_change("data", self._pointer_moved)
        drawn = graticule(self.projection, self.box)
        lines = map_lines(self.projection, _expand(self.box, 1.0), read_land)
        self.lines = bm.ColumnDataSource(_line_columns(drawn, lines))
        self.labels = bm.ColumnDataSource(_label_columns(drawn))
        self.area = DrawnArea(grid, self.projection)
        # One of each for all maps: what has to be made, sent and kept is a fraction of what figures of their own take.
        self.scale = bm.LinearScale()
        self.point = bm.CustomJS(code=POINTER_JS, args={"pointer": self.pointer})
        self.renderers = self._shared_renderers()
        self.missing = bm.BoxAnnotation(
            level="underlay", hatch_pattern="right_diagonal_line", hatch_color="#8a949e", hatch_alpha=0.35,
            hatch_scale=7, hatch_weight=0.8, line_color=None, fill_alpha=0,
        )  # fmt: skip
        wheel = bm.WheelZoomTool(zoom_on_axis=False, modifiers="ctrl")  # the wheel alone scrolls the page
        tools = [*self.area.drags.values(), wheel, bm.CrosshairTool(overlay=self.crosshair)]
        self.toolbar = bm.Toolbar(tools=tools, active_scroll=wheel, active_drag=self.area.drags["move"])
        self._samplings: dict[Grid, Sampling] = {}
        self._moving = Newest()
        self.shown = asyncio.Event()

    def _shared_renderers(self) -> list[bm.GlyphRenderer]:
        """Lines, labels and the clicked cell, in the order in which they are drawn."""
        lines = bm.MultiLine(
            xs="x", ys="y", line_color={"field": "color"}, line_width={"field": "width"}, line_alpha={"field": "alpha"}
        )
        labels = bm.Text(
            x="x", y="y", text="text", x_offset="x_offset", y_offset="y_offset", text_align={"field": "align"},
            text_baseline="middle", text_font_size="11px", text_color=INK,
            text_outline_color={"field": "outline"}, text_outline_width=2,
        )  # fmt: skip
        cell = bm.Scatter(
            x="x", y="y", size="size", marker="square", fill_alpha=0, line_color={"field": "color"}, line_width=2
        )
        glyphs = (self.lines, lines), (self.labels, labels), *self.area.border_glyphs(), (self.cell, cell)
        return [bm.GlyphRenderer(data_source=source, glyph=glyph) for source, glyph in glyphs]

    def plot(self, name: str, renderers: list[bm.GlyphRenderer], toolbar: bm.Toolbar, **more: Any) -> bm.Plot:
        """Make an empty map of the view for some renderers; a double click shows the whole region."""
        one = bm.Plot(
            x_range=self.x_range, y_range=self.y_range, x_scale=self.scale, y_scale=self.scale, title=None,
            toolbar=toolbar, toolbar_location=None, outline_line_color=None, renderers=renderers,
            name=f"map_{name}", sizing_mode="stretch_width", aspect_ratio=self.box.aspect, min_width=100, margin=0,
            width=None, height=None,
            min_border=0, output_backend="canvas", styles={"max-height": "none"}, **more,
        )  # fmt: skip
        one.on_event("doubletap", lambda _: self.show_all())
        return one

    @property
    def window(self) -> Box:
        """The part in view."""
        x, y = self.x_range, self.y_range
        return Box(x.start, x.end, y.start, y.end, self.box.aspect)

    def sampling(self, grid: Grid) -> Sampling:
        """The cells of a grid that the window shows now."""
        if grid not in self._samplings:
            pixels = round(self.pixels * (1 + 2 * SURROUNDINGS))
            self._samplings[grid] = Sampling.of(grid, self.projection, _expand(self.window, SURROUNDINGS), pixels)
        return self._samplings[grid]

    async def settled(self) -> Graticule | None:
        """Wait until the view stands still, then forget the cells of the window before: the graticule of this one.

        None if it was moved again meanwhile.
        """
        is_newest = self._moving.begin()
        await asyncio.sleep(SETTLE_S)
        if not is_newest():
            return None
        self._samplings.clear()
        return await asyncio.to_thread(graticule, self.projection, self.window)

    def show_graticule(self, drawn: Graticule) -> None:
        """Show other meridians, parallels and labels."""
        self.lines.patch({axis: [(0, drawn.lines[axis])] for axis in "xy"})
        self.labels.data = _label_columns(drawn)

    def mark(self, cell: Cell | None) -> None:
        """Put the marker on a cell's centre (y, x of the grid), or hide it."""
        x, y = self.projection.from_grid(self.grid, *(np.array([at]) for at in (cell or (0.0, 0.0))[::-1]))
        self.cell.data = _cell_columns(x, y) if cell else _cell_columns()

    def drag(self, does: str) -> None:
        """Choose what a drag on the maps does: "move" them, or draw a "box" or a "line" around an area."""
        self.toolbar.active_drag = self.area.drags[does]

    def show_all(self) -> None:
        """Return to the whole region."""
        self.x_range.update(start=self.box.west, end=self.box.east)
        self.y_range.update(start=self.box.south, end=self.box.north)

    def to_cell(self, x: float, y: float) -> Cell:
        """Convert a place on the map to y and x of the grid."""
        across, along = self.projection.to_grid(self.grid, np.array([x]), np.array([y]))
        return float(along[0]), float(across[0])

    def _pointer_moved(self, attr: str, old: Any, new: Any) -> None:
        self.on_pointer(self.to_cell(new["x"][0], new["y"][0]) if len(new["x"]) else None)

    def _width_changed(self, attr: str, old: Any, new: Any) -> None:
        if new:
            self.shown.set()
        if new and abs(new - self.pixels) > 0.2 * self.pixels:
            self.pixels = int(new)
            self._window_changed(attr, old, new)

    def _window_changed(self, attr: str, old: Any, new: Any) -> None:
        for call in self.on_window:
            call()

    def follow_window(self, first: Any) -> None:
        """Call `on_window` when the view or the width of the first map changes."""
        first.on_change("inner_width", self._width_changed)
        for one in (self.x_range, self.y_range):
            one.on_change("start", self._window_changed)
            one.on_change("end", self._window_changed)


class MapSet:
    """Maps in one view with one colour range: one data source, one colour mapper, one message a change.

    faint : name → (y, x) cells that are drawn in faint colours; with none at all, there are twice as many colours.
    vectors : name → (y, x) complex, drawn as arrows over the field, whose unit they have.
    """

    def __init__(
        self,
        fields: Mapping[str, xr.DataArray],
        view: SharedView,
        *,
        clim: tuple[float, float],
        cmap: str,
        faint: Mapping[str, np.ndarray] | None = None,
        vectors: Mapping[str, xr.DataArray] | None = None,
    ):
        self.view, self.clim, self.fields, self.faint = view, clim, dict(fields), dict(faint or {})
        self.vectors = dict(vectors or {})
        self.source = bm.ColumnDataSource(self._columns())
        colours = with_faint(palette(cmap, N_COLOURS)) if self.faint else palette(cmap, N_COLOURS)
        self.mapper = bm.LinearColorMapper(palette=colours, low=0, high=N_COLOURS - 1, high_color="rgba(0, 0, 0, 0)")
        self.figures = [self._figure(name) for name in fields]
        view.follow_window(self.figures[0])

    def show(
        self,
        fields: Mapping[str, xr.DataArray] | None = None,
        clim: tuple[float, float] | None = None,
        faint: Mapping[str, np.ndarray] | None = None,
        vectors: Mapping[str, xr.DataArray] | None = None,
    ) -> None:
        """Show other values (y, x), another colour range, or another window of the same."""
        self.fields, self.clim, self.faint = dict(fields or self.fields), clim or self.clim, dict(faint or self.faint)
        self.vectors = dict(vectors or self.vectors)
        self.source.data = self._columns()

    def values_at(self, y: float, x: float) -> dict[str, float]:
        """The value of each field in the cell that holds a place of the grid; NaN outside."""
        values = {}
        for name, field in self.fields.items():
            grid = grid_of(field)
            row, column = int(cell_index(grid.y, np.array(y))), int(cell_index(grid.x, np.array(x)))
            is_inside = row >= 0 and column >= 0
            values[name] = float(field.transpose("y", "x").values[row, column]) if is_inside else float("nan")
        return values

    def _columns(self) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {}
        for name, field in self.fields.items():
            sampling = self.view.sampling(grid_of(field))
            colours = to_colours(sampling.take(field.transpose("y", "x").values), self.clim)
            if self.faint:
                colours = mark_faint(colours, sampling.take(self.faint[name]) == 1)
            columns[name] = [colours]
            for side, value in zip(("left", "bottom", "width", "height"), sampling.bounds, strict=True):
                columns[f"{name} {side}"] = [value]
        for name, field in self.vectors.items():
            x, y = arrow_lines(field, self.view.projection, self.view.window, self.clim[1])
            columns |= {f"{name} arrows x": [x], f"{name} arrows y": [y]}
        return columns

    def _figure(self, name: str) -> bm.Plot:
        """One map: its image below what all maps of the view share."""
        view = self.view
        left, bottom, width, height = (f"{name} {side}" for side in ("left", "bottom", "width", "height"))
        image = bm.Image(image=name, x=left, y=bottom, dw=width, dh=height, color_mapper=self.mapper)
        arrows = {"xs": f"{name} arrows x", "ys": f"{name} arrows y"}
        lines = [bm.MultiLine(**arrows, **style) for style in ARROW_STYLES] if name in self.vectors else []
        renderers = [bm.GlyphRenderer(data_source=self.source, glyph=glyph) for glyph in (image, *lines)]
        renderers += view.renderers
        one = view.plot(name, renderers, view.toolbar, center=[view.missing])
        one.js_on_event("mousemove", view.point)
        one.js_on_event("mouseleave", view.point)
        one.on_event("selectiongeometry", view.area.take)
        one.on_event("tap", lambda event: view.on_cell(*view.to_cell(event.x, event.y)))
        return one


class ColourBar:
    """One colour bar for many maps: a strip with an axis."""

    def __init__(self, clim: tuple[float, float], cmap: str, attrs: Mapping[str, Any], *, width: int = 74):
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
        axis.axis_label_text_font_size = "12px"
        axis.major_tick_in, axis.minor_tick_out = 0, 0

    def colour(self, clim: tuple[float, float]) -> None:
        """Show another range of the same colours."""
        self._range.update(start=clim[0], end=clim[1])
        self._source.data = self._strip(clim)

    @staticmethod
    def _strip(clim: tuple[float, float]) -> dict[str, list[Any]]:
        ramp = np.arange(256, dtype="float32")[:, None]
        return {"image": [ramp], "x": [0], "y": [clim[0]], "dw": [1], "dh": [clim[1] - clim[0]]}


def _line_columns(drawn: Graticule, layers: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    """One row for each line with its style, the graticule first; below the coast a white line, seen on dark colours."""
    rows = [(drawn.lines["x"], drawn.lines["y"], INK, 0.6, 0.25)]
    for layer, line in layers.items():
        if layer == "coast":
            rows.append((*line.T, PAPER, 2.2, 0.55))
        rows.append((*line.T, INK, *LINE_STYLES[layer]))
    return dict(zip(("x", "y", "color", "width", "alpha"), map(list, zip(*rows, strict=True)), strict=True))


def _label_columns(drawn: Graticule) -> dict[str, list[Any]]:
    """Each label twice: an outline covers its own text."""
    count = len(drawn.labels["text"])
    return {name: values * 2 for name, values in drawn.labels.items()} | {"outline": [PAPER] * count + [CLEAR] * count}


def _cell_columns(*places: np.ndarray) -> dict[str, list[Any]]:
    """A white square in a dark one at x, y (arrays of one), or none."""
    x, y = (place.tolist() * 2 for place in places) if places else ([], [])
    return {"x": x, "y": y, "color": [PAPER, INK][: len(x)], "size": [12, 15][: len(x)]}


def _range(low: float, high: float) -> bm.Range1d:
    """Make a range that can be panned beyond its ends by half its width."""
    reach = (high - low) / 2
    return bm.Range1d(low, high, bounds=(low - reach, high + reach))


def _expand(box: Box, share: float) -> Box:
    across, along = share * (box.east - box.west), share * (box.north - box.south)
    return Box(box.west - across, box.east + across, box.south - along, box.north + along, box.aspect)
