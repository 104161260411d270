"""The steps that scores, error maps and series are of: season or month, hour of the day, the hardest ones."""

from __future__ import annotations

import html
from typing import Any

import panel as pn
import panel_material_ui as pmui

from app.components.cards import card
from app.services.conditions import Selection, offered
from app.session import Session
from app.theme import SMALL
from engine.evaluation.conditions import Condition

NO_CHOICE = ("all months", "all hours", "all steps")  # of months, hours, and the hardest steps
LABELS = ("Months", "Hour", "Steps")
EXPLANATION = "Hardest: the steps in which the interpolated field of the first run has the largest RMSE."


class ConditionRow:
    """Sets `condition` of the session; its words are the values of three lists, one for each part."""

    def __init__(self, session: Session):
        self.session, self._updating = session, False
        self._lists = [
            pmui.Select(options={none: ""}, value="", label=label, width=150, **SMALL)
            for none, label in zip(NO_CHOICE, LABELS, strict=True)
        ]
        self._lists[2].description = EXPLANATION
        self._all = pmui.Button(label="All steps", icon="close", variant="text", **SMALL)
        self._fact = pn.pane.HTML("", margin=0, styles={"font-size": "12.5px", "overflow-wrap": "anywhere"})
        row = pn.FlexBox(
            *self._lists, self._fact, self._all, align_items="center", gap="6px 12px", margin=0,
            sizing_mode="stretch_width",
        )  # fmt: skip
        self.view = card(row, padding=8)
        for each in self._lists:
            each.param.watch(self._choose, "value")
        self._all.on_click(lambda _: session.param.update(condition=Condition()))

    def follow(self, selection: Selection) -> None:
        """Offer what the compared runs have, and show what is chosen."""
        condition, is_open = selection.condition, not selection.reason
        parts = Condition(condition.months), Condition(hours=condition.hours), Condition(hardest=condition.hardest)
        with pn.io.hold():
            self._updating = True
            for each, none, part, choices in zip(
                self._lists, NO_CHOICE, parts, offered(selection.comparison), strict=True
            ):
                choices = choices if part in (*choices, Condition()) else [*choices, part]
                options = {none: "", **{choice.text: str(choice) for choice in choices}}
                each.param.update(options=options, value=str(part), visible=is_open and len(options) > 1)
            self._updating = False
            self._all.visible = bool(condition)
            words = (
                selection.reason
                or selection.empty
                or f"{selection.n_steps} of {selection.comparison.n_steps} test steps"
            )
            self._fact.object = html.escape(words)

    def _choose(self, _: Any) -> None:
        if not self._updating:
            self.session.condition = Condition.parse("/".join(each.value for each in self._lists))
