"""Announcement on every page that a run has ended, with a button that opens it."""

from __future__ import annotations

from collections.abc import Sequence

import panel as pn
import panel_material_ui as pmui

from app.formatting import plain_text
from app.services.watcher import RunSnapshot
from app.session import Session
from engine.runs import RunState

MOST = 3  # at once; the oldest is removed
SEVERITY = {RunState.DONE: "success", RunState.FAILED: "error", RunState.CANCELLED: "info"}
WORDS = {RunState.DONE: "is done", RunState.FAILED: "failed", RunState.CANCELLED: "was cancelled"}
WIDTH = "min(420px, calc(100vw - 32px))"
# Above the time control of Compare.
PLACE = {"position": "fixed", "right": "16px", "bottom": "76px", "z-index": "1300", "width": WIDTH}


class RunEndings:
    """Cards in a corner of the window, for runs that were queued or running when this tab last looked."""

    def __init__(self, session: Session):
        self.session = session
        self._states: dict[str, RunState] = {}
        self._done = ""  # newest run that was seen to be done, and not compared since
        session.param.watch(lambda _: self._compare(), "page")
        self.view = pn.Column(margin=0, styles=PLACE, visible=False)

    def look(self, seen: Sequence[RunSnapshot]) -> None:
        """Announce runs that have ended since the last call; a run seen for the first time is not announced.

        On Compare, one that is done is shown where no run is chosen.
        """
        before = {run_id for run_id, state in self._states.items() if state.may_be_active}
        ended = [run for run in seen if run.status.state.is_final and run.id in before]
        self._states = {run.id: run.status.state for run in seen}
        for run in ended:
            self._done = run.id if run.status.state is RunState.DONE else self._done
        self._compare()
        if ended:
            self._put([*self.view, *(self._card(run) for run in reversed(ended))][-MOST:])

    def _compare(self) -> None:
        if self._done and self.session.page == "compare":
            self.session.runs = self.session.runs or [self._done]
            self._done = ""

    def _put(self, cards: list[pn.viewable.Viewable]) -> None:
        with pn.io.hold():  # lets a callback without the document's lock change Bokeh's models
            self.view[:] = cards
            self.view.visible = bool(cards)

    def _card(self, run: RunSnapshot) -> pmui.Paper:
        state, reason = run.status.state, run.status.reason
        why = f": {reason}" if reason and state is RunState.FAILED else ""
        text = f"{run.title} {WORDS[state]}{why}"
        message = pmui.Alert(
            object=plain_text(text), severity=SEVERITY[state], margin=0, sizing_mode="stretch_width",
            sx={"& p": {"margin": 0}, "overflowWrap": "anywhere"},
        )  # fmt: skip
        small = {"variant": "text", "size": "small", "margin": 0}
        show = pmui.Button(label="Open the run", icon="open_in_new", **small)
        close = pmui.Button(label="Close", icon="close", **small)
        buttons = pmui.Row(show, close, sx={"gap": "8px", "padding": "4px 8px"}, margin=0)
        card = pmui.Paper(message, buttons, elevation=6, margin=(8, 0, 0, 0), sizing_mode="stretch_width")

        def remove(_: object) -> None:
            self._put([other for other in self.view if other is not card])

        show.on_click(lambda _: self.session.param.update(run=run.id, page="runs"))
        show.on_click(remove)
        close.on_click(remove)
        return card
