"""Footprints of the inputs of a design on a map, drawn by GeoViews in a stereographic projection about the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import geoviews as gv
import geoviews.plotting.bokeh
import holoviews as hv
import numpy as np

from app.plots.geography import map_lines
from app.plots.lines import DRAWING, draw
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
THICK = {"line_width": 2, "line_join": "round"}
LARGEST_KM2 = 1.3e8  # a quarter of the globe; more of it has no place around one centre


def domain_map(inputs: Sequence[Footprint], region: Region | None) -> Any:
    """Draw the border of each input, the first being the target, the region, and the coasts; a Bokeh figure."""
    target = inputs[0].grid
    is_large = target.cell_areas().sum() > LARGEST_KM2
    projection = MapProjection.of("PlateCarree" if is_large else "stereographic", target)
    box = _widened(projection.box())
    lines = [(map_lines(projection, box)["coast"], {"color": FAINT["light"], "line_width": 1})]
    for one in reversed(inputs):
        style = {"color": COLOURS[one.role], "line_dash": DASHES.get(one.role, "solid"), **THICK}
        lines.append((_line(projection, box, *one.outline()), style))
    if region is not None:
        border = target.to_lonlat(*outline_of_region(target, region))
        lines.append((_line(projection, box, *border), {"color": REGION, **THICK}))
    with DRAWING:
        paths = [gv.Path([line], crs=projection.crs).opts(**style) for line, style in lines if np.isfinite(line).any()]
        shown = gv.Overlay(paths).opts(
            projection=projection.crs, xlim=(box.west, box.east), ylim=(box.south, box.north), responsive=True,
            aspect=ASPECT, toolbar=None, show_bounds=False, xaxis=None, yaxis=None, default_tools=[], backend="bokeh",
        )  # fmt: skip
        figure = draw(shown)
    figure.update(outline_line_color=None, background_fill_color=None, border_fill_color=None)
    return figure


def _line(projection: MapProjection, box: Box, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Points (n, 2) on the map, with a gap where the line leaves at one side and comes back at the other."""
    points = np.column_stack(projection.from_lonlat(lon, lat))
    jumps = np.flatnonzero(np.abs(np.diff(points[:, 0])) > (box.east - box.west) / 2) + 1
    return np.insert(points, jumps, np.nan, axis=0)


def _widened(box: Box) -> Box:
    """Add a margin around a box, in the shape of the figure."""
    width, height = (1 + 2 * ROOM) * (box.east - box.west), (1 + 2 * ROOM) * (box.north - box.south)
    across, along = max(width, ASPECT * height) / 2, max(height, width / ASPECT) / 2
    x, y = (box.west + box.east) / 2, (box.south + box.north) / 2
    return Box(x - across, x + across, y - along, y + along, ASPECT)
