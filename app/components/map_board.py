"""The maps of the Compare page: which ones a layout shows, and the cards that hold them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr

from app.plots.live import ColourBar, LiveMap, SharedView
from app.plots.products import colour_of, name_of
from app.services.comparison import Comparison
from app.theme import read_asset

BAR_WIDTH = 92
GAP = 10
SWIPE_HEIGHT = 520
SWIPE_JS = read_asset("swipe.js")
STACK_CSS = read_asset("swipe.css")

TITLE_CSS = read_asset("map_title.css")


PNG_JS = read_asset("maps_to_png.js")


@dataclass(frozen=True)
class Frame:
    """One map: what it shows, what stands above it."""

    key: str
    name: str
    field: xr.DataArray
    fact: str = ""

    @property
    def title(self) -> str:
        badge = f'<i style="background:{colour_of(self.key)}">{self.key}</i>' if len(self.key) == 1 else ""
        return f'<div class="map">{badge}<b>{html.escape(self.name)}</b><span>{html.escape(self.fact)}</span></div>'


def field_frames(comparison: Comparison, fields: Mapping[str, xr.DataArray]) -> list[Frame]:
    """LR, interpolated, HR and each run, with the RMSE of the step where it is defined."""
    titles = {result.letter: result.title for result in comparison.shown}
    hr, units = fields["hr"], comparison.first.units
    frames = []
    for key, field in fields.items():
        known = key not in ("lr", "hr") and field.shape == hr.shape
        frames.append(
            Frame(key, titles.get(key, name_of(key)), field, f"RMSE {_rms(field, hr)} {units}" if known else "")
        )
    return frames


def difference_frames(comparison: Comparison, fields: Mapping[str, xr.DataArray]) -> list[Frame]:
    """Each product on the first run's grid minus HR; with two runs or more also the first two's difference."""
    hr, units = fields["hr"], comparison.first.units
    titles = {result.letter: result.title for result in comparison.shown}
    same = [r.letter for r in comparison.shown if comparison.on_same_grid(r)]
    frames = []
    for key in ("interpolated", *same):
        field = _minus(fields[key], hr)
        frames.append(Frame(key, f"{titles.get(key, name_of(key))} − HR", field, f"bias {_signed_mean(field)} {units}"))
    if len(same) > 1:
        field = _minus(fields[same[0]], fields[same[1]])
        frames.append(Frame("difference", f"{same[0]} − {same[1]}", field, f"mean {_signed_mean(field)} {units}"))
    return frames


def rmse_frames(comparison: Comparison, maps: Mapping[str, xr.DataArray]) -> list[Frame]:
    """RMSE of the interpolated field and of each run; with the mean and the gain over the interpolated field."""
    titles = {result.letter: result.title for result in comparison.results}
    base = _mean(maps["interpolated"])
    frames = []
    for key, field in maps.items():
        mean = _mean(field)
        own = key != "interpolated" and field.shape == maps["interpolated"].shape and base > 0
        gain = f" · {100 * (mean / base - 1):+.0f} %".replace("-", "−") if own else ""
        frames.append(Frame(key, titles.get(key, name_of(key)), field, f"mean {mean:.3g}{gain}"))
    return frames


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
        dark: bool,
        columns: int = 0,
        layout: str = "grid",
    ):
        self.layout, self.frames = layout, list(frames)
        self.columns = columns or best_columns(len(frames))
        self.maps = [LiveMap(f.field, view, clim=clim, cmap=cmap, name=f"map_{f.key}", dark=dark) for f in frames]
        self.bar = ColourBar(clim, cmap, attrs, width=BAR_WIDTH)
        self.titles = [
            pn.pane.HTML(f.title, stylesheets=[TITLE_CSS], sizing_mode="stretch_width", margin=0, height=26)
            for f in frames
        ]
        self.clim = clim

    def show(self, frames: Sequence[Frame]) -> None:
        """Other values in the same maps."""
        self.frames = list(frames)
        for one, title, frame in zip(self.maps, self.titles, frames, strict=True):
            one.show(frame.field)
            title.object = frame.title

    def colour(self, clim: tuple[float, float]) -> None:
        """One other range for all maps and the bar."""
        if clim != self.clim:
            self.clim = clim
            for one in self.maps:
                one.colour(clim)
            self.bar.colour(clim)

    def darken(self, dark: bool) -> None:
        for one in self.maps:
            one.darken(dark)

    def to_png(self, button: pmui.Button) -> None:
        """Make a button save what the maps show now, zoom included, as one picture; all of it in the browser."""
        names = [frame.name if len(frame.key) > 1 else f"{frame.key} {frame.name}" for frame in self.frames]
        figures = {"maps": [one.figure for one in self.maps], "bar": self.bar.figure}
        button.js_on_click(code=PNG_JS, args={**figures, "names": names, "columns": self.columns})

    def grid(self, *beside: Any) -> Any:
        """Maps in columns, the bar at their right end, then what stands beside them in the columns left over."""
        pane = pn.pane.Bokeh(self.bar.figure, width=BAR_WIDTH, min_height=200, sizing_mode="stretch_height", margin=0)
        bar = pn.Column(pane, margin=(26, 0, 0, 0), css_classes=["bar"])  # a figure keeps no class of its own
        css = [_grid_css(self.columns, len(self.maps))]
        return pn.Column(*self._cells(), bar, *beside, stylesheets=css, sizing_mode="stretch_width", margin=0)

    def _cells(self) -> list[pn.Column]:
        figures = [pn.pane.Bokeh(one.figure, sizing_mode="stretch_width", margin=0) for one in self.maps]
        return [
            pn.Column(title, figure, sizing_mode="stretch_width", margin=0)
            for title, figure in zip(self.titles, figures, strict=True)
        ]


class SwipeBoard(MapBoard):
    """Two maps on top of each other; a slider beneath moves the edge, by mouse, touch and keyboard, in the browser."""

    def __init__(self, frames: Sequence[Frame], view: SharedView, **look: Any):
        super().__init__(frames, view, **look)
        self.width = round(SWIPE_HEIGHT * view.box.aspect)
        for one in self.maps:
            one.figure.update(sizing_mode="fixed", width=self.width, height=SWIPE_HEIGHT, aspect_ratio=None)
        self.maps[1].figure.styles = {"clip-path": "inset(0 0 0 50%)"}

    def grid(self, *beside: Any) -> Any:
        edge = pn.pane.HTML("", width=2, height=SWIPE_HEIGHT, styles={"left": "50%"}, css_classes=["edge"], margin=0)
        figures = [pn.pane.Bokeh(one.figure, margin=0) for one in self.maps]
        stack = pn.Column(*figures, edge, stylesheets=[STACK_CSS], width=self.width, height=SWIPE_HEIGHT, margin=0)
        slider = pmui.IntSlider(
            start=0, end=100, value=50, show_value=False, label="", width=self.width + 16, size="small", margin=(0, -8),
        )  # fmt: skip
        slider.jscallback(value=SWIPE_JS, args={"upper": self.maps[1].figure, "edge": edge})
        titles = pn.Row(*self.titles, width=self.width, margin=0, styles={"gap": "24px"})
        bar = pn.pane.Bokeh(self.bar.figure, width=BAR_WIDTH, margin=(26, 0, 24, GAP))
        return pn.Row(pn.Column(titles, stack, slider, margin=0), bar, *beside, align="center", margin=0)


def best_columns(n_maps: int) -> int:
    """Up to six maps in a row, more in two rows as equal as can be."""
    return n_maps if n_maps <= 6 else -(-n_maps // 2)


def _grid_css(columns: int, n_maps: int) -> str:
    """Equal columns, the bar right of the last map, what is beside it in the columns left over or below."""
    narrow = _columns_css(min(columns, 3), n_maps)
    below = 1250 if columns > 5 else 900  # pixels of the window: narrower maps can't be read
    return f"""
:host {{ display: grid; gap: {GAP}px; height: auto; }}
{_columns_css(columns, n_maps)}
@media (max-width: {below}px) {{ {narrow} }}
"""


def _columns_css(columns: int, n_maps: int) -> str:
    filled, rest = min(n_maps, columns), max(columns - n_maps, 0)
    tail = f" repeat({rest}, minmax(0, 1fr))" if rest else ""
    beside = f"{filled + 2} / -1" if rest > 1 else "1 / -1"
    return f"""
:host {{ grid-template-columns: repeat({filled}, minmax(0, 1fr)) {BAR_WIDTH}px{tail}; }}
:host > .bar {{ grid-column: {filled + 1}; grid-row: 1 / span {-(-n_maps // columns)}; height: auto; }}
:host > .beside {{ grid-column: {beside}; min-width: 0; }}"""


def _minus(one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Cell by cell, whatever the last digit of the coordinates."""
    return one.copy(data=one.values - other.values)


def _rms(field: xr.DataArray, hr: xr.DataArray) -> str:
    error = field.values - hr.values
    has_value = np.isfinite(error)
    return f"{np.sqrt(np.mean(error[has_value] ** 2)):.3g}" if has_value.any() else "–"


def _mean(field: xr.DataArray) -> float:
    values = field.values[np.isfinite(field.values)]
    return float(values.mean()) if values.size else float("nan")


def _signed_mean(field: xr.DataArray) -> str:
    return f"{_mean(field):+.2g}".replace("-", "−")
