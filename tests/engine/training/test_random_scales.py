"""Batches of random scales: means by hand, and a training that learns at all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from engine.data.normalizer import ValueTransform, fit_normalizer
from engine.errors import SpecError
from engine.spec import Spec
from engine.training import assembly, random_scales
from engine.training.random_scales import RandomScaleStep
from tests.engine.small_pairs import make_pairs, waves
from tests.engine.training.small_training import SOLE_WORKER

SCALE = 4
AREAS = np.linspace(1, 2, 16, dtype="f4")[:, None] * np.ones(16, "f4")  # of rows


def spec_of(**changed: dict[str, Any]) -> Spec:
    plain: dict[str, dict[str, Any]] = {
        "data": {"target": {"path": "hr.nc"}, "scale": SCALE},
        "model": {"upsampling": "implicit", "localized": False, "scales": [2, 8], "n_filters": 4, "n_blocks": 1},
        "training": {},
    }
    return Spec.from_plain({"version": 1, **{name: plain[name] | changed.get(name, {}) for name in plain}})


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> RandomScaleStep:
    monkeypatch.setattr(random_scales, "QUERIES", 8)
    pairs = make_pairs(waves(8, 16, 16), static=[waves(1, 16, 16)[0]], scale=SCALE)
    spec, normalizer = spec_of(), fit_normalizer(pairs, "standard")
    network = assembly.build_network(spec, pairs, normalizer)
    return assembly.build_step(spec, SOLE_WORKER, network, pairs, normalizer, 1)


def mean(values: np.ndarray, side: int, areas: np.ndarray) -> np.ndarray:
    """Area means of blocks (y, x)."""
    y, x = (n // side for n in values.shape)
    total, area = (a.reshape(y, side, x, side).sum((1, 3)) for a in (values * areas, areas))
    return total / area


def batch_at(step: RandomScaleStep, hr: np.ndarray, scale: float) -> tuple[Any, ...]:
    """LR is twice the mean of HR, the static variable its negative."""
    lr = 2 * mean(hr, SCALE, AREAS)
    batch = (lr[None, ..., None], -hr[None, ..., None], hr[None, ..., None], AREAS[None, ..., None])
    middle = tf.fill((8,), 0.5)
    return step.at_scale(tuple(map(tf.constant, batch)), tf.constant(scale), tf.zeros(2), middle, middle)


@pytest.mark.parametrize(
    ("scale", "coarser", "side", "cells"),
    [
        (4.0, 1, 1, np.arange(1, 16, 2)),  # of 16 rows in 8 strata of 2: the second of each
        (2.0, 1, 2, np.arange(8)),  # targets of 2 × 2 HR cells
        (8.0, 2, 1, np.arange(1, 16, 2)),  # LR cells of 2 × 2 of those of the data
    ],
)
def test_lr_and_targets_are_area_means(step, scale, coarser, side, cells):
    hr = waves(1, 16, 16)[0] - 280
    inputs, (static, query), found, weights = (each for each in batch_at(step, hr, scale))
    at_lr = np.add.reduceat(AREAS, np.arange(0, 16, 4), axis=0)[:, ::4] / 4
    lr = mean(2 * mean(hr, SCALE, AREAS), coarser, at_lr)
    pooled = hr.reshape(4, 4, 4, 4).mean((1, 3))  # of static variables LR has plain means, as the network
    np.testing.assert_allclose(inputs[0, ..., 0], lr, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(inputs[0, ..., 1], -mean(pooled, coarser, at_lr), rtol=1e-4, atol=1e-5)
    chosen = np.ix_(cells, cells)
    np.testing.assert_allclose(found[0, ..., 0], mean(hr, side, AREAS)[chosen], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(static[0, ..., 0], -mean(hr, side, AREAS)[chosen], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(query[0, :, 0, 0], (cells + 0.5) / scale - 0.5, rtol=1e-5)
    np.testing.assert_allclose(query[0, 0, :, 1], (cells + 0.5) / scale - 0.5, rtol=1e-5)
    np.testing.assert_allclose(query[..., 2], 1 / scale)
    np.testing.assert_allclose(weights[0, :, 0, 0], mean(AREAS, side, np.ones_like(AREAS))[cells, 0], rtol=1e-5)


def test_a_fraction_of_a_cell_counts_by_its_share(step):
    # Scale 2.5: targets are 1.6 HR cells wide. The first takes row 0 and 0.6 of row 1, at areas of 1 and 16 / 15.
    rows = np.arange(16, dtype="f4")[:, None] * np.ones(16, "f4")
    _, (_, query), found, _ = batch_at(step, rows, 2.5)
    assert query[0, 0, 0, 0].numpy() == pytest.approx(0.5 / 2.5 - 0.5)
    assert found[0, 0, 0, 0].numpy() == pytest.approx(0.6 * 16 / 15 / (1 + 0.6 * 16 / 15), rel=1e-4)


def test_missing_cells_are_left_out_and_logarithms_are_not_averaged(step):
    hr = np.ones((16, 16), "f4")
    hr[0, 0], hr[:2, 2:4] = np.nan, np.nan
    hr[1, 1] = 4.0
    transform = ValueTransform(offset=0.5, divisor=2.0, reference=3.0)
    object.__setattr__(step.normalizer, "target", transform)
    found = batch_at(step, transform.forward(hr), 2.0)[2][0, ..., 0].numpy()
    # Of the first target three cells are left: 1 in row 0, 1 and 4 in row 1, of 16 / 15 the area.
    expected = (1 + 16 / 15 * (1 + 4)) / (1 + 2 * 16 / 15)
    np.testing.assert_allclose(transform.inverse(found[:1, :1]), expected, rtol=1e-5)
    assert np.isnan(found).tolist() == (np.arange(64) == 1).reshape(8, 8).tolist()


def test_a_step_draws_another_scale_and_the_same_when_taken_again(step):
    hr = waves(4, 16, 16)[..., None]
    batch = (hr.reshape(4, 4, 4, 4, 4, 1).mean((2, 4)), np.zeros((1, 16, 16, 1), "f4"), hr, AREAS[None, ..., None])
    batch = tuple(map(tf.constant, batch))
    first, again = (step.gradients(batch)[0] for _ in range(2))
    assert first == again
    losses = set()
    for number in range(8):
        step.optimizer.iterations.assign(number)
        losses.add(float(step.gradients(batch)[0]))
    assert len(losses) == 8  # other scales, or other points


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"model": {"upsampling": "spc"}}, "model.upsampling is spc"),
        ({"model": {"localized": True}}, "model.localized is true"),
        ({"model": {"constraint": "additive"}}, "model.constraint is additive"),
        ({"training": {"learning": "adversarial"}}, "training.learning is adversarial"),
        ({"training": {"loss": "dssim"}}, "training.loss is dssim"),
        ({"data": {"scale": 9}}, "leaves out data.scale 9"),
        ({"model": {"scales": [6, 2]}}, "expected two numbers"),
        ({"model": {"scales": [0.5, 2]}}, "expected two numbers"),
    ],
)
def test_what_does_not_go_with_scales_is_refused(changed, expected):
    with pytest.raises(SpecError, match=expected):
        spec_of(**changed)
