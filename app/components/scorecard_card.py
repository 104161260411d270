"""Scorecard: by how much each run's errors are smaller or larger than those of a reference, by score and season."""

from __future__ import annotations

import html
from functools import partial

import panel as pn

from app.components.cards import card, explanation, head, show_newest
from app.components.reference_list import ReferenceList
from app.components.score_card import TABLE_CSS, badge
from app.services.comparison import Comparison
from app.services.conditions import ALL
from app.services.newest import Newest
from app.services.scorecard import Scorecard, scorecard

SENTENCE = "By how much errors are smaller (blue) or larger (red) than those of a reference."
DEFINITION = (
    "Change of an error over that of the reference, of the whole domain and test period: RMSE, MAE, size of the bias "
    "and of that of quantiles, 1 − correlation over time, and how far the ratio of standard deviations is from 1. "
    "−20 % is an error a fifth smaller. Errors of the reference that are near 0, as of its bias, make changes large "
    "that mean little."
)
FULL_COLOUR = 0.5  # change from which on the colour is as strong as it gets
MOST = 9.99  # larger changes are shown as more than that


class ScorecardCard:
    """Holds the chosen reference."""

    def __init__(self) -> None:
        self._comparison, self._drawing, self._reference = Comparison(), Newest(), ReferenceList(self.draw)
        self._table = pn.pane.HTML("", stylesheets=[TABLE_CSS], sizing_mode="stretch_width", margin=0)
        top = head("Scorecard", "by score and season", self._reference.view)
        self.view = card(top, explanation(SENTENCE, DEFINITION), self._table)

    async def take(self, comparison: Comparison) -> None:
        """Follow other runs."""
        if comparison is not self._comparison:
            self._comparison = comparison
            await self.draw()

    async def draw(self) -> None:
        """Read in a thread, then show."""
        if self._comparison:
            read = partial(scorecard, self._comparison, self._reference.chosen)
            await show_newest(self._drawing, read, self._show)

    def _show(self, found: Scorecard) -> None:
        names = self._comparison.names
        self._reference.show(found.offered, found.reference, names)
        self._table.object = f"<p>{html.escape(found.reason)}</p>" if found.reason else _table(found, names)


def _table(found: Scorecard, names: dict[str, str]) -> str:
    """One row an error, one column a run and season."""
    changes = found.changes
    if not changes:
        return "<p>The reference is the only run.</p>"
    first = next(iter(changes.values()))
    seasons = [str(season) for season in first["season"].values]
    runs = "".join(f'<th colspan="{len(seasons)}" class="verdict">{badge(key, names[key])}</th>' for key in changes)
    heads = "".join(f"<th>{'all steps' if season == ALL else season}</th>" for season in seasons) * len(changes)
    rows = [f"<thead><tr><td></td>{runs}</tr><tr><td></td>{heads}</tr></thead><tbody>"]
    for error in first["error"].values:
        cells = "".join(_cell(float(change)) for each in changes.values() for change in each.sel(error=error).values)
        rows.append(f'<tr><th class="row_heading">{error}</th>{cells}</tr>')
    place = 'class="scroll" tabindex="0" role="group" aria-label="Table of the scorecard"'
    return f'<div {place}><table aria-label="Scorecard">{"".join(rows)}</tbody></table></div>'


def _cell(change: float) -> str:
    if change != change:
        return "<td>–</td>"
    strength = 0.55 * min(abs(change) / FULL_COLOUR, 1)
    colour = f"rgba({'44, 123, 182' if change < 0 else '215, 64, 40'}, {strength:.2f})"
    percent = round(100 * change)
    text = f"> +{100 * MOST:.0f} %" if change > MOST else f"{percent:+d} %".replace("-", "−") if percent else "0 %"
    return f'<td style="background:{colour}">{text}</td>'
