"""The steps, cells and values that scores, error maps and series are of."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import panel as pn
import panel_material_ui as pmui

from app.components.cards import card
from app.components.map_board import MapBoard
from app.services.conditions import Selection, offered
from app.services.regions import cells_of
from app.session import Session
from app.theme import OUTLINED, SMALL
from engine.data.regions import region_of_box
from engine.errors import GridError
from engine.evaluation.conditions import Condition

NO_CHOICE = {"Months": "all months", "Hour": "all hours", "Steps": "all steps"}
HARDEST = "those in which the interpolated field of {} has the largest RMSE"
NATIVE = "To choose a box, show the maps in the native projection."
ZOOM = "All cells are in view: zoom into the maps first, with ctrl + wheel."


class ConditionRow:
    """Sets `condition` of the session, whose words are the values of its widgets.

    board : the maps whose part in view can be made the region.
    """

    def __init__(self, session: Session, board: Callable[[], MapBoard | None]):
        self.session, self._board, self._updating = session, board, False
        self._selection: Selection | None = None
        self._lists = [
            pmui.Select(options={none: ""}, value="", label=label, width=165 if label == "Steps" else 130, **SMALL)
            for label, none in NO_CHOICE.items()
        ]
        self._low, self._high = (pmui.TextInput(label=label, width=125, **SMALL) for label in ("HR from", "HR below"))
        self._box = pmui.Button(label="Box in view", icon="crop", **OUTLINED)
        self._all = pmui.Button(label="All", icon="close", visible=False, **{**OUTLINED, "variant": "text"})
        self._fact = pn.pane.HTML("", margin=0, styles={"font-size": "12.5px", "overflow-wrap": "anywhere"})
        row = pn.FlexBox(
            *self._lists, self._low, self._high, self._box, self._fact, self._all,
            align_items="center", gap="10px 10px", margin=0, sizing_mode="stretch_width",
        )  # fmt: skip
        self.view = card(row, padding=8)
        for each in (*self._lists, self._low, self._high):
            each.param.watch(self._choose, "value")
        self._box.on_click(lambda _: self._take_view())
        self._all.on_click(lambda _: session.param.update(condition=Condition()))

    def follow(self, selection: Selection) -> None:
        """Offer what the compared runs have, and show what is chosen."""
        self._selection, condition = selection, selection.condition
        is_open, units = not selection.reason, selection.comparison.first.units
        parts = Condition(condition.months), Condition(hours=condition.hours), Condition(hardest=condition.hardest)
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
            self._box.visible = is_open
            self._all.visible = bool(condition)
            self._say(_fact(selection))

    def _take_view(self) -> None:
        """Make the part of the maps in view the region; the native projection has the grid's own coordinates."""
        board = self._board()
        if self._selection is None or board is None or self.session.projection != "native":
            self._say(NATIVE)
            return
        window, grid = board.maps.view.window, self._selection.comparison.first.grid
        try:
            region = region_of_box(grid, (window.west, window.east), (window.south, window.north))
        except GridError as error:
            self._say(str(error))
            return
        if cells_of(grid, region).shape == grid.shape:
            self._say(ZOOM)
        else:
            self.session.condition = replace(self.session.condition, region=region)

    def _choose(self, _: Any) -> None:
        if self._updating or self._selection is None:
            return
        limits = ((self._low, "from"), (self._high, "below"))
        words = [each.value for each in self._lists]
        words += [f"{word}:{line.value.strip()}" for line, word in limits if line.value.strip()]
        words += [str(Condition(region=self.session.condition.region))]
        try:
            condition = Condition.parse("/".join(filter(None, words)))
        except ValueError:
            self._say(f"HR {' '.join(words[3:-1])} can't be used: expected numbers, the lower one first.")
            return
        self._say(_fact(self._selection))
        self.session.condition = condition

    def _say(self, words: str) -> None:
        self._fact.object = html.escape(words)


def _fact(selection: Selection | None) -> str:
    """How much is chosen, or why there is no choice."""
    if selection is None:
        return ""
    comparison = selection.comparison
    facts = [f"{selection.n_steps} of {comparison.n_steps} test steps"]
    facts += [HARDEST.format(comparison.first.letter)] if selection.condition.hardest else []
    if selection.condition.region:
        where = Condition(region=selection.condition.region).text()
        facts.append(f"{selection.n_cells} of {math.prod(comparison.first.grid.shape)} cells, {where}")
    return selection.reason or selection.empty or ", ".join(facts)
