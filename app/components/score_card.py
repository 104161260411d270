"""The score table, to read and to take along."""

from __future__ import annotations

import html

import bokeh.models as bm
import panel as pn
import panel_material_ui as pmui

from app.components.cards import card, heading
from app.plots.products import colour_of
from app.services.comparison import Comparison
from app.theme import read_asset
from engine.evaluation.tables import ScoreTable, styled, to_csv, to_latex

COPY = read_asset("copy_scores.js")
TABLE_CSS = read_asset("scores.css")
MOST_DIFFERENCES = 5


class ScoreCard:
    """Mean ± standard deviation over the test steps; best in bold."""

    def __init__(self) -> None:
        self._texts = bm.ColumnDataSource({"text": ["", ""]})
        self._table = pn.pane.HTML("", stylesheets=[TABLE_CSS], sizing_mode="stretch_width", min_height=215, margin=0)
        buttons = []
        for which, label in enumerate(("CSV", "LaTeX")):
            button = pmui.Button(label=label, icon="content_copy", variant="text", size="small", margin=0)
            button.js_on_click(code=COPY, args={"texts": self._texts, "button": button, "which": which})
            buttons.append(button)
        head = pn.Row(heading("Scores", "mean ± standard deviation over test steps"), *buttons, margin=0)
        head.sizing_mode = "stretch_width"
        self.view = card(head, self._table)

    def show(self, comparison: Comparison, scores: ScoreTable) -> None:
        units = comparison.first.units
        plain = {"interpolated": "interpolated"} | {r.letter: f"{r.letter} {r.title}" for r in comparison.results}
        badges = {
            key: f'<i style="background:{colour_of(key)}">{key}</i>{html.escape(name[2:])}' if len(key) == 1 else name
            for key, name in plain.items()
        }
        table = styled(scores, badges, units).set_table_attributes('aria-label="Scores"').to_html()
        self._table.object = f'<div class="scroll">{table}</div>{_differences(comparison)}'
        self._texts.data = {"text": [to_csv(scores, plain, units), to_latex(scores, plain, units)]}


def _differences(comparison: Comparison) -> str:
    """Only the settings in which the runs differ."""
    differing = comparison.differing()
    differences = [f"{html.escape(option)} {html.escape(' | '.join(values))}" for option, values in differing.items()]
    if not differences:
        return ""
    more = f" … and {len(differences) - MOST_DIFFERENCES} more" if len(differences) > MOST_DIFFERENCES else ""
    letters = " | ".join(result.letter for result in comparison.results)
    return f"<p>Settings that differ ({letters}): {'; '.join(differences[:MOST_DIFFERENCES])}{more}</p>"
