"""Flow matching: the loss by hand, the scale of both parts, and what it learns of a known distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.data.normalizer import fit_normalizer
from engine.data.pairs import Pairs
from engine.data.resample import interpolate
from engine.data.samples import Samples
from engine.evaluation.ensemble import fair_crps
from engine.evaluation.predict import Downscaler
from engine.models.residual_draws import SAMPLER
from engine.spec import Spec
from engine.training import assembly
from engine.training.loop import Training
from tests.engine.small_pairs import make_pairs, waves
from tests.engine.stop_and_resume import StopAfter
from tests.engine.training.small_training import SOLE_WORKER


def spec_of(model: dict[str, Any] | None = None, **training: Any) -> Spec:
    return Spec.from_plain(
        {
            "version": 1,
            "data": {"target": {"path": "hr.nc"}, "scale": 2},
            "model": {"n_filters": 4, "n_blocks": 1, **(model or {})},
            "training": {"learning": "flow-matching", "batch_size": 8, "warm_up": 0.0, **training},
        }
    )


def training_of(spec: Spec, pairs: Pairs, folder: Path) -> tuple[keras.Model, Training]:
    """Without a training of the mean before, which is the interpolated field then."""
    assembly.make_reproducible(spec)
    normalizer = fit_normalizer(pairs, spec.data.scaling)
    network = assembly.build_network(spec, pairs, normalizer)
    training = assembly.build_training(
        spec, SOLE_WORKER, network, pairs, normalizer, folder, lambda record: None, StopAfter(10_000)
    )
    training.step.prepare(training.train, training.validation.feed, training.shuffle)
    return network, training


def noisy(std: np.ndarray, steps: int = 64) -> Pairs:
    """HR is LR interpolated, a wave, plus noise of a standard deviation of its own in each cell (y, x)."""
    lr = waves(steps, *(side // 2 for side in std.shape))
    noise = std * np.random.default_rng(3).normal(size=(steps, *std.shape))
    return make_pairs(interpolate(lr, 2, "bicubic") + noise.astype("f4"), lr=lr)


def test_the_scale_is_that_of_the_residuals_of_both_parts(tmp_path):
    pairs = noisy(np.full((8, 8), 0.5))
    pairs.hr[40:48] = pairs.hr[40:48] + 3.0  # half of the validation part
    network, training = training_of(spec_of(), pairs, tmp_path)
    normalizer, areas = training.train.samples.normalizer, pairs.hr_grid.cell_areas()
    parts = pairs.parts.train, pairs.parts.validation
    for found, part in zip(network.get_layer(SAMPLER).scale.numpy(), parts, strict=True):
        error = pairs.hr.values[part] - interpolate(pairs.lr.values[part], 2, "bicubic")
        expected = np.sqrt(np.average((error**2).mean(0), weights=areas)) / normalizer.target.divisor
        assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("residual", [0.0, 2.0])
def test_the_loss_by_hand(tmp_path, residual):
    """Of a network that gives zero: the mean of ((1 - t) R - t N)² / (t² + (1 - t)²) over t is (R² + 1) / 2."""
    pairs = noisy(np.full((16, 16), 0.5))
    network, training = training_of(spec_of(), pairs, tmp_path)
    step, samples = training.step, training.train.samples
    step.sampler.network.get_layer("output").kernel.assign(
        tf.zeros_like(step.sampler.network.get_layer("output").kernel)
    )
    inputs, _ = samples.load(np.arange(32))
    static, weights = samples.static[None], samples.areas[None, ..., None]
    mean = step.predict(inputs, static, training=True)
    hr = mean + residual * network.get_layer(SAMPLER).scale[0]
    hr = tf.where(np.arange(16)[:, None] < 4, np.float32(np.nan), hr)  # four columns have no value
    losses = [float(step.gradients((inputs, static, hr, weights))[0]) for _ in range(2)]
    assert losses == pytest.approx([(residual**2 + 1) / 2] * 2, rel=0.08)  # of 6,144 cells
    assert losses[0] != losses[1]
    batch = inputs, static, hr, weights
    sums = [step.compare(batch, mean, training=False)[0].numpy() for _ in range(2)]
    assert sums[0] == sums[1]


def test_gradients_reach_every_weight_of_the_velocity_and_none_of_the_mean(tmp_path):
    network, training = training_of(spec_of(), noisy(np.full((8, 8), 0.5)), tmp_path)
    samples = training.train.samples
    inputs, hr = samples.load(np.arange(8))
    _, gradients = training.step.gradients((inputs, samples.static[None], hr, samples.areas[None, ..., None]))
    assert len(gradients) == len(network.trainable_variables) == len(training.step.trained.trainable_variables)
    assert all(np.isfinite(gradient).all() and np.any(gradient) for gradient in gradients)


def test_it_learns_how_far_residuals_spread_at_each_place(tmp_path):
    std = np.repeat([[0.3, 1.5]], 4, axis=1) * np.ones((8, 1))  # (y, x), K
    pairs = noisy(std, steps=256)
    spec = spec_of({"members": 16}, epochs=20, learning_rate=0.01, early_stopping=False)
    network, training = training_of(spec, pairs, tmp_path)
    before = [variable.numpy() for variable in network.get_layer("mean").variables]
    assert training.run()
    for variable, was in zip(network.get_layer("mean").variables, before, strict=True):
        np.testing.assert_array_equal(variable, was)
    samples = Samples.of(spec, pairs, training.train.samples.normalizer, pairs.parts.test)
    inputs, block = samples.read(np.arange(len(samples)))
    members = Downscaler.of([network], spec, samples).predict_members(samples, inputs)
    spread = members.std(axis=0, ddof=1).mean((0, 1))  # of each column
    np.testing.assert_allclose(spread[:4].mean(), 0.3, rtol=0.3)
    np.testing.assert_allclose(spread[4:].mean(), 1.5, rtol=0.15)
    noise = members - members.mean(axis=0)
    assert abs(np.corrcoef(noise[:, :, :, 5].ravel(), noise[:, :, :, 6].ravel())[0, 1]) < 0.2  # of each cell by itself
    assert fair_crps(members, block.hr).mean() < 0.9 * np.abs(members[0] - block.hr).mean()
