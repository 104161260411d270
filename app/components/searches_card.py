"""Searches of the store: state, progress and best trial of each, with buttons for what can be done with it."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import panel as pn
import panel_material_ui as pmui

from app import formatting
from app.components.cards import titled_card
from app.components.run_text import state_html
from app.services.watcher import SearchSnapshot, watcher_of
from app.session import Listed, Session
from app.theme import OUTLINED, PAGE_CSS
from engine.errors import MesoscopeError
from engine.runs import RunState
from engine.spec import Spec

MOST = 5  # the newest ones


class SearchesCard:
    """Hidden while there is no search. `show` takes the newest look at them."""

    def __init__(self, session: Session):
        self.session = session
        self._shown: object = None
        self._rows = pn.Column(sizing_mode="stretch_width", margin=0)
        self.fault = pmui.Alert(object="", severity="error", visible=False, margin=(8, 0, 0, 0))
        self.view = titled_card("Searches", self._rows, self.fault)
        self.view.visible = False

    def show(self, seen: Sequence[SearchSnapshot]) -> None:
        wanted = [(one, text_of(one)) for one in seen[:MOST]]
        if wanted != self._shown:
            self._shown = wanted
            self._rows[:] = [self._row(one, text) for one, text in wanted]
            self.view.visible = bool(wanted)

    def _row(self, seen: SearchSnapshot, text: str) -> pn.viewable.Viewable:
        name, state = seen.search.id, seen.status.state
        head = f"{state_html(state)} <b>{name}</b><p style='margin: 4px 0 0'>{html.escape(text)}</p>"
        said = pn.pane.HTML(head, stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=0)
        stop = pmui.Button(label="Stop", icon="stop", description=f"Stop {name}", **OUTLINED)
        trials = pmui.Button(
            label="Trials",
            icon="scatter_plot",
            description=f"Trials of {name}: their runs, and skill against cost",
            **OUTLINED,
        )
        clone = pmui.Button(
            label="Clone the best",
            icon="edit",
            description=f"Clone the best trial of {name}: its settings in the form",
            **OUTLINED,
        )
        stop.param.update(visible=state is RunState.RUNNING, disabled=seen.search.stop_file.exists())
        trials.visible, clone.visible = bool(seen.found.trials), seen.found.best is not None
        stop.on_click(partial(self._stop, seen))
        trials.on_click(partial(self._show_trials, seen))
        clone.on_click(partial(self._clone, seen))
        buttons = pmui.FlexBox(stop, trials, clone, gap="8px", margin=(4, 0, 0, 0))
        return pn.Column(said, buttons, sizing_mode="stretch_width", margin=(0, 0, 12, 0))

    async def _stop(self, seen: SearchSnapshot, _: object) -> None:
        try:
            await asyncio.to_thread(seen.search.stop)
        except MesoscopeError as error:
            self._report(error)
        watcher_of(self.session.store).nudge()

    def _show_trials(self, seen: SearchSnapshot, _: object) -> None:
        """The Runs page with the runs of a search alone, the best one chosen, and their charts."""
        self.session.param.update(
            run=seen.found.trials[0].run, found=seen.search.id, order="RMSE", listed=Listed.ALL, charts=True,
            page="runs",
        )  # fmt: skip

    def _clone(self, seen: SearchSnapshot, _: object) -> None:
        try:
            self.session.use_spec(Spec.read(Path(seen.found.best or "")))
        except MesoscopeError as error:
            self._report(error)

    def _report(self, error: MesoscopeError) -> None:
        self.fault.param.update(object=formatting.plain_text(str(error)), visible=True)


def text_of(seen: SearchSnapshot) -> str:
    """'12 of 60 min · 7 trials, 2 complete · validation RMSE 0.345: backbone fno, upsampling rc'."""
    trials, since = seen.found.trials, seen.status.since
    complete = [trial for trial in trials if trial.state == "complete"]
    running = seen.status.state is RunState.RUNNING
    passed = f"{formatting.span(since) or '0 min'} of {seen.request.minutes:g} min" if running and since else ""
    counts = f"{len(trials)} trial{'s' * (len(trials) > 1)}, {len(complete)} complete" if trials else ""
    best = ""
    if complete:
        values = ", ".join(f"{option.partition('.')[2]} {value}" for option, value in complete[0].settings.items())
        best = f"validation RMSE {formatting.number(complete[0].val_rmse)}: {values}"
    return " · ".join(filter(None, [seen.status.reason, passed, counts, best]))
