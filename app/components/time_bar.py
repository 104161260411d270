"""One time control for everything on the page: step, slide, play, type a date."""

from __future__ import annotations

from typing import Any, ClassVar

import panel as pn
import param

from app.services.comparison import Comparison
from app.session import Session
from app.theme import ASSETS, read_asset


class TimeBarView(pn.custom.JSComponent):
    """The bar in the browser, which requests the next step when the last one is shown."""

    step = param.Integer(default=0, bounds=(0, None), doc="Step that is wanted.")
    shown = param.Integer(default=0, bounds=(0, None), doc="Number of steps shown so far.")
    steps = param.Integer(default=0, bounds=(0, None), doc="Length of the test period.")
    label = param.String(default="", doc="Date and time of the step.")
    message = param.String(default="", doc="Why a typed date can't be shown.")
    typed = param.String(default="", doc="Date that was typed.")
    playing = param.Boolean(default=False)

    _debounce: ClassVar[int] = 1  # ms, instead of the 50 that Panel waits for more changes: one is asked for at a time
    _esm = ASSETS / "time_bar.js"
    _stylesheets: ClassVar[list[str]] = [read_asset("time_bar.css")]


class TimeBar:
    """Sets `session.time`; everything else follows that."""

    def __init__(self, session: Session):
        self.session, self._comparison = session, Comparison()
        self.view = TimeBarView(sizing_mode="stretch_width", margin=0)
        self.view.param.watch(lambda event: self.go(event.new), "step")
        self.view.param.watch(self._typed, "typed")

    def follow(self, comparison: Comparison) -> None:
        """Take the steps of other runs."""
        self._comparison = comparison
        self._report()

    def go(self, step: int) -> None:
        """Choose a step, or the nearest there is."""
        if self._comparison.n_steps:
            self.session.time = min(max(step, 0), self._comparison.n_steps - 1)

    def step_is_shown(self) -> None:
        """Say which step the maps show, and let the bar ask for the next one."""
        self._report(shown=self.view.shown + 1)

    def _typed(self, event: Any) -> None:
        found = self._comparison.find_step(event.new)
        if found is None:
            first, last = self._comparison.label(0), self._comparison.label(self._comparison.n_steps - 1)
            self.view.message = f"not in {first} to {last}"
        else:
            self.go(found)
            self._report()

    def _report(self, **more: int) -> None:
        steps = self._comparison.n_steps
        step = min(self.session.time, max(steps - 1, 0))
        self.view.param.update(step=step, steps=steps, label=self._comparison.label(step), message="", **more)
