"""The demonstration set: generated in some seconds, and from there to an experiment in one click."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import panel_material_ui as pmui

from app.components.cards import titled_card
from app.components.suite_button import SuiteButton
from app.formatting import plain_text
from app.session import Session, demo_folder
from app.theme import OUTLINED
from engine.data.demo import write_demo
from engine.errors import MesoscopeError
from engine.spec import Spec

FIRST_SPEC = "demo_mos"  # with all that a spec can name: LR, predictors, static variables
LABELS = {FIRST_SPEC: "Design with it", "demo_perfect_prog": "as perfect-prog"}
ABOUT = "Half a year of synthetic surface NO₂ with weather and land, made by a small advection model in some seconds."


class Demonstration:
    """Calls `generated` with the field to look at, and `open_spec` with the experiment that is clicked."""

    def __init__(self, session: Session, generated: Callable[[Path], None], open_spec: Callable[[Path], None]):
        self.session, self._generated, self._open_spec = session, generated, open_spec
        self.button = pmui.Button(label="Generate", icon="auto_awesome", **OUTLINED)
        self.button.on_click(self.generate)
        self.offered = pmui.Column(margin=0)
        about = pmui.Typography(ABOUT, variant="body2", margin=(0, 0, 8, 0))
        self.view = titled_card("Demonstration set", about, self.button, self.offered)
        session.param.watch(lambda _: self._look(), "page")
        self._look()

    def _look(self) -> None:
        """Offer the experiments of a set that was made before, or on another page."""
        if not self.offered.objects and (specs := sorted(demo_folder().glob("*.yaml"))):
            self._offer(specs)

    async def generate(self, _: object) -> None:
        """Write the demonstration set and offer its experiments."""
        self.button.loading = True
        try:
            paths = await asyncio.to_thread(write_demo, demo_folder())
        except MesoscopeError as error:
            self.offered.objects = [pmui.Alert(object=plain_text(str(error)), severity="error", margin=(8, 0, 0, 0))]
        else:
            self._offer([path for path in paths if path.suffix == ".yaml"])
            self._generated(next(path for path in paths if path.suffix == ".nc"))
        finally:
            self.button.loading = False

    def _offer(self, specs: Sequence[Path]) -> None:
        self.button.label = "Generate again"
        buttons = [self._experiment(path) for path in sorted(specs, key=lambda path: path.stem != FIRST_SPEC)]
        buttons[0].variant = "contained"
        suite = SuiteButton(self.session, lambda: Spec.read(demo_folder() / f"{FIRST_SPEC}.yaml"))
        self.offered.objects = [pmui.FlexBox(*buttons, gap="8px", margin=(10, 0, 0, 0)), suite.view]

    def _experiment(self, path: Path) -> pmui.Button:
        label = LABELS.get(path.stem, path.stem)
        button = pmui.Button(label=label, icon="arrow_forward", disable_elevation=True, **OUTLINED)
        button.on_click(lambda _: self._open_spec(path))
        return button
