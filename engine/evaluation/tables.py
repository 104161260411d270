"""Score tables: mean ± standard deviation, the best of each metric in bold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from engine.evaluation.products import BASELINES
from engine.evaluation.score_records import MetricScore, ProductScores, Scores

METRICS = {"mae": "MAE", "rmse": "RMSE", "pearson": "PearCorr", "ssim": "SSIM", "psnr": "PSNR", "bias": "bias"}
IN_UNIT = ("mae", "rmse", "bias")
HIGHER_IS_BETTER = ("pearson", "ssim", "psnr")
LATEX_SIGNS = {
    "±": r"$\pm$", "–": "--", "−": "$-$", "·": r"$\cdot$", "µ": r"$\mu$", "°": r"$^\circ$"
}  # fmt: skip
LATEX_ESCAPES = {letter: rf"\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"
}  # fmt: skip
ScoreTable = Mapping[str, ProductScores]  # by product: the interpolated field, and the downscaled one of each run


def score_frame(scores: ScoreTable, names: Mapping[str, str], units: str) -> pd.DataFrame:
    """Format 'mean ± std' by row (product) and column (metric with unit); '–' where there is no score."""
    columns = {}
    for metric in METRICS:
        cells = {product: _cell(scores[product], metric) for product in scores}
        decimals = _decimals(scores, "rmse" if metric == "bias" else metric)
        columns[heading(metric, units)] = {names[product]: _text(cell, decimals) for product, cell in cells.items()}
    return pd.DataFrame(columns)


def numbers_frame(scores: ScoreTable, names: Mapping[str, str], units: str) -> pd.DataFrame:
    """Give the scores as numbers, for CSV: two columns for each metric, mean and std."""
    rows = {}
    for product in scores:
        row: dict[str, float] = {}
        for metric in METRICS:
            mean, std = _cell(scores[product], metric)
            row |= {f"{heading(metric, units)} mean": mean, f"{heading(metric, units)} std": std}
        rows[names[product]] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def best_rows(scores: ScoreTable, metric: str) -> list[str]:
    """Find the products with the best mean; more than one on a tie, none without a score."""
    means = {product: _cell(scores[product], metric)[0] for product in scores}
    ranks = {product: badness(metric, mean) for product, mean in means.items() if np.isfinite(mean)}
    return [product for product, rank in ranks.items() if rank == min(ranks.values())]


def styled(scores: ScoreTable, names: Mapping[str, str], units: str) -> Styler:
    """Style the table with the best of each column in bold; ready for HTML."""
    frame = score_frame(scores, names, units)

    def bold(column: pd.Series) -> list[str]:
        metric = next(m for m in METRICS if heading(m, units) == column.name)
        best = {names[product] for product in best_rows(scores, metric)}
        return ["font-weight: bold" if row in best else "" for row in column.index]

    return frame.style.apply(bold, axis=0)


def to_text(scores: ScoreTable, names: Mapping[str, str], units: str) -> str:
    """Format the table for a terminal, with aligned columns."""
    frame = score_frame(scores, names, units)
    return aligned(
        [["", *frame.columns], *([name, *cells] for name, cells in zip(frame.index, frame.values, strict=True))]
    )


def shortfall(scores: Scores, names: Mapping[str, str] = BASELINES) -> str:
    """Say that a network is no better than the best simple method, by RMSE; '' where it beats them all.

    As 'does not beat PC regression: 1.71 against 1.63', in the target's unit.
    """
    simple = {"interpolated": scores.interpolated, **scores.baselines}
    rmse = {name: _cell(of_product, "rmse")[0] for name, of_product in simple.items()}
    known = {name: value for name, value in rmse.items() if np.isfinite(value)}
    mine = _cell(scores.downscaled, "rmse")[0]
    if not known or not mine >= (best := min(known.values())):
        return ""
    name = next(name for name, value in known.items() if value == best)
    decimals = _decimals({"downscaled": scores.downscaled}, "rmse")
    return f"does not beat {names.get(name, name)}: {mine:.{decimals}f} against {best:.{decimals}f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Format rows of cells as lines with aligned columns; short rows leave their last columns empty."""
    widths = [max(len(row[k]) for row in rows if k < len(row)) for k in range(max(map(len, rows), default=0))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)  # noqa: B905


def ensemble_text(scores: Scores, units: str) -> str:
    """Describe in a line how good the members are, and their intervals; '' where none were drawn."""
    ensemble, unit = scores.ensemble, f" {units}" if units else ""
    if ensemble is None:
        return ""
    ratio = "–" if ensemble.spread_error_ratio is None else f"{ensemble.spread_error_ratio:.2f}"
    intervals = {"90 % interval": ensemble.interval, "calibrated": ensemble.calibrated}
    lines = [f"{name} covers {s.coverage:.1%}, {s.width:.3g}{unit} wide" for name, s in intervals.items() if s]
    return "; ".join(
        [f"{ensemble.members} members: CRPS {ensemble.crps:.3g}{unit}, spread–error ratio {ratio}", *lines]
    )


def latex_of(rows: Sequence[Sequence[str]], caption: str) -> str:
    """Format rows of texts, heads first, as a LaTeX table (booktabs); short rows leave their last columns empty."""
    width = max(map(len, rows), default=0)
    filled = [[*row, *[""] * (width - len(row))] for row in rows]
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in filled]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_escaped(caption)}}}",
            rf"\begin{{tabular}}{{{'l' * min(width, 2)}{'r' * (width - 2)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _escaped(text: str) -> str:
    """Escape what LaTeX reads as commands, and write signs as it does."""
    escaped = "".join(LATEX_ESCAPES.get(letter, letter) for letter in text)
    for sign, command in LATEX_SIGNS.items():
        escaped = escaped.replace(sign, command)
    return escaped


def to_latex(scores: ScoreTable, names: Mapping[str, str], units: str) -> str:
    """Format a LaTeX table (booktabs), best values in bold."""
    table = styled(scores, names, units).format_index(escape="latex", axis=0)
    text = table.to_latex(hrules=True, convert_css=True, column_format="l" + "r" * len(METRICS))
    for sign, command in LATEX_SIGNS.items():
        text = text.replace(sign, command)
    return text


def to_csv(scores: ScoreTable, names: Mapping[str, str], units: str) -> str:
    """Format comma-separated values in full precision."""
    return numbers_frame(scores, names, units).to_csv(index_label="product")


def heading(metric: str, units: str) -> str:
    """Give a metric's name with its unit."""
    unit = units if metric in IN_UNIT else "dB" if metric == "psnr" else ""
    return f"{METRICS[metric]} ({unit})" if unit else METRICS[metric]


def _cell(scores: ProductScores, metric: str) -> tuple[float, float]:
    score = scores.get(metric, MetricScore())
    return (np.nan if score.mean is None else score.mean, np.nan if score.std is None else score.std)


def badness(metric: str, mean: float) -> float:
    """Give a number that is less the better a mean is."""
    if metric in HIGHER_IS_BETTER:
        return -mean
    return abs(mean) if metric == "bias" else mean


def _decimals(scores: ScoreTable, metric: str) -> int:
    """Choose so many that the largest mean has three significant digits."""
    means = [abs(_cell(scores[product], metric)[0]) for product in scores]
    largest = max((mean for mean in means if np.isfinite(mean)), default=1.0)
    return int(np.clip(2 - np.floor(np.log10(largest)), 0, 6)) if largest > 0 else 3


def _text(cell: tuple[float, float], decimals: int) -> str:
    mean, std = cell
    if not np.isfinite(mean):
        return "–"
    text = f"{round(mean, decimals) + 0.0:.{decimals}f}".replace("-", "−")  # + 0.0: zero has no sign
    return f"{text} ± {std:.{decimals}f}" if np.isfinite(std) else text
