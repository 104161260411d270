"""Footprints of the inputs of a design on a map, drawn by GeoViews in a stereographic projection about the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import geoviews as gv
import geoviews.plotting.bokeh
import holoviews as hv
import numpy as np

from app.plots.geography import map_lines
from app.plots.lines import DRAWING
from app.plots.projection import Box, MapProjection
from app.services.domain import Footprint
from app.services.regions import outline_of_region
from app.theme import ACCENT, FAINT
from engine.spec import Region

hv.extension("bokeh")

COLOURS = {"target": ACCENT["light"], "LR": "#d9822b", "predictor": "#8a63b8", "static": "#5f8f3e"}
REGION = "#c2334d"
DASHES = {"predictor": "dashed", "static": "dotted"}
ROOM = 0.2  # of the target's width and height, on each side
ASPECT = 1.6  # width by height of the figure


def domain_map(inputs: Sequence[Footprint], region: Region | None) -> Any:
    """Draw the border of each input, the first being the target, the region, and the coasts; a Bokeh figure."""
    target = inputs[0].grid
    projection = MapProjection.of("stereographic", target)
    box = _widened(projection.box())

    def line(lon: np.ndarray, lat: np.ndarray, colour: str, dash: str = "solid") -> gv.Path:
        points = np.column_stack(projection.from_lonlat(lon, lat))
        return gv.Path([points], crs=projection.crs).opts(color=colour, line_width=2, line_dash=dash, line_join="round")

    coast = gv.Path([map_lines(projection, box)["coast"]], crs=projection.crs).opts(color=FAINT["light"], line_width=1)
    layers = [coast]
    for one in reversed(inputs):
        layers.append(line(*one.outline(), COLOURS[one.role], DASHES.get(one.role, "solid")))
    if region is not None:
        layers.append(line(*target.to_lonlat(*outline_of_region(target, region)), REGION))
    with DRAWING:
        shown = gv.Overlay(layers).opts(
            projection=projection.crs, xlim=(box.west, box.east), ylim=(box.south, box.north), responsive=True,
            aspect=ASPECT, toolbar=None, show_bounds=False, xaxis=None, yaxis=None, default_tools=[], backend="bokeh",
        )  # fmt: skip
        figure = hv.render(shown, backend="bokeh")
    figure.update(outline_line_color=None, background_fill_color=None, border_fill_color=None)
    return figure


def _widened(box: Box) -> Box:
    """With room around it, in the shape of the figure."""
    width, height = (1 + 2 * ROOM) * (box.east - box.west), (1 + 2 * ROOM) * (box.north - box.south)
    across, along = max(width, ASPECT * height) / 2, max(height, width / ASPECT) / 2
    x, y = (box.west + box.east) / 2, (box.south + box.north) / 2
    return Box(x - across, x + across, y - along, y + along, ASPECT)
