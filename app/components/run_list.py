"""The tables of all runs and of those that wait or run, and the choice of runs to compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import panel_material_ui as pmui

from app import formatting
from app.components.cards import titled_card
from app.components.queue import COLUMNS as QUEUE_COLUMNS
from app.components.queue import queue_table, queued_snapshots
from app.components.run_table import Column, RunTable
from app.components.run_text import clipped_html, epoch_html, gain_of, state_html, title_html
from app.services.watcher import RunSnapshot
from app.session import MOST_RUNS, Session

COLUMNS = {
    "state": Column("State", 96, html=True),
    "title": Column("Title", "15%", html=True),
    "place": Column("Runs on", 88),
    "data": Column("Data", html=True),
    "epoch": Column("Epoch", 86, html=True, sortable=False),
    "rmse": Column("RMSE", 70, right=True),
    "interpolated": Column("Interpolated", 106, right=True),
    "gain": Column("Gain", 68, right=True, sortable=False),
    "val_loss": Column("Val. loss", 88, right=True),
    "age": Column("Created", 96, right=True, sortable=False),
}
ALL, QUEUE = "All", "Queue"
HINTS = {
    ALL: "Click a run to see it; tick up to eight to compare them.",
    QUEUE: "Queued and running runs on all sites, with the status that the scheduler reports.",
}


class RunList:
    """A click on a row sets the session's run, ticks set its runs to compare."""

    def __init__(self, session: Session):
        self.session = session
        self.all = RunTable(COLUMNS, self._choose, selectable="checkbox")
        self.all.widget.param.watch(self._tick, "selection")
        self.queue = RunTable(QUEUE_COLUMNS, self._choose, selectable=False)
        self.idle = pmui.Typography(
            "No run is queued or running.", color="text.secondary", margin=(16, 4), visible=False
        )
        self.compare = pmui.Button(label="Compare", icon="compare", disabled=True, margin=0, disable_elevation=True)
        self.compare.on_click(lambda _: session.param.update(page="compare"))
        self.which = pmui.RadioButtonGroup(options=[ALL, QUEUE], value=ALL, size="small", margin=0, width=130)
        self.which.param.watch(lambda event: session.param.update(queue=event.new == QUEUE), "value")
        self._hint = pmui.Typography(HINTS[ALL], variant="body2", color="text.secondary", margin=0)
        head = pmui.FlexBox(
            pmui.FlexBox(self.which, self._hint, align_items="center", gap="16px", margin=0), self.compare,
            justify_content="space-between", align_items="center", margin=(0, 0, 8, 0),
        )  # fmt: skip
        self.view = titled_card("Runs", head, self.all.widget, self.queue.widget, self.idle)
        session.param.watch(lambda _: self._mark_ticks(), "runs")

    def show(self, seen: Sequence[RunSnapshot], shown: str) -> None:
        """Show all runs, or those that wait or run; `shown` is the id of the run shown in detail."""
        queue, view = queued_snapshots(seen), QUEUE if self.session.queue else ALL
        self.which.value, self._hint.object = view, HINTS[view]
        self.all.widget.visible = self.compare.visible = view == ALL
        self.queue.widget.visible, self.idle.visible = view == QUEUE and bool(queue), view == QUEUE and not queue
        if self.all.show(table_of(seen, shown)):
            self._mark_ticks()
        self.queue.show(queue_table(queue, shown))

    def _choose(self, run: str) -> None:
        self.session.run = run

    def _mark_ticks(self) -> None:
        ids, table = self.all.ids, self.all.widget
        wanted = sorted(ids.index(run) for run in self.session.runs if run in ids)
        if sorted(table.selection) != wanted:
            table.selection = wanted
        self.compare.param.update(disabled=not wanted, label=f"Compare {len(wanted)}" if wanted else "Compare")

    def _tick(self, event: Any) -> None:
        """Ticked rows are the runs to compare; the ninth replaces the oldest tick."""
        ids = self.all.ids
        ticked = [ids[row] for row in event.new if row < len(ids)]
        kept = [run for run in self.session.runs if run in ticked or run not in ids]
        self.session.runs = [*kept, *(run for run in ticked if run not in kept)][-MOST_RUNS:]
        self._mark_ticks()


def table_of(seen: Sequence[RunSnapshot], shown: str = "") -> pd.DataFrame:
    """One row a run, as shown: id and the columns of COLUMNS; `shown` is the id of the run shown below."""
    rows = [
        {
            "id": one.id,
            "state": state_html(one.status.state),
            "title": title_html(one, shown),
            "place": one.site.name,
            "data": clipped_html(one.target or "–"),
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
