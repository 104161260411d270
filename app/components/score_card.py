"""The score table, to read and to take along."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

import bokeh.models as bm
import numpy as np
import panel as pn
import panel_material_ui as pmui

from app.components.cards import card, heading
from app.plots.products import colour_of
from app.services.comparison import Comparison
from app.services.conditions import Selection
from app.services.run_settings import differing_options, seed_groups
from app.services.verification import sal
from app.theme import read_asset
from engine.evaluation.score_records import ProductScores, Scores
from engine.evaluation.tables import ensemble_text, shortfall, styled, to_csv, to_latex
from engine.evaluation.tables import heading as metric_heading

COPY = read_asset("copy_scores.js")
TABLE_CSS = read_asset("scores.css")
MARK = "†"
MOST_DIFFERENCES = 5
SAL_DEFINITION = (
    "Mean size of errors of structure (size and peakedness of objects), amplitude (domain mean) and location of "
    "precipitation; 0 is perfect. All cells. Wernli et al. (2008)"
)
NO_SSIM = "Of chosen cells or values there is no SSIM: it needs all cells around each."


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
        self._title = heading("Scores")
        head = pn.Row(self._title, *buttons, height=26, margin=0, sizing_mode="stretch_width")
        self.view = card(head, self._table)

    def show(self, selection: Selection, scores: Mapping[str, Scores]) -> None:
        """The scores of chosen steps."""
        comparison = selection.comparison
        of_all = f"{selection.n_steps} of {comparison.n_steps} " if selection.condition else ""
        self._title.object = heading("Scores", f"mean ± standard deviation over {of_all}test steps").object
        units, first = comparison.first.units, scores[comparison.first.letter]
        table: dict[str, ProductScores] = {"interpolated": first.interpolated, **first.baselines}
        table |= {letter: of_run.downscaled for letter, of_run in scores.items()}
        plain = comparison.names
        badges = plain | {letter: badge(letter, plain[letter], scores[letter]) for letter in scores}
        drawn = styled(table, badges, units).set_table_attributes('aria-label="Scores"').to_html()
        drawn = re.sub(r'<th class="blank level0"\s*>&nbsp;</th>', "<td></td>", drawn)  # it heads nothing
        place = 'class="scroll" tabindex="0" role="group" aria-label="Products by metric"'
        note = f"<p>{NO_SSIM}</p>" if selection.of_cells else ""
        of_members = {letter: ensemble_text(of_run, units) for letter, of_run in scores.items()}
        members = "".join(f"<p>{letter}: {html.escape(line)}</p>" for letter, line in of_members.items() if line)
        below = [
            _shortfalls(scores), note, _vector(comparison, scores), _sal(selection), members,
            _seeds(comparison, scores), _differences(comparison),
        ]  # fmt: skip
        self._table.object = f"<div {place}>{drawn}</div>{''.join(below)}"
        self._texts.data = {"text": [to_csv(table, plain, units), to_latex(table, plain, units)]}


def badge(letter: str, name: str, scores: Scores | None = None) -> str:
    """A run's letter in its colour, its title, and a mark where it doesn't beat the best simple method."""
    title = f'<i style="background:{colour_of(letter)}">{letter}</i>{html.escape(name[2:])}'
    return f"{title} {MARK}" if scores and shortfall(scores) else title


def _shortfalls(scores: Mapping[str, Scores]) -> str:
    """The simple method that each marked run doesn't beat."""
    texts = {letter: shortfall(of_run) for letter, of_run in scores.items()}
    lines = [f"{letter} {html.escape(text)}" for letter, text in texts.items() if text]
    return f"<p>{MARK} {'; '.join(lines)}</p>" if lines else ""


def _vector(comparison: Comparison, scores: Mapping[str, Scores]) -> str:
    """Scores of both components together, as stored of all steps; '' of runs of one target."""
    units, first, lines = comparison.first.units, comparison.first.letter, []
    for letter, of_run in scores.items():
        for product, stored in of_run.vector.items():
            key = letter if product == "downscaled" else product if letter == first else ""
            numbers = [stored.get(name) for name in ("rmse", "speed_bias", "direction_error")]
            if key in comparison.names and None not in numbers:
                rmse, bias, angle = numbers
                text = f"RMSE {rmse:.3g} {units}, speed bias {bias:+.2g} {units}, direction error {angle:.3g}°"
                lines.append(f"{html.escape(f'{comparison.names[key]}: {text}')}")
    lines.sort(key=lambda line: line[1:2] == " ")  # runs below simple methods
    return f"<p>Both components as a vector: {'; '.join(lines).replace('bias -', 'bias −')}</p>" if lines else ""


def _sal(selection: Selection) -> str:
    """Structure, amplitude and location of precipitation, as mean sizes over the chosen steps; '' of other fields."""
    lines = []
    for product, components in sal(selection).items():
        name = html.escape(selection.comparison.names[product])
        lines.append(f"{name} {', '.join(f'{size:.2f}' for size in components.values()).replace('nan', '–')}")
    return f'<p title="{SAL_DEFINITION}">SAL (structure, amplitude, location): {"; ".join(lines)}</p>' if lines else ""


def _seeds(comparison: Comparison, scores: Mapping[str, Scores]) -> str:
    """Mean and range of the scores of runs that differ only in their seed."""
    lines = []
    for group in seed_groups(comparison.results):
        texts = []
        for metric in ("mae", "rmse", "bias"):
            means = [scores[r.letter].downscaled[metric].mean for r in group if metric in scores[r.letter].downscaled]
            known = [mean for mean in means if mean is not None]
            if len(known) == len(group):
                label = metric_heading(metric, comparison.first.units)
                texts.append(f"{label} {np.mean(known):.4g} ({min(known):.4g} to {max(known):.4g})")
        letters = ", ".join(result.letter for result in group)
        lines.append(f"<p>{letters} differ only in their seed, mean and range: {html.escape('; '.join(texts))}.</p>")
    return "".join(lines)


def _differences(comparison: Comparison) -> str:
    """List the settings in which the runs differ."""
    differing = differing_options(comparison.results)
    differences = [f"{html.escape(option)} {html.escape(' | '.join(values))}" for option, values in differing.items()]
    if not differences:
        return ""
    more = f" … and {len(differences) - MOST_DIFFERENCES} more" if len(differences) > MOST_DIFFERENCES else ""
    letters = " | ".join(result.letter for result in comparison.results)
    return f"<p>Settings that differ ({letters}): {'; '.join(differences[:MOST_DIFFERENCES])}{more}</p>"
