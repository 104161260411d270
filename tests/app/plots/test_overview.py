"""Curves and histogram: what is drawn, by hand."""

import numpy as np
import pytest

from app.components.run_records import MOST_POINTS, thinned
from app.plots.overview import LearningCurves, curves_of, spread

RECORDS = [
    {"epoch": 1, "step": 5, "steps": 10, "loss": 2.0},
    {"epoch": 1, "step": 10, "steps": 10, "loss": 1.0, "val_loss": 1.5},
    {"epoch": 2, "step": 1, "steps": 10, "loss": None},
    {"epoch": 2, "step": 10, "steps": 10, "loss": 0.0, "val_loss": None},
]


def test_losses_stand_at_the_epochs_gone_by():
    assert curves_of(RECORDS) == ([(0.5, 2.0), (1.0, 1.0), (2.0, 0.0)], [(1.0, 1.5)])


def test_zero_has_no_place_on_a_log_axis():
    assert curves_of(RECORDS, log=True) == ([(0.5, 2.0), (1.0, 1.0)], [(1.0, 1.5)])


def test_curves_change_without_a_new_figure():
    curves = LearningCurves()
    figure = curves.figure
    curves.show(RECORDS)
    assert curves.figure is figure
    assert list(figure.renderers[0].data_source.data["loss"]) == [2.0, 1.0, 0.0]


def test_shares_sum_to_a_hundred():
    figure = spread(np.array([1, 3]), np.array([0.0, 1.0, 2.0]), "t2m (K)")
    assert list(figure.renderers[0].data_source.data["share"]) == pytest.approx([25, 75])


def test_thinning_keeps_every_validation_and_the_last_record():
    records = [{"seq": i, "val_loss": 1.0 if i % 1000 == 999 else None} for i in range(10_000)]
    kept = thinned(records)
    assert len(kept) <= MOST_POINTS + 11
    assert {r["seq"] for r in kept} >= {999, 1999, 9999}
    assert thinned([]) == []
