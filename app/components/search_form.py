"""The form that starts a search for better options of a spec: its time, and which options are searched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui

from app.components.submission import WRAPPED
from app.formatting import plain_text
from app.services.watcher import watcher_of
from app.session import Session
from app.theme import OUTLINED
from engine.errors import MesoscopeError, SpecError
from engine.launch import searches
from engine.search import SPACE
from engine.spec import Spec

ABOUT = (
    "Tries one run after another with other values of these options, ends early those that fall behind, and keeps the "
    "spec of least validation RMSE. It goes on without the dashboard."
)
MOST_MINUTES = 100_000
FIELD: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": (8, 0, 0, 0)}


class SearchForm:
    """A button that shows and hides the form; what came of a start is said below it."""

    def __init__(self, session: Session, spec: Callable[[], Spec | None]):
        self.session, self._spec = session, spec
        self.button = pmui.Button(label="Search", icon="manage_search", **OUTLINED)
        self.minutes = pmui.IntInput(label="Minutes for all trials", value=60, start=1, end=MOST_MINUTES, **FIELD)
        labels = {option.partition(".")[2].replace("_", " "): option for option in SPACE}
        self.options = pmui.CheckBoxGroup(
            label="Options searched", options=labels, value=list(SPACE), inline=True, margin=(8, 0, 0, 0)
        )
        self.start = pmui.Button(
            label="Start the search", icon="play_arrow", size="small", margin=(8, 0, 0, 0), disable_elevation=True
        )
        self.message = pmui.Alert(object="", severity="info", visible=False, margin=(8, 0, 0, 0), sx=WRAPPED)
        about = pmui.Typography(ABOUT, variant="body2", color="text.secondary", margin=(8, 0, 0, 0))
        self.form = pmui.Column(
            about, self.minutes, self.options, self.start, visible=False, margin=0, sizing_mode="stretch_width"
        )
        self.view = pmui.Column(self.button, self.form, self.message, margin=(10, 0, 0, 0), sizing_mode="stretch_width")
        self.button.on_click(lambda _: self.form.param.update(visible=not self.form.visible))
        self.start.on_click(self._start)

    def offer(self, *, ready: bool) -> None:
        self.start.disabled = not ready

    async def _start(self, _: object) -> None:
        self.start.param.update(loading=True, disabled=True)
        try:
            search = await asyncio.to_thread(self._begin, self._spec())
        except MesoscopeError as error:
            self._report("error", str(error))
        else:
            self._report("success", f"Started: {search.id}")
        finally:
            self.start.param.update(loading=False, disabled=self._spec() is None)
            watcher_of(self.session.store).nudge()

    def _begin(self, spec: Spec | None) -> searches.Search:
        if spec is None:  # the button is disabled then, but a click may be under way
            raise SpecError("the form is not complete: fix the marked fields first")
        if not self.options.value:
            raise SpecError("no option is searched", action="choose at least one")
        space = {option: SPACE[option] for option in self.options.value}
        return searches.start(spec, self.session.store, self.minutes.value, space)

    def _report(self, severity: str, text: str) -> None:
        self.message.param.update(severity=severity, object=plain_text(text), visible=True)
