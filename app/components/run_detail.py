"""One run in detail: state and reason, what can be asked of it, its records, facts and settings."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable
from functools import partial

import panel as pn
import panel_material_ui as pmui

from app import formatting
from app.components.cards import columns, side_column, titled_card
from app.components.downscale_card import DownscaleCard
from app.components.run_notes import RunNotesCard
from app.components.run_records import RunRecords
from app.components.run_text import facts_of, failure_advice, state_html, status_text
from app.formatting import plain_text
from app.services.run_settings import settings_of
from app.services.watcher import RunSnapshot, watcher_of
from app.session import MOST_RUNS, Session
from app.theme import BORDERED, DENSE, OUTLINED, PAGE_CSS
from engine.errors import MesoscopeError, UnreachableError
from engine.launch import api
from engine.runs import Run, RunState, describe_error

LATER = "It is stopped as soon as its host can be reached."
DETAIL_WIDTH = 390


class RunDetail:
    """Shows one snapshot after another; looks closer where the run is another than before."""

    def __init__(self, session: Session):
        self.session = session
        self._watcher = watcher_of(session.store)
        self._seen: RunSnapshot | None = None
        self._is_acting = False
        self.title = pmui.Typography("", variant="h2", margin=0)
        self.status = pn.pane.HTML("", stylesheets=[PAGE_CSS], margin=(2, 0))
        alert = {"object": "", "severity": "error", "visible": False, "margin": (8, 0, 0, 0)}
        self.advice = pmui.Alert(sx=DENSE, sizing_mode="stretch_width", **alert)
        self.fault = pmui.Alert(**alert)
        self._bar = pmui.LinearProgress(
            value=0, variant="determinate", sizing_mode="stretch_width", margin=(10, 0, 4, 0)
        )
        self.cancel = pmui.Button(label="Cancel", icon="stop", **OUTLINED)
        self.resume = pmui.Button(label="Resume", icon="play_arrow", **OUTLINED)
        self.clone = pmui.Button(label="Clone settings", icon="edit", **OUTLINED)
        self.compare = pmui.Button(label="Compare maps", icon="compare", size="small", margin=0, disable_elevation=True)
        self.cancel.on_click(partial(self._act, api.cancel))
        self.resume.on_click(partial(self._act, api.resume))
        self.clone.on_click(self._design)
        self.compare.on_click(self._compare)
        self._facts = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=0)
        self.settings = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=0)
        self.records = RunRecords(session, partial(self._report, "error"))
        self.downscale = DownscaleCard(session)
        self.notes = RunNotesCard(session, partial(self._report, "error"))
        self.view = self._arranged()

    def show(self, seen: RunSnapshot | None) -> None:
        """Show the newest snapshot of the chosen run, and pull its records; None hides the detail."""
        self.view.visible = seen is not None
        if seen is None:
            return
        if self._seen is None or seen.id != self._seen.id:
            self.settings.object = formatting.table(settings_of(seen.run))
            self.fault.visible = False
            self.records.show(seen.run)
        self._seen = seen
        state = seen.status.state
        self.title.object = plain_text(seen.title)
        self.status.object = f"{state_html(state)} <span class='said'>{html.escape(status_text(seen))}</span>"
        self._bar.param.update(value=round(100 * seen.share, 1), visible=state is not RunState.DONE)
        self.advice.param.update(object=plain_text(failure_advice(seen)), visible=state is RunState.FAILED)
        self._facts.object = formatting.table(facts_of(seen))
        self._offer(seen, state)
        self.notes.show(seen)
        self.downscale.show(seen.run, state is RunState.DONE)
        if seen.fault:
            self._report("error", seen.fault)
        self.records.pull()

    def _offer(self, seen: RunSnapshot, state: RunState) -> None:
        """Show only the buttons that a run in this state has."""
        self.compare.visible = state is RunState.DONE
        self.cancel.visible = state.may_be_active and not seen.fault
        self.resume.visible = state in (RunState.FAILED, RunState.CANCELLED)
        self.clone.visible = not seen.fault
        if not self._is_acting:  # a run that waits on a site may not have the request yet
            has_request = state is RunState.RUNNING or not seen.run.is_remote
            self.cancel.disabled = seen.site.cancelling and has_request

    async def _act(self, act: Callable[[Run], object], _: object) -> None:
        """Cancel or resume the run, and look again."""
        if self._seen is None:
            return
        run = self._seen.run
        self._is_acting = self.cancel.disabled = self.resume.disabled = True
        try:
            await asyncio.to_thread(act, run)
            self.fault.visible = False
        except UnreachableError as error:
            is_kept = run.cancel_file.exists()
            self._report("info" if is_kept else "error", f"{error}\n\n{LATER}" if is_kept else str(error))
        except MesoscopeError as error:
            self._report("error", str(error))
        finally:
            self._is_acting = self.resume.disabled = False
            self._watcher.nudge()

    def _report(self, severity: str, text: str) -> None:
        self.fault.param.update(severity=severity, object=plain_text(text), visible=True)

    def _compare(self, _: object) -> None:
        """The run beside those already chosen; the ninth replaces the oldest."""
        if self._seen is not None:
            others = [run for run in self.session.runs if run != self._seen.id]
            self.session.param.update(runs=[*others, self._seen.id][-MOST_RUNS:], page="compare")

    def _design(self, _: object) -> None:
        """The run's spec as the draft, to change and train again."""
        if self._seen is None or self._seen.fault:
            return
        try:
            self.session.use_spec(self._seen.run.spec)
        except (MesoscopeError, OSError) as error:  # deleted or changed since the watcher looked
            self._report("error", f"The settings can't be read: {describe_error(error)}")
        else:
            self.session.page = "design"

    def _arranged(self) -> pn.viewable.Viewable:
        buttons = [self.cancel, self.resume, self.clone, self.compare]
        self.title.styles = {"flex": "1 1 auto"}
        head = pn.FlexBox(self.title, *buttons, gap="8px", align_items="center", sizing_mode="stretch_width")
        top = pmui.Paper(
            head, self.status, self._bar, self.advice, self.fault, elevation=0, margin=(0, 0, 12, 0),
            sx={"padding": "14px 16px", **BORDERED},
        )  # fmt: skip
        left = pn.Column(*self.records.cards, sizing_mode="stretch_width", margin=0)
        facts = titled_card("Training", self._facts)
        settings = titled_card("Settings that differ from the defaults", self.settings)
        right = side_column(facts, self.downscale.view, self.notes.view, settings, width=DETAIL_WIDTH)
        return pn.Column(top, columns(left, right, padding="0"), margin=0, visible=False, sizing_mode="stretch_width")
