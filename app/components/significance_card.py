"""Intervals of the scores, and whether a run is better than another or than a simple method."""

from __future__ import annotations

import html
from functools import partial

import panel as pn

from app.components.cards import card, explanation, head, show_newest
from app.components.reference_list import ReferenceList
from app.components.score_card import TABLE_CSS, badge
from app.services.conditions import Selection
from app.services.newest import Newest
from app.services.verification import Uncertainty, uncertainty
from engine.evaluation.significance import SCORES, interval_texts
from engine.evaluation.tables import heading as score_heading

SENTENCE = "Scores of the whole domain, with the range that another test period of this length would likely give."
DEFINITION = (
    "Errors of all values, weighted by area; 95 % intervals by circular block bootstrap over time steps. Better and "
    "worse: Diebold-Mariano test of the squared errors with the small-sample correction of Coroneo and Iacone; no "
    "clear difference from p = 0.05 on. docs/verification.md has the formulas and sources."
)
ALL_CELLS = "These are of all cells and values of the chosen steps."


class SignificanceCard:
    """Table of scores with intervals, and of verdicts against a reference that is chosen."""

    def __init__(self) -> None:
        self._selection: Selection | None = None
        self._drawing, self._reference = Newest(), ReferenceList(self.draw)
        self._table = pn.pane.HTML("", stylesheets=[TABLE_CSS], sizing_mode="stretch_width", margin=0)
        top = head("Significance", "95 % intervals", self._reference.view)
        self.view = card(top, explanation(SENTENCE, DEFINITION), self._table)

    async def take(self, selection: Selection) -> None:
        """Follow other runs, or other steps."""
        self._selection = selection
        await self.draw()

    async def draw(self) -> None:
        """Compute in a thread, then show."""
        if self._selection is not None:
            read = partial(uncertainty, self._selection, self._reference.chosen)
            await show_newest(self._drawing, read, partial(self._show, self._selection))

    def _show(self, selection: Selection, found: Uncertainty) -> None:
        comparison = selection.comparison
        self._reference.show(found.intervals, found.reference, comparison.names)
        note = f"<p>{ALL_CELLS}</p>" if selection.of_cells else ""
        self._table.object = _table(found, comparison.names, comparison.first.units) + note


def _table(found: Uncertainty, names: dict[str, str], units: str) -> str:
    if found.reason:
        return f"<p>{html.escape(found.reason)}</p>"
    against = html.escape(f"against {names[found.reference]}")
    heads = "".join(f"<th>{html.escape(score_heading(score, units))}</th>" for score in SCORES)
    rows = [f'<thead><tr><td></td><th class="verdict">{against}</th>{heads}</tr></thead><tbody>']
    for product, scores in found.intervals.items():
        label = badge(product, names[product]) if len(product) == 1 else names[product]
        texts = (interval_texts(scores[score]) for score in SCORES)
        cells = "".join(
            f"<td>{value} <small>{low} to {high}</small></td>" if low else f"<td>{value}</td>"
            for value, low, high in texts
        )
        verdict = found.verdicts[product] or "–"
        rows.append(
            f'<tr><th class="row_heading">{label}</th><td class="verdict">{html.escape(verdict)}</td>{cells}</tr>'
        )
    missing = "".join(f"<p>{html.escape(f'{key} is left out: {why}.')}</p>" for key, why in found.left_out.items())
    place = 'class="scroll" tabindex="0" role="group" aria-label="Table of intervals"'
    return f'<div {place}><table aria-label="Intervals">{"".join(rows)}</tbody></table></div>{missing}'
