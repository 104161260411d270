"""The part of Compare below the maps: the condition, the scores, and cards that are drawn when they come into view."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import panel as pn

from app.components.cards_in_view import CardsInView, Draw
from app.components.cell_card import CellCard
from app.components.condition_row import ConditionRow
from app.components.error_card import ErrorCard
from app.components.exceedance_card import ExceedanceCard
from app.components.extremes_card import ExtremesCard
from app.components.lead_card import LeadCard
from app.components.score_card import ScoreCard
from app.components.scorecard_card import ScorecardCard
from app.components.significance_card import SignificanceCard
from app.components.spectra_card import SpectraCard
from app.components.station_card import StationCard
from app.components.taylor_card import TaylorCard
from app.plots.live import SharedView
from app.services.conditions import Selection
from app.session import Session
from engine.evaluation.score_records import Scores

RMSE, CELL, SIGNIFICANCE, SPECTRA = "Per-pixel RMSE", "Cell", "Significance", "Spectra"
EXCEEDANCE, TAYLOR, SCORECARD, STATIONS, EXTREMES = "Exceedance", "Taylor diagram", "Scorecard", "Stations", "Extremes"
TABLE, FIGURE, WIDE = "720px", "480px", "100%"


class CompareAnalysis:
    """Cards that analyse compared runs under a condition: `parts`, one below the other."""

    def __init__(self, session: Session):
        self.cell, self.condition, self.scores = CellCard(session), ConditionRow(session), ScoreCard()
        self.errors, self.spectra, self.significance = ErrorCard(session), SpectraCard(session), SignificanceCard()
        self.exceedance, self.taylor, self.scorecard = ExceedanceCard(session), TaylorCard(session), ScorecardCard()
        self.leads, self.stations, self.extremes = LeadCard(session), StationCard(session), ExtremesCard(session)
        widths = {  # px that a card needs at least beside another; the wide ones have a row of their own
            self.scores.view: TABLE, self.cell.view: FIGURE, self.errors.view: WIDE, self.significance.view: TABLE,
            self.spectra.view: FIGURE, self.exceedance.view: WIDE, self.taylor.view: FIGURE,
            self.scorecard.view: TABLE, self.leads.view: FIGURE, self.stations.view: WIDE, self.extremes.view: WIDE,
        }  # fmt: skip
        for view, width in widths.items():
            view.styles = {**view.styles, "flex": f"1 1 {width}"}
        cards = pn.FlexBox(*widths, sizing_mode="stretch_width", margin=0, gap="0 12px", flex_wrap="wrap")
        self._cards = CardsInView(
            {
                RMSE: self.errors.view, CELL: self.cell.view, SIGNIFICANCE: self.significance.view,
                SPECTRA: self.spectra.view, EXCEEDANCE: self.exceedance.view, TAYLOR: self.taylor.view,
                SCORECARD: self.scorecard.view, STATIONS: self.stations.view, EXTREMES: self.extremes.view,
            }
        )  # fmt: skip
        self.parts = [self.condition.view, cards, self._cards.observer]

    async def stop(self) -> None:
        """Draw no card of the runs compared so far any more."""
        await self._cards.request({})

    async def draw(
        self, selection: Selection, view: SharedView, is_stale: Callable[[], bool], place: Callable[[], object]
    ) -> None:
        """Show the scores, and the cards that are in view; gives up once `is_stale`, as another choice was made.

        place : called along with the scores; the first time it shows the parts.
        """
        comparison = selection.comparison
        await self.cell.follow(selection, view)
        cards: dict[str, Draw] = {
            RMSE: partial(self.errors.take, selection, view),
            CELL: self.cell.draw,
            SIGNIFICANCE: partial(self.significance.take, selection),
            SPECTRA: partial(self.spectra.take, selection),
            EXCEEDANCE: partial(self.exceedance.take, selection),
            TAYLOR: partial(self.taylor.take, selection),
            SCORECARD: partial(self.scorecard.take, comparison),
            STATIONS: partial(self.stations.take, comparison, view),
            EXTREMES: partial(self.extremes.take, comparison, view),
        }
        drawing = asyncio.create_task(self._cards.request(cards))  # while the scores are computed
        scores = await asyncio.to_thread(selection.scores)
        if is_stale():
            return
        pn.state.execute(partial(self._show_scores, selection, view, scores, place), schedule=True)
        await self.leads.take(comparison)
        await drawing

    def _show_scores(
        self, selection: Selection, view: SharedView, scores: Mapping[str, Scores], place: Callable[[], object]
    ) -> None:
        with pn.io.hold():
            self.condition.follow(selection, view)
            self.scores.show(selection, scores)
            place()
