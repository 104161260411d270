"""Stations of a file: where they are, and the mean of what was measured there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr

from app import formatting
from app.plots.colours import colour_map, colour_range
from app.plots.live import ColourBar, SharedView
from app.plots.stations import StationMap
from app.services.preview import minute
from app.theme import PAGE_CSS
from engine.data.grids import Grid
from engine.data.stations import ALT, LAT, LON, NAME

WIDTH, BAR_WIDTH = 480, 84
ROOM = 0.15  # of the extent of the stations, on each side
USE = "python -m engine verify RUN --stations FILE, or the card Stations of Compare"


@dataclass(frozen=True)
class DrawnStations:
    """Map, colour bar and facts of a file of stations."""

    map: StationMap
    bar: ColourBar
    facts: dict[str, str]


def draw_stations(measured: xr.DataArray, path: str) -> DrawnStations:
    """Draw the stations of a file; takes up to a second."""
    lat, lon = (_padded_range(measured[role].values) for role in (LAT, LON))
    view = SharedView(Grid(lat, lon), lambda y, x: None)
    means = measured.mean("time")
    drawn = StationMap(view, measured[LON].values, measured[LAT].values, measured[NAME].values.tolist())
    clim, cmap = colour_range([means]), colour_map(measured)
    drawn.show(means.values, clim, cmap, None)
    label = {"long_name": f"mean of {measured.name}", "units": measured.attrs["units"]}
    times, missing = measured["time"].values, float(measured.isnull().mean())
    low, high = float(measured.min()), float(measured.max())
    heights = measured[ALT].values[np.isfinite(measured[ALT].values)]
    facts = {
        "File": path.rpartition("/")[2],
        "Variable": str(measured.name),
        "Unit": measured.attrs["units"],
        "Stations": formatting.count(measured.sizes["station"]),
        "Altitude": f"{heights.min():g} to {heights.max():g} m" if heights.size else "not given",
        "Time steps": formatting.count(len(times)),
        "First, last": f"{minute(times[0])}\n{minute(times[-1])}",
        "Values": f"{formatting.number(low, 4)} to {formatting.number(high, 4)} {measured.attrs['units']}",
        "Missing": f"{100 * missing:.1f} %",
        "Use": USE,
    }
    bar = ColourBar(clim, cmap, label)
    bar.figure.sizing_mode = "fixed"
    return DrawnStations(drawn, bar, facts)


def _padded_range(degrees: np.ndarray) -> np.ndarray:
    """Cell centres from before the first to after the last station."""
    room = max(ROOM * float(np.ptp(degrees)), 0.5)
    return np.linspace(degrees.min() - room, degrees.max() + room, 20)


class StationView:
    """Shown in place of a field where a file holds stations."""

    def __init__(self) -> None:
        self.map = pn.pane.Bokeh(None, margin=0, sizing_mode="stretch_width")
        self._bar = pn.pane.Bokeh(None, margin=0)
        self.facts = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=0)
        row = pn.Row(self.map, self._bar, margin=0, sizing_mode="stretch_width")
        picture = pn.Column(row, margin=0, max_width=WIDTH + BAR_WIDTH, styles={"flex": "2 1 300px"})
        side = pn.Column(self.facts, margin=0, styles={"flex": "1 1 240px", "min-width": "0"})
        body = pn.FlexBox(
            picture, side, gap="16px 24px", align_items="flex-start", margin=0, sizing_mode="stretch_width"
        )  # fmt: skip
        self.view = pmui.Column(body, visible=False, margin=0, sizing_mode="stretch_width")

    def show(self, drawn: DrawnStations) -> None:
        with pn.io.hold():
            self.map.object, self._bar.object = drawn.map.figure, drawn.bar.figure
            self.facts.object = formatting.table(drawn.facts)
            self.view.visible = True
