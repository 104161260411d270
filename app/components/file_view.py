"""One variable of a file: map with the region, histogram, facts, and the parts that it can take in the draft."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from app import formatting
from app.components.catalogue_card import CatalogueForm
from app.components.cell_card import place_text
from app.components.region_card import RegionCard
from app.plots.colours import colour_map
from app.plots.live import Cell, ColourBar, MapSet, SharedView
from app.plots.overview import spread
from app.services.newest import Newest
from app.services.preview import Preview
from app.theme import OUTLINED, PAGE_CSS
from engine.data.file_summary import FileSummary, Variable

MAP_WIDTH, MAP_HEIGHT, BAR_WIDTH = 480, 480, 84
MAP = "field"
USES = {"target": "Use as target", "lr": "Use as LR", "predictors": "Use as predictor", "static": "Use as static"}


class FileView:
    """Calls `choose` with the variable that is chosen, `use` with the part that the variable shown shall take.

    added : called when the variable shown was added to the catalogue.
    """

    def __init__(
        self,
        choose: Callable[[str], object],
        use: Callable[[str], object],
        region: RegionCard,
        added: Callable[[], object],
    ):
        self.preview: Preview | None = None
        self.region = region
        self._drawing = Newest()
        self.variable = pmui.Select(label="Variable", options=[], size="small", margin=0, styles={"width": "300px"})
        self.variable.param.watch(lambda event: event.new and choose(event.new), "value")
        self.uses = {part: pmui.Button(label=label, **OUTLINED) for part, label in USES.items()}
        for part, button in self.uses.items():
            button.on_click(lambda _, part=part: use(part))
        self.adding = CatalogueForm(lambda: self.preview, added)
        self.map = pn.pane.Bokeh(None, margin=0, sizing_mode="stretch_width")
        self._frame = pn.Column(self.map, margin=0, sizing_mode="stretch_width")
        self._bar = pn.pane.Bokeh(None, margin=0)
        self._histogram = pn.pane.Bokeh(None, height=190, sizing_mode="stretch_width", margin=(8, 0))
        self.facts = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=0)
        self.step = pmui.IntSlider(
            label="Time step", start=0, end=1, value=0, sizing_mode="stretch_width", margin=(4, 10)
        )  # fmt: skip
        self.step.param.watch(self._draw, "value")
        self.moment = pmui.Typography("", margin=(0, 10), sx={"fontVariantNumeric": "tabular-nums"})
        self.value = pmui.Typography("", margin=(0, 0, 0, 10), height=22, sx={"fontVariantNumeric": "tabular-nums"})
        self.view = self._arranged()

    def show(self, summary: FileSummary, preview: Preview, drawn: Drawn) -> None:
        """Show a variable from its first step on."""
        self.preview = preview
        self.adding.close()
        labels = {_label(found): found.name for found in summary.variables}
        self.variable.param.update(options=labels, value=preview.source.variable)
        self.facts.object = formatting.table({"File": Path(preview.source.files()[0]).name, **preview.facts})
        self.step.param.update(end=max(preview.steps - 1, 1), value=0, visible=preview.steps > 1)
        for part, button in self.uses.items():
            button.disabled = preview.static != (part == "static")
        self._put(preview, drawn)

    async def redraw(self, dark: bool) -> None:
        """Draw the same variable for the light or the dark page; the zoom begins anew."""
        if self.preview is not None:
            self._put(self.preview, await asyncio.to_thread(draw, self.preview, self.step.value, dark))

    def _put(self, preview: Preview, drawn: Drawn) -> None:
        self.drawn = drawn
        with pn.io.hold():
            self.region.follow(preview.grid, drawn.maps)
            self.map.object, self._bar.object = drawn.maps.figures[0], drawn.bar.figure
            drawn.maps.view.on_pointer = self._pointed
            drawn.maps.view.on_window.append(lambda: pn.state.execute(self._resample))
            self._histogram.object = drawn.histogram
            self._frame.max_width = drawn.width
            self.moment.object = preview.time_text(self.step.value)

    async def _draw(self, event: Any) -> None:
        """Show another time step in the same map; steps that were overtaken are left out."""
        preview = self.preview
        if preview is None or event.new >= preview.steps:
            return
        is_newest = self._drawing.begin()
        self.moment.object = preview.time_text(event.new)
        field = await asyncio.to_thread(preview.read, event.new)
        if is_newest() and preview is self.preview:
            with pn.io.hold():  # lets a callback without the document's lock change Bokeh's models
                self.drawn.maps.show({MAP: field})

    async def _resample(self) -> None:
        """The cells and the graticule of the part in view, once it stands still."""
        maps = self.drawn.maps
        graticule = await maps.view.settled()
        if graticule is not None and maps is self.drawn.maps:
            with pn.io.hold():
                maps.view.show_graticule(graticule)
                maps.show()

    def _pointed(self, cell: Cell | None) -> None:
        maps = self.drawn.maps
        if cell and self.preview is not None:
            units = str(self.preview.field.attrs.get("units", ""))
            value = formatting.value_text(maps.values_at(*cell)[MAP], maps.clim, units)
            self.value.object = f"{value} at {place_text(self.preview.grid, *cell)}"
        else:
            self.value.object = ""

    def _arranged(self) -> pn.viewable.Viewable:
        buttons = *self.uses.values(), self.adding.button
        head = pmui.FlexBox(self.variable, *buttons, gap="8px", align_items="center", margin=(0, 0, 12, 0))
        picture = pn.Column(
            pn.Row(self._frame, self._bar, margin=0, sizing_mode="stretch_width"), self.value, self.step, self.moment,
            max_width=MAP_WIDTH + BAR_WIDTH, margin=0, styles={"flex": "2 1 300px"},
        )  # fmt: skip
        parts = self.region.view, self.facts, self._histogram
        side = pn.Column(*parts, margin=0, styles={"flex": "1 1 240px", "min-width": "0"})
        body = pn.FlexBox(
            picture, side, gap="16px 24px", align_items="flex-start", margin=0, sizing_mode="stretch_width"
        )  # fmt: skip
        return pmui.Column(head, self.adding.view, body, visible=False, margin=0, sizing_mode="stretch_width")


@dataclass(frozen=True)
class Drawn:
    """The figures of one variable."""

    maps: MapSet
    bar: ColourBar
    width: int  # px, at most
    histogram: Any


def draw(preview: Preview, step: int, dark: bool) -> Drawn:
    """Map at a time step, colour bar and histogram; takes up to some seconds the first time."""
    view, cmap = SharedView(preview.grid, lambda y, x: None), colour_map(preview.field)
    maps = MapSet({MAP: preview.read(step)}, view, clim=preview.clim, cmap=cmap)
    bar = ColourBar(preview.clim, cmap, preview.field.attrs)
    bar.figure.sizing_mode = "fixed"
    width = round(min(MAP_WIDTH, MAP_HEIGHT * view.box.aspect))
    return Drawn(maps, bar, width, spread(preview.counts, preview.edges, preview.title, dark=dark))


def _label(found: Variable) -> str:
    unit = f" ({found.units})" if found.units else ""
    return f"{found.name}: {found.long_name}{unit}" if found.long_name else f"{found.name}{unit}"
