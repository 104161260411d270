"""Scores of forecasts by lead time: a curve of each product, and their means over all lead times."""

from __future__ import annotations

import html
from functools import partial

import panel as pn
import panel_material_ui as pmui

from app.components.cards import card, explanation, head, show_newest
from app.components.score_card import TABLE_CSS, badge
from app.plots.lines import line_figure
from app.plots.spectra import by_lead_time
from app.services.comparison import Comparison
from app.services.lead_times import SHOWN, LeadScores, lead_scores
from app.services.newest import Newest
from app.session import Session

HEIGHT = 250
SENTENCE = "How good the forecast is at each lead time, from its start to the time for which it holds."
DEFINITION = (
    "RMSE: of each member by itself. RMSE of the mean: of the mean of the members of a start at a lead time. CRPS: "
    "fair continuous ranked probability score of these members, the less the better. Spread / error: standard "
    "deviation of the members, times the root of (M + 1) / M, over the RMSE of their mean; 1 is perfect, below it the "
    "members are too alike. By area, over all test starts. "
    "docs/verification.md has the formulas and sources."
)


class LeadCard:
    """Shown where a compared run is of a forecast."""

    def __init__(self, session: Session):
        self.session, self._comparison, self._found = session, Comparison(), LeadScores()
        self._drawing = Newest()
        self._score = pmui.RadioButtonGroup(options=[], size="small", margin=0, visible=False)
        top = head("Scores by lead time", "of all test steps", self._score)
        self._figure = pn.pane.Bokeh(None, sizing_mode="stretch_width", min_height=HEIGHT, margin=0, visible=False)
        self._table = pn.pane.HTML("", stylesheets=[TABLE_CSS], sizing_mode="stretch_width", margin=0)
        self.view = card(top, explanation(SENTENCE, DEFINITION), self._figure, self._table, visible=False)
        self._score.param.watch(lambda _: self._draw(), "value")
        session.param.watch(lambda _: self._draw(), "dark")

    async def take(self, comparison: Comparison) -> None:
        """Follow other runs."""
        if comparison is not self._comparison:
            self._comparison = comparison
            await show_newest(self._drawing, partial(lead_scores, comparison), self._show)

    def _show(self, found: LeadScores) -> None:
        self._found = found
        self.view.visible = bool(found.curves or found.unverified)
        options = {SHOWN[name]: name for name in found.curves}
        kept = self._score.value if self._score.value in found.curves else next(iter(found.curves), None)
        self._score.param.update(options=options, value=kept, visible=len(options) > 1)
        self._table.object = _table(found, self._comparison)
        self._draw()

    def _draw(self) -> None:
        curves = self._found.curves.get(self._score.value, {})
        is_drawn = any(len(days) > 1 for days, _ in curves.values())
        self._figure.visible = is_drawn
        if is_drawn:
            units = "" if self._score.value == "spread_error" else self._comparison.first.units
            label = SHOWN[self._score.value] + (f" ({units})" if units else "")
            self._figure.object = line_figure(by_lead_time(curves, label, self.session.dark), height=HEIGHT)


def _table(found: LeadScores, comparison: Comparison) -> str:
    """Means over all lead times, and what is to be known of them."""
    titles = {result.letter: result.title for result in comparison.results}
    notes = [found.note] if found.note else []
    if found.unverified:
        command = f"python -m engine verify {' '.join(found.unverified)}"
        notes.append(f"For scores by lead time, run this and reload the page: {command}")
    text = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    if not found.over_all:
        return text
    heads = "".join(f"<th>{html.escape(SHOWN[name])}</th>" for name in found.curves)
    rows = []
    for product, scores in found.over_all.items():
        label = badge(product, f"{product} {titles[product]}") if product in titles else html.escape(product)
        cells = "".join(f"<td>{scores[name]:.4g}</td>" if name in scores else "<td>–</td>" for name in found.curves)
        rows.append(f'<tr><th class="row_heading">{label}</th>{cells}</tr>')
    place = 'class="scroll" tabindex="0" role="group" aria-label="Table of scores over lead times"'
    table = f'<table aria-label="Scores over lead times"><thead><tr><td>all lead times</td>{heads}</tr></thead>'
    return f"<div {place}>{table}<tbody>{''.join(rows)}</tbody></table></div>{text}"
