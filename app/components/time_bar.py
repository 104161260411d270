"""One time control for everything on the page: step, slide, play, type a date."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from app.services.comparison import Comparison
from app.session import Session
from app.theme import read_asset

PLAY_MS = 400
BAR_CSS = read_asset("time_bar.css")
ICON = {"size": "small", "margin": 0, "align": "center", "color": "default"}


class TimeBar:
    """Sets `session.time`; everything else follows that."""

    def __init__(self, session: Session):
        self.session, self._comparison = session, Comparison()
        self._player: Any = None
        self._back = pmui.IconButton(icon="chevron_left", description="One step back", **ICON)
        self._play = pmui.ToggleIcon(
            icon="play_arrow", active_icon="pause", description="Play", size="small", margin=0, align="center"
        )
        self._on = pmui.IconButton(icon="chevron_right", description="One step forward", **ICON)
        self._slider = pmui.IntSlider(
            start=0, end=1, show_value=False, size="small", label="", sizing_mode="stretch_width",
            margin=(0, 18), align="center",
        )  # fmt: skip
        self._date = pmui.TextInput(
            label="", placeholder="2019-03-14 06:00", size="small", width=180, margin=0, align="center"
        )
        self._count = pn.pane.HTML(
            "", width=110, margin=(0, 0, 0, 12), align="center", styles={"font-size": "12px", "opacity": "0.72"}
        )
        self._link()
        self.view = pn.Row(
            self._back, self._play, self._on, self._slider, self._date, self._count,
            sizing_mode="stretch_width", margin=0, stylesheets=[BAR_CSS],
        )  # fmt: skip

    def follow(self, comparison: Comparison) -> None:
        """Take the steps of other runs."""
        self._comparison = comparison
        last = max(comparison.n_steps - 1, 0)
        self._slider.param.update(end=max(last, 1), value=min(self.session.time, last), disabled=last == 0)
        self._report()

    def _link(self) -> None:
        self._back.on_click(lambda _: self._go(self.session.time - 1))
        self._on.on_click(lambda _: self._go(self.session.time + 1))
        self._slider.param.watch(lambda event: self._go(event.new), "value")
        self._date.param.watch(self._typed, "value")
        self._play.param.watch(self._playing, "value")
        self.session.param.watch(lambda _: self._report(), "time")

    def _go(self, step: int) -> None:
        if self._comparison.n_steps:
            self.session.time = min(max(step, 0), self._comparison.n_steps - 1)

    def _typed(self, event: Any) -> None:
        if event.new == self._comparison.label(self._step()):
            return
        found = self._comparison.find_step(event.new)
        if found is None:
            first, last = self._comparison.label(0), self._comparison.label(self._comparison.n_steps - 1)
            self._date.error_state = True
            self._count.object = f"not in {first} to {last}"
        else:
            self._go(found)
            self._report()

    def _step(self) -> int:
        return min(self.session.time, max(self._comparison.n_steps - 1, 0))

    def _report(self) -> None:
        step, steps = self._step(), self._comparison.n_steps
        with pn.io.hold():
            self._slider.value = step
            self._date.param.update(value=self._comparison.label(step), error_state=False)
            self._count.object = f"{step + 1} of {steps}" if steps else ""
            self._back.disabled, self._on.disabled = step == 0, step >= steps - 1

    def _playing(self, event: Any) -> None:
        if self._player is not None:
            self._player.stop()
            self._player = None
        if event.new:
            self._player = pn.state.add_periodic_callback(self._next, period=PLAY_MS)

    def _next(self) -> None:
        """On, and from the last step to the first."""
        self._go((self.session.time + 1) % max(self._comparison.n_steps, 1))
