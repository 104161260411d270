"""The steps, cells and values that scores, error maps and series are of."""

from __future__ import annotations

import html
import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from app.components.cards import card
from app.plots.live import SharedView
from app.services.conditions import Selection, offered
from app.services.regions import (
    Line,
    along,
    cells_of,
    outline_of_polygon,
    outline_of_region,
    polygon_of,
)
from app.session import Session
from app.theme import OUTLINED, SMALL
from engine.data.regions import region_of_box
from engine.errors import GridError
from engine.evaluation.conditions import Condition

NO_CHOICE = {"Months": "all months", "Hour": "all hours", "Steps": "all steps", "Surface": "land and sea"}
WIDTHS = {"Steps": 165, "Surface": 225}
DRAWN = {"box": "Draw a box", "line": "Draw an area"}
HINTS = {"box": "Drag from one corner to the other on a map.", "line": "Drag around the area on a map."}
HARDEST = "those in which the interpolated field of {} has the largest RMSE"
NATIVE = "To choose a box, show the maps in the native projection."
ZOOM = "All cells are in view: zoom into the maps first, with ctrl + wheel."


class ConditionRow:
    """Sets `condition` of the session, whose words are the values of its widgets."""

    def __init__(self, session: Session):
        self.session, self._updating = session, False
        self._selection: Selection | None = None
        self._view: SharedView | None = None
        self._lists = [
            pmui.Select(options={none: ""}, value="", label=label, width=WIDTHS.get(label, 130), **SMALL)
            for label, none in NO_CHOICE.items()
        ]
        self._low, self._high = (pmui.TextInput(label=label, width=155, **SMALL) for label in ("HR from", "HR below"))
        self._box = pmui.Button(label="Box in view", icon="crop", **OUTLINED)
        self._draw = {kind: pmui.Button(label=label, icon="gesture", **OUTLINED) for kind, label in DRAWN.items()}
        self._all = pmui.Button(label="All", icon="close", disabled=True, **{**OUTLINED, "variant": "text"})
        self._fact = pn.pane.HTML("", margin=0, styles={"font-size": "12.5px", "overflow-wrap": "anywhere"})
        row = pn.FlexBox(
            *self._lists, self._low, self._high, self._box, *self._draw.values(), self._all, self._fact,
            align_items="center", gap="10px 10px", margin=0, sizing_mode="stretch_width",
        )  # fmt: skip
        self.view = card(row, padding=6)
        for each in (*self._lists, self._low, self._high):
            each.param.watch(self._choose, "value")
        self._box.on_click(lambda _: self._take_view())
        for kind, button in self._draw.items():
            button.on_click(partial(self._begin, kind))
        self._all.on_click(lambda _: session.param.update(condition=Condition()))

    def follow(self, selection: Selection, view: SharedView) -> None:
        """Offer what the compared runs have, and show what is chosen, on the maps in `view` too."""
        self._selection, self._view, condition = selection, view, selection.condition
        view.area.on_area = self._take_area
        is_open, units = not selection.reason, selection.comparison.first.units
        parts = (
            Condition(condition.months),
            Condition(hours=condition.hours),
            Condition(hardest=condition.hardest),
            Condition(surface=condition.surface, elevation=condition.elevation),
        )
        with pn.io.hold():
            self._updating = True
            for each, part, choices in zip(self._lists, parts, offered(selection.comparison), strict=True):
                choices = choices if part in (*choices, Condition()) else [*choices, part]
                options = {NO_CHOICE[each.label]: "", **{choice.text(): str(choice) for choice in choices}}
                each.param.update(options=options, value=str(part), visible=is_open and len(options) > 1)
            for line, word, value in ((self._low, "from", condition.low), (self._high, "below", condition.high)):
                text, label = "" if value is None else f"{value:.9g}", f"HR {word} ({units})" if units else f"HR {word}"
                line.param.update(value=text, label=label, visible=is_open)
            self._updating = False
            for button in (self._box, *self._draw.values()):
                button.visible = is_open
            view.area.show(*_outline(selection))
            self._all.disabled = not condition  # always there: all would be laid out anew
            self._say(_fact(selection))

    def _take_view(self) -> None:
        """Make the part of the maps in view the region; only in the native projection is it a box of cells."""
        if self._selection is None or self._view is None or self.session.projection != "native":
            self._say(NATIVE)
            return
        window, grid = self._view.window, self._selection.comparison.first.grid
        sides = np.array([[window.west, window.east], [window.south, window.north]])
        try:
            region = region_of_box(grid, *self._view.projection.to_grid(grid, *sides))
        except GridError as error:
            self._say(str(error))
            return
        if cells_of(grid, region).shape == grid.shape:
            self._say(ZOOM)
        else:
            self.session.condition = replace(self.session.condition, region=region, polygon=())

    def _begin(self, kind: str, _: Any) -> None:
        """Have the next drag on a map draw, or, if the button ends drawing, move it again."""
        is_drawing = self._draw[kind].icon == "close"
        self._drag("move" if is_drawing else kind)
        self._say(_fact(self._selection) if is_drawing else HINTS[kind])

    def _drag(self, does: str) -> None:
        for kind, button in self._draw.items():
            is_drawing = kind == does
            button.param.update(
                label="Stop drawing" if is_drawing else DRAWN[kind], icon="close" if is_drawing else "gesture"
            )
        if self._view is not None:
            self._view.drag(does)

    def _take_area(self, x: np.ndarray, y: np.ndarray, is_box: bool) -> None:
        """Make a drawn area the condition: a region if it is a box of latitude and longitude, else a polygon."""
        if self._selection is None or self._view is None:
            return
        grid, projection = self._selection.comparison.first.grid, self._view.projection
        try:
            if is_box and projection.crs is None and grid.is_lonlat:
                area = Condition(region=region_of_box(grid, (x.min(), x.max()), (y.min(), y.max())))
            else:
                area = Condition(polygon=polygon_of(*projection.to_lonlat(*along(x, y))))
        except GridError as error:
            self._say(str(error))
            return
        self._drag("move")
        self.session.condition = replace(self.session.condition, region=area.region, polygon=area.polygon)

    def _choose(self, _: Any) -> None:
        if self._updating or self._selection is None:
            return
        limits = ((self._low, "from"), (self._high, "below"))
        words = [each.value for each in self._lists]
        words += [f"{word}:{line.value.strip()}" for line, word in limits if line.value.strip()]
        area = self.session.condition
        words += [str(Condition(region=area.region, polygon=area.polygon))]
        try:
            condition = Condition.parse("/".join(filter(None, words)))
        except ValueError:
            self._say(
                f"HR {' '.join(words[len(self._lists) : -1])} can't be used: expected numbers, the lower one first."
            )
            return
        self._say(_fact(self._selection))
        self.session.condition = condition

    def _say(self, words: str) -> None:
        self._fact.object = html.escape(words)


def _fact(selection: Selection | None) -> str:
    """Number of cells and steps chosen, or the reason why there is no choice."""
    if selection is None:
        return ""
    comparison = selection.comparison
    facts = [f"{selection.n_steps} of {comparison.n_steps} test steps"]
    facts += [HARDEST.format(comparison.first.letter)] if selection.condition.hardest else []
    if of_cells := selection.condition.of_cells:
        facts.append(f"{selection.n_cells} of {math.prod(comparison.first.grid.shape)} cells, {of_cells.text()}")
    return selection.reason or selection.empty or ", ".join(facts)


def _outline(selection: Selection) -> Line:
    """Border of the chosen area in coordinates of the first run's grid; of no points without one."""
    grid, condition = selection.comparison.first.grid, selection.condition
    if condition.polygon:
        return outline_of_polygon(grid, condition.polygon)
    return outline_of_region(grid, condition.region) if condition.region else (np.empty(0), np.empty(0))
