"""Error maps: a score of each cell over the test steps, and how it is distributed over the cells."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr

from app.components.cards import card, explanation, heading, show_newest
from app.components.map_board import MapBoard, best_columns
from app.components.map_frames import score_frames
from app.plots.colours import ANY_VARIABLE, DIFFERENCES, ERRORS, colour_range
from app.plots.histogram import histogram
from app.plots.lines import line_figure
from app.plots.live import SharedView
from app.services.comparison import Comparison
from app.services.newest import Newest
from app.services.verification import (
    ALL,
    RMSE,
    SCORES,
    SEASONS,
    CellScore,
    missing_reason,
    offered_seasons,
    score_maps,
)
from app.session import Session
from app.theme import SMALL

HISTOGRAM_HEIGHT = 250


class ErrorMaps:
    """Maps of one score of all runs, read and drawn; to be made in a thread."""

    def __init__(self, comparison: Comparison, view: SharedView, score: str, season: str, dark: bool) -> None:
        self.reason, self.seasons = missing_reason(comparison), offered_seasons(comparison)
        self.score = RMSE if self.reason else score
        self.season = season if season in self.seasons else ALL
        maps, kind = score_maps(comparison, self.score, self.season), SCORES[self.score]
        cmap, clim = _colours(self.score, kind, list(maps.values()))
        frames = score_frames(comparison, maps, clim, gains=kind.is_error)
        in_unit = kind.perfect == 0
        label = {"long_name": kind.label, "units": comparison.first.units if in_unit else "1"}
        columns = max(best_columns(3 + len(comparison.shown)), best_columns(len(frames)))
        last = comparison.n_steps - 1
        self.period = f"{last + 1} test steps, {comparison.label(0)} to {comparison.label(last)}"
        self.board = MapBoard(frames, view, clim=clim, cmap=cmap, attrs=label, columns=columns)
        self.histogram = _histogram(maps, label, dark)


class ErrorCard:
    """Follows `score` and `season` of the session."""

    def __init__(self, session: Session):
        self.session, self._comparison = session, Comparison()
        self._view: SharedView | None = None
        self._drawing, self._updating = Newest(), False
        self.board: MapBoard | None = None
        self._score = pmui.Select(
            options={score.label: key for key, score in SCORES.items()}, value=session.score, width=150,
            label="Score", **SMALL,
        )  # fmt: skip
        self._season = pmui.RadioButtonGroup(options=SEASONS, value=session.season, **SMALL)
        self._head = pn.FlexBox(sizing_mode="stretch_width", margin=(0, 0, 6, 0), align_items="center", gap="6px 12px")
        self._body = pn.Column(sizing_mode="stretch_width", margin=0)
        self.view = card(self._head, self._body)
        for widget, name in ((self._score, "score"), (self._season, "season")):
            widget.param.watch(partial(self._choose, name), "value")
        session.param.watch(lambda *_: pn.state.execute(self.draw), ["score", "season", "dark"])

    async def take(self, comparison: Comparison, view: SharedView) -> None:
        """Other runs, or another projection."""
        self._comparison, self._view = comparison, view
        await self.draw()

    async def draw(self) -> None:
        """Read and draw the chosen maps in a thread, then show them."""
        if self._view is not None and self._comparison:
            chosen = self.session.score, self.session.season, self.session.dark
            read = partial(ErrorMaps, self._comparison, self._view, *chosen)
            await show_newest(self._drawing, read, self._show)

    def _show(self, maps: ErrorMaps) -> None:
        self.board, score = maps.board, SCORES[maps.score]
        only_rmse = bool(maps.reason)
        with pn.io.hold():
            self._updating = True
            self._score.param.update(value=maps.score, visible=not only_rmse)
            self._season.param.update(options=maps.seasons, value=maps.season, visible=len(maps.seasons) > 2)
            self._updating = False
            title = heading(f"Per-pixel {score.label}", maps.period)
            title.param.update(height=None, styles={"flex": "1 1 300px"})  # two lines on a narrow screen
            self._head[:] = [title, self._season, self._score]
            definition = f"{score.label} = {score.formula}, with f the product and o HR over the test steps of a cell."
            self._body[:] = [
                explanation(" ".join([score.sentence, maps.reason]), definition),
                maps.board.grid(maps.histogram),
            ]

    def _choose(self, name: str, event: Any) -> None:
        if not self._updating:
            setattr(self.session, name, event.new)


def _colours(score: str, kind: CellScore, fields: list[xr.DataArray]) -> tuple[str, tuple[float, float]]:
    """Colour map and range: errors from 0, correlation up to 1, the others on both sides of their perfect value."""
    if kind.is_error:
        return ERRORS, (0.0, colour_range(fields)[1])
    if score == "pearson":
        return ANY_VARIABLE, (min(colour_range(fields)[0], 0.99), 1.0)
    low, high = colour_range([field - kind.perfect for field in fields], centred=True)
    return DIFFERENCES, (kind.perfect + low, kind.perfect + high)


def _histogram(maps: Mapping[str, xr.DataArray], attrs: Mapping[str, str], dark: bool) -> pn.Column:
    """How the score is distributed over the cells: what the eye can't add up on a map."""
    values: dict[str, np.ndarray] = {product: field.values.ravel() for product, field in maps.items()}
    figure = line_figure(histogram(values, attrs, "share of cells (%)", dark), height=HISTOGRAM_HEIGHT)
    pane = pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=0)
    return pn.Column(pane, css_classes=["beside"], sizing_mode="stretch_width", margin=(6, 0, 0, 12))
