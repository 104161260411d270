"""Error maps: a score of each cell over the test steps, and how it is distributed over the cells."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui
import xarray as xr

from app.components.cards import card, explanation, heading, show_newest
from app.components.map_board import MapBoard, best_columns
from app.components.map_frames import change_frames, mean_frames, score_frames
from app.plots.colours import ANY_VARIABLE, DIFFERENCES, ERRORS, colour_range
from app.plots.histogram import histogram
from app.plots.lines import line_figure
from app.plots.live import SharedView
from app.services.conditions import Selection
from app.services.field_changes import mean_differences, rmse_changes
from app.services.newest import Newest
from app.services.verification import CHANGE, DIFFERENCE, RMSE, SCORES, CellScore, missing_reason, score_maps
from app.session import Session
from app.theme import SMALL

HISTOGRAM_HEIGHT = 250
TESTED = {CHANGE: rmse_changes, DIFFERENCE: mean_differences}  # whose cells are faint where they aren't clear


class ErrorMaps:
    """Maps of one score of all runs, read and drawn; to be made in a thread.

    shown : those on the page, whose board is kept if it is of the same runs and score.
    """

    def __init__(self, selection: Selection, view: SharedView, score: str, shown: ErrorMaps | None) -> None:
        comparison = selection.comparison
        self.reason, self.period = missing_reason(comparison), selection.period
        self.score = RMSE if self.reason else score
        self.key = comparison, view, self.score
        kind = SCORES[self.score]
        if self.score in TESTED:
            changes = TESTED[self.score](selection)
            maps = {key: change.values for key, change in changes.items()}
            self.frames = change_frames(changes) if self.score == CHANGE else mean_frames(changes)
        else:
            maps = score_maps(selection, self.score)
        cmap, self.clim = _colours(self.score, kind, list(maps.values()))
        if self.score not in TESTED:
            self.frames = score_frames(comparison, maps, self.clim, gains=kind.is_error)
        in_unit = kind.perfect == 0
        label = {"long_name": kind.label, "units": comparison.first.units if in_unit else "1"}
        if shown is not None and shown.key == self.key:
            self.board: MapBoard = shown.board
        else:
            columns = max(best_columns(3 + len(comparison.shown)), best_columns(len(self.frames)))
            self.board = MapBoard(self.frames, view, clim=self.clim, cmap=cmap, attrs=label, columns=columns)
        self._label = label
        self._values = {product: field.values.ravel() for product, field in maps.items()}

    def histogram(self, dark: bool) -> Any:
        """Figure of the values of all maps; safe to call in a thread."""
        lines = histogram(self._values, self._label, "share of cells (%)", dark)
        return line_figure(lines, height=HISTOGRAM_HEIGHT)


class ErrorCard:
    """Follows `score` of the session, and the chosen steps."""

    def __init__(self, session: Session):
        self.session = session
        self._selection: Selection | None = None
        self._view: SharedView | None = None
        self._drawing, self._updating = Newest(), False
        self._shown: ErrorMaps | None = None
        self._score = pmui.Select(
            options={score.label: key for key, score in SCORES.items()}, value=session.score, width=150,
            label="Score", **SMALL,
        )  # fmt: skip
        self._title = heading("Per-pixel RMSE")
        self._title.param.update(height=None, styles={"flex": "1 1 300px"})  # two lines on a narrow screen
        self._head = pn.FlexBox(
            self._title, self._score, sizing_mode="stretch_width", margin=(0, 0, 6, 0), align_items="center",
            gap="6px 12px",
        )  # fmt: skip
        self._body = pn.Column(sizing_mode="stretch_width", margin=0)
        self._histogram = pn.pane.Bokeh(min_height=HISTOGRAM_HEIGHT, sizing_mode="stretch_width", margin=0)
        self.view = card(self._head, self._body)
        self._score.param.watch(self._choose, "value")
        session.param.watch(lambda *_: pn.state.execute(self.draw), ["score", "dark"])

    @property
    def board(self) -> MapBoard | None:
        """The maps on the page."""
        return self._shown.board if self._shown else None

    async def take(self, selection: Selection, view: SharedView) -> None:
        """Follow other runs, other steps, or another projection."""
        self._selection, self._view = selection, view
        await self.draw()

    async def draw(self) -> None:
        """Read and draw the chosen maps in a thread, then show them."""
        if self._selection is None or self._view is None:
            return
        if self._selection.empty:
            self._drawing.begin()
            pn.state.execute(partial(self._show_nothing, self._selection), schedule=True)
            return
        read = partial(ErrorMaps, self._selection, self._view, self.session.score, self._shown)
        await show_newest(self._drawing, read, self._show)

    async def _draw_histogram(self, maps: ErrorMaps) -> None:
        figure = await asyncio.to_thread(maps.histogram, self.session.dark)
        if maps is self._shown:
            pn.state.execute(partial(self._histogram.param.update, object=figure), schedule=True)

    def _show(self, maps: ErrorMaps) -> None:
        """Show the maps, which don't wait for their histogram."""
        pn.state.execute(partial(self._draw_histogram, maps))
        is_kept, self._shown, score = maps.board is self.board, maps, SCORES[maps.score]
        with pn.io.hold(freeze=not is_kept):
            self._title.object = heading(f"Per-pixel {score.label}", maps.period).object
            if is_kept:
                maps.board.show(maps.frames, maps.clim)
                return
            self._updating = True
            self._score.param.update(value=maps.score, visible=not maps.reason)
            self._updating = False
            definition = f"{score.label} = {score.formula}, with f the product and o HR over the test steps of a cell."
            beside = pn.Column(
                self._histogram, css_classes=["beside"], sizing_mode="stretch_width", margin=(6, 0, 0, 12)
            )
            self._body[:] = [
                explanation(" ".join([score.sentence, maps.reason]), definition), maps.board.grid(beside)
            ]  # fmt: skip

    def _show_nothing(self, selection: Selection) -> None:
        """Say why there are no maps."""
        self._shown = None
        with pn.io.hold():
            self._title.object = heading("Per-pixel scores", selection.period).object
            self._body[:] = [pmui.Typography(selection.empty, margin=(60, 0), align="center", sx={"opacity": 0.7})]

    def _choose(self, event: Any) -> None:
        if not self._updating:
            self.session.score = event.new


def _colours(score: str, kind: CellScore, fields: list[xr.DataArray]) -> tuple[str, tuple[float, float]]:
    """Colour map and range: errors from 0, correlation up to 1, the others on both sides of their perfect value."""
    if kind.is_error:
        return ERRORS, (0.0, colour_range(fields)[1])
    if score == "pearson":
        return ANY_VARIABLE, (min(colour_range(fields)[0], 0.99), 1.0)
    low, high = colour_range([field - kind.perfect for field in fields], centred=True)
    return DIFFERENCES, (kind.perfect + low, kind.perfect + high)
