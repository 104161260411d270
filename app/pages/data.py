"""Data: choose a file or generate the demonstration set, look at it, use it in the design."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import panel as pn
import panel_material_ui as pmui

from app.components.cards import columns, side_column
from app.components.demonstration import Demonstration
from app.components.file_browser import FileBrowser
from app.components.file_view import FileView, draw
from app.components.region_card import RegionCard
from app.components.start_card import StartCard
from app.formatting import plain_text
from app.services.newest import Newest
from app.services.preview import open_preview
from app.session import Session
from app.theme import BORDERED
from engine.data.file_summary import describe
from engine.errors import MesoscopeError, SpecError
from engine.spec import Source, Spec

OWN_FILES = "Choose a NetCDF, GRIB or GeoTIFF file or a Zarr store in the card File, by clicks or by its path."
SIDE_WIDTH = 350
TAKEN = {"target": "the target", "lr": "LR (pairing mos)", "predictors": "a predictor", "static": "static"}


class DataPage:
    """Files at the left; the chosen variable with its map, histogram and facts at the right."""

    def __init__(self, session: Session):
        self.session = session
        self._opening = Newest()
        self._shown = ("", "")  # path and variable
        self.files = FileBrowser(session, self._design)
        self.demonstration = Demonstration(session, self.files.show_demonstration, self._design)
        self.region = RegionCard(session)
        self.file = FileView(lambda variable: session.param.update(source_variable=variable), self._use, self.region)
        self.fault = pmui.Alert(
            object="", severity="error", visible=False, margin=(0, 0, 12, 0), sizing_mode="stretch_width"
        )
        start = StartCard(session, "No file chosen yet", generate=self.demonstration.generate, own_files=OWN_FILES)
        self.empty = start.view
        self.surface = pmui.Paper(
            self.fault, self.empty, self.file.view, margin=0, elevation=0, sx={"padding": "16px", **BORDERED},
            sizing_mode="stretch_width", min_height=620,
        )  # fmt: skip
        session.param.watch(lambda *_: pn.state.execute(self._open), ["source_path", "source_variable"])
        session.param.watch(lambda event: pn.state.execute(partial(self.file.redraw, event.new)), "dark")
        if session.source_path:
            pn.state.execute(self._open)

    def view(self) -> pn.viewable.Viewable:
        return columns(side_column(self.files.view, self.demonstration.view, width=SIDE_WIDTH), self.surface)

    def refresh(self) -> None:
        """Nothing here depends on the runs."""

    async def _open(self) -> None:
        """Describe the chosen file, open the chosen variable, and show both; the newest choice wins."""
        is_newest = self._opening.begin()
        path, variable = self.session.source_path, self.session.source_variable
        if not path or (path, variable) == self._shown:
            self.surface.loading = False
            return
        self.surface.loading = True
        try:
            summary = await asyncio.to_thread(describe, path)
            names = [found.name for found in summary.variables]
            variable = variable if variable in names else names[0] if names and not variable else variable
            preview = await asyncio.to_thread(open_preview, Source(path, variable))
            drawn = await asyncio.to_thread(draw, preview, 0, self.session.dark)
        except MesoscopeError as error:
            if is_newest():
                self._refuse(str(error))
        else:
            if is_newest():
                self._shown = (path, preview.source.variable)
                with pn.io.hold():
                    self.fault.visible = self.empty.visible = False
                    self.file.view.visible = True
                    self.file.show(summary, preview, drawn)
        finally:
            if is_newest():
                self.surface.loading = False

    def _refuse(self, message: str) -> None:
        self._shown = ("", "")
        self.fault.param.update(object=plain_text(message), visible=True)

    def _use(self, part: str) -> None:
        """Give the variable shown a part in the draft, keeping the rest of it."""
        preview, draft = self.file.preview, self.session.draft
        if preview is None:
            return
        source = preview.source
        if part in ("predictors", "static"):
            chosen = draft.get("data", part)
            draft.set("data", part, [*(other for other in chosen if other != source), source])
        else:
            draft.set("data", part, source)
        if part == "lr":
            draft.set("data", "pairing", "mos")
        self.session.draft_changed()
        if pn.state.notifications is not None:
            pn.state.notifications.success(f"{source.variable} is {TAKEN[part]} now", duration=3000)

    def _design(self, path: Path) -> None:
        """Open a spec as the draft."""
        try:
            self.session.use_spec(Spec.read(path))
        except SpecError as error:
            self._refuse(str(error))
        else:
            self.session.page = "design"
