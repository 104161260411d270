"""Charts of the listed runs: skill against cost, and against the settings in which they differ. Drawn when opened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import bokeh.models as bm
import panel as pn
import panel_material_ui as pmui

from app import formatting
from app.plots.run_charts import HEIGHT, cost_chart, setting_chart, setting_lines
from app.services.newest import Rerun
from app.services.run_costs import RunCost, SettingAxis, number_axis, pareto_front, run_costs, setting_axes, targets_of
from app.services.run_settings import differing_settings
from app.services.watcher import RunSnapshot
from app.session import Session
from app.theme import BORDERED, SMALL
from engine.evaluation.tables import METRICS

HINT = (
    "One dot and one line for each finished run, coloured by the score; a click opens the run. Dashed: the best score "
    "that training of that length has reached."
)
NOTHING = "No finished run is listed: these charts need a score and a training time."


class RunCharts:
    """A folded card. `show` takes the listed runs; a run that is clicked becomes the session's."""

    def __init__(self, session: Session):
        self.session = session
        self._seen: Sequence[RunSnapshot] = ()
        self._drawn: object = None
        self.draw = Rerun(self._draw).run
        self.score = pmui.Select(label="Score", options={v: k for k, v in METRICS.items()}, value="rmse", **SMALL)
        self.target = pmui.Select(label="Target", options=[], visible=False, **SMALL)
        self._hint = pmui.Typography(HINT, variant="body2", color="text.secondary", margin=0)
        self._charts = pn.Column(sizing_mode="stretch_width", margin=0)
        head = pn.FlexBox(
            self.score, self.target, self._hint, gap="8px 16px", align_items="center", sizing_mode="stretch_width"
        )
        self.view = pmui.Card(
            head, self._charts, title="Skill and cost", title_variant="h2", collapsible=True,
            collapsed=not session.charts,
            elevation=0, margin=(0, 0, 12, 0), sizing_mode="stretch_width", sx=BORDERED,
        )  # fmt: skip
        for widget in (self.score, self.target):
            widget.param.watch(lambda _: pn.state.execute(self.draw), "value")
        self.view.param.watch(lambda event: session.param.update(charts=not event.new), "collapsed")
        session.param.watch(self._unfold, "charts")
        session.param.watch(lambda _: pn.state.execute(self.draw), "dark")

    def show(self, seen: Sequence[RunSnapshot]) -> None:
        """Draw these runs, if the card is open and any of their scores is new."""
        self._seen = seen
        if not self.view.collapsed:
            pn.state.execute(self.draw)

    def _unfold(self, event: Any) -> None:
        self.view.collapsed = not event.new
        pn.state.execute(self.draw)

    async def _draw(self) -> None:
        if self.view.collapsed:
            return
        targets = targets_of(self._seen)
        with pn.io.hold():
            if self.target.options != targets:
                self.target.param.update(options=targets, visible=len(targets) > 1)
            if self.target.value not in targets:
                self.target.value = targets[0] if targets else None
        costs = run_costs(self._seen, self.target.value or "", self.score.value)
        wanted = costs, self.score.value, self.session.dark
        if wanted == self._drawn:
            return
        self._drawn = wanted
        by_id = {one.id: one for one in self._seen}
        shown = [by_id[cost.id] for cost in costs]
        if not self._charts.objects:  # each spec is read once, which takes a while for many
            with pn.io.hold():
                self._charts[:] = [_text(f"Reading the settings of {len(shown)} runs …")]
        axes = await asyncio.to_thread(setting_axes, shown)
        settings = await asyncio.to_thread(differing_settings, [one.run for one in shown])
        with pn.io.hold():
            self._charts[:] = self._figures(costs, axes, settings) if costs else [_text(NOTHING)]

    def _figures(self, costs: list[RunCost], axes: list[SettingAxis], settings: dict[str, str]) -> list[Any]:
        name, dark = METRICS[self.score.value], self.session.dark
        axes = [*axes, number_axis(name, [cost.score for cost in costs])]
        source = bm.ColumnDataSource(
            {
                "score": [cost.score for cost in costs],
                "seconds": [cost.seconds for cost in costs],
                "title": [cost.title for cost in costs],
                "time": [formatting.duration(cost.seconds) for cost in costs],
                "settings": [settings[cost.id] for cost in costs],
                **setting_lines(axes, len(costs)),
            }
        )

        def open_last(attr: str, old: list[int], new: list[int]) -> None:
            if new:
                self.session.run = costs[new[-1]].id

        source.selected.on_change("indices", open_last)
        front = [(cost.seconds, cost.score) for cost in pareto_front(costs, self.score.value)]
        figures = [cost_chart(source, front, name, dark=dark)]
        figures += [setting_chart(source, axes, dark=dark)] if len(axes) > 1 else []
        return [pn.pane.Bokeh(one, sizing_mode="stretch_width", height=HEIGHT, margin=0) for one in figures]


def _text(words: str) -> pmui.Typography:
    return pmui.Typography(words, color="text.secondary", margin=(16, 4))
