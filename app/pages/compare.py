"""Compare: LR, interpolated, HR and each run's downscaled field beside each other, with RMSE and scores."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr

from app.components.cards import card, heading
from app.components.cell_card import CellCard
from app.components.map_board import (
    Frame,
    MapBoard,
    SwipeBoard,
    best_columns,
    difference_frames,
    field_frames,
    rmse_frames,
)
from app.components.run_chips import RunChips
from app.components.score_card import ScoreCard
from app.components.time_bar import TimeBar
from app.plots.histogram import histogram
from app.plots.live import SharedView, line_figure
from app.plots.maps import DIFFERENCES, ERRORS, colour_map, colour_range
from app.plots.products import name_of
from app.services.comparison import Comparison
from app.services.newest import Newest, Rerun
from app.session import LAYOUTS, Session
from engine.evaluation.score_records import ProductScores

SPREAD_HEIGHT = 250
NO_STEPPERS = {"& button": {"display": "none"}}
HINT = "drag to pan, ctrl + wheel to zoom, click a cell"


class ComparePage:
    """Reads the chosen runs, shows them, and follows the session: runs, time, layout, colours, cell."""

    def __init__(self, session: Session):
        self.session = session
        self.comparison = Comparison()
        self._fields: dict[str, xr.DataArray] = {}
        self._board: MapBoard
        self._rmse: MapBoard
        self._view: SharedView
        self._drawn = self._updating = False
        self._loading = Newest()
        self._read_step = Rerun(self._read_fields).run  # steps may come faster than they are read
        self._scores_now: dict[str, ProductScores] = {}
        self._stamps: dict[str, float] = {}
        self._chips = RunChips(session)
        self._time = TimeBar(session)
        self._cell = CellCard(session)
        self._scores = ScoreCard()
        self._build()
        self._follow()

    def view(self) -> pn.viewable.Viewable:
        """The page; the runs are read after it is shown."""
        if not self.session.runs and (newest := self._chips.newest_done()):
            self.session.runs = [newest]
        else:
            pn.state.execute(self.load)
        return self._page

    def refresh(self) -> None:
        """The store changed: offer new runs; read again what was rewritten, finished or deleted."""
        self._chips.refresh()
        if self._stamps != self._stamps_now():
            pn.state.execute(self.load)

    async def load(self) -> None:
        """Read the chosen runs and draw them; messages at the top say what cannot be used."""
        is_newest, ids = self._loading.begin(), list(self.session.runs)
        self._stamps = self._stamps_now()
        self._page.loading = True
        try:
            comparison = await asyncio.to_thread(Comparison.of, self.session.store, ids)
            if is_newest():
                await self._take(comparison)
            else:
                comparison.close()
        finally:
            if is_newest():
                self._page.loading = False

    async def _take(self, comparison: Comparison) -> None:
        self.comparison.close()
        self.comparison, self._drawn = comparison, False
        if comparison:
            self._view = SharedView(comparison.first.grid, self._clicked)
            self._fields = await asyncio.to_thread(comparison.fields, self._step())
            self._offer_sides()
            self._rmse = await asyncio.to_thread(self._draw_rmse, comparison)
            self._board = await asyncio.to_thread(self._draw_board)
            self._scores_now = await asyncio.to_thread(comparison.scores)
            self._drawn = True
        pn.state.execute(self._show_all, schedule=True)
        if comparison:
            await self._cell.take(comparison, self._view)

    def _build(self) -> None:
        small = {"size": "small", "margin": 0, "align": "center"}
        self._layout = pmui.RadioButtonGroup(options=LAYOUTS, value=self.session.layout, **small)
        self._low = pmui.FloatInput(label="from", width=92, sx=NO_STEPPERS, **small)
        self._high = pmui.FloatInput(label="to", width=92, sx=NO_STEPPERS, **small)
        self._lock = pmui.ToggleIcon(icon="lock_open", active_icon="lock", value=self.session.locked, **small)
        self._whole = pmui.Button(label="Reset view", icon="zoom_out_map", variant="text", **small)
        self._hint = pn.pane.HTML(HINT, margin=0, align="center", styles={"font-size": "12px", "opacity": "0.7"})
        self._png = pn.Row(margin=0)
        self._left = pmui.Select(label="Left", width=220, **small)
        self._right = pmui.Select(label="Right", width=220, **small)
        self._sides = pn.Row(self._left, self._right, margin=0, visible=False)
        self._notes = pn.Column(sizing_mode="stretch_width", margin=0)
        self._maps, self._errors = (card() for _ in range(2))
        self._empty = _empty_state(self.session)
        self._page = pn.Column(self._chips.view, sizing_mode="stretch_width", min_height=700, margin=(4, 12))
        self._tools = pn.Row(
            self._layout, self._sides, pn.Spacer(sizing_mode="stretch_width"), self._hint, self._png, self._whole,
            self._low, self._high, self._lock, sizing_mode="stretch_width", margin=(4, 0, 6, 0), styles={"gap": "8px"},
        )  # fmt: skip

    def _follow(self) -> None:
        session = self.session
        session.param.watch(lambda _: pn.state.execute(self.load), "runs")
        session.param.watch(lambda _: pn.state.execute(self._read_step), "time")
        session.param.watch(lambda _: pn.state.execute(self._redraw), "layout")
        session.param.watch(lambda *_: self._colour(), ["locked", "low", "high"])
        session.param.watch(self._darken, "dark")
        self._layout.param.watch(lambda event: session.param.update(layout=event.new), "value")
        self._lock.param.watch(self._lock_turned, "value")
        for box in (self._low, self._high):
            box.param.watch(self._range_typed, "value")
        for side in (self._left, self._right):
            side.param.watch(lambda _: self._show_step(), "value")
        self._whole.on_click(lambda _: self._view.show_all())

    def _show_all(self) -> None:
        """Put everything in its place: once after each load."""
        self._chips.refresh()
        notices = {"info": self.comparison.notes, "warning": tuple(self.comparison.refused.values())}
        self._notes[:] = [_alert(" ".join(texts), severity) for severity, texts in notices.items() if texts]
        if not self.comparison:
            self._page[:] = [self._chips.view, self._notes, self._empty]
            return
        self._time.follow(self.comparison)
        self._scores.show(self.comparison, self._scores_now)
        self._errors[:] = [heading("Per-pixel RMSE", self._period()), self._rmse.grid(self._spread)]
        self._place_board()
        lower = pn.Row(
            self._scores.view, self._cell.view, sizing_mode="stretch_width", margin=0, styles={"gap": "12px"}
        )
        self._page[:] = [self._chips.view, self._notes, self._maps, self._errors, lower, self._time.view]

    def _place_board(self) -> None:
        self._sides.visible = self.session.layout == "swipe"
        self._layout.value = self.session.layout
        png = pmui.Button(label="PNG", icon="image", variant="text", size="small", margin=0, align="center")
        self._board.to_png(png)
        self._png[:] = [png]
        if self._board.layout == self.session.layout:  # the time may have changed while the board was drawn
            self._board.show(self._frames())
        self._maps[:] = [self._tools, self._board.grid()]
        self._colour()

    def _period(self) -> str:
        last = self.comparison.n_steps - 1
        return f"{last + 1} test steps, {self.comparison.label(0)} to {self.comparison.label(last)}"

    def _step(self) -> int:
        return min(self.session.time, max(self.comparison.n_steps - 1, 0))

    def _clicked(self, y: float, x: float) -> None:
        self.session.cell = self.comparison.nearest(y, x)

    async def _read_fields(self) -> None:
        if self.comparison:
            self._fields = await asyncio.to_thread(self.comparison.fields, self._step())
            pn.state.execute(self._show_step, schedule=True)

    def _show_step(self) -> None:
        if self._drawn and self._board.layout == self.session.layout:
            with pn.io.hold():
                self._board.show(self._frames())
                self._colour()
                self._cell.mark_time(self._step())

    async def _redraw(self) -> None:
        """Another layout of the same fields."""
        if self._drawn:
            self._board = await asyncio.to_thread(self._draw_board)
            pn.state.execute(self._place_board, schedule=True)

    def _frames(self) -> list[Frame]:
        if self.session.layout == "difference":
            return difference_frames(self.comparison, self._fields)
        frames = field_frames(self.comparison, self._fields)
        if self.session.layout == "swipe":
            chosen = {frame.key: frame for frame in frames}
            return [chosen[self._left.value], chosen[self._right.value]]
        return frames

    def _offer_sides(self) -> None:
        """The products to swipe between; a choice is kept while the runs allow it."""
        titles = {result.letter: f"{result.letter}  {result.title}" for result in self.comparison.shown}
        options = {titles.get(key, name_of(key)): key for key in self._fields}
        for select, default in ((self._left, "interpolated"), (self._right, self.comparison.first.letter)):
            kept = select.value if select.value in options.values() else default
            select.param.update(options=options, value=kept)

    def _draw_board(self) -> MapBoard:
        frames, kind = self._frames(), SwipeBoard if self.session.layout == "swipe" else MapBoard
        attrs = self.comparison.first.data["hr"].attrs
        differences = self.session.layout == "difference"
        cmap = DIFFERENCES if differences else colour_map(attrs)
        label = {**attrs, "long_name": "difference"} if differences else attrs
        look = {"clim": self._clim(frames), "cmap": cmap, "attrs": label, "dark": self.session.dark}
        return kind(frames, self._view, layout=self.session.layout, **look)

    def _draw_rmse(self, comparison: Comparison) -> MapBoard:
        maps = comparison.rmse_maps()
        frames, units = rmse_frames(comparison, maps), comparison.first.units
        high = colour_range([frame.field for frame in frames])[1]
        label = {"long_name": "RMSE", "units": units}
        columns = max(best_columns(3 + len(comparison.shown)), best_columns(len(frames)))
        self._spread = _spread(maps, label, self.session.dark)
        clim = (0.0, high)
        return MapBoard(
            frames, self._view, clim=clim, cmap=ERRORS, attrs=label, dark=self.session.dark, columns=columns
        )

    def _clim(self, frames: list[Frame]) -> tuple[float, float]:
        """The locked range, or the one of the values on show; differences are always about zero."""
        session, centred = self.session, self.session.layout == "difference"
        if session.locked and not centred and None not in (session.low, session.high) and session.low < session.high:
            return session.low, session.high
        return colour_range([frame.field for frame in frames], centred=centred)

    def _colour(self) -> None:
        """Give maps, bar and number fields the range that holds now."""
        if not self._drawn or self._board.layout != self.session.layout:
            return
        low, high = self._clim(self._frames())
        self._board.colour((low, high))
        differences = self.session.layout == "difference"
        self._updating = True
        with pn.io.hold():
            self._low.param.update(value=_rounded(low, high - low), disabled=differences)
            self._high.param.update(value=_rounded(high, high - low), disabled=differences)
            self._lock.param.update(value=self.session.locked, disabled=differences)
        self._updating = False

    def _lock_turned(self, event: Any) -> None:
        if event.new != self.session.locked:
            low, high = self._clim(self._frames()) if event.new else (None, None)
            self.session.param.update(locked=event.new, low=low, high=high)

    def _range_typed(self, _: Any) -> None:
        """A typed end locks the range; an end beyond the other one is marked and changes nothing."""
        low, high = self._low.value, self._high.value
        if self._updating or low is None or high is None:
            return
        wrong = low >= high
        for box in (self._low, self._high):
            box.error_state = wrong
        if not wrong:
            self.session.param.update(locked=True, low=low, high=high)

    def _darken(self, event: Any) -> None:
        for board in (self._board, self._rmse) if self._drawn else ():
            board.darken(event.new)

    def _stamps_now(self) -> dict[str, float]:
        """When the results of each chosen run were written; 0 where there are none."""
        paths = {run_id: self.session.store.folder / run_id / "results" / "test.nc" for run_id in self.session.runs}
        return {run_id: path.stat().st_mtime if path.is_file() else 0.0 for run_id, path in paths.items()}


def _spread(maps: Mapping[str, xr.DataArray], attrs: Mapping[str, Any], dark: bool) -> pn.Column:
    """How RMSE is distributed over the cells: what the eye can't add up on a map."""
    values = {product: field.values.ravel() for product, field in maps.items()}
    figure = line_figure(histogram(values, attrs, "share of cells (%)", dark), height=SPREAD_HEIGHT)
    pane = pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=0)
    return pn.Column(pane, css_classes=["beside"], sizing_mode="stretch_width", margin=(6, 0, 0, 12))


def _rounded(value: float, span: float) -> float:
    """With the digits that tell on a range of that span."""
    return float(round(value, int(np.clip(2 - np.floor(np.log10(max(span, 1e-12))), 0, 12))))


def _alert(text: str, severity: str) -> pmui.Alert:
    dense = {"py": "2px", "& p": {"margin": 0}}
    return pmui.Alert(object=text, severity=severity, sx=dense, sizing_mode="stretch_width", margin=(0, 0, 8, 0))


def _empty_state(session: Session) -> pn.Column:
    """What to do when there is nothing to compare."""
    text = pmui.Typography("No run to compare", variant="h2", margin=(0, 0, 6, 0))
    more = pmui.Typography("Add a finished run above, or choose data and design an experiment.", margin=(0, 0, 14, 0))
    data = pmui.Button(label="Choose data", variant="contained", on_click=lambda _: session.param.update(page="data"))
    design = pmui.Button(label="Design", variant="outlined", on_click=lambda _: session.param.update(page="design"))
    middle = pn.Column(text, more, pn.Row(data, design), align="center", margin=0, styles={"align-items": "center"})
    return card(middle, padding=120)
