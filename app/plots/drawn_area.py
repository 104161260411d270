"""An area that the user draws on linked maps, as a box or along a line, and its border."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bokeh.models as bm
import numpy as np

from app.plots.colours import INK, PAPER
from app.plots.projection import MapProjection
from engine.data.grids import Grid


class DrawnArea:
    """Tools that draw an area on all maps of a view, and the border that is shown of it.

    on_area : called with x and y of the map, along the border of an area that was drawn, and whether it is a box.
    """

    def __init__(self, grid: Grid, projection: MapProjection):
        self.grid, self.projection = grid, projection
        self.on_area: Callable[[np.ndarray, np.ndarray, bool], object] = lambda x, y, is_box: None
        self.border = bm.ColumnDataSource({"x": [], "y": []})
        # Until one is drawn, a visible area without sides would be all of the map, under a veil.
        style = {"line_color": INK, "line_dash": "dashed", "fill_color": PAPER, "fill_alpha": 0.3, "visible": False}
        self.drags = {  # all from the start: a tool that comes later does nothing in the browser
            "move": bm.PanTool(),
            "box": bm.BoxSelectTool(renderers=[], overlay=bm.BoxAnnotation(**style)),
            "line": bm.LassoSelectTool(renderers=[], overlay=bm.PolyAnnotation(**style)),
        }

    def border_glyphs(self) -> list[tuple[bm.ColumnDataSource, bm.Glyph]]:
        """The border: a dark line on a wider white one, so that it is seen on dark colours too."""
        return [
            (self.border, bm.Line(x="x", y="y", line_color=color, line_width=width))
            for color, width in ((PAPER, 4), (INK, 2))
        ]

    def show(self, x: np.ndarray, y: np.ndarray) -> None:
        """Show the border of an area, in coordinates of the grid; none where they are empty."""
        x, y = self.projection.from_grid(self.grid, x, y) if len(x) else (x, y)
        self.border.data = {"x": x, "y": y}

    def take(self, event: Any) -> None:
        """Hand on an area that was drawn, once it is complete."""
        area = event.geometry
        if event.final and area["type"] == "rect":
            (west, east), (south, north) = sorted((area["x0"], area["x1"])), sorted((area["y0"], area["y1"]))
            self.on_area(np.array([west, east, east, west]), np.array([south, south, north, north]), True)
        elif event.final and area["type"] == "poly":
            self.on_area(np.array(area["x"], float), np.array(area["y"], float), False)
