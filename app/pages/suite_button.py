"""One button that trains the eight models of the suite on the data of a spec."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui

from app.session import Session
from app.watcher import watcher_of
from app.widgets import plain_text
from engine.errors import MesoscopeError, SpecError
from engine.launch import suite
from engine.runs import Run, Store
from engine.spec import Spec

ABOUT = (
    "Trains the eight models of the DL4DS paper one after another on these data, and ticks them for Compare: "
    "perfect-prog and mos, U-Net, residual and ConvNeXt, supervised and adversarial, spatial and spatio-temporal."
)


class SuiteButton:
    """Submits the suite and leads to its runs; what is refused is said below the button."""

    def __init__(self, session: Session, spec: Callable[[], Spec | None]):
        self.session, self._spec = session, spec
        self.button = pmui.Button(
            label="Train the suite A–H", icon="view_module", variant="outlined", size="small", description=ABOUT,
            margin=0,
        )  # fmt: skip
        self._refusal = pmui.Alert(object="", severity="error", visible=False, margin=(8, 0, 0, 0))
        self.view = pmui.Column(self.button, self._refusal, margin=(10, 0, 0, 0))
        self.button.on_click(self._submit)

    async def _submit(self, _: Any) -> None:
        self.button.loading = True
        self._refusal.visible = False
        try:
            runs = await asyncio.to_thread(_submitted, self._spec(), self.session.store)
        except MesoscopeError as error:
            self._refusal.param.update(object=plain_text(str(error)), visible=True)
        else:
            watcher_of(self.session.store).nudge()
            ids = [run.id for run in runs]
            self.session.param.update(runs=ids, run=ids[0], page="runs")
        finally:
            self.button.loading = False


def _submitted(spec: Spec | None, store: Store) -> list[Run]:
    if spec is None:  # the button is hidden then, but a click may be under way
        raise SpecError("the form is not complete: mend what it marks first")
    runs = suite.create(suite.specs(spec), store)
    suite.start(runs)
    return runs
