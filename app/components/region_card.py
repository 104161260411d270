"""The region of the design as a box on the map of a file: drawn, typed, used or cleared."""

from __future__ import annotations

from typing import Any

import bokeh.models as bm
import numpy as np
import panel as pn
import panel_material_ui as pmui

from app.components.cards import heading
from app.form.field import SMALL, read_number
from app.formatting import plain_text
from app.plots.colours import INK, PAPER
from app.plots.live import MapSet, SharedView
from app.services.regions import cells_of, outline_of_cells, outline_of_region, trainable_cells
from app.session import Session
from app.theme import OUTLINED
from engine.data.grids import Grid
from engine.data.regions import region_of_box
from engine.errors import MesoscopeError
from engine.spec import Region

SIDES = ("south", "north", "west", "east")
NARROW = {"& input": {"padding": "8px 6px"}}
HINT = "Draw a box on the map, or type its sides in degrees. Without a region the whole grid is used."
DRAWING = "Drag from one corner of the region to the other."


class RegionCard:
    """Sets `data.region` of the draft; shows the one that it holds, until another is drawn or typed."""

    def __init__(self, session: Session):
        self.session = session
        self.region: Region | None = None
        self._grid: Grid | None = None
        self._in_draft: Region | None = None
        self._is_showing = False
        self._cells, self._sides = (bm.ColumnDataSource({"x": [], "y": []}) for _ in range(2))
        self._view: SharedView | None = None
        self.draw = pmui.Button(label="Draw a box", icon="crop", **OUTLINED)
        self.use = pmui.Button(label="Use as region", disabled=True, **OUTLINED)
        self.clear = pmui.Button(label="Clear", icon="close", disabled=True, **{**OUTLINED, "variant": "text"})
        self.lines = {side: pmui.TextInput(label=side, sx=NARROW, **SMALL) for side in SIDES}
        self.message = pmui.Typography(HINT, variant="caption", margin=(6, 0, 0, 0))
        self.draw.on_click(lambda _: self._draw(not self.is_drawing))
        self.use.on_click(self._use)
        self.clear.on_click(self._clear)
        for line in self.lines.values():
            line.param.watch(self._typed, "value")
        numbers = pmui.Row(*self.lines.values(), sx={"gap": "6px"}, margin=(4, 0), sizing_mode="stretch_width")
        buttons = pmui.FlexBox(self.draw, self.use, self.clear, gap="8px", margin=0)
        self.view = pn.Column(
            heading("Region"), buttons, numbers, self.message, margin=(12, 0, 0, 0), sizing_mode="stretch_width"
        )
        session.param.watch(lambda _: self._follow_draft(), ["draft", "page"])
        self._follow_draft()

    @property
    def is_drawing(self) -> bool:
        return self.draw.icon == "close"

    def follow(self, grid: Grid, maps: MapSet) -> None:
        """Draw on another map; to be called before the browser has it."""
        self._view, self._grid = maps.view, grid
        self._cells, self._sides = (bm.ColumnDataSource({"x": [], "y": []}) for _ in range(2))
        _add_region(maps.figures[0], self._sides, self._cells)
        self._view.area.on_area = self._drawn
        self._draw(False)
        self._show(self.region)

    def _drawn(self, x: np.ndarray, y: np.ndarray, is_box: bool) -> None:
        """A box in map coordinates."""
        if self._grid is None or self._view is None or not is_box:
            return
        try:
            region = region_of_box(self._grid, *self._view.projection.to_grid(self._grid, x, y))
            trainable_cells(self._grid, region, self.session.draft.get("data", "scale"))
        except MesoscopeError as error:
            self._set_message(str(error), is_fault=True)
        else:
            with pn.io.hold():
                self._draw(False)
                self._show(region)

    def _draw(self, begin: bool) -> None:
        """Drag draws a box, or moves the map."""
        if self._view is not None:  # before the button's label changes
            self._view.drag("box" if begin else "move")
        label, icon = ("Stop drawing", "close") if begin else ("Draw a box", "crop")
        self.draw.param.update(label=label, icon=icon)
        if begin:
            self._set_message(DRAWING)
        elif self._grid is not None:
            self._describe()

    def _typed(self, _: Any) -> None:
        if self._is_showing:
            return
        texts = {side: line.value.strip() for side, line in self.lines.items()}
        given = {side: read_number(text) for side, text in texts.items()}
        if any(number is None for number in given.values()):
            self._take(None)
            return
        try:
            plain = {"lat": [given["south"], given["north"]], "lon": [given["west"], given["east"]]}
            self._take(Region.parse(plain, "data.region"))
        except MesoscopeError as error:
            self._take(None)
            self._set_message(str(error), is_fault=True)

    def _show(self, region: Region | None) -> None:
        """Put a region into the numbers and onto the map."""
        self._is_showing = True
        numbers = (*region.lat, *region.lon) if region else ("",) * len(SIDES)
        for line, number in zip(self.lines.values(), numbers, strict=True):
            line.value = f"{number:.9g}" if region else ""
        self._is_showing = False
        self._take(region)

    def _take(self, region: Region | None) -> None:
        """Draw a region on the map, and say what it holds."""
        self.region = region
        nothing = np.empty(0), np.empty(0)
        sides = cells = nothing
        if region and self._grid is not None:
            sides = outline_of_region(self._grid, region)
            try:
                cells = outline_of_cells(self._grid, cells_of(self._grid, region))
            except MesoscopeError:
                cells = nothing  # `_describe` gives the reason
        for source, line in ((self._sides, sides), (self._cells, cells)):
            x, y = self._view.projection.from_grid(self._grid, *line) if self._view and self._grid else line
            source.data = {"x": x, "y": y}
        self._describe()

    def _describe(self) -> None:
        in_draft = self.session.draft.get("data", "region")
        self.clear.disabled = self.region is None and in_draft is None
        self.use.disabled = True
        if self.region is None or self._grid is None:
            self._set_message(HINT)
            return
        try:
            cells = trainable_cells(self._grid, self.region, self.session.draft.get("data", "scale"))
        except MesoscopeError as error:
            self._set_message(str(error), is_fault=True)
            return
        self.use.disabled = self.region == in_draft
        (ny, nx), (all_y, all_x) = cells.shape, self._grid.shape
        used = "the region of the design" if self.region == in_draft else "not yet used in the design"
        more = " The dashed line is the region, the full one its cells." if not self._grid.is_lonlat else ""
        self._set_message(f"{ny} × {nx} of {all_y} × {all_x} cells; {used}.{more}")

    def _set_message(self, text: str, *, is_fault: bool = False) -> None:
        self.message.param.update(object=plain_text(text), color="error" if is_fault else "text.secondary")

    def _follow_draft(self) -> None:
        """Show the draft's region when it has become another one."""
        in_draft = self.session.draft.get("data", "region")
        if in_draft != self._in_draft:
            self._in_draft = in_draft
            self._show(in_draft)

    def _use(self, _: Any) -> None:
        if self.region is not None:
            self._set(self.region)

    def _clear(self, _: Any) -> None:
        self._set(None)
        self._show(None)

    def _set(self, region: Region | None) -> None:
        self._in_draft = region
        self.session.draft.set("data", "region", region)
        self.session.draft_changed()
        self._describe()


def _add_region(figure: bm.Plot, sides: bm.ColumnDataSource, cells: bm.ColumnDataSource) -> None:
    """Add to a map the outlines of a region and of its cells."""
    for source, dash, width in ((sides, "dashed", 1), (cells, "solid", 2)):
        for color, more in ((PAPER, 2), (INK, 0)):  # a white line beneath, so that it is seen on dark colours too
            line = bm.Line(x="x", y="y", line_color=color, line_dash=dash, line_width=width + more)
            figure.renderers.append(bm.GlyphRenderer(data_source=source, glyph=line))
