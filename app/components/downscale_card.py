"""Apply the network of a finished run to new LR data, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import panel_material_ui as pmui

from app.components.cards import titled_card
from app.formatting import plain_text
from app.session import Session
from app.theme import OUTLINED
from engine.launch.local import ROOT, end_tree, environment
from engine.launch.priority import lower
from engine.runs import Run
from engine.spec import is_url

ABOUT = "Applies the trained network to another LR file, with the predictors of the run beside it."
NICE = 10  # the page answers meanwhile
FIELD: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": (6, 0)}


class DownscaleCard:
    """Runs `python -m engine downscale` for the run shown, reports how it ended, and links to the map of the result."""

    def __init__(self, session: Session):
        self.session = session
        self._run: Run | None = None
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False
        self._written = ""
        self.input = pmui.TextInput(label="LR data", placeholder="path, glob or URL", **FIELD)
        self.variable = pmui.TextInput(label="Variable", placeholder="as in the run's settings", **FIELD)
        self.output = pmui.TextInput(label="Output", placeholder="/path/downscaled.nc", **FIELD)
        self.overwrite = pmui.Checkbox(label="Replace the output if it exists", size="small", margin=0)
        self.start = pmui.Button(label="Downscale", icon="grid_on", disable_elevation=True, size="small", margin=0)
        self.stop = pmui.Button(label="Stop", icon="stop", visible=False, **OUTLINED)
        self.map = pmui.Button(label="Show on the map", icon="map", visible=False, **OUTLINED)
        self.message = pmui.Alert(object="", severity="info", visible=False, margin=(8, 0, 0, 0))
        self.start.on_click(self._downscale)
        self.stop.on_click(self._stop)
        self.map.on_click(self._show_map)
        buttons = pmui.FlexBox(self.start, self.stop, self.map, gap="8px", margin=(6, 0, 0, 0))
        about = pmui.Typography(ABOUT, variant="body2", margin=(0, 0, 4, 0))
        fields = self.input, self.variable, self.output, self.overwrite
        self.view = titled_card("Downscale new data", about, *fields, buttons, self.message)

    def show(self, run: Run, is_done: bool) -> None:
        """Offer it for a finished run; the file that is open on the Data page is proposed."""
        self.view.visible = is_done
        if self._run is None or run.id != self._run.id:
            self.message.visible = self.map.visible = False
        self._run = run
        if not self.input.value and (proposed := self.session.source_path) and "://" not in proposed:
            path = Path(proposed)
            self.input.value, self.output.value = proposed, str(path.with_name(f"{path.stem}_downscaled.nc"))

    async def _downscale(self, _: object) -> None:
        if self._run is None or self._process is not None:
            return
        files = [os.path.expanduser(line.value.strip()) for line in (self.input, self.output)]
        if not all(os.path.isabs(name) or is_url(name) for name in files):
            self._report("error", "Give the LR data and the output, a NetCDF file to write, by their full paths.")
            return
        self._is_stopped = False
        words = ["--overwrite"] if self.overwrite.value else []
        words += [f"--variable={self.variable.value.strip()}", "--", self._run.id, *files]
        self.start.param.update(loading=True, disabled=True)
        self.stop.visible, self.map.visible = True, False
        self._report("info", "Downscaling …")
        try:
            self._finish(await asyncio.to_thread(self._wait, words))
        finally:
            self._process = None
            self.start.param.update(loading=False, disabled=False)
            self.stop.visible = False

    def _wait(self, words: list[str]) -> dict[str, Any]:
        """Run the command to its end; returns its JSON document, or one with an `error` where it gave none."""
        command = [sys.executable, "-m", "engine", "downscale", "--json", "--store", str(self.session.store.folder)]
        self._process = subprocess.Popen(
            [*command, *words], cwd=ROOT, env=environment(os.environ, 1), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        lower(self._process.pid, NICE)
        stdout, stderr = self._process.communicate()
        if stdout.strip():
            return json.loads(stdout)
        last = (stderr.strip().splitlines() or ["it said nothing"])[-1]
        why = "stopped" if self._is_stopped else f"the command ended with {self._process.returncode} ({last})"
        return {"error": f"Nothing was written: {why}"}

    def _finish(self, answer: dict[str, Any]) -> None:
        if "output" not in answer:
            self._report("info" if self._is_stopped else "error", str(answer["error"]))
            return
        notes = "".join(f"\n\n{note}" for note in answer["notes"])
        self._report("success", f"Wrote {answer['output']}{notes}")
        self.map.visible, self._written = True, str(answer["output"])

    async def _stop(self, _: object) -> None:
        if self._process is not None:
            self._is_stopped = True
            await asyncio.to_thread(end_tree, self._process.pid)

    def _show_map(self, _: object) -> None:
        self.session.param.update(source_path=self._written, source_variable="downscaled", page="data")

    def _report(self, severity: str, text: str) -> None:
        self.message.param.update(severity=severity, object=plain_text(text), visible=True)
