"""Records of one run as they are appended: learning curves and the end of its log."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Sequence
from pathlib import Path

import panel as pn
import panel_material_ui as pmui

from app.components.cards import titled_card
from app.plots.overview import LearningCurves
from app.services.newest import Rerun
from app.session import Session
from app.theme import PAGE_CSS
from engine.runs import Run
from engine.runs.records import Progress

MOST_POINTS = 1500  # of a drawn curve
LOG_BYTES, LOG_LINES = 32_768, 300


class RunRecords:
    """Pulls what was appended to the files of a run; `refuse` is called with the reason why they can't be read."""

    def __init__(self, session: Session, refuse: Callable[[str], None]):
        self.session, self._refuse = session, refuse
        self.records: list[Progress] = []
        self._run: Run | None = None
        self._offset = 0
        self._rerun = Rerun(self._read).run
        self._log_scale = pmui.Switch(label="Log scale", value=False, size="small", margin=0)
        self._log_scale.param.watch(lambda _: self._new_curves(), "value")
        self._curves = pn.pane.Bokeh(None, height=300, sizing_mode="stretch_width", margin=0)
        self.log = pn.pane.HTML("", stylesheets=[PAGE_CSS], height=230, sizing_mode="stretch_width", margin=0)
        self.cards = titled_card("Learning curves", self._log_scale, self._curves), titled_card("Log", self.log)
        session.param.watch(lambda _: self._new_curves(), "dark")
        self._new_curves()

    def show(self, run: Run) -> None:
        """Show the records of this run from the first on."""
        self._run, self._offset, self.records = run, 0, []
        self.curves.show([])

    def pull(self) -> None:
        """Read what was appended since, outside the event loop."""
        pn.state.execute(self._rerun)

    async def _read(self) -> None:
        run = self._run
        if run is None:
            return
        try:
            new, offset = await asyncio.to_thread(run.progress, self._offset)
            tail = await asyncio.to_thread(log_tail, run.log)
        except OSError as error:
            self._refuse(f"The run folder can't be read: {error}")
            return
        if run is not self._run:
            return
        self._offset = offset
        text = f"<pre class='text'>{html.escape(tail) or 'No log yet.'}</pre>"
        log = f"<div class='tail' tabindex='0' role='group' aria-label='Log'>{text}</div>"
        with pn.io.hold():
            if log != self.log.object:
                self.log.object = log
            if new:
                self.records += new
                self.curves.show(thinned(self.records))

    def _new_curves(self) -> None:
        self.curves = LearningCurves(log=self._log_scale.value, dark=self.session.dark)
        self.curves.show(thinned(self.records))
        self._curves.object = self.curves.figure


def thinned(records: Sequence[Progress]) -> list[Progress]:
    """At most MOST_POINTS of the records without a validation loss, evenly spread, and all with one."""
    stride = -(-len(records) // MOST_POINTS) or 1
    last = len(records) - 1
    return [
        record for i, record in enumerate(records) if i % stride == 0 or i == last or record.get("val_loss") is not None
    ]


def log_tail(path: Path) -> str:
    """The last lines of a log, '' before there is one."""
    try:
        with open(path, "rb") as file:
            file.seek(max(path.stat().st_size - LOG_BYTES, 0))
            content = file.read()
    except FileNotFoundError:
        return ""
    return "\n".join(content.decode("utf-8", errors="replace").splitlines()[-LOG_LINES:])
