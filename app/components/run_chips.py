"""The runs under comparison, as chips with their letter, and what can be added."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from app.plots.products import colour_of
from app.services.comparison import LETTERS, Comparison
from app.services.components import COMPONENTS
from app.session import MOST_RUNS, Session
from app.theme import read_asset
from engine.errors import MesoscopeError
from engine.runs import Run

REPORT, ANIMATION = "report.html", "animation.gif"
COPY_LINK = read_asset("copy_link.js")


class RunChips:
    """Sets `session.runs`: a click on ✕ takes a run out, the menu adds one; and the component, if the first has two."""

    def __init__(self, session: Session):
        self.session = session
        self._offered: list[str] = []
        self._shown: tuple[list[str], bool] = [], False  # runs, and whether there are components
        self._is_second = False  # what is shown
        self._add = pmui.MenuButton(label="run", icon="add", items=[], variant="text", size="small", margin=0)
        self._add.on_click(self._added)
        self._component = pmui.RadioButtonGroup(options=COMPONENTS, size="small", margin=(0, 8, 0, 0), visible=False)
        self._component.param.watch(self._choose, "value")
        self._chips = pn.FlexBox(
            self._add, margin=0, gap="6px 0", align_items="center", sizing_mode="stretch_width",
        )  # fmt: skip
        self._link = pmui.Button(label="link", icon="link", variant="text", size="small", margin=0)
        self._link.js_on_click(code=COPY_LINK, args={"button": self._link})
        self._report = _download(REPORT, "description", self._write_report)
        self._animation = _download(ANIMATION, "movie", self._write_animation)
        self.view = pn.Row(
            self._chips, self._animation, self._report, self._link,
            sizing_mode="stretch_width", margin=(0, 0, 8, 0), styles={"align-items": "center"},
        )  # fmt: skip

    def refresh(self) -> None:
        """Show the chosen runs, offer the others that are done."""
        with pn.io.hold():
            self._report.visible = self._animation.visible = bool(self.session.runs) and not self._is_second
            runs, has_components = list(self.session.runs), self._component.visible
            if self._shown != (runs, has_components):
                self._shown = runs, has_components
                ends = (self._add, self._component) if has_components else (self._add,)
                self._chips[:] = [*(self._chip(*pair) for pair in zip(LETTERS, runs, strict=False)), *ends]
            self._offer()

    def follow(self, comparison: Comparison) -> None:
        """Offer the components of the first run; report and animation are of the first one alone, so hidden else."""
        names = comparison.first.components if comparison else ()
        self._is_second = bool(names) and comparison.first.is_second
        with pn.io.hold():
            if names:
                options = dict(zip(names, COMPONENTS, strict=True))
                self._component.param.update(options=options, value=self.session.component)
            self._component.visible = bool(names)
            self.refresh()

    def _choose(self, event: Any) -> None:
        if event.new in COMPONENTS:
            self.session.component = event.new

    async def _write_report(self) -> io.BytesIO:
        from engine.report import report_of  # it takes matplotlib, which the page can do without

        return await self._written(self._report, lambda runs: report_of(runs).encode(), REPORT)

    async def _write_animation(self) -> io.BytesIO:
        from engine.animation import animation_of

        return await self._written(self._animation, animation_of, ANIMATION)

    async def _written(self, button: pmui.FileDownload, make: Callable[[list[Run]], bytes], name: str) -> io.BytesIO:
        """The file of the chosen runs; where there can't be one, the reason, also as a notification."""
        button.data = None  # the browser saves what differs from what it has
        runs = [Run(self.session.store.folder / run_id) for run_id in self.session.runs]
        try:
            content, button.filename = await asyncio.to_thread(make, runs), name
        except (MesoscopeError, OSError) as error:
            kind = name.split(".")[0]
            content, button.filename = f"There is no {kind}: {error}\n".encode(), f"no_{kind}.txt"
            if pn.state.notifications is not None:
                pn.state.notifications.error(content.decode())
        return io.BytesIO(content)

    def _offer(self) -> None:
        done = [run for run in self.session.store.runs() if run.results.is_file()]
        runs = [run for run in done if run.id not in self.session.runs]
        items = [{"label": f"{_title(run)}   ·   {run.id[:15]}"} for run in runs]
        if [run.id for run in runs] != self._offered or not self._add.items:
            self._offered = [run.id for run in runs]
            self._add.items = items
        self._add.disabled = not items or len(self.session.runs) >= MOST_RUNS

    def _added(self, item: Any) -> None:
        labels = [one["label"] for one in self._add.items]
        if item in self._add.items and len(self.session.runs) < MOST_RUNS:
            run_id = self._offered[labels.index(item["label"])]
            self.session.runs = [*self.session.runs, run_id]

    def _chip(self, letter: str, run_id: str) -> pmui.Button:
        title = _title(Run(self.session.store.folder / run_id)).removeprefix(f"{letter} ")
        edge = {"borderColor": colour_of(letter), "borderLeft": f"6px solid {colour_of(letter)}"}
        chip = pmui.Button(
            label=f"{letter}  {title}", end_icon="close", size="small", variant="outlined",
            description=f"{letter} {title}: remove it from the comparison ({run_id})", margin=(0, 8, 0, 0),
            sx={"color": "text.primary", **edge},
        )  # fmt: skip
        others = [other for other in self.session.runs if other != run_id]
        chip.on_click(lambda _: self.session.param.update(runs=others))
        return chip


def _title(run: Run) -> str:
    """The run's title; its id where its spec can't be read any more."""
    try:
        return run.title
    except MesoscopeError:
        return run.id


def _download(name: str, icon: str, callback: Callable[[], Any]) -> pmui.FileDownload:
    """A button that saves what a callback makes."""
    label = name.split(".")[0]
    button = pmui.FileDownload(callback=callback, filename=name, label=label, icon=icon, size="small", margin=0)
    button.variant = "text"  # given above, it makes Panel warn of itself
    return button
