"""The list of runs: which ones, in which order, as a table; the choice of runs to compare; the trash."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui

from app import formatting
from app.components.cards import titled_card
from app.components.queue import COLUMNS as QUEUE_COLUMNS
from app.components.queue import queue_table
from app.components.run_table import Column, RunTable
from app.components.run_text import clipped_html, epoch_html, gain_of, state_html, title_html
from app.services.newest import Rerun
from app.services.run_selection import select_runs
from app.services.run_settings import differing_settings
from app.services.watcher import RunSnapshot, watcher_of
from app.session import MOST_RUNS, ORDERS, Listed, Session
from app.theme import OUTLINED, SMALL
from engine.errors import MesoscopeError
from engine.runs.trash import deleted_runs, restore

COLUMNS = {
    "state": Column("State", 96, html=True, sortable=False),
    "title": Column("Title", 230, html=True, sortable=False),
    "place": Column("Runs on", 88, sortable=False),
    "data": Column("Data", html=True, sortable=False),
    "differing": Column("Settings that differ", html=True, sortable=False),
    "epoch": Column("Epoch", 86, html=True, sortable=False),
    "rmse": Column("RMSE", 70, right=True, sortable=False),
    "interpolated": Column("Interpolated", 106, right=True, sortable=False),
    "gain": Column("Gain", 68, right=True, sortable=False),
    "val_loss": Column("Val. loss", 88, right=True, sortable=False),
    "age": Column("Created", 96, right=True, sortable=False),
}
DIFFERING, IN_ITS_PLACE = ["differing"], ["data", "epoch", "interpolated"]
HINTS = {
    Listed.ALL: "Click a run to see it; tick up to eight to compare them.",
    Listed.QUEUE: "Queued and running runs on all sites, with the status that the scheduler reports.",
    Listed.ARCHIVED: "Runs that were put into the archive.",
}
NOTHING = {
    Listed.ALL: "No run holds these words.",
    Listed.QUEUE: "No run is queued or running.",
    Listed.ARCHIVED: "No run is archived, or none holds these words.",
}


class RunList:
    """A click on a row sets the session's run, ticks set its runs to compare."""

    def __init__(self, session: Session):
        self.session = session
        self.listed: Sequence[RunSnapshot] = ()  # as shown
        self._shown = ""
        self._settings: dict[str, str] = {}
        self._read_settings = Rerun(self._read_differing).run
        self.all = RunTable(COLUMNS, self._choose, selectable="checkbox", hidden=DIFFERING)
        self.all.widget.param.watch(self._tick, "selection")
        self.queue = RunTable(QUEUE_COLUMNS, self._choose, selectable=False)
        self.nothing = pmui.Typography("", color="text.secondary", margin=(16, 4), visible=False)
        self._build_head()
        self.view = titled_card("Runs", self._head, self._tools, self.all.view, self.queue.view, self.nothing)
        session.param.watch(lambda _: self._mark_ticks(), "runs")
        session.param.watch(lambda _: self.show_trash(), "run")
        self.show_trash()

    def show(self, seen: Sequence[RunSnapshot], shown: str) -> None:
        """Show the runs that the session lists; `shown` is the id of the run shown in detail."""
        listed = self.session.listed
        is_queue = listed is Listed.QUEUE
        self.listed = select_runs(seen, listed, self.session.found, self.session.order)
        self._shown = shown
        self.which.value, self.find.value, self.sort.value = listed.capitalize(), self.session.found, self.session.order
        self._hint.object, self.nothing.object = HINTS[listed], NOTHING[listed]
        self.nothing.visible = not self.listed
        self.all.widget.visible = bool(self.listed) and not is_queue
        self.queue.widget.visible = bool(self.listed) and is_queue
        self.compare.visible = self._tools.visible = not is_queue
        if is_queue:
            self.queue.show(queue_table(self.listed, shown))
        else:
            self._show_table()
            if self.differing.value:
                pn.state.execute(self._read_settings)

    def show_trash(self) -> None:
        """Offer the deleted runs, the newest first."""
        self._deleted = {f"{run.title}   ·   {run.id[:15]}": run.id for run in deleted_runs(self.session.store)[:20]}
        self.trash.items = [{"label": label, "icon": "restore_from_trash"} for label in self._deleted]
        self.trash.visible = bool(self._deleted)

    def _build_head(self) -> None:
        session = self.session
        self.compare = pmui.Button(label="Compare", icon="compare", disabled=True, disable_elevation=True, margin=0)
        self.compare.on_click(lambda _: session.param.update(page="compare"))
        self.which = pmui.RadioButtonGroup(options=[one.capitalize() for one in Listed], value="All", **SMALL)
        self.which.param.watch(lambda event: session.param.update(listed=Listed(event.new.lower())), "value")
        self.find = pmui.TextInput(label="Find", placeholder="title, tag, state, site", width=220, **SMALL)
        self.find.param.watch(lambda event: session.param.update(found=event.new.strip()), "value")
        self.sort = pmui.Select(label="Sort by", options=ORDERS, value=session.order, width=150, **SMALL)
        self.sort.param.watch(lambda event: session.param.update(order=event.new), "value")
        self.differing = pmui.Switch(label="Settings that differ", value=False, **SMALL)
        self.differing.param.watch(self._choose_columns, "value")
        self.trash = pmui.MenuButton(label="Deleted", icon="delete", items=[], visible=False, **OUTLINED)
        self.trash.on_click(self._restore)
        self._hint = pmui.Typography(
            "", variant="body2", color="text.secondary", margin=0, styles={"flex": "1 1 200px"}
        )
        line: dict[str, Any] = {"gap": "8px 16px", "align_items": "center", "sizing_mode": "stretch_width"}
        self._head = pn.FlexBox(self.which, self._hint, self.compare, margin=(0, 0, 8, 0), **line)
        self._tools = pn.FlexBox(self.find, self.sort, self.differing, self.trash, margin=(4, 0, 8, 0), **line)

    def _show_table(self) -> None:
        self.all.show(table_of(self.listed, self._shown, self._settings))
        self._mark_ticks()

    def _choose_columns(self, event: Any) -> None:
        self.all.widget.hidden_columns = ["id", *(IN_ITS_PLACE if event.new else DIFFERING)]
        if event.new:
            pn.state.execute(self._read_settings)

    async def _read_differing(self) -> None:
        """Read the specs of the runs listed, once each, outside the event loop."""
        self._settings = await asyncio.to_thread(differing_settings, [one.run for one in self.listed])
        with pn.io.hold():
            self._show_table()

    def _restore(self, item: Mapping[str, str]) -> None:
        try:
            run = restore(self.session.store, self._deleted[item["label"]])
        except MesoscopeError as error:
            if pn.state.notifications is not None:
                pn.state.notifications.error(str(error))
        else:
            watcher_of(self.session.store).nudge()
            self.session.run = run.id
        self.show_trash()

    def _choose(self, run: str) -> None:
        self.session.run = run

    def _mark_ticks(self) -> None:
        ids, table = self.all.ids, self.all.widget
        wanted = sorted(ids.index(run) for run in self.session.runs if run in ids)
        if sorted(table.selection) != wanted:
            table.selection = wanted
        ticked = len(self.session.runs)
        self.compare.param.update(disabled=not ticked, label=f"Compare {ticked}" if ticked else "Compare")

    def _tick(self, event: Any) -> None:
        """Ticked rows are the runs to compare; the ninth replaces the oldest tick."""
        if self.session.page != "runs":
            return  # a hidden table reports that nothing is ticked
        ids = self.all.ids
        ticked = [ids[row] for row in event.new if row < len(ids)]
        kept = [run for run in self.session.runs if run in ticked or run not in ids]
        self.session.runs = [*kept, *(run for run in ticked if run not in kept)][-MOST_RUNS:]
        self._mark_ticks()


def table_of(seen: Sequence[RunSnapshot], shown: str = "", settings: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row a run, as shown: id and the columns of COLUMNS; `shown` is the id of the run shown below.

    settings : by run id, those in which the runs differ.
    """
    rows = [
        {
            "id": one.id,
            "state": state_html(one.status.state),
            "title": title_html(one, shown),
            "place": one.site.name,
            "data": clipped_html(one.target or "–"),
            "differing": clipped_html((settings or {}).get(one.id, "…")),
            "epoch": epoch_html(one),
            "rmse": formatting.number(one.rmse("downscaled")),
            "interpolated": formatting.number(one.rmse("interpolated")),
            "gain": gain_of(one),
            "val_loss": formatting.number(one.val_loss),
            "age": formatting.age(one.created) if one.created else "–",
        }
        for one in seen
    ]
    return pd.DataFrame(rows, columns=["id", *COLUMNS])
