"""The button that hands a spec to its target, and what becomes of that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import panel_material_ui as pmui

from app.formatting import plain_text
from app.services.watcher import watcher_of
from app.session import Session
from engine.errors import MesoscopeError
from engine.launch import api
from engine.runs import Run
from engine.spec import Spec

LOOK_S = 0.5
KEPT = "The run is kept: once that is fixed, Resume on the Runs page submits it again."


class Submission:
    """Hands over what the form shows; what it does is said below the button, which keeps its place."""

    def __init__(self, session: Session, spec: Callable[[], Spec | None]):
        self.session, self._spec = session, spec
        self.button = pmui.Button(
            label="Train", icon="play_arrow", disabled=True, sizing_mode="stretch_width", margin=0,
            disable_elevation=True,
        )  # fmt: skip
        self.message = pmui.Alert(object="", severity="info", visible=False, margin=(8, 0, 0, 0), sx=WRAPPED)
        self.view = pmui.Column(self.button, self.message, margin=(10, 0, 0, 0), sizing_mode="stretch_width")
        self.button.on_click(self.submit)

    def offer(self, target: str, *, ready: bool) -> None:
        """Label the button with the site of the run."""
        self.button.param.update(label="Train" if target == "local" else f"Train on {target}", disabled=not ready)

    async def submit(self, _: object) -> None:
        """Make a run and start it; the form keeps its values, whatever comes back, and the page stays usable."""
        spec, run = self._spec(), None
        if spec is None:
            return
        self.button.loading = True
        try:
            run = await asyncio.to_thread(api.create, spec, self.session.store)
            await self._hand_over(run)
        except MesoscopeError as error:
            self._report("error", f"{error}\n\n{KEPT}" if run is not None and run.is_remote else str(error))
        else:
            self._report("success", f"Submitted: {run.title}")
            if self.session.page == "design":
                self.session.param.update(run=run.id, page="runs")
        finally:
            self.button.loading = False
            watcher_of(self.session.store).nudge()

    async def _hand_over(self, run: Run) -> None:
        """Start a run; on a target this takes seconds, or minutes where data have to be sent."""
        starting = asyncio.ensure_future(asyncio.to_thread(api.start, run))
        while not starting.done():
            await asyncio.wait([starting], timeout=LOOK_S)
            if run.is_remote and not starting.done():
                state = await asyncio.to_thread(run.status)
                self._report("info", f"{run.title} {state.reason} …")
        await starting

    def _report(self, severity: str, text: str) -> None:
        self.message.param.update(severity=severity, object=plain_text(text), visible=True)


WRAPPED = {"overflowWrap": "anywhere", "userSelect": "text"}
