"""Events above thresholds that the user names: whether products have them where and when HR has."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import partial

import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr

from app.components.cards import card, explanation, head, show_newest
from app.components.score_card import TABLE_CSS, badge
from app.services.conditions import Selection
from app.services.newest import Newest
from app.services.verification import example_thresholds, exceedances
from app.session import MOST_THRESHOLDS, Session, read_number
from app.theme import SMALL
from engine.errors import MesoscopeError
from engine.evaluation.exceedance import CONTINGENCY

SENTENCE = "Whether values reach a threshold where and when those of HR do, and within which distance."
DEFINITION = (
    "Events are values at or above a threshold. POD: share of the events in HR that the product has. FAR: share of the "
    "events in the product that HR doesn't have. CSI: events in both over events in either. Frequency bias: events in "
    "the product over events in HR. FSS: fractions skill score of square windows, 1 is perfect (Roberts and Lean "
    "2008). docs/verification.md has the formulas."
)
ALL_VALUES = "The range of HR is no condition here: events are of all values of the chosen steps and cells."
HEADS = {"pod": "POD", "far": "FAR", "csi": "CSI", "frequency_bias": "freq. bias"}


class ExceedanceCard:
    """Follows `thresholds` of the session; computes nothing until there are some."""

    def __init__(self, session: Session):
        self.session, self._drawing = session, Newest()
        self._selection: Selection | None = None
        self._line = pmui.TextInput(label="Thresholds", width=190, **SMALL)
        self._line.param.watch(self._typed, "value")
        self._table = pn.pane.HTML("", stylesheets=[TABLE_CSS], sizing_mode="stretch_width", margin=0)
        top = head("Exceedance", "of thresholds", self._line)
        self.view = card(top, explanation(SENTENCE, DEFINITION), self._table)
        session.param.watch(lambda *_: pn.state.execute(self.draw), "thresholds")

    async def take(self, selection: Selection) -> None:
        """Follow other runs, or other steps."""
        self._selection = selection
        units = selection.comparison.first.units
        examples = _text(example_thresholds(selection.comparison))
        self._line.param.update(
            label=f"Thresholds ({units})" if units else "Thresholds", placeholder=examples and f"as {examples}"
        )
        await self.draw()

    async def draw(self) -> None:
        """Compute in a thread, then show."""
        thresholds = list(self.session.thresholds)
        self._line.param.update(value=_text(thresholds), error_state=False)
        if self._selection is None or not thresholds:
            self._say("Type one or more values, as 5, 20.")
            return
        if self._selection.empty:
            self._say(self._selection.empty)
            return
        self._table.loading = True
        await show_newest(self._drawing, partial(_read, self._selection, thresholds), self._show)

    def _typed(self, event: param.parameterized.Event) -> None:
        words = event.new.replace(";", ",").split(",")
        try:
            values = sorted({read_number(word) for word in words if word.strip()})
        except ValueError:
            values = None
        if values is None or len(values) > MOST_THRESHOLDS:
            self._line.error_state = True
            self._say(f"{event.new} can't be used: expected up to {MOST_THRESHOLDS} numbers, as 5, 20.")
            return
        if self._line.error_state and values == self.session.thresholds:
            pn.state.execute(self.draw)  # in place of the error
        self.session.thresholds = values

    def _say(self, words: str) -> None:
        """Put words in the table's place; what is being computed for it isn't shown any more."""
        self._drawing.begin()
        self._show(f"<p>{html.escape(words)}</p>")

    def _show(self, table: str) -> None:
        self._table.param.update(object=table, loading=False)


def _read(selection: Selection, thresholds: list[float]) -> str:
    """The table, or why there is none: runs may be deleted or written again meanwhile."""
    try:
        return _table(selection, exceedances(selection, thresholds))
    except (MesoscopeError, OSError) as error:
        return f"<p>{html.escape(f'Nothing to show: {error}')}</p>"


def _text(thresholds: Sequence[float]) -> str:
    return ", ".join(f"{value:.15g}" for value in thresholds)


def _table(selection: Selection, found: dict[str, xr.Dataset]) -> str:
    comparison = selection.comparison
    first = found[comparison.first.letter]
    sides = first["window"].values
    windows = "".join(f"<th>FSS {side * first.attrs['cell_size']:.3g} km</th>" for side in sides)
    rows = [f"<thead><tr><td></td>{''.join(f'<th>{HEADS[name]}</th>' for name in CONTINGENCY)}{windows}</tr></thead>"]
    for threshold in first["threshold"].values:
        share = 100 * float(first["hr_share"].sel(threshold=threshold))
        text = html.escape(f"from {threshold:.15g} {comparison.first.units} on: {share:.3g} % of HR")
        rows.append(f'<tr><th class="group" colspan="{len(CONTINGENCY) + len(sides) + 1}">{text}</th></tr>')
        at = {"threshold": threshold}
        for product in first["product"].values:
            if product != "downscaled":
                rows.append(_row(html.escape(comparison.names[str(product)]), first.sel(at | {"product": product})))
        for result in comparison.shown:
            of_run = found[result.letter].sel(at | {"product": "downscaled"}).reindex(window=sides)
            rows.append(_row(badge(result.letter, f"{result.letter} {result.title}"), of_run))
    place = 'class="scroll" tabindex="0" role="group" aria-label="Table of exceedance"'
    is_of_values = selection.condition.low is not None or selection.condition.high is not None
    note = f"<p>{ALL_VALUES}</p>" if is_of_values else ""
    return f'<div {place}><table aria-label="Exceedance">{"".join(rows)}</table></div>{note}'


def _row(label: str, scores: xr.Dataset) -> str:
    numbers = [float(scores[name]) for name in CONTINGENCY] + scores["fss"].values.tolist()
    cells = "".join(f"<td>{'–' if number != number else f'{number:.2f}'}</td>" for number in numbers)
    return f'<tr><th class="row_heading">{label}</th>{cells}</tr>'
