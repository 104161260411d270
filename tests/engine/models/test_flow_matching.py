"""The draw of flow matching: Heun's method by hand, cells without values, constraints, and tiles."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.data.normalizer import fit_normalizer
from engine.data.samples import Samples
from engine.evaluation.predict import Downscaler
from engine.models.architecture import count_parameters
from engine.models.blocks import drawn
from engine.models.receptive_field import Reach, reach
from engine.models.residual_draws import MEAN, SAMPLER
from engine.models.second_network import count_second, reach_of, second_network
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training import assembly
from tests.engine.models.draws_in_tiles import check_spread_in_tiles
from tests.engine.small_pairs import make_pairs, waves


def spec_of(data: dict[str, Any] | None = None, training: dict[str, Any] | None = None, **model: Any) -> Spec:
    plain = {
        "version": 1,
        "data": {"target": {"path": "hr.nc"}, "scale": 2, **(data or {})},
        "model": {"n_filters": 4, "n_blocks": 1, "localized": False, "members": 4, **model},
        "training": {"learning": "flow-matching", **(training or {})},
    }
    return Spec.from_plain(plain)


def lab(spec: Spec, hr: np.ndarray, **given: Any) -> tuple[keras.Model, Samples]:
    """An untrained network and the test part; its mean is the interpolated field."""
    assembly.make_reproducible(spec)
    pairs = make_pairs(hr, **given)
    normalizer = fit_normalizer(pairs, spec.data.scaling)
    network = assembly.build_network(spec, pairs, normalizer)
    return network, Samples.of(spec, pairs, normalizer, pairs.parts.test)


def without_velocity_network(network: keras.Model) -> keras.Model:
    """Noise stays noise."""
    for variable in network.get_layer(SAMPLER).network.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    return network


@pytest.mark.parametrize("steps", [1, 6])
def test_heuns_method_by_hand(steps):
    network, samples = lab(spec_of(sampling_steps=steps), waves(16, 16, 16))
    without_velocity_network(network).get_layer(SAMPLER).scale.assign([0.2, 0.5])
    inputs, _ = samples.load(np.arange(4))
    given = [inputs, samples.static[None]]
    mean = network(given, training=False).numpy()
    with drawn(network):
        first, second = (network(given, training=False).numpy() for _ in range(2))
    # dx/dt = (2t - 1) x / (t² + (1 - t)²) takes each number by the same factor.
    factor, step = 1.0, 1 / steps
    for t in np.arange(steps) / steps:
        slope = factor * (2 * t - 1) / (t**2 + (1 - t) ** 2)
        end, later = factor + step * slope, t + step
        factor += step / 2 * (slope + end * (2 * later - 1) / (later**2 + (1 - later) ** 2))
    for member in (first, second):  # 1,024 numbers: the standard error of their deviation is 2 %
        assert np.std(member - mean) == pytest.approx(0.5 * factor, rel=0.08)
        assert np.mean(member - mean) == pytest.approx(0, abs=0.06)
    assert abs(np.corrcoef((first - mean).ravel(), (second - mean).ravel())[0, 1]) < 0.15


def test_the_weights_of_the_second_network_by_hand():
    # Inputs: the first network's 3, the time, two fields of 2 × 2 cells; and 1 + 2 static variables, here as means.
    options, shape = second_network(spec_of().model, Shape(6, 8, 3, 1, 2), "flow-matching")
    assert (shape.channels, shape.static) == (12, 3)
    entry, block, stage = (9 * 15 + 1) * 4, 2 * 37 * 4, 37 * 16
    tail, output = (9 * 7 + 1) * 4, 37
    assert count_second(spec_of(), Shape(6, 8, 3, 1, 2)) == entry + block + stage + tail + output
    assert (options.residual, options.constraint) == (False, "none")
    # With pin both fields stand at HR alone.
    assert second_network(spec_of(upsampling="pin").model, Shape(6, 8, 3, 1, 2), "flow-matching")[1].channels == 4


@pytest.mark.parametrize("given", [{}, {"upsampling": "pin"}, {"localized": True, "constraint": "additive"}])
def test_the_network_has_the_weights_that_are_counted(given):
    spec = spec_of(**given)
    network, samples = lab(spec, waves(16, 8, 12), static=[waves(1, 8, 12)[0]])
    shape = Shape.of(samples)
    trainable, mean = network.trainable_variables, network.get_layer(MEAN)
    assert sum(int(np.prod(v.shape)) for v in trainable) == count_second(spec, shape)
    assert not mean.trainable_variables
    assert sum(int(np.prod(v.shape)) for v in mean.variables) == sum(count_parameters(spec.model, shape).values())


def test_what_stands_in_cells_without_a_value_changes_nothing():
    hr = waves(16, 8, 12)
    hr[:, :4, :6] = np.nan
    network, samples = lab(spec_of(), hr)
    sampler, (inputs, _) = network.get_layer(SAMPLER), samples.load(np.arange(2))
    fixed, mean = tf.constant(samples.static[None]), tf.zeros((2, 8, 12, 1))
    present = fixed[..., -1:] > 0
    assert (~present.numpy()).sum() == 24
    state = tf.random.stateless_normal((2, 8, 12, 1), [1, 2])
    other = tf.where(present, state, 5.0)
    found = [sampler.rotated(x, tf.constant([0.2, 0.7]), inputs, fixed, mean, present) for x in (state, other)]
    np.testing.assert_array_equal(*found)
    assert np.any(found[0] != sampler.rotated(state + 0.1, tf.constant([0.2, 0.7]), inputs, fixed, mean, present))


@pytest.mark.parametrize("form", ["additive", "multiplicative", "softmax"])
def test_each_member_holds_the_constraint(form):
    network, samples = lab(spec_of(constraint=form), waves(16, 8, 12))
    network.get_layer(SAMPLER).scale.assign([1.0, 1.0])
    inputs, block = samples.read(np.arange(4))
    members = Downscaler.of([network], spec_of(constraint=form), samples).predict_members(samples, inputs)
    assert members.std(axis=0).mean() > 0.3  # K
    areas = samples.areas.reshape(4, 2, 6, 2)
    means = (members.reshape(4, 4, 4, 2, 6, 2) * areas).sum((3, 5)) / areas.sum((1, 3))
    np.testing.assert_allclose(means, np.broadcast_to(block.lr, means.shape), rtol=1e-5)


def test_the_surroundings_of_a_tile_are_those_of_both_networks():
    shape = Shape(20, 20, 1, 0, 2)
    spec = spec_of(n_blocks=2)
    alone = [reach(spec.model, shape, "bicubic"), reach(*second_network(spec.model, shape, "flow-matching"), "bicubic")]
    assert reach_of(spec, shape, "bicubic") == Reach(alone[0].halo + alone[1].halo, 1)
    assert reach_of(spec.replace(training={"learning": "supervised"}), shape, "bicubic") == alone[0]
    assert reach_of(spec_of(attention=True), shape, "bicubic") is None


def test_members_in_tiles_have_the_spread_of_whole_fields(monkeypatch):
    spec = spec_of(sampling_steps=2, backbone="convnet")
    check_spread_in_tiles(spec, *lab(spec, waves(4, 80, 160)), monkeypatch, least=3)


def test_around_the_globe_the_velocity_has_no_seam():
    network, samples = lab(spec_of(), waves(8, 8, 24), is_global=True)
    assert samples.pairs.periodic
    sampler, (inputs, _) = network.get_layer(SAMPLER), samples.load(np.arange(1))
    fixed = np.ones((1, 8, 24, 1), "f4")
    state, mean = (np.random.default_rng(seed).normal(size=(1, 8, 24, 1)).astype("f4") for seed in (1, 2))

    def velocity(columns: int) -> np.ndarray:
        """Of fields that begin so many LR columns later."""
        at_lr, *at_hr = (
            np.roll(f, -n, axis=2) for f, n in ((inputs, columns), *((f, 2 * columns) for f in (state, mean)))
        )
        given = (at_lr, fixed, at_hr[1], tf.fill(fixed.shape, True))
        return np.roll(sampler.rotated(at_hr[0], tf.constant([0.5]), *given).numpy(), 2 * columns, axis=2)

    np.testing.assert_allclose(velocity(5), velocity(0), atol=1e-5)
