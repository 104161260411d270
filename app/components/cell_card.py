"""The clicked cell through the test period: series, histogram, power spectrum."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import bokeh.models as bm
import numpy as np
import panel as pn
import panel_material_ui as pmui

from app.components.cards import card, heading
from app.plots.histogram import histogram
from app.plots.lines import line_figure
from app.plots.live import SharedView
from app.plots.series import cell_series, cell_spectrum, time_axis
from app.services.comparison import Comparison
from app.services.conditions import Selection
from app.services.newest import Newest
from app.session import Session
from engine.data.grids import CurvilinearGrid, Grid

HEIGHT = 250
NOW = {"dimension": "height", "line_color": "#d9a21b", "line_width": 1.5, "line_alpha": 0.9}
TABS = ("series", "histogram", "PSD")


class CellCard:
    """Follows `session.cell` and the time; begins with the middle of the map."""

    def __init__(self, session: Session):
        self.session, self._comparison = session, Comparison()
        self._view: SharedView | None = None
        self._now = bm.Span(**NOW)
        self._reading = Newest()
        self._series: dict[str, np.ndarray] = {}
        self._intervals: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._selection: Selection | None = None
        self._times = self._comparison.times  # of the series
        self._head = heading("Cell")
        self._tabs = pmui.RadioButtonGroup(options=list(TABS), value=TABS[0], size="small", margin=0)
        self._place = pn.Column(sizing_mode="stretch_width", height=HEIGHT, margin=0)
        head = pn.Row(self._head, self._tabs, sizing_mode="stretch_width", margin=0)
        self.view = card(head, self._place)
        session.param.watch(lambda _: pn.state.execute(self.read), "cell")
        session.param.watch(lambda _: pn.state.execute(self._redraw), "dark")
        self._tabs.param.watch(lambda _: pn.state.execute(self._redraw), "value")

    async def follow(self, selection: Selection, view: SharedView) -> None:
        """Mark the cell on the maps of other runs, or take other steps; `draw` shows them."""
        is_other = self._comparison is not selection.comparison or self._view is not view
        self._selection, self._comparison, self._view = selection, selection.comparison, view
        self._times = self._comparison.times[selection.common]
        if is_other:
            self._series = {}
            pn.state.execute(partial(self._mark, await asyncio.to_thread(self._cell)), schedule=True)

    async def draw(self) -> None:
        """The cell's values, which are read where they aren't at hand."""
        await (self._redraw() if self._series else self.read())

    async def _redraw(self) -> None:
        """The chosen view of the values at hand."""
        if self._series:
            figure = await asyncio.to_thread(self._figure)
            if isinstance(figure, str):  # words that stand in its place
                shown = pmui.Typography(figure, margin=(90, 0), align="center", sx={"opacity": 0.7})
            else:
                shown = pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=0)
            pn.state.execute(partial(self._place.__setitem__, slice(None), [shown]), schedule=True)

    async def read(self) -> None:
        """Read the cell's values, in a thread: on a large file this takes seconds."""
        if not self._comparison:
            return
        is_newest = self._reading.begin()
        self._place.loading = True
        try:
            cell = await asyncio.to_thread(self._cell)
            pn.state.execute(partial(self._mark, cell), schedule=True)
            series = await asyncio.to_thread(self._comparison.cell, *cell)
            intervals = await asyncio.to_thread(self._comparison.intervals, *cell)
            if is_newest():
                self._series, self._intervals = series, intervals
                await self._redraw()
        finally:
            if is_newest():
                self._place.loading = False

    def mark_time(self, step: int) -> None:
        """Move the line that marks the time on the map."""
        if self._comparison.n_steps:
            self._now.location = self._time_at(step)

    def _time_at(self, step: int) -> float:
        """Place of a step on the series' axis: Bokeh counts dates in milliseconds."""
        times = self._comparison.times
        at = time_axis(self._times[:1].append(times[[step]]))[0][-1]
        return float(at.astype("datetime64[ms]").astype(float) if at.dtype.kind == "M" else at)

    def _mark(self, cell: tuple[float, float]) -> None:
        self._head.object = heading(
            "Cell", f"{place_text(self._comparison.first.grid, *cell)} · click a map to choose another"
        ).object
        if self._view is not None:
            self._view.mark(cell)

    def _cell(self) -> tuple[float, float]:
        """The clicked cell, else the one nearest to the middle that has values."""
        if self.session.cell is not None:
            return self._comparison.nearest(*self.session.cell)
        rmse = self._comparison.first.rmse("interpolated").values
        y, x = np.nonzero(np.isfinite(rmse))
        grid = self._comparison.first.grid
        if not y.size:
            return float(grid.y[0]), float(grid.x[0])
        middle = np.argmin((y - grid.shape[0] / 2) ** 2 + (x - grid.shape[1] / 2) ** 2)
        return float(grid.y[y[middle]]), float(grid.x[x[middle]])

    def _figure(self) -> Any:
        comparison, selection, dark = self._comparison, self._selection, self.session.dark
        assert selection is not None  # there is a series
        if selection.empty:
            return selection.empty
        condition, chosen = selection.condition, selection.common
        if condition != replace(condition, low=None, high=None):
            chosen = chosen[np.isfinite(condition.values(self._series["hr"][chosen]))]
        series = {product: values[chosen] for product, values in self._series.items()}
        if not any(np.isfinite(values).any() for values in series.values()):
            return "No values in this cell."
        attrs, tab = comparison.first.attrs, self._tabs.value
        if tab == "histogram":
            return line_figure(histogram(series, attrs, dark=dark), height=HEIGHT)
        if tab == "PSD":
            if condition != condition.of_cells:
                return "A power spectrum needs steps without a gap: choose all of them above."
            lines = cell_spectrum(series, comparison.times, comparison.first.units, dark)
            few = "A spectrum needs at least 16 evenly spaced steps without a gap."
            return few if lines is None else line_figure(lines, height=HEIGHT)
        self._times = comparison.times[chosen]
        intervals = {product: (lower[chosen], upper[chosen]) for product, (lower, upper) in self._intervals.items()}
        is_dotted = condition.hardest or condition.low is not None or condition.high is not None
        joined = not is_dotted and len(chosen) > 1
        lines = cell_series(series, self._times, attrs, dark, intervals if joined else {}, joined=joined)
        figure = line_figure(lines, height=HEIGHT)
        self._now = bm.Span(**NOW, location=self._time_at(min(self.session.time, comparison.n_steps - 1)))
        figure.add_layout(self._now)
        return figure


def place_text(grid: Grid, y: float, x: float) -> str:
    """A place of a grid as people read it: '50.25° N, 3.50° W', or x and y of a projection."""
    if isinstance(grid, CurvilinearGrid):
        x, y = (float(side) for side in grid.to_lonlat(np.array(x), np.array(y)))
    elif not grid.is_lonlat:
        return f"x {x:,.0f}, y {y:,.0f} {grid.x_attrs.get('units', '')}"
    lon = (x + 180) % 360 - 180
    return f"{abs(y):.2f}° {'N' if y >= 0 else 'S'}, {abs(lon):.2f}° {'E' if lon >= 0 else 'W'}"
