"""The maps of the Compare page: drawn for a layout and a projection, then moved through time, zoomed and pointed at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import panel as pn
import xarray as xr

from app.components.cards import card
from app.components.cell_card import place_text
from app.components.map_board import MapBoard, SwipeBoard, best_columns
from app.components.map_frames import Frame, difference_frames, field_frames, vector_frames
from app.components.map_tools import MapTools
from app.plots.colours import DIFFERENCES, colour_map, colour_range
from app.plots.live import Cell, SharedView
from app.services.comparison import Comparison
from app.services.steps import Fields
from app.session import Session

NAMED = {"difference": "difference", "vectors": "size of the vector"}  # layouts that have a colour range of their own
MAPS_WIDTH = 1500  # px: within a fifth of what windows of 1440 and of 1920 px have for a row of maps


class CompareMaps:
    """Follows layout, projection and colour range of the session; a click chooses its cell.

    on_view : called once the maps stand in another projection, so that other maps are drawn in it too.
    beside : board of other maps in the same view, if there is one.
    """

    def __init__(self, session: Session, on_view: Callable[[], object], beside: Callable[[], MapBoard | None]):
        self.session, self._on_view, self._beside = session, on_view, beside
        self.comparison, self._fields = Comparison(), Fields()
        self.shared: SharedView | None = None
        self.board: MapBoard | None = None
        self.tools = MapTools(session, self.show, self._show_all)
        self.view = card()
        self._drawing = asyncio.Lock()  # runs, layout and projection may be chosen while the maps are drawn
        session.param.watch(lambda _: pn.state.execute(self._redraw), "layout")
        session.param.watch(lambda _: pn.state.execute(self._project), "projection")
        session.param.watch(lambda *_: self.show(), ["locked", "low", "high"])

    async def draw(self, comparison: Comparison, fields: Fields) -> None:
        """Draw the maps of other runs, or in another projection, in a thread; `place` shows them."""
        async with self._drawing:
            self.comparison, self._fields, self.board = comparison, fields, None
            await self._draw_view()

    def clear(self) -> None:
        """Forget the maps."""
        self.comparison, self._fields, self.shared, self.board = Comparison(), Fields(), None, None

    def place(self) -> None:
        """Show what was drawn."""
        if self.board is not None:
            self.tools.follow(self.board, has_own_range=self.layout in NAMED)
            self.view[:] = [self.tools.view, self.board.grid()]
            self.show()  # the time may have changed while the board was drawn

    def take(self, fields: Fields) -> None:
        """Keep the fields of another time step, which `show` shows."""
        self._fields = fields

    def show(self) -> None:
        """Show the fields at hand, in one message."""
        if self.board is not None and self.board.layout == self.layout:
            with pn.io.hold():
                frames = self._frames()
                clim = self._clim(frames)
                self.board.show(frames, clim)
                self.tools.show_range(clim)

    @property
    def layout(self) -> str:
        """The chosen layout; vectors are for runs of two components."""
        layout = self.session.layout
        return "grid" if layout == "vectors" and not self.comparison.first.components else layout

    async def _redraw(self) -> None:
        """Show the same fields in another layout."""
        async with self._drawing:
            if self.board is not None:
                self.board = await asyncio.to_thread(self._draw_board)
                pn.state.execute(self.place, schedule=True)

    async def _project(self) -> None:
        """The same fields in another projection."""
        async with self._drawing:
            if self.comparison:
                await self._draw_view()
                pn.state.execute(self.place, schedule=True)
                pn.state.execute(self._on_view)

    async def _draw_view(self) -> None:
        first, projection = self.comparison.first, self.session.projection
        view = await asyncio.to_thread(SharedView, first.grid, self._clicked, projection, lambda: first.surface.land)
        view.on_pointer = self._pointed
        view.on_window.append(lambda: pn.state.execute(self._resample))
        view.pixels = MAPS_WIDTH // best_columns(len(self._fields))
        self.shared = view
        self.tools.offer(self.comparison, list(self._fields))
        self.board = await asyncio.to_thread(self._draw_board)

    async def _resample(self) -> None:
        """The cells and the graticule of the part in view, once it stands still."""
        view = self.shared
        if view is None or (graticule := await view.settled()) is None:
            return
        with pn.io.hold():
            view.show_graticule(graticule)
            for board in (self.board, self._beside()):
                if board is not None and board.maps.view is view:
                    board.maps.show()

    def _frames(self) -> list[Frame]:
        if self.layout == "vectors":
            return vector_frames(self.comparison, self._fields)
        fields = {key: self._component(field) for key, field in self._fields.items()}
        if self.layout == "difference":
            return difference_frames(self.comparison, fields)
        frames = field_frames(self.comparison, fields)
        if self.layout == "swipe":
            chosen = {frame.key: frame for frame in frames}
            return [chosen[self.tools.left.value], chosen[self.tools.right.value]]
        return frames

    def _component(self, field: xr.DataArray) -> xr.DataArray:
        """The component that is compared."""
        return field.imag if self.comparison.first.is_second and np.iscomplexobj(field) else field.real

    def _draw_board(self) -> MapBoard:
        assert self.shared is not None
        layout, frames = self.layout, self._frames()
        attrs = self.comparison.first.attrs
        cmap = DIFFERENCES if layout == "difference" else colour_map(attrs)
        label = {**attrs, "long_name": NAMED[layout]} if layout in NAMED else attrs
        kind = SwipeBoard if layout == "swipe" else MapBoard
        return kind(frames, self.shared, layout=layout, clim=self._clim(frames), cmap=cmap, attrs=label)

    def _clim(self, frames: list[Frame]) -> tuple[float, float]:
        """The locked range, or the one of the values on show; differences are always about zero, sizes from zero."""
        session, layout = self.session, self.layout
        is_free = layout in NAMED
        if session.locked and not is_free and None not in (session.low, session.high) and session.low < session.high:
            return session.low, session.high
        low, high = colour_range([frame.field for frame in frames], centred=layout == "difference")
        return (0.0, high) if layout == "vectors" else (low, high)

    def _show_all(self) -> None:
        if self.shared is not None:
            self.shared.show_all()

    def _clicked(self, y: float, x: float) -> None:
        self.session.cell = self.comparison.nearest(y, x)

    def _pointed(self, cell: Cell | None) -> None:
        with pn.io.hold():
            for board in (self.board, self._beside()):
                if board is not None:
                    board.show_values(cell)
            self.tools.show_place(place_text(self.comparison.first.grid, *cell) if cell else "", cell)
