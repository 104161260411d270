"""Stations on a map, coloured by a score."""

from __future__ import annotations

from collections.abc import Sequence

import bokeh.models as bm
import numpy as np

from app.plots.colours import INK, palette
from app.plots.live import SharedView

REACH = 0.05  # of the map's width, within which a click means a station


class StationMap:
    """One map of dots in a view; calls `on_station` with the number of the station that is clicked."""

    def __init__(self, view: SharedView, lon: np.ndarray, lat: np.ndarray, names: Sequence[str]):
        self.view, self.on_station = view, _ignore
        self.x, self.y = view.projection.from_lonlat(lon, lat)
        none = [float("nan")] * len(names)
        self.source = bm.ColumnDataSource(
            {"x": self.x, "y": self.y, "name": list(names), "value": none, "size": [11] * len(names)}
        )
        self.mapper = bm.LinearColorMapper(palette=palette("viridis"), nan_color="rgba(0, 0, 0, 0)")
        dots = bm.Scatter(
            x="x", y="y", size="size", line_color=INK, fill_color={"field": "value", "transform": self.mapper}
        )
        renderer = bm.GlyphRenderer(data_source=self.source, glyph=dots)
        hover = bm.HoverTool(renderers=[renderer], tooltips="@name: @value{0.000}")
        wheel = bm.WheelZoomTool(zoom_on_axis=False, modifiers="ctrl")
        toolbar = bm.Toolbar(tools=[bm.PanTool(), wheel, hover], active_scroll=wheel)
        shown = [*view.renderers[:2], renderer]  # without the clicked cell
        self.figure = view.plot("stations", shown, toolbar, border_fill_color=None)
        self.figure.on_event("tap", self._tapped)

    def show(self, values: np.ndarray, clim: tuple[float, float], cmap: str, chosen: int | None) -> None:
        """Colour the stations; stations without a value are hollow, and the chosen one is larger."""
        self.mapper.update(low=clim[0], high=clim[1], palette=palette(cmap))
        size = [17 if number == chosen else 11 for number in range(len(values))]
        self.source.data = {**self.source.data, "value": values, "size": size}

    def _tapped(self, event: bm.Event) -> None:
        window = self.view.window
        across, along = window.east - window.west, window.north - window.south
        away = np.hypot((self.x - event.x) / across, (self.y - event.y) / along / window.aspect)
        if np.isfinite(away).any() and np.nanmin(away) < REACH:
            self.on_station(int(np.nanargmin(away)))


def _ignore(number: int) -> None:
    pass
