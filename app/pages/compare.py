"""Compare: LR, interpolated, HR and each run's downscaled field beside each other, with RMSE and scores."""

from __future__ import annotations

import asyncio

import panel as pn
import panel_material_ui as pmui

from app.components.cards import card
from app.components.cell_card import CellCard, place_text
from app.components.map_board import MapBoard, SwipeBoard
from app.components.map_frames import Frame, difference_frames, field_frames
from app.components.map_tools import MapTools
from app.components.rmse_card import RmseCard
from app.components.run_chips import RunChips
from app.components.score_card import ScoreCard
from app.components.time_bar import TimeBar
from app.plots.colours import DIFFERENCES, colour_map, colour_range
from app.plots.live import Cell, SharedView
from app.services.comparison import Comparison
from app.services.newest import Newest, Rerun
from app.services.steps import Fields, Steps
from app.session import Session


class ComparePage:
    """Reads the chosen runs, shows them, and follows the session: runs, time, layout, projection, colours, cell."""

    def __init__(self, session: Session):
        self.session = session
        self.comparison = Comparison()
        self._steps = Steps(self.comparison)
        self._fields: Fields = {}
        self._board: MapBoard | None = None
        self._view: SharedView | None = None
        self._loading = Newest()
        self._read_step = Rerun(self._read_fields).run  # steps may come faster than they are read
        self._stamps: dict[str, float] = {}
        self._chips, self._time, self._cell = RunChips(session), TimeBar(session), CellCard(session)
        self._scores, self._rmse = ScoreCard(), RmseCard()
        self._tools = MapTools(session, self._show_step, self._show_all)
        self._notes = pn.Column(sizing_mode="stretch_width", margin=0)
        self._maps = card()
        self._lower = pn.FlexBox(
            self._scores.view, self._cell.view, sizing_mode="stretch_width", margin=0, gap="0 12px", flex_wrap="wrap"
        )
        for view in self._lower:
            view.styles = {**view.styles, "flex": "1 1 420px"}
        self._page = pn.Column(self._chips.view, sizing_mode="stretch_width", min_height=700, margin=(4, 12))
        self._is_ready = False
        if not session.runs and (newest := self._chips.newest_done()):
            session.runs = [newest]
        self._follow()
        pn.state.execute(self.load)  # reads and draws while the browser still opens the page

    def view(self) -> pn.viewable.Viewable:
        """The page, to be called once the browser can take it."""
        self._is_ready = True
        if not self._page.loading:
            self._place()
        return self._page

    def refresh(self) -> None:
        """The store changed: offer new runs; read again what was rewritten, finished or deleted."""
        self._chips.refresh()
        if self._stamps != self._stamps_now():
            pn.state.execute(self.load)

    def close(self) -> None:
        """Let go of the files and of what was drawn: the tab is gone."""
        self.comparison.close()
        self._view = self._board = None

    async def load(self) -> None:
        """Read the chosen runs and draw them; messages at the top say what cannot be used."""
        is_newest, ids = self._loading.begin(), list(self.session.runs)
        self._stamps = self._stamps_now()
        self._page.loading = True
        try:
            comparison = await asyncio.to_thread(Comparison.of, self.session.store, ids)
            if not is_newest():
                comparison.close()
                return
            self.comparison.close()
            self.comparison, self._steps, self._board = comparison, Steps(comparison), None
            await self._draw_maps()
        finally:
            if is_newest():
                self._page.loading = False
        if comparison and is_newest():
            await self._draw_analysis()

    def _follow(self) -> None:
        session = self.session
        session.param.watch(lambda _: pn.state.execute(self.load), "runs")
        session.param.watch(lambda _: pn.state.execute(self._read_step), "time")
        session.param.watch(lambda _: pn.state.execute(self._redraw), "layout")
        session.param.watch(lambda _: pn.state.execute(self._redraw_all), "projection")
        session.param.watch(lambda *_: self._show_step(), ["locked", "low", "high"])

    async def _draw_maps(self) -> None:
        comparison = self.comparison
        if comparison:
            self._fields = await self._steps.read(self._step())
            self._view = await asyncio.to_thread(
                SharedView, comparison.first.grid, self._clicked, self.session.projection
            )
            self._view.on_pointer = self._pointed
            self._view.on_window.append(lambda: pn.state.execute(self._resample))
            self._tools.offer_sides(comparison, list(self._fields))
            self._board = await asyncio.to_thread(self._draw_board)
        if self._is_ready:
            pn.state.execute(self._place, schedule=True)

    async def _draw_analysis(self) -> None:
        """What stands below the maps, once these are shown."""
        comparison, view = self.comparison, self._view
        assert view is not None
        scores = await asyncio.to_thread(comparison.scores)
        await asyncio.to_thread(self._rmse.draw, comparison, view, self.session.dark)
        if comparison is self.comparison and view is self._view:
            pn.state.execute(lambda: self._rmse.show(comparison), schedule=True)
            pn.state.execute(lambda: self._scores.show(comparison, scores), schedule=True)
            await self._cell.take(comparison, view)

    def _place(self) -> None:
        """Put everything in its place: once after each load."""
        self._chips.refresh()
        notices = {"info": self.comparison.notes, "warning": tuple(self.comparison.refused.values())}
        self._notes[:] = [_alert(" ".join(texts), severity) for severity, texts in notices.items() if texts]
        if not self.comparison:
            self._page[:] = [self._chips.view, self._notes, _empty_state(self.session)]
            return
        with pn.io.hold():
            self._time.follow(self.comparison)
            self._place_board()
            self._page[:] = [
                self._chips.view, self._notes, self._maps, self._rmse.view, self._lower, self._time.view
            ]  # fmt: skip

    def _place_board(self) -> None:
        assert self._board is not None
        self._tools.follow(self._board)
        self._maps[:] = [self._tools.view, self._board.grid()]
        self._show_step()  # the time may have changed while the board was drawn

    def _step(self) -> int:
        return min(self.session.time, max(self.comparison.n_steps - 1, 0))

    async def _read_fields(self) -> None:
        if self.comparison:
            self._fields = await self._steps.read(self._step())
            pn.state.execute(self._show_step, schedule=True)

    def _show_step(self) -> None:
        """The fields at hand in the maps, in one message."""
        if self._board is None or self._board.layout != self.session.layout:
            return
        with pn.io.hold():
            frames = self._frames()
            clim = self._clim(frames)
            self._board.show(frames, clim)
            self._tools.show_range(clim)
            self._cell.mark_time(self._step())
            self._time.step_is_shown()

    async def _redraw(self) -> None:
        """Another layout of the same fields."""
        if self._board is not None:
            self._board = await asyncio.to_thread(self._draw_board)
            pn.state.execute(self._place_board, schedule=True)

    async def _redraw_all(self) -> None:
        """The same fields in another projection."""
        if self.comparison:
            await self._draw_maps()
            await self._draw_analysis()

    async def _resample(self) -> None:
        """The cells and the graticule of the part in view, once it stands still."""
        view = self._view
        if view is None or (graticule := await view.settled()) is None:
            return
        with pn.io.hold():
            view.show_graticule(graticule)
            for board in (self._board, self._rmse.board):
                if board is not None and board.maps.view is view:
                    board.maps.show()

    def _frames(self) -> list[Frame]:
        if self.session.layout == "difference":
            return difference_frames(self.comparison, self._fields)
        frames = field_frames(self.comparison, self._fields)
        if self.session.layout == "swipe":
            chosen = {frame.key: frame for frame in frames}
            return [chosen[self._tools.left.value], chosen[self._tools.right.value]]
        return frames

    def _draw_board(self) -> MapBoard:
        assert self._view is not None
        frames, kind = self._frames(), SwipeBoard if self.session.layout == "swipe" else MapBoard
        attrs = dict(self.comparison.first.data["hr"].attrs)
        differences = self.session.layout == "difference"
        cmap = DIFFERENCES if differences else colour_map(attrs)
        label = {**attrs, "long_name": "difference"} if differences else attrs
        return kind(frames, self._view, layout=self.session.layout, clim=self._clim(frames), cmap=cmap, attrs=label)

    def _clim(self, frames: list[Frame]) -> tuple[float, float]:
        """The locked range, or the one of the values on show; differences are always about zero."""
        session, centred = self.session, self.session.layout == "difference"
        if session.locked and not centred and None not in (session.low, session.high) and session.low < session.high:
            return session.low, session.high
        return colour_range([frame.field for frame in frames], centred=centred)

    def _show_all(self) -> None:
        if self._view is not None:
            self._view.show_all()

    def _clicked(self, y: float, x: float) -> None:
        self.session.cell = self.comparison.nearest(y, x)

    def _pointed(self, cell: Cell | None) -> None:
        with pn.io.hold():
            for board in (self._board, self._rmse.board):
                if board is not None:
                    board.show_values(cell)
            self._tools.show_place(place_text(self.comparison.first.grid, *cell) if cell else "", cell)

    def _stamps_now(self) -> dict[str, float]:
        """When the results of each chosen run were written; 0 where there are none."""
        paths = {run_id: self.session.store.folder / run_id / "results" / "test.nc" for run_id in self.session.runs}
        return {run_id: path.stat().st_mtime if path.is_file() else 0.0 for run_id, path in paths.items()}


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
