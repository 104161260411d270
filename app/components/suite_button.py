"""One button that trains the eight models of the suite on the data of a spec."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import panel_material_ui as pmui

from app.components.submission import LOOK_S, WRAPPED
from app.formatting import plain_text
from app.services.watcher import watcher_of
from app.session import Session
from engine import suite
from engine.errors import LaunchError, MesoscopeError, SpecError
from engine.launch import api
from engine.runs import Run, Stage
from engine.spec import Spec

ABOUT = (
    "Trains the eight models of the DL4DS paper one after another on these data, and ticks them for Compare: "
    "perfect-prog and mos, U-Net, residual and ConvNeXt, supervised and adversarial, spatial and spatio-temporal."
)
KEPT = "The runs are kept: once that is fixed, Resume on the Runs page submits them again."


class SuiteButton:
    """Submits the suite, shows its progress below the button, and links to its runs."""

    def __init__(self, session: Session, spec: Callable[[], Spec | None]):
        self.session, self._spec = session, spec
        self.button = pmui.Button(
            label="Train the suite A–H", icon="view_module", variant="outlined", size="small", margin=0,
            description=f"Train the suite A–H: {ABOUT[0].lower()}{ABOUT[1:]}",
        )  # fmt: skip
        self.message = pmui.Alert(object="", severity="info", visible=False, margin=(8, 0, 0, 0), sx=WRAPPED)
        self.view = pmui.Column(self.button, self.message, margin=(10, 0, 0, 0))
        self.button.on_click(self._submit)

    async def _submit(self, _: Any) -> None:
        """Make the runs and hand them over; the page stays usable, and is left only by who still looks at it."""
        page = self.session.page
        self.button.param.update(loading=True, disabled=True)
        try:
            runs = await self._make(self._spec())
            watcher_of(self.session.store).nudge()
            await self._hand_over(runs)
        except MesoscopeError as error:
            self._report("error", str(error))
        else:
            self._report("success", f"Submitted: {', '.join(run.title for run in runs)}")
            if self.session.page == page:
                self.session.param.update(runs=[run.id for run in runs], run=runs[0].id, page="runs")
        finally:
            self.button.param.update(loading=False, disabled=False)
            watcher_of(self.session.store).nudge()

    async def _make(self, spec: Spec | None) -> list[Run]:
        """A run for each model; none of them is left waiting where not all can be made."""
        if spec is None:  # the button is hidden then, but a click may be under way
            raise SpecError("the form is not complete: fix the marked fields first")
        runs: list[Run] = []
        models = suite.specs(spec)
        try:
            for model in models:
                self._report("info", f"Creating run {len(runs) + 1} of {len(models)}: {model.launch.title} …")
                runs += await asyncio.to_thread(suite.create, [model], self.session.store)
        except MesoscopeError:
            await asyncio.to_thread(_cancel, runs)
            raise
        return runs

    async def _hand_over(self, runs: Sequence[Run]) -> None:
        """Start them; on a target this takes minutes where data have to be sent, and goes on without this page."""
        self._report("info", f"Submitting {len(runs)} runs …")
        try:
            process = await asyncio.to_thread(suite.start, runs)
        except MesoscopeError:
            await asyncio.to_thread(_cancel, runs)
            raise
        sent = [run for run in runs if run.is_remote]
        while doing := await asyncio.to_thread(_progress_text, sent, process):
            self._report("info", doing)
            await asyncio.sleep(LOOK_S)
        states = await asyncio.to_thread(
            lambda: [(run.title, run.status()) for run in sent if not run.request.is_submitted]
        )
        if refused := [f"{title}: {state.reason}" for title, state in states]:
            why = "\n\n".join(refused)
            raise LaunchError(f"{len(refused)} of {len(runs)} runs were not submitted.\n\n{why}\n\n{KEPT}")

    def _report(self, severity: str, text: str) -> None:
        self.message.param.update(severity=severity, object=plain_text(text), visible=True)


def _progress_text(runs: Sequence[Run], process: subprocess.Popen[bytes]) -> str:
    """Progress of the hand-over; '' once it has ended, for all runs or by the end of its process."""
    ended = process.poll() is not None  # before the look: what is seen then is all that it did
    waiting = [run for run in runs if run.request.stage in (None, Stage.SENDING)]
    if ended:
        _cancel(waiting)
    if ended or not waiting:
        return ""
    first = waiting[0]
    return f"{len(runs) - len(waiting)} of {len(runs)} runs are submitted; {first.title} {first.status().reason} …"


def _cancel(runs: Sequence[Run]) -> None:
    """Cancel runs, so that none waits for a process that has ended."""
    for run in runs:
        with suppress(MesoscopeError):  # it has ended already; or the disk is full, which was said before
            api.cancel(run)
