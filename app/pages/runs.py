"""Runs: the table of all runs, charts of them, and one of them in detail."""

from __future__ import annotations

import panel as pn
import panel_material_ui as pmui

from app.components.cards import columns
from app.components.run_charts import RunCharts
from app.components.run_detail import RunDetail
from app.components.run_list import RunList
from app.services.watcher import watcher_of
from app.session import Session
from app.theme import BORDERED


class RunsPage:
    """The table above, charts of its runs and the chosen run below."""

    def __init__(self, session: Session):
        self.session = session
        self._watcher = watcher_of(session.store)
        ways = [self._page_button("Choose data", "data"), self._page_button("Design", "design")]
        self.empty = pmui.Paper(
            pmui.Typography("No runs yet: choose data and design an experiment.", variant="h2", margin=(0, 0, 12, 0)),
            pmui.Row(*ways, sx={"gap": "8px"}, margin=0), elevation=0, margin=0,
            sx={"padding": "48px", **BORDERED}, sizing_mode="stretch_width",
        )  # fmt: skip
        self.list, self.charts, self.detail = RunList(session), RunCharts(session), RunDetail(session)
        session.param.watch(lambda _: self.refresh(), ["run", "listed", "found", "order"])

    def view(self) -> pn.viewable.Viewable:
        self.refresh()
        parts = self.empty, self.list.view, self.charts.view, self.detail.view
        return columns(pn.Column(*parts, sizing_mode="stretch_width"))

    def refresh(self) -> None:
        """Show the watcher's newest snapshots, and pull the chosen run's newest records."""
        seen = self._watcher.snapshots()
        newest = next((one for one in seen if not one.notes.archived), None)
        chosen = self._watcher.find(self.session.run) if self.session.run else newest
        with pn.io.hold():  # lets a callback without the document's lock change Bokeh's models
            self.empty.visible, self.list.view.visible, self.charts.view.visible = not seen, bool(seen), bool(seen)
            self.list.show(seen, chosen.id if chosen else "")
            self.charts.show(self.list.listed)
            self.detail.show(chosen)

    def _page_button(self, label: str, page: str) -> pmui.Button:
        button = pmui.Button(label=label, variant="outlined", margin=0)
        button.on_click(lambda _: self.session.param.update(page=page))
        return button
