"""Cards of linked maps with one colour bar: side by side, or two on top of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bokeh.models as bm
import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr

from app.components.map_frames import Frame
from app.formatting import value_text
from app.plots.live import Cell, ColourBar, MapSet, SharedView
from app.theme import read_asset

BAR_WIDTH = 92
GAP = 10
SWIPE_HEIGHT = 520
SWIPE_JS = read_asset("swipe.js")
STACK_CSS = read_asset("swipe.css")
TITLE_CSS = read_asset("map_title.css")
PNG_JS = read_asset("maps_to_png.js")
FACTS_JS = read_asset("map_facts.js")


class FigurePane(pn.pane.Bokeh):
    """A figure beside others that share most of its models.

    Panel would read through them all for each figure, for scripts that name it and for its theme; the document has the
    theme too.
    """

    def _get_model(self, doc: Any, root: Any = None, parent: Any = None, comm: Any = None) -> Any:
        if root is None:
            return self.get_root(doc, comm)
        self._models[root.ref["id"]] = (self.object, parent)
        return self.object


class MapBoard:
    """A row of linked maps with one colour bar; drawn in a thread, changed in place afterwards."""

    def __init__(
        self,
        frames: Sequence[Frame],
        view: SharedView,
        *,
        clim: tuple[float, float],
        cmap: str,
        attrs: Mapping[str, Any],
        columns: int = 0,
        layout: str = "grid",
    ):
        self.layout, self.frames = layout, list(frames)
        self.units = str(attrs.get("units", ""))
        self.columns = columns or best_columns(len(frames))
        self.maps = MapSet(
            {frame.key: frame.field for frame in frames}, view, clim=clim, cmap=cmap, faint=_faint_cells(frames),
            vectors=_vectors(frames),
        )  # fmt: skip
        self.bar = ColourBar(clim, cmap, attrs, width=BAR_WIDTH)
        self.titles = [
            bm.Div(text=frame.title, stylesheets=[TITLE_CSS], sizing_mode="stretch_width") for frame in frames
        ]

        self.facts = bm.ColumnDataSource({"fact": [frame.fact for frame in frames]})
        put = bm.CustomJS(code=FACTS_JS, args={"facts": self.facts, "titles": self.titles})
        self.facts.js_on_change("data", put)
        self.titles[0].js_on_change("name", put)  # never happens, but what no shown model names isn't in the browser

    @property
    def clim(self) -> tuple[float, float]:
        """The colour range of all maps."""
        return self.maps.clim

    def show(self, frames: Sequence[Frame], clim: tuple[float, float]) -> None:
        """Show other values in the same maps, and their range of colours."""
        if clim != self.clim:
            self.bar.colour(clim)
        self.frames = list(frames)
        self.maps.show({frame.key: frame.field for frame in frames}, clim, _faint_cells(frames), _vectors(frames))
        self.show_values(None)

    def show_values(self, cell: Cell | None) -> None:
        """Above each map, its value at y and x of the grid; its fact without a place."""
        values = self.maps.values_at(*cell) if cell else {}
        facts = [value_text(values[frame.key], self.clim, self.units) if cell else frame.fact for frame in self.frames]
        if facts != self.facts.data["fact"]:
            self.facts.data = {"fact": facts}

    def to_png(self, button: pmui.Button) -> None:
        """Make a button save what the maps show now, zoom included, as one picture; all of it in the browser."""
        names = [frame.name if len(frame.key) > 1 else f"{frame.key} {frame.name}" for frame in self.frames]
        figures = {"maps": self.maps.figures, "bar": self.bar.figure}
        button.js_on_click(code=PNG_JS, args={**figures, "names": names, "columns": self.columns})

    def grid(self, *beside: Any) -> Any:
        """Maps in columns, the bar at their right end, then what stands beside them in the columns left over."""
        self.bar.figure.update(sizing_mode="stretch_height", height=None)
        beside_maps = {"position": "absolute", "inset": "20px 0 0 0", "height": "auto"}
        pane = pn.pane.Bokeh(
            self.bar.figure, margin=0, width=BAR_WIDTH, sizing_mode="stretch_height", styles=beside_maps
        )
        bar = pn.Column(pane, css_classes=["bar"], margin=0, sizing_mode="stretch_both")
        maps = [
            FigurePane(bm.Column(children=[title, figure], sizing_mode="stretch_width"), margin=0)
            for title, figure in zip(self.titles, self.maps.figures, strict=True)
        ]
        for one in maps:
            one.sizing_mode = "stretch_width"
        css = _grid_css(self.columns, len(maps))
        return pn.Column(*maps, bar, *beside, stylesheets=[css], sizing_mode="stretch_width", margin=0)


class SwipeBoard(MapBoard):
    """Two maps on top of each other with an edge that is moved by mouse, touch and keyboard, in the browser."""

    def __init__(self, frames: Sequence[Frame], view: SharedView, **look: Any):
        super().__init__(frames, view, **look)
        self.width = round(SWIPE_HEIGHT * view.box.aspect)
        for figure in self.maps.figures:
            figure.update(sizing_mode="fixed", width=self.width, height=SWIPE_HEIGHT, aspect_ratio=None)
        self.maps.figures[1].styles = {"clip-path": "inset(0 0 0 50%)"}

    def grid(self, *beside: Any) -> Any:
        edge = pn.pane.HTML("", width=2, height=SWIPE_HEIGHT, styles={"left": "50%"}, css_classes=["edge"], margin=0)
        figures = [pn.pane.Bokeh(figure, margin=0) for figure in self.maps.figures]
        stack = pn.Column(*figures, edge, stylesheets=[STACK_CSS], width=self.width, height=SWIPE_HEIGHT, margin=0)
        slider = pmui.IntSlider(
            start=0, end=100, value=50, show_value=False, label="", width=self.width + 16, size="small", margin=(0, -8),
        )  # fmt: skip
        slider.jscallback(value=SWIPE_JS, args={"upper": self.maps.figures[1], "edge": edge})
        titles = pn.Row(
            *(pn.pane.Bokeh(title, sizing_mode="stretch_width", margin=0) for title in self.titles),
            width=self.width, margin=0, styles={"gap": "24px"},
        )  # fmt: skip
        self.bar.figure.height = SWIPE_HEIGHT
        bar = pn.pane.Bokeh(self.bar.figure, width=BAR_WIDTH, margin=(20, 0, 24, GAP))
        return pn.Row(pn.Column(titles, stack, slider, margin=0), bar, *beside, align="center", margin=0)


def _faint_cells(frames: Sequence[Frame]) -> dict[str, np.ndarray]:
    return {frame.key: frame.faint for frame in frames if frame.faint is not None}


def _vectors(frames: Sequence[Frame]) -> dict[str, xr.DataArray]:
    return {frame.key: frame.vectors for frame in frames if frame.vectors is not None}


def best_columns(n_maps: int) -> int:
    """Arrange up to six maps in a row, more in two rows as equal as can be."""
    return n_maps if n_maps <= 6 else -(-n_maps // 2)


def _grid_css(columns: int, n_maps: int) -> str:
    """Equal columns, the bar right of the last map, what is beside it in the columns left over or below."""
    below = 1250 if columns > 5 else 900  # pixels of the window: narrower maps can't be read
    return f"""
:host {{ display: grid; gap: {GAP}px; height: auto; }}
:host, :host > * {{ max-height: none; }}
.scroll-button {{ display: none; }}  /* of Panel's Column: never used, it would be a row of its own */
{_columns_css(columns, n_maps)}
@media (max-width: {below}px) {{ {_columns_css(min(columns, 3), n_maps)} }}
@media (max-width: 600px) {{ {_columns_css(min(columns, 2), n_maps)} }}
"""


def _columns_css(columns: int, n_maps: int) -> str:
    filled, rest = min(n_maps, columns), max(columns - n_maps, 0)
    tail = f" repeat({rest}, minmax(0, 1fr))" if rest else ""
    beside = f"{filled + 2} / -1" if rest > 1 else "1 / -1"
    return f"""
:host {{ grid-template-columns: repeat({filled}, minmax(0, 1fr)) {BAR_WIDTH}px{tail}; }}
:host > .bar {{ grid-column: {filled + 1}; grid-row: 1 / span {-(-n_maps // columns)}; position: relative; }}
:host > .beside {{ grid-column: {beside}; min-width: 0; }}"""
