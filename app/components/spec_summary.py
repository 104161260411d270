"""Summary of a spec beside its form: results of the engine's check, the network as a picture, and the submission."""

from __future__ import annotations

import asyncio
import html
import os
from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from app import formatting
from app.components.cards import titled_card
from app.components.search_form import SearchForm
from app.components.submission import Submission
from app.components.suite_button import SuiteButton
from app.formatting import plain_text
from app.plots.network import network
from app.services.checker import Answer, check, command_in
from app.session import Session
from app.theme import DENSE, PAGE_CSS
from engine.errors import MesoscopeError, RequestError
from engine.runs import Store
from engine.spec import Spec, is_url

PAUSE_S = 0.6  # after the last change, before the engine is asked
NETWORK_HEIGHT = 275
UNDRAWN = "<div class='empty'>Shown once target and scale are set.</div>"
UNSEEN = "<div class='empty'>The data are not on this machine, so the network can't be drawn.</div>"
CHECKED_THERE = "The data are checked on {} when the run is submitted."
WAITING = "Choose a target and a scale: grids, samples, parameters and memory are shown here."


class SpecSummary:
    """Two cards, `view` and `network_card`. `is_elsewhere` : True if the data are read on another machine."""

    def __init__(self, session: Session, is_elsewhere: Callable[[Spec], bool]):
        self.session, self._is_elsewhere = session, is_elsewhere
        self.spec: Spec | None = None
        self._asking: asyncio.Task[Answer | list[str]] | None = None
        self.status = pmui.Alert(object=WAITING, severity="info", margin=0, sizing_mode="stretch_width", sx=DENSE)
        self.facts = pn.pane.HTML("", stylesheets=[PAGE_CSS], visible=False, sizing_mode="stretch_width", margin=(8, 4))
        self._busy = pmui.LinearProgress(variant="indeterminate", visible=False, sizing_mode="stretch_width", margin=0)
        self.submission = Submission(session, lambda: self.spec)
        self.search = SearchForm(session, lambda: self.spec)
        self.suite = SuiteButton(session, lambda: self.spec)
        self.view = titled_card(
            "Summary", self.status, self._busy, self.submission.view, self.search.view, self.suite.view, self.facts
        )
        self.network = pn.pane.HTML(
            UNDRAWN, stylesheets=[PAGE_CSS], min_height=NETWORK_HEIGHT, sizing_mode="stretch_width", margin=(4, 4)
        )
        self.network_card = titled_card("Network", self.network)

    def show(self, spec: Spec | None, fault: str = "") -> None:
        """Show a spec that is complete and ask the engine about it, or why it isn't."""
        self.spec = spec
        self.submission.offer(self.session.draft.get("launch", "site"), ready=spec is not None)
        self.search.offer(ready=spec is not None)
        self.suite.view.visible = spec is not None and spec.data.lr is not None
        if spec is None:
            self.facts.visible = False
            self._say("error" if fault else "info", fault or WAITING)
        pn.state.execute(self._ask)

    async def _ask(self) -> None:
        """Ask the engine; a newer spec ends the asking."""
        if self._asking is not None:
            self._asking.cancel()
        spec = self.spec
        self._busy.visible = spec is not None
        if spec is None:
            return
        self._asking = asyncio.ensure_future(_after_pause(spec, self.session.store, self._is_elsewhere(spec)))
        self._say("info", "Checking grids, times and network …")
        try:
            answer = await self._asking
        except asyncio.CancelledError:
            return
        except MesoscopeError as error:
            self._show_refusal(spec, error)
        else:
            self._show_answer(spec, answer)

    def _show_refusal(self, spec: Spec, error: MesoscopeError) -> None:
        """Show what the engine found on this machine; a site that has data of its own checks those."""
        if self._is_elsewhere(spec):
            self._finish("warning", f"On this machine: {error}\n\n{CHECKED_THERE.format(spec.launch.site)}")
            return
        self.submission.button.disabled = isinstance(error, RequestError)
        self.search.offer(ready=not isinstance(error, RequestError))
        self._finish("error", str(error))

    def _show_answer(self, spec: Spec, answer: Answer | list[str]) -> None:
        if isinstance(answer, list):
            self.network.object = UNSEEN
            self._finish("info", f"{CHECKED_THERE.format(spec.launch.site)} {absence(answer)}")
            return
        self.network.object = network(answer.network) if answer.network else UNDRAWN
        where = "" if spec.launch.site == "local" else f" on {spec.launch.site}"
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in answer.notes)
        facts = formatting.table(facts_of(answer)) + (f"<ul class='notes'>{notes}</ul>" if notes else "")
        self._finish("success", f"Ready to train{where}.", facts)

    def _finish(self, severity: str, text: str, facts: str = "") -> None:
        with pn.io.hold():
            self._busy.visible = False
            self.facts.param.update(object=facts, visible=bool(facts))
            self._say(severity, text)

    def _say(self, severity: str, text: str) -> None:
        self.status.param.update(severity=severity, object=plain_text(text))


def facts_of(answer: Answer) -> dict[str, str]:
    """The engine's answer as rows of a table; what it doesn't say is left out."""
    rows = {f"{name.upper()} grid": text for name, text in answer.grids.items()}
    rows |= {f"Values of {values.name.removeprefix('data.')}": str(values) for values in answer.inputs}
    for part, samples in answer.samples.items():
        first, last = answer.periods.get(part, ("", ""))
        period = f"\n{formatting.minute(first)} to {formatting.minute(last)}" if first else ""
        rows[f"{part.capitalize()} samples"] = formatting.count(samples) + period
    if answer.parameters is not None:
        rows["Parameters"] = formatting.count(answer.parameters)
    if answer.discriminator:
        rows["Discriminator parameters"] = formatting.count(answer.discriminator)
    if answer.velocity:
        rows["Velocity network parameters"] = formatting.count(answer.velocity)
    if answer.flow:
        rows["Normalizing flow parameters"] = formatting.count(answer.flow)
    if answer.memory_bytes is not None:
        rows["Memory per process"] = formatting.size(answer.memory_bytes)
    return rows


async def _after_pause(spec: Spec, store: Store, is_elsewhere: bool) -> Answer | list[str]:
    """The engine's answer; of data that are read elsewhere and aren't here, only the names of the files."""
    await asyncio.sleep(PAUSE_S)
    if is_elsewhere:
        files = spec.data.files()
        absent = await asyncio.to_thread(lambda: [name for name in files if not (is_url(name) or os.path.exists(name))])
        if absent:
            return absent
    return await check(spec, command_in(store.folder))


def absence(names: list[str]) -> str:
    """'/scratch/t2m.nc and 2 more are not on this machine, so …'"""
    more = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
    return f"{names[0]}{more} not on this machine, so grids, samples and memory are not known here."
