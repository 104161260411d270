"""The score table: best in bold, digits, CSV and LaTeX."""

import io

import pandas as pd

from engine.evaluation.score_records import MetricScore
from engine.evaluation.tables import best_rows, heading, score_frame, styled, to_csv, to_latex

SCORES = {
    "interpolated": {
        "rmse": MetricScore(0.682, 0.1),
        "pearson": MetricScore(0.9, 0.01),
        "bias": MetricScore(-0.02, 0.1),
    },
    "A": {"rmse": MetricScore(0.4321, 0.05), "pearson": MetricScore(0.98, 0.01), "bias": MetricScore(0.05, 0.1)},
    "B": {"rmse": MetricScore(0.4321, 0.06), "pearson": MetricScore(None, None), "bias": MetricScore(0.1, 0.1)},
}
NAMES = {"interpolated": "interpolated", "A": "A resnet · spc", "B": "B unet"}


def test_best_is_lowest_error_highest_correlation_smallest_bias_either_side():
    assert best_rows(SCORES, "rmse") == ["A", "B"]  # a tie
    assert best_rows(SCORES, "pearson") == ["A"]
    assert best_rows(SCORES, "bias") == ["interpolated"]
    assert best_rows(SCORES, "ssim") == []


def test_cells_have_three_significant_digits_and_a_dash_where_there_is_no_score():
    frame = score_frame(SCORES, NAMES, "K")
    assert frame.loc["A resnet · spc", "RMSE (K)"] == "0.432 ± 0.050"
    assert frame.loc["interpolated", "bias (K)"] == "−0.020 ± 0.100"
    assert frame.loc["B unet", "PearCorr"] == "–"


def test_the_best_is_bold_in_html():
    page = styled(SCORES, NAMES, "K").to_html()
    assert page.count("font-weight: bold") == 1  # one rule, for the cells named before it
    rule = page[: page.index("font-weight: bold")]
    column = list(score_frame(SCORES, NAMES, "K")).index("RMSE (K)")
    assert f"row1_col{column}" in rule
    assert f"row2_col{column}" in rule
    assert f"row0_col{column}" not in rule


def test_latex_is_plain_booktabs():
    text = to_latex(SCORES, NAMES, "K")
    assert r"\toprule" in text
    assert r"\bfseries 0.432 $\pm$ 0.050" in text
    assert "$-$0.020" in text
    assert text.isascii()


def test_csv_reads_back_with_full_precision():
    table = pd.read_csv(io.StringIO(to_csv(SCORES, NAMES, "K")), index_col="product")
    assert table.loc["A resnet · spc", "RMSE (K) mean"] == 0.4321
    assert pd.isna(table.loc["B unet", "PearCorr mean"])


def test_headings_name_the_unit():
    assert [heading(m, "mm") for m in ("mae", "psnr", "ssim")] == ["MAE (mm)", "PSNR (dB)", "SSIM"]
