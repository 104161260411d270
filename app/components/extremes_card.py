"""Indices of extremes: a table of HR and biases, maps of one index's bias; and how plausible values are."""

from __future__ import annotations

import html
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui

from app.components.cards import card, explanation, head, show_newest
from app.components.map_board import MapBoard, best_columns
from app.components.map_frames import score_frames
from app.components.score_card import TABLE_CSS, badge
from app.plots.colours import DIFFERENCES, colour_range
from app.plots.live import SharedView
from app.services.comparison import Comparison
from app.services.extremes import Extremes, extremes_of
from app.services.newest import Newest
from app.session import Session
from app.theme import SMALL
from engine.errors import MesoscopeError
from engine.evaluation.extremes import INDICES

SENTENCE = "Whether extremes of daily temperature or precipitation, and bounds, come out as in HR."
DEFINITION = (
    "ETCCDI indices of complete days, in each year and cell, then averaged over years: {indices}. Quantiles are those "
    "of HR in the test part. Plausibility: shares of values below 0 and beyond all of HR, and the root mean square of "
    "the area mean over an LR cell minus LR. docs/verification.md has the definitions."
)
SHOW = "show"


class ExtremesCard:
    """Computes nothing until it is asked to; then follows the runs, with the chosen index."""

    def __init__(self, session: Session):
        self.session, self._comparison, self._found = session, Comparison(), Extremes()
        self._view: SharedView | None = None
        self._drawing, self._updating, self._is_open = Newest(), False, False
        self._button = pmui.Button(label=SHOW, variant="outlined", size="small", margin=0)
        self._index = pmui.Select(label="Map of", options={}, width=130, visible=False, **SMALL)
        top = head("Extremes", "of all test steps", self._index, self._button)
        self._maps = pn.Column(sizing_mode="stretch_width", margin=0)
        self._table = pn.pane.HTML("", stylesheets=[TABLE_CSS], sizing_mode="stretch_width", margin=0)
        names = "; ".join(f"{index.label}, {index.definition}" for index in INDICES.values())
        self.view = card(top, explanation(SENTENCE, DEFINITION.format(indices=names)), self._table, self._maps)
        self._button.on_click(self._open)
        self._index.param.watch(lambda _: self._draw(), "value")

    async def take(self, comparison: Comparison, view: SharedView) -> None:
        """Follow other runs, or another projection."""
        is_other, self._comparison, self._view = comparison is not self._comparison, comparison, view
        if not self._is_open:
            return
        if is_other:
            await self._compute()
        else:
            self._draw()

    def _open(self, _: Any) -> None:
        self._is_open, self._button.visible = True, False
        pn.state.execute(self._compute)

    async def _compute(self) -> None:
        if not self._comparison:
            return
        self.view.loading = True
        await show_newest(self._drawing, partial(_read, self._comparison), self._show)

    def _show(self, found: Extremes) -> None:
        self._found = found
        kept = self._index.value if self._index.value in found.biases else next(iter(found.biases), None)
        with pn.io.hold():
            self.view.loading = False
            tables = [_table(table, name, self._comparison) for name, table in found.tables.items()]
            self._table.object = "".join([*tables, *(f"<p>{html.escape(note)}</p>" for note in found.notes)])
            self._updating = True
            options = {INDICES[name].label: name for name in found.biases}
            self._index.param.update(options=options, value=kept, visible=bool(options))
            self._updating = False
            self._draw()

    def _draw(self) -> None:
        """Maps of the chosen index's bias, of the interpolated field and each run."""
        biases = self._found.biases.get(self._index.value)
        if self._updating:
            return
        if biases is None or self._view is None:
            self._maps[:] = []
            return
        index = INDICES[self._index.value]
        clim = colour_range(list(biases.values()), centred=True)
        frames = score_frames(self._comparison, biases, clim, gains=False)
        label = {"long_name": f"bias of {index.label}", "units": index.units.replace("degC", "°C")}
        board = MapBoard(
            frames, self._view, clim=clim, cmap=DIFFERENCES, attrs=label, columns=max(3, best_columns(len(frames)))
        )
        self._maps[:] = [board.grid()]


def _read(comparison: Comparison) -> Extremes:
    """The indices, or why there are none: runs may be deleted or written again meanwhile."""
    try:
        return extremes_of(comparison)
    except (MesoscopeError, OSError) as error:
        return Extremes(notes=(f"Nothing to show: {error}",))


def _table(rows: list[list[str]], name: str, comparison: Comparison) -> str:
    heads, *lines = rows
    cells = "".join(f"<th>{html.escape(text)}</th>" for text in heads[1:])
    corner = f'<td style="text-align:left">{html.escape(name)}</td>'
    text = [f"<thead><tr>{corner}{cells}</tr></thead><tbody>"]
    for key, *values in lines:
        title = comparison.names.get(key, key)
        label = badge(key, title) if len(key) == 1 else html.escape(title)
        numbers = "".join(f"<td>{html.escape(value)}</td>" for value in values)
        text.append(f'<tr><th class="row_heading">{label}</th>{numbers}</tr>')
    place = f'class="scroll" tabindex="0" role="group" aria-label="Table of {html.escape(name)}"'
    table = f'<table aria-label="{html.escape(name)}">{"".join(text)}</tbody></table>'
    return f'<div {place} style="margin-bottom:14px">{table}</div>'
