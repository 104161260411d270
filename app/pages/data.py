"""Data: choose a file or generate the demonstration set, look at it, use it in the design."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import panel as pn
import panel_material_ui as pmui

from app.components.cache_line import CacheLine
from app.components.cards import columns, side_column, titled_card
from app.components.catalogue_card import CatalogueList
from app.components.demonstration import Demonstration
from app.components.file_browser import FileBrowser
from app.components.file_view import FileView, draw
from app.components.region_card import RegionCard
from app.components.start_card import StartCard
from app.components.station_view import DrawnStations, StationView, draw_stations
from app.form.sources import join_source, part_source
from app.formatting import plain_text
from app.services.newest import Newest
from app.services.preview import open_preview
from app.session import Session
from app.theme import BORDERED
from engine.data.catalogue import Entry
from engine.data.file_summary import describe
from engine.data.stations import open_stations
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
        self._shown: Source | None = None
        self.files = FileBrowser(session, self._design)
        self.demonstration = Demonstration(session, self.files.show_demonstration, self._design)
        self.region = RegionCard(session)
        self.catalogue = CatalogueList(self._look)
        self.cache = CacheLine()
        self._refresh_lists()
        self.file = FileView(self._choose, self._use, self.region, self._refresh_lists)
        self.stations = StationView()
        self.fault = pmui.Alert(
            object="", severity="error", visible=False, margin=(0, 0, 12, 0), sizing_mode="stretch_width"
        )
        start = StartCard(session, "No file chosen yet", generate=self.demonstration.generate, own_files=OWN_FILES)
        self.empty = start.view
        self.surface = pmui.Paper(
            self.fault, self.empty, self.file.view, self.stations.view, sizing_mode="stretch_width", min_height=620,
            margin=0, elevation=0, sx={"padding": "16px", **BORDERED},
        )  # fmt: skip
        chosen = ["source_path", "source_variable", "source_select", "source_units"]
        session.param.watch(lambda *_: pn.state.execute(self._open), chosen)
        session.param.watch(lambda event: pn.state.execute(partial(self.file.redraw, event.new)), "dark")
        session.param.watch(lambda _: self._refresh_lists(), "page")
        if session.source_path:
            pn.state.execute(self._open)

    def view(self) -> pn.viewable.Viewable:
        catalogue = titled_card("Catalogue", self.catalogue.view, self.cache.view)
        return columns(side_column(self.files.view, catalogue, self.demonstration.view, width=SIDE_WIDTH), self.surface)

    def refresh(self) -> None:
        """Nothing here depends on the runs."""

    def _refresh_lists(self) -> None:
        """Read the catalogue and the cache, which other programs may have changed."""
        pn.state.execute(self.catalogue.refresh)
        pn.state.execute(self.cache.refresh)

    async def _open(self) -> None:
        """Describe the chosen file, open the chosen variable, and show both; the newest choice wins."""
        is_newest = self._opening.begin()
        session = self.session
        texts = {"path": session.source_path, "variable": session.source_variable}
        texts |= {"select": session.source_select, "units": session.source_units}
        try:
            source = Source.parse(join_source(texts), "the file") if texts["path"] else None
            if source is None or source == self._shown:
                self.surface.loading = False
                return
            self.surface.loading = True
            path = source.path if isinstance(source.path, str) else source.path[0]
            summary = await asyncio.to_thread(describe, path)
            names = [found.name for found in summary.variables]
            if names and not source.variable:
                source = replace(source, variable=names[0])
            preview = await asyncio.to_thread(open_preview, source)
            drawn = await asyncio.to_thread(draw, preview, 0, self.session.dark)
        except MesoscopeError as error:
            given = session.source_path, session.source_variable
            found = await asyncio.to_thread(_stations_or_fault, *given, str(error))
            if not is_newest():
                return
            if isinstance(found, str):
                self._refuse(found)
                return
            self._shown = None
            with pn.io.hold():
                self.fault.visible = self.empty.visible = self.file.view.visible = False
                self.stations.show(found)
        else:
            if is_newest():
                self._shown = preview.source
                with pn.io.hold():
                    self.fault.visible = self.empty.visible = self.stations.view.visible = False
                    self.file.view.visible = True
                    self.file.show(summary, preview, drawn)
        finally:
            if is_newest():
                self.surface.loading = False
                await self.cache.refresh()

    def _refuse(self, message: str) -> None:
        self._shown = None
        self.fault.param.update(object=plain_text(message), visible=True)

    def _choose(self, variable: str) -> None:
        """Show another variable of the file; a unit that was given in place of the file's is that of the one before."""
        preview = self.file.preview
        is_shown = preview is not None and preview.source.variable == variable
        self.session.param.update(source_variable=variable, source_units=self.session.source_units if is_shown else "")

    def _look(self, entry: Entry) -> None:
        texts = part_source(entry.source.plain())
        self.session.choose_source(*(texts.get(part, "") for part in ("path", "variable", "select", "units")))

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


def _stations_or_fault(path: str, variable: str, fault: str) -> DrawnStations | str:
    """Draw a file that is no field as stations; else say why not, for tables what keeps them from being stations."""
    try:
        return draw_stations(open_stations(path, variable), path)
    except MesoscopeError as error:
        return str(error) if path.lower().endswith((".csv", ".tsv")) else fault
