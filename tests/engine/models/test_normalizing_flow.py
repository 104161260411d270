"""The normalizing flow: its inverse, its determinant against a numerical one, cells without values, and tiles."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.data.normalizer import fit_normalizer
from engine.data.samples import Samples
from engine.evaluation.predict import Downscaler
from engine.models.normalizing_flow import Flow
from engine.models.receptive_field import Reach, reach
from engine.models.residual_draws import MEAN, SAMPLER
from engine.models.second_network import CONTEXT, count_couplings, count_second, reach_of, second_network
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training import assembly
from tests.engine.models.draws_in_tiles import check_spread_in_tiles
from tests.engine.small_pairs import make_pairs, waves


def spec_of(data: dict[str, Any] | None = None, **model: Any) -> Spec:
    return Spec.from_plain(
        {
            "version": 1,
            "data": {"target": {"path": "hr.nc"}, "scale": 2, **(data or {})},
            "model": {"n_filters": 4, "n_blocks": 1, "localized": False, "members": 4, "sampling_steps": 1, **model},
            "training": {"learning": "normalizing-flow"},
        }
    )


def lab(spec: Spec, hr: np.ndarray, **given: Any) -> tuple[keras.Model, Samples]:
    """A network whose couplings are at random, and the test part; its mean is the interpolated field."""
    assembly.make_reproducible(spec)
    pairs = make_pairs(hr, scale=spec.data.scale, **given)
    normalizer = fit_normalizer(pairs, spec.data.scaling)
    network = assembly.build_network(spec, pairs, normalizer)
    shaken(network.get_layer(SAMPLER).flow)
    return network, Samples.of(spec, pairs, normalizer, pairs.parts.test)


def shaken(flow: Flow) -> Flow:
    for number, variable in enumerate(flow.trainable_variables):
        variable.assign(variable + 0.1 * tf.random.stateless_normal(variable.shape, [number, 7]))
    return flow


def flow_of(y: int, x: int, steps: int = 2, around: int | None = None) -> Flow:
    keras.utils.set_random_seed(0)
    flow = Flow(steps, 5, around, dtype="float32", name="flow")
    flow.build((None, y, x, 1))
    return shaken(flow)


def fields_of(y: int, x: int, samples: int = 2) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(5)
    return tuple(tf.constant(rng.normal(size=(samples, y, x, n)).astype("f4")) for n in (1, CONTEXT))


def gaps(y: int, x: int, *missing: tuple[int, int]) -> np.ndarray:
    mask = np.ones((1, y, x, 1), bool)
    for cell in missing:
        mask[(0, *cell)] = False
    return mask


@pytest.mark.parametrize(
    ("sides", "missing", "around"),
    [((8, 8), [], None), ((5, 7), [], None), ((4, 9), [(0, 0), (2, 5), (3, 5)], None), ((4, 8), [], 8)],
    ids=["whole blocks", "odd sides", "gaps", "around the globe"],
)
def test_the_determinant_is_that_of_the_numerical_jacobian(sides, missing, around):
    flow, (field, context) = flow_of(*sides, around=around), fields_of(*sides, samples=1)
    mask = gaps(*sides, *missing)
    cells = np.flatnonzero(mask)

    def noise(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(flow.to_noise(values, tf.constant(mask), context)[0], [-1])

    with tf.GradientTape() as tape:
        tape.watch(field)
        found = noise(field)
    jacobian = tape.jacobian(found, field).numpy().reshape(mask.size, mask.size)
    cell = int(cells[3])
    step = tf.reshape(tf.one_hot(cell, mask.size) * 0.001, field.shape)  # few kinks of relu within
    numerical = (noise(field + step) - noise(field - step)) / 0.002
    np.testing.assert_allclose(numerical, jacobian[:, cell], atol=0.01 * np.abs(jacobian[:, cell]).max())
    sign, expected = np.linalg.slogdet(jacobian[np.ix_(cells, cells)].astype("f8"))
    determinant = flow.to_noise(field, tf.constant(mask), context)[1].numpy()[0]
    assert sign == 1
    assert determinant == pytest.approx(expected, abs=1e-3)
    assert abs(expected) > 0.5  # it isn't the identity
    gone = np.setdiff1d(np.arange(mask.size), cells)
    assert not jacobian[gone].any()
    assert not jacobian[:, gone].any()
    back = flow.from_noise(tf.reshape(found, field.shape), tf.constant(mask), context)
    np.testing.assert_allclose(back, np.where(mask, field, 0.0), atol=2e-4)
    assert np.abs(found.numpy()[cells] - field.numpy().ravel()[cells]).mean() > 0.1


def test_without_training_noise_stays_noise():
    flow = Flow(2, 5, None, dtype="float32", name="flow")
    flow.build((None, 8, 8, 1))
    field, context = fields_of(8, 8)
    noise, determinant = flow.to_noise(field, tf.ones_like(field, bool), context)
    # The mixing matrices are 1, and all last weights 0.
    np.testing.assert_allclose(noise, field, atol=1e-6)
    np.testing.assert_array_equal(determinant, 0.0)


def test_around_the_globe_a_flow_has_no_seam():
    flow, (field, context) = flow_of(4, 16, around=16), fields_of(4, 16)
    mask = tf.ones_like(field, bool)
    expected = flow.to_noise(field, mask, context)[0]
    rolled = flow.to_noise(*(tf.roll(each, 4, axis=2) for each in (field, mask, context)))[0]  # a whole block
    np.testing.assert_allclose(rolled, tf.roll(expected, 4, axis=2), atol=1e-5)


@pytest.mark.parametrize("given", [{}, {"upsampling": "pin"}, {"localized": True, "constraint": "additive"}])
def test_the_weights_are_those_that_are_counted(given):
    spec = spec_of(**given)
    network, samples = lab(spec, waves(16, 8, 12), static=[waves(1, 8, 12)[0]])
    shape = Shape.of(samples)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == count_second(spec, shape)
    # By hand: 4 channels and the context's 16 beside 2 of 4, and beside 8 of 16 those of 4 × 4 cells, 64; matrices.
    of_steps = [9 * 18 * 4 + 4 + 9 * 4 * 4 + 4 + 4 * 4, 9 * 72 * 4 + 4 + 9 * 4 * 16 + 16 + 16 * 16]
    assert count_couplings(spec) == (CONTEXT + 1) * 2 + sum(of_steps)
    assert not network.get_layer(MEAN).trainable_variables


@pytest.mark.parametrize("scale", [2, 3])
def test_members_are_drawn_where_the_field_is(scale):
    spec = spec_of({"scale": scale})
    hr = waves(16, 5 * scale, 7 * scale)
    hr[:, :3, :5] = np.nan
    network, samples = lab(spec, hr)
    network.get_layer(SAMPLER).scale.assign([1.0, 0.5])
    inputs, block = samples.read(np.arange(4))
    downscaler = Downscaler.of([network], spec, samples)
    members = downscaler.predict_members(samples, inputs)
    np.testing.assert_array_equal(np.isnan(members), np.broadcast_to(np.isnan(block.hr), members.shape))
    assert np.nanmean(members.std(axis=0)) > 0.1  # K
    again = downscaler.predict_members(samples, inputs)
    assert np.any(again[np.isfinite(again)] != members[np.isfinite(again)])


def test_each_member_holds_the_constraint():
    spec = spec_of(constraint="additive")
    network, samples = lab(spec, waves(16, 8, 12))
    network.get_layer(SAMPLER).scale.assign([1.0, 1.0])
    inputs, block = samples.read(np.arange(4))
    members = Downscaler.of([network], spec, samples).predict_members(samples, inputs)
    assert members.std(axis=0).mean() > 0.3  # K
    areas = samples.areas.reshape(4, 2, 6, 2)
    means = (members.reshape(4, 4, 4, 2, 6, 2) * areas).sum((3, 5)) / areas.sum((1, 3))
    np.testing.assert_allclose(means, np.broadcast_to(block.lr, means.shape), rtol=1e-5)


def test_tiles_begin_with_a_block_and_have_all_that_couplings_see():
    shape, spec = Shape(20, 20, 1, 0, 2), spec_of()
    alone = [reach(*each, "bicubic") for each in ((spec.model, shape), second_network(spec.model, shape, LEARNING))]
    # Two convolutions in each coupling, of 2 × 2 and of 4 × 4 cells, and up to 3 cells beside within a block: 15 of HR.
    assert reach_of(spec, shape, "bicubic") == Reach(alone[0].halo + alone[1].halo + 8, 2)


def test_members_in_tiles_have_the_spread_of_whole_fields(monkeypatch):
    spec = spec_of(backbone="convnet")
    check_spread_in_tiles(spec, *lab(spec, waves(4, 80, 160)), monkeypatch, least=2)


LEARNING = "normalizing-flow"
