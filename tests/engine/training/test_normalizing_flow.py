"""Maximum likelihood of a normalizing flow: bits per value by hand, and what it learns of a known distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from engine.data.samples import Samples
from engine.evaluation.predict import Downscaler
from engine.models.residual_draws import SAMPLER
from engine.training.loop import Training
from tests.engine.training.test_flow_matching import noisy, spec_of, training_of

FLOW = {"learning": "normalizing-flow"}


def batch_of(training: Training, rows: np.ndarray) -> tuple[tf.Tensor, ...]:
    samples = training.train.samples
    inputs, hr = samples.load(rows)
    return inputs, samples.static[None], hr, samples.areas[None, ..., None]


@pytest.mark.parametrize("part", ["training", "validation"])
def test_bits_per_value_by_hand(tmp_path, part):
    """Of a flow that is the identity, log2 of a normal density with a part's own scale, over cells with a value."""
    network, training = training_of(spec_of(**FLOW), noisy(np.full((10, 14), 0.5)), tmp_path)
    step, is_training = training.step, part == "training"
    network.get_layer(SAMPLER).scale.assign([0.4, 0.7])
    inputs, static, hr, weights = batch_of(training, np.arange(8))
    hr = np.where(np.arange(10)[:, None, None] < 3, np.float32(np.nan), hr)
    mean = step.predict(inputs, static, training=True)
    bits, values = step.compare((inputs, static, hr, weights), mean, is_training)
    scale = 0.4 if is_training else 0.7
    error = (hr - mean.numpy())[:, 3:]
    expected = (error**2 / scale**2 / 2 + math.log(2 * math.pi * scale**2) / 2).sum() / math.log(2)
    assert values == 8 * 7 * 14
    assert bits.numpy() == pytest.approx(expected, rel=1e-5)


def test_gradients_reach_every_weight_of_the_flow_and_none_of_the_mean(tmp_path):
    network, training = training_of(spec_of(**FLOW), noisy(np.full((8, 8), 0.5)), tmp_path)
    for number, variable in enumerate(network.trainable_variables):  # convolutions that start at zero pass nothing on
        variable.assign(variable + 0.01 * tf.random.stateless_normal(variable.shape, [number, 1]))
    _, gradients = training.step.gradients(batch_of(training, np.arange(8)))
    assert len(gradients) == len(network.trainable_variables) == len(training.step.sampler.trainable_variables)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    # Of a mixing matrix of cells in blocks of 4 × 4, of context and couplings: each has an influence.
    assert all(np.any(gradient) for gradient in gradients)


def test_a_quantity_that_falls_to_zero_has_noise_in_training_alone(tmp_path):
    pairs = noisy(np.ones((8, 8)))
    pairs.hr[0, 0, 0] = 0.0  # K
    _, training = training_of(spec_of(**FLOW), pairs, tmp_path)
    batch = batch_of(training, np.arange(8))
    mean = training.step.predict(*batch[:2], training=True)
    for is_training, expected in ((True, 2), (False, 1)):
        found = {float(training.step.compare(batch, mean, is_training)[0]) for _ in range(2)}
        assert len(found) == expected


def correlated(steps: int) -> np.ndarray:
    """Noise (time, 8, 8) that is 0.3 K west and 1.5 K east, and alike in each two neighbouring rows."""
    rows = np.random.default_rng(3).normal(size=(steps, 4, 8)).repeat(2, axis=1)
    own = np.random.default_rng(4).normal(size=(steps, 8, 8))
    return np.repeat([0.3, 1.5], 4) * (math.sqrt(0.8) * rows + math.sqrt(0.2) * own)


def test_it_learns_how_far_residuals_spread_and_hang_together(tmp_path):
    spec = spec_of({"members": 16, "sampling_steps": 2}, epochs=20, learning_rate=0.01, early_stopping=False, **FLOW)
    pairs = noisy(np.zeros((8, 8)), steps=256)
    pairs.hr[:] = pairs.hr.values + correlated(256).astype("f4")
    network, training = training_of(spec, pairs, tmp_path)  # the mean is the interpolated field
    assert training.run()
    samples = Samples.of(spec, pairs, training.train.samples.normalizer, pairs.parts.test)
    inputs, _ = samples.read(np.arange(len(samples)))
    members = Downscaler.of([network], spec, samples).predict_members(samples, inputs)
    field = samples.normalizer.target.inverse(network([inputs, samples.static[None]], training=False).numpy()[..., 0])
    members = members - field
    spread = members.std(axis=(0, 1, 2))  # of each column
    np.testing.assert_allclose(spread[:4].mean(), 0.3, rtol=0.3)
    np.testing.assert_allclose(spread[4:].mean(), 1.5, rtol=0.15)
    first, second, third = (members[:, :, row, 4:].ravel() for row in (0, 1, 2))
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.8, abs=0.15)
    assert abs(np.corrcoef(second, third)[0, 1]) < 0.2
    # The density it gives HR is near the true one: a normal density of 32 pairs each of 0.3 K and of 1.5 K.
    divisor = training.train.samples.normalizer.target.divisor
    of_values = [math.log2(2 * math.pi * math.e * (s / divisor) ** 2) / 2 for s in (0.3, 1.5)]
    entropy = np.mean(of_values) + math.log2(1 - 0.8**2) / 4
    assert entropy - 0.05 < training.position.best < entropy + 0.35


def test_ranks_add_up_to_one_process(tmp_path):
    """Loss and values are sums over samples, which ranks add: no sample sees another, and none is drawn."""
    _, training = training_of(spec_of(**FLOW), noisy(np.full((8, 8), 0.5)), tmp_path)
    inputs, static, hr, weights = batch_of(training, np.arange(8))
    hr[5, :4] = np.nan  # the ranks have unlike numbers of cells

    def sums(rows: slice) -> np.ndarray:
        batch = inputs[rows], static, hr[rows], weights
        return np.array(training.step.compare(batch, training.step.predict(*batch[:2], training=True), True))

    np.testing.assert_allclose(sums(slice(0, 4)) + sums(slice(4, 8)), sums(slice(0, 8)), rtol=1e-5)
