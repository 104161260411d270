"""Runs: all runs of the store, and one of them closely: curves, speed, time left, log, settings."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui

from app import formatting
from app.components.queue import COLUMNS as QUEUE_COLUMNS
from app.components.queue import UNFINISHED, clipped_html, queue_table, queued_snapshots, state_html, title_html
from app.components.run_table import Column, RunTable
from app.form.fields import card, plain_text
from app.plots.overview import LearningCurves
from app.services.newest import Rerun
from app.services.watcher import RunSnapshot, watcher_of
from app.session import MOST_RUNS, Session
from app.theme import PAGE_CSS
from engine.errors import MesoscopeError, UnreachableError
from engine.launch import api
from engine.runs import Run
from engine.spec import flow_yaml

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
MOST_POINTS = 1500  # of a drawn curve
LOG_BYTES, LOG_LINES = 32_768, 300
ALL, QUEUE = "All", "Queue"
HINTS = {
    ALL: "Click a run to see it; tick up to eight to compare them.",
    QUEUE: "Queued and running runs on all sites, with the status that the scheduler reports.",
}


class RunsPage:
    """The table above, the chosen run below."""

    def __init__(self, session: Session):
        self.session = session
        self._watcher = watcher_of(session.store)
        self._records: list[dict[str, Any]] = []
        self._shown, self._offset, self._moving = "", 0, False
        self._pull = Rerun(self._read_files).run
        self._build_table()
        self._build_detail()
        session.param.watch(lambda _: self.refresh(), ["run", "queue"])
        session.param.watch(lambda _: self._mark_selection(), "runs")
        session.param.watch(lambda _: self._new_curves(), "dark")

    def view(self) -> pn.viewable.Viewable:
        self.refresh()
        return pmui.Column(self._empty, self._list, self._detail, margin=(12, 16), sizing_mode="stretch_width")

    def refresh(self) -> None:
        """Show what the watcher saw, and pull the chosen run's newest records."""
        seen = self._watcher.snapshots()
        chosen = self._chosen(seen)
        with pn.io.hold():  # lets a callback without the document's lock change Bokeh's models
            self._empty.visible, self._list.visible = not seen, bool(seen)
            self._show_tables(seen, chosen.id if chosen else "")
            self._detail.visible = chosen is not None
            if chosen is not None:
                self._show_state(chosen)
                pn.state.execute(self._pull)

    def _chosen(self, seen: Sequence[RunSnapshot]) -> RunSnapshot | None:
        """The run that the link names; the newest one when it names none."""
        if not self.session.run:
            return seen[0] if seen else None
        return self._watcher.find(self.session.run)

    def _build_table(self) -> None:
        self._empty = pmui.Paper(
            pmui.Typography("No runs yet: choose data and design an experiment.", variant="h2", margin=(0, 0, 12, 0)),
            pmui.Row(self._way("Choose data", "data"), self._way("Design", "design"), sx={"gap": "8px"}, margin=0),
            elevation=0, margin=0,
            sx={"padding": "48px", "border": "1px solid", "borderColor": "divider"}, sizing_mode="stretch_width",
        )  # fmt: skip
        self._all = RunTable(COLUMNS, self._choose, selectable="checkbox")
        self._table = self._all.widget
        self._table.param.watch(self._select, "selection")
        self._queue = RunTable(QUEUE_COLUMNS, self._choose, selectable=False)
        self._idle = pmui.Typography(
            "No run is queued or running.", color="text.secondary", margin=(16, 4), visible=False
        )
        self._compare = pmui.Button(label="Compare", icon="compare", disabled=True, margin=0, disable_elevation=True)
        self._compare.on_click(lambda _: self.session.param.update(page="compare"))
        self._which = pmui.RadioButtonGroup(options=[ALL, QUEUE], value=ALL, size="small", margin=0, width=130)
        self._which.param.watch(lambda event: self.session.param.update(queue=event.new == QUEUE), "value")
        self._hint = pmui.Typography(HINTS[ALL], variant="body2", color="text.secondary", margin=0)
        head = pmui.FlexBox(
            pmui.FlexBox(self._which, self._hint, align_items="center", gap="16px", margin=0),
            self._compare,
            justify_content="space-between",
            align_items="center",
            margin=(0, 0, 8, 0),
        )
        self._list = card("Runs", head, self._table, self._queue.widget, self._idle)

    def _way(self, label: str, page: str) -> pmui.Button:
        button = pmui.Button(label=label, variant="outlined", margin=0)
        button.on_click(lambda _: self.session.param.update(page=page))
        return button

    def _build_detail(self) -> None:
        self._title = pmui.Typography("", variant="h2", margin=0)
        self._reason = pn.pane.HTML("", stylesheets=[PAGE_CSS], margin=(2, 0))
        self._why = pmui.Alert(object="", severity="error", visible=False, margin=(8, 0, 0, 0), sx=DENSE, **WIDE)
        self._bar = pmui.LinearProgress(
            value=0, variant="determinate", sizing_mode="stretch_width", margin=(10, 0, 4, 0)
        )
        self._cancel = pmui.Button(label="Cancel", icon="stop", **_SMALL)
        self._resume = pmui.Button(label="Resume", icon="play_arrow", **_SMALL)
        self._again = pmui.Button(label="Clone settings", icon="edit", **_SMALL)
        self._cancel.on_click(partial(self._act, api.cancel))
        self._resume.on_click(partial(self._act, api.resume))
        self._again.on_click(self._design)
        self._maps = pmui.Button(label="Compare maps", icon="compare", size="small", margin=0, disable_elevation=True)
        self._maps.on_click(self._show_maps)
        self._fault = pmui.Alert(object="", severity="error", visible=False, margin=(8, 0, 0, 0))
        self._log_scale = pmui.Switch(label="Log scale", value=False, size="small", margin=0)
        self._log_scale.param.watch(lambda _: self._new_curves(), "value")
        self._curves = pn.pane.Bokeh(None, height=300, sizing_mode="stretch_width", margin=0)
        self._facts = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=0)
        self._settings = pn.pane.HTML("", stylesheets=[PAGE_CSS], sizing_mode="stretch_width", margin=0)
        self._log = pn.pane.HTML("", stylesheets=[PAGE_CSS], height=230, sizing_mode="stretch_width", margin=0)
        self._new_curves()
        buttons = pmui.Row(self._cancel, self._resume, self._again, self._maps, sx={"gap": "8px"}, margin=0)
        head = pmui.FlexBox(self._title, buttons, justify_content="space-between", align_items="center")
        left = pmui.Column(
            card("Learning curves", self._log_scale, self._curves),
            card("Log", self._log),
            sizing_mode="stretch_width",
            margin=0,
        )
        right = pmui.Column(
            card("Training", self._facts), card("Settings that differ from the defaults", self._settings),
            width=390, margin=(0, 0, 0, 12),
        )  # fmt: skip
        top = pmui.Paper(
            head,
            self._reason,
            self._bar,
            self._why,
            self._fault,
            elevation=0,
            margin=(0, 0, 12, 0),
            sx={"padding": "14px 16px", "border": "1px solid", "borderColor": "divider"},
        )
        self._detail = pmui.Column(top, pmui.Row(left, right, margin=0), margin=0, visible=False)

    def _show_tables(self, seen: Sequence[RunSnapshot], shown: str) -> None:
        """All runs, or those that wait or run."""
        queue, view = queued_snapshots(seen), QUEUE if self.session.queue else ALL
        self._which.value, self._hint.object = view, HINTS[view]
        self._table.visible = self._compare.visible = view == ALL
        self._queue.widget.visible, self._idle.visible = view == QUEUE and bool(queue), view == QUEUE and not queue
        if self._all.show(table_of(seen, shown)):
            self._mark_selection()
        self._queue.show(queue_table(queue, shown))

    def _mark_selection(self) -> None:
        ids = self._all.ids
        wanted = sorted(ids.index(run) for run in self.session.runs if run in ids)
        if sorted(self._table.selection) != wanted:
            self._table.selection = wanted
        self._compare.param.update(disabled=not wanted, label=f"Compare {len(wanted)}" if wanted else "Compare")

    def _select(self, event: Any) -> None:
        """Ticked rows are the runs to compare; the fifth pushes out the oldest tick."""
        ids = self._all.ids
        ticked = [ids[row] for row in event.new if row < len(ids)]
        kept = [run for run in self.session.runs if run in ticked or run not in ids]
        self.session.runs = [*kept, *(run for run in ticked if run not in kept)][-MOST_RUNS:]
        self._mark_selection()

    def _choose(self, run: str) -> None:
        self.session.run = run

    def _show_state(self, seen: RunSnapshot) -> None:
        if seen.id != self._shown:
            self._shown, self._offset, self._records = seen.id, 0, []
            self._settings.object = formatting.table(settings_of(seen.run))
            self._fault.visible = False
            self._learning.show([])
        word = seen.status.state
        self._title.object = plain_text(seen.title)
        self._reason.object = f"{state_html(word)} <span class='said'>{html.escape(status_text(seen))}</span>"
        self._bar.param.update(value=round(100 * seen.share, 1), visible=word != "done")
        self._why.param.update(object=plain_text(failure_advice(seen)), visible=word == "failed")
        self._maps.visible = word == "done"
        self._cancel.visible = word in ("queued", "running", "unknown") and not seen.fault
        self._resume.visible = word in ("failed", "cancelled")
        self._again.visible = not seen.fault
        if not self._moving:  # what waits on a target may not have heard of it
            self._cancel.disabled = seen.site.cancelling and (word == "running" or not seen.run.is_remote)
        if seen.fault:
            self._show_error("error", seen.fault)
        self._facts.object = formatting.table(facts_of(seen))

    async def _read_files(self) -> None:
        """Read what was appended to the chosen run's files, outside the event loop."""
        chosen = self._watcher.find(self._shown)
        if chosen is None:
            return
        try:
            new, offset = await asyncio.to_thread(chosen.run.progress, self._offset)
            tail = await asyncio.to_thread(log_tail, chosen.run.log)
        except OSError as error:
            self._show_error("error", f"The run folder can't be read: {error}")
            return
        if chosen.id != self._shown:
            return
        self._offset = offset
        with pn.io.hold():
            self._show_log(tail)
            if new:
                self._records += new
                self._learning.show(thinned(self._records))

    def _show_log(self, tail: str) -> None:
        shown = f"<div class='tail'><pre class='text'>{html.escape(tail) or 'No log yet.'}</pre></div>"
        if shown != self._log.object:
            self._log.object = shown

    def _new_curves(self) -> None:
        self._learning = LearningCurves(log=self._log_scale.value, dark=self.session.dark)
        self._learning.show(thinned(self._records))
        self._curves.object = self._learning.figure

    async def _act(self, act: Callable[[Run], Any], _: Any) -> None:
        """Cancel or resume the chosen run, and look again."""
        chosen = self._watcher.find(self._shown)
        if chosen is None:
            return
        self._moving = self._cancel.disabled = self._resume.disabled = True
        try:
            await asyncio.to_thread(act, chosen.run)
            self._fault.visible = False
        except UnreachableError as error:
            self._show_error("info" if chosen.run.cancel_file.exists() else "error", f"{error}{later(chosen.run)}")
        except MesoscopeError as error:
            self._show_error("error", str(error))
        finally:
            self._moving = self._resume.disabled = False
            self._watcher.nudge()

    def _show_error(self, severity: str, text: str) -> None:
        self._fault.param.update(severity=severity, object=plain_text(text), visible=True)

    def _show_maps(self, _: Any) -> None:
        """The run beside those already chosen; a fifth pushes out the oldest."""
        others = [run for run in self.session.runs if run != self._shown]
        self.session.param.update(runs=[*others, self._shown][-MOST_RUNS:], page="compare")

    def _design(self, _: Any) -> None:
        """The run's spec as the draft, to change and train again."""
        chosen = self._watcher.find(self._shown)
        if chosen is not None and not chosen.fault:
            self.session.use_spec(chosen.run.spec)
            self.session.page = "design"


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


def epoch_html(seen: RunSnapshot) -> str:
    """A bar for the share of the training that is done, and '12/40' on it."""
    latest = seen.latest
    text = f"{latest['epoch']}/{latest['epochs']}" if latest.get("epochs") and "epoch" in latest else ""
    return f"<div class='share'><i style='width: {100 * seen.share:.0f}%'></i><span>{text}</span></div>"


def gain_of(seen: RunSnapshot) -> str:
    """How much of the interpolation's RMSE the network takes away: '−36 %'."""
    mine, base = seen.rmse("downscaled"), seen.rmse("interpolated")
    if not mine or not base:
        return "–"
    return f"{100 * (mine / base - 1):+.0f} %".replace("-", "−")


def status_text(seen: RunSnapshot) -> str:
    """Beside the state: how far the training is, or why the run is in that state, and whether it is to stop."""
    stopping = "stopping" if seen.site.cancelling and seen.status.state in UNFINISHED else ""
    return " · ".join(filter(None, [stopping, _said(seen)]))


def _said(seen: RunSnapshot) -> str:
    latest, reason = seen.latest, seen.status.reason
    if seen.status.state == "unknown":
        return unknown_since(seen)
    if seen.status.state == "running" and latest.get("epochs") and not seen.site.fetching:
        eta = latest.get("eta_s")
        left = f" · {formatting.duration(eta)} left" if eta else ""
        speed = f" · {formatting.number(latest['samples_per_s'])} samples/s" if latest.get("samples_per_s") else ""
        return f"epoch {latest.get('epoch', 1)} of {latest['epochs']}{speed}{left}"
    if seen.status.state == "done":
        gain = gain_of(seen)
        return f"RMSE {gain} against the interpolated field" if gain != "–" else ""
    if seen.status.state == "queued" and seen.status.since and (waited := formatting.span(seen.status.since)):
        return f"for {waited} · {reason}" if reason else f"for {waited}"
    return "" if seen.status.state == "failed" else reason or ""


def unknown_since(seen: RunSnapshot) -> str:
    """That nothing is known, since when and why; what runs may well go on."""
    since = formatting.span(seen.status.since) if seen.status.since else ""
    parts = [f"since {since}" if since else "", "" if seen.fault else "the run itself goes on", seen.status.reason]
    return " · ".join(filter(None, parts))


def later(run: Run) -> str:
    """That a wish to stop is kept, where it could not be passed on."""
    return "\n\nIt is stopped as soon as its host can be reached." if run.cancel_file.exists() else ""


def failure_advice(seen: RunSnapshot) -> str:
    """The reason, and what to do next."""
    reason = (seen.status.reason or "it ended without a message").rstrip(" .:")
    if seen.site.stage == "refused":
        return f"{reason}\n\nResume submits it again, once that is fixed."
    if "resume" in reason.lower():
        return reason
    if seen.run.best.exists():
        return f"{reason}. Resume continues from the last checkpoint; see the log below."
    return f"{reason}. Change it with 'Clone settings' and train again; see the log below."


def facts_of(seen: RunSnapshot) -> dict[str, str]:
    """What a run is doing now, as rows of a table."""
    latest, active = seen.latest, seen.status.state.is_active
    rows = {"Epoch": f"{latest.get('epoch', '–')} of {latest.get('epochs', '–')}"} if latest else {}
    rows["Training loss"] = formatting.number(latest.get("loss"), 4)
    rows["Validation loss"] = formatting.number(seen.val_loss, 4)
    rows["Throughput"] = f"{formatting.number(latest.get('samples_per_s'))} samples/s"
    rows["Learning rate"] = formatting.number(latest.get("learning_rate"))
    rows["Elapsed"] = formatting.duration(latest.get("elapsed_s"))
    if active:
        rows["Time left"] = formatting.duration(latest.get("eta_s"))
    for product in ("downscaled", "interpolated"):
        if (rmse := seen.rmse(product)) is not None:
            rows[f"RMSE {product}"] = formatting.number(rmse, 4)
    rows["Runs on"] = formatting.site_label(seen.site.name, seen.site.kind)
    if seen.site.job:
        rows["Process ID" if seen.site.kind == "ssh" else "Job"] = seen.site.job
    return {**rows, "Run": seen.id, "Folder": str(seen.run.folder)}


def settings_of(run: Run) -> dict[str, str]:
    """Options that differ from their default, as rows of a table; nothing where the spec can't be read."""
    try:
        sections = run.spec.changed()
    except (MesoscopeError, OSError):
        return {}
    return {
        f"{section}.{option}": flow_yaml(value)
        for section, options in sections.items()
        if section != "version"
        for option, value in options.items()
    }


def thinned(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
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


DENSE = {"& p": {"margin": 0}}
WIDE: dict[str, Any] = {"sizing_mode": "stretch_width"}
_SMALL: dict[str, Any] = {"variant": "outlined", "size": "small", "margin": 0}
