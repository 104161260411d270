"""Tools above the maps of the Compare page: layout, projection, products to swipe between, colour range, picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from app.components.map_board import MapBoard
from app.plots.live import Cell
from app.plots.products import name_of
from app.services.comparison import Comparison
from app.session import LAYOUTS, PROJECTIONS, Session

SMALL: dict[str, Any] = {"size": "small", "margin": 0, "align": "center"}
NO_STEPPERS = {"& button": {"display": "none"}}
HINT = "drag to pan, ctrl + wheel to zoom, click a cell"


class MapTools:
    """Sets layout, projection, colour range and its lock in the session.

    on_sides : called when other products are to be swiped between; on_reset: when the whole map is wanted.
    """

    def __init__(self, session: Session, on_sides: Callable[[], None], on_reset: Callable[[], None]):
        self.session = session
        self._updating = self._has_own_range = False
        self._clim = (0.0, 1.0)
        self._layout = pmui.RadioButtonGroup(options=LAYOUTS, value=session.layout, **SMALL)
        self._projection = pmui.Select(
            label="Projection", options=PROJECTIONS, value=session.projection, width=150, **SMALL
        )
        self.left = pmui.Select(label="Left", width=220, **SMALL)
        self.right = pmui.Select(label="Right", width=220, **SMALL)
        self._sides = pn.Row(margin=0, visible=False)  # the browser makes them once they are needed
        self._hint = pn.pane.HTML(HINT, margin=0, align="center", styles={"font-size": "12px", "opacity": "0.7"})
        self._png = pn.Row(margin=0)
        reset = pmui.Button(label="Reset view", icon="zoom_out_map", variant="text", **SMALL)
        self._low = pmui.FloatInput(label="from", width=92, sx=NO_STEPPERS, **SMALL)
        self._high = pmui.FloatInput(label="to", width=92, sx=NO_STEPPERS, **SMALL)
        self._lock = pmui.Switch(label="keep", value=session.locked, **SMALL)
        self.view = pn.FlexBox(
            self._layout, self._projection, self._sides, pn.Spacer(styles={"flex": "1"}), self._hint, self._png, reset,
            self._low, self._high, self._lock, sizing_mode="stretch_width", margin=(4, 0, 6, 0), gap="8px",
            align_items="center",
        )  # fmt: skip
        self._layout.param.watch(lambda event: session.param.update(layout=event.new), "value")
        self._projection.param.watch(lambda event: session.param.update(projection=event.new), "value")
        self._lock.param.watch(self._lock_turned, "value")
        for box in (self._low, self._high):
            box.param.watch(self._range_typed, "value")
        for side in (self.left, self.right):
            side.param.watch(lambda _: on_sides(), "value")
        reset.on_click(lambda _: on_reset())

    def offer(self, comparison: Comparison, keys: list[str]) -> None:
        """The layouts, and the products to swipe between; a choice is kept while the runs allow it."""
        self._layout.options = [name for name in LAYOUTS if name != "vectors" or comparison.first.components]
        titles = {result.letter: f"{result.letter}  {result.title}" for result in comparison.shown}
        options = {titles.get(key, name_of(key)): key for key in keys}
        for select, default in ((self.left, "interpolated"), (self.right, comparison.first.letter)):
            kept = select.value if select.value in options.values() else default
            select.param.update(options=options, value=kept)

    def follow(self, board: MapBoard, has_own_range: bool) -> None:
        """Take another board: its layout and its picture, and whether its colour range can't be chosen."""
        is_swipe, self._has_own_range = board.layout == "swipe", has_own_range
        self._sides.param.update(objects=[self.left, self.right] if is_swipe else [], visible=is_swipe)
        self._layout.value, self._projection.value = board.layout, self.session.projection
        png = pmui.Button(label="PNG", icon="image", variant="text", **SMALL)
        board.to_png(png)
        self._png[:] = [png]
        self.show_range(board.clim)

    def show_range(self, clim: tuple[float, float]) -> None:
        """The colour range that holds now."""
        self._clim = clim
        (low, high), disabled = clim, self._has_own_range
        self._updating = True
        self._low.param.update(value=_rounded(low, high - low), disabled=disabled)
        self._high.param.update(value=_rounded(high, high - low), disabled=disabled)
        self._lock.param.update(value=self.session.locked, disabled=disabled)
        self._updating = False

    def show_place(self, text: str, cell: Cell | None) -> None:
        """Place of the pointer; without one, a hint on what the mouse does."""
        self._hint.object = text if cell else HINT

    def _lock_turned(self, event: Any) -> None:
        if event.new != self.session.locked:
            low, high = self._clim if event.new else (None, None)
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


def _rounded(value: float, span: float) -> float:
    """Format a number with the digits that matter in a range of that span."""
    return float(round(value, int(np.clip(2 - np.floor(np.log10(max(span, 1e-12))), 0, 12))))
