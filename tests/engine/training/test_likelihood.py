"""Bernoulli–gamma: against SciPy's distribution, and what networks make of it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import gamma

from engine.data.normalizer import Normalizer, ValueTransform, fit_normalizer
from engine.data.resample import interpolate
from engine.data.samples import Samples
from engine.errors import DataError, SpecError
from engine.evaluation.predict import Downscaler
from engine.models.architecture import count_parameters
from engine.models.compatibility import check_field
from engine.models.likelihood import TRACE, BernoulliGamma, minus_log_likelihood
from engine.models.network import Output, bound_of, build
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training.feed import Feed
from engine.training.losses import Loss, weighted_sum
from engine.training.supervised import Step
from engine.training.workers import Workers
from tests.engine.small_pairs import make_pairs, waves

NAN = np.nan


def parameters(p: float, shape: float, scale: float) -> np.ndarray:
    """(1, 1, 1, 3): logit of p, log of the mean amount, log of the shape"""
    return np.array([np.log(p / (1 - p)), np.log(shape * scale), np.log(shape)], "f4").reshape(1, 1, 1, 3)


@pytest.mark.parametrize(("p", "shape", "scale"), [(0.3, 0.7, 2.0), (0.9, 4.0, 0.1), (0.01, 1.0, 30.0)])
@pytest.mark.parametrize("amount", [0.01, 0.8, 40.0])
def test_the_likelihood_of_rain_is_that_of_scipy(p, shape, scale, amount):
    found = minus_log_likelihood(tf.fill((1, 1, 1, 1), amount), parameters(p, shape, scale))
    assert float(found[0, 0, 0, 0]) == pytest.approx(-np.log(p) - gamma.logpdf(amount, shape, scale=scale), rel=1e-4)


@pytest.mark.parametrize("amount", [0.0, 0.5 * TRACE, -1e-7])
def test_the_likelihood_of_no_rain_is_what_is_left(amount):
    found = minus_log_likelihood(tf.fill((1, 1, 1, 1), amount), parameters(0.3, 0.7, 2.0))
    assert float(found[0, 0, 0, 0]) == pytest.approx(-np.log(0.7), rel=1e-5)


@pytest.mark.parametrize("target", [ValueTransform(), ValueTransform(0.5, 2.0), ValueTransform(0.3, 1.2, 0.5)])
def test_the_field_is_the_mean_of_the_distribution(target):
    """p · shape · scale in units of the mean, 0.5 here, and scaled as HR is; without a base amounts begin at 2."""
    p, amount = 0.25, 6.0
    raw = np.array([np.log(p / (1 - p)), np.log(amount / 2), 0.3], "f4").reshape(1, 1, 1, 3)
    found = BernoulliGamma(target, 0.5)([tf.constant(raw)]).numpy().ravel()
    np.testing.assert_allclose(target.inverse(found[:1]), 0.5 * p * amount, rtol=1e-5)
    np.testing.assert_allclose(found[1:], [np.log(p / (1 - p)), np.log(amount), 0.3], rtol=1e-5)


def test_training_finds_the_distribution_that_amounts_are_drawn_from():
    """The most likely one, as SciPy fits it to the draws that aren't dry."""
    rng = np.random.default_rng(0)
    drawn = np.where(rng.uniform(size=20_000) < 0.3, rng.gamma(0.7, 2.0, 20_000), 0.0).astype("f4")
    raw, optimizer = tf.Variable(tf.zeros((1, 1, 1, 3))), keras.optimizers.Adam(0.05)
    layer, loss = BernoulliGamma(ValueTransform(), 1.0), Loss("bernoulli_gamma")
    hr, weights = drawn.reshape(1, -1, 1, 1), tf.ones((1, 1, 1, 1))

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            downscaled = tf.broadcast_to(layer([raw]), (1, hr.size, 1, 4))
            total, weight = weighted_sum(loss, tf.constant(hr), downscaled, weights)
            mean = total / weight
        optimizer.apply([tape.gradient(mean, raw)], [raw])

    for _ in range(300):
        step()
    field, logit, amount, shape = layer([raw]).numpy().ravel()
    wet = drawn[drawn > TRACE]
    fitted_shape, _, fitted_scale = gamma.fit(wet, floc=0)
    assert 1 / (1 + np.exp(-logit)) == pytest.approx(wet.size / drawn.size, rel=1e-2)
    assert np.exp(shape) == pytest.approx(fitted_shape, rel=1e-2)
    assert np.exp(amount - shape) == pytest.approx(fitted_scale, rel=1e-2)
    assert field == pytest.approx(drawn.mean(), rel=1e-2)


def test_gradients_are_finite_whatever_the_network_says():
    rng = np.random.default_rng(0)
    hr = np.maximum(rng.normal(size=(2, 6, 6, 1)), 0).astype("f4")
    hr[0, 2:4], hr[1, 0, 0] = NAN, 1e4
    for size in (0.0, 1.0, 30.0, 1e4):
        raw = tf.Variable(size * rng.normal(size=(2, 6, 6, 3)).astype("f4"))
        with tf.GradientTape() as tape:
            downscaled = BernoulliGamma(ValueTransform(0.4, 0.6), 0.4)([raw, tf.zeros((2, 6, 6, 1))])
            total, _ = weighted_sum(
                Loss("bernoulli_gamma", target=ValueTransform(0.4, 0.6), mean=0.4),
                hr,
                downscaled,
                tf.ones((1, 6, 6, 1)),
            )
        gradient = tape.gradient(total, raw).numpy()
        assert np.isfinite(float(total))
        assert np.isfinite(gradient).all()
        assert not gradient[np.isnan(hr[..., 0])].any()


def rain(n: int = 16, ny: int = 8, nx: int = 8) -> np.ndarray:
    """(time, y, x): dry in more than half of the cells, with a sea without values."""
    values = np.maximum(np.exp(2 * (waves(n, ny, nx) - 280.5)) - 2, 0).astype("f4")
    values[:, 5:, 5:] = NAN
    return values


def spec_of(scaling: str = "standard", **model: Any) -> Spec:
    return Spec.from_plain(
        {
            "version": 1,
            "data": {"target": {"path": "hr.nc"}, "scale": 2, "scaling": scaling},
            "model": {"n_filters": 4, "n_blocks": 1, **model},
            "training": {"loss": "bernoulli_gamma", "batch_size": 4, "epochs": 20, "learning_rate": 0.02},
        }
    )


def lab(spec: Spec) -> tuple[keras.Model, Samples, Shape]:
    pairs = make_pairs(rain(), standard_name="precipitation_flux")
    normalizer = fit_normalizer(pairs, spec.data.scaling)
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.train)
    shape = Shape(*pairs.lr_grid.shape, samples.channels, 0, 2, outputs=3)
    keras.utils.set_random_seed(0)
    return build(spec.model, shape, Output.of(spec.model, normalizer, "bicubic")), samples, shape


@pytest.mark.parametrize("localized", [True, False])
def test_three_outputs_have_as_many_weights_as_counted(localized):
    spec = spec_of(localized=localized)
    network, _, shape = lab(spec)
    assert network.output_shape[-1] == 4
    counted = count_parameters(spec.model, shape)
    assert sum(v.numpy().size for v in network.trainable_variables) == sum(counted.values())
    assert counted["output"] == (9 * 4 + 1) * 3
    assert counted["localized"] == (8 * 8 * (4 + 1) * 3 if localized else 0)


@pytest.mark.parametrize("scaling", ["standard", "minmax", "none", "log"])
def test_a_residual_network_starts_as_the_interpolated_field(scaling):
    spec = spec_of(scaling)
    network, samples, _ = lab(spec)
    inputs, _ = samples.load(np.arange(4))
    expected = np.maximum(
        samples.normalizer.target.inverse(interpolate(inputs[..., 0], 2, "bicubic")), 1e-3 * samples.normalizer.mean
    )
    found = samples.normalizer.target.inverse(network([inputs, samples.static[None]])[..., 0].numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("model", [{}, {"residual": False}, {"localized": False, "constraint": "multiplicative"}])
@pytest.mark.parametrize("scaling", ["standard", "log"])
def test_a_network_learns_and_its_field_is_never_negative(scaling, model):
    spec = spec_of(scaling, **model)
    network, samples, _ = lab(spec)
    step = Step(network, spec.training, 80, Workers(0, 1), samples.normalizer)
    plans = np.pad(np.random.default_rng(0).integers(0, 8, (80, 4, 1)), ((0, 0), (0, 0), (0, 2))).astype(np.int32)
    batches = iter(Feed(samples, True).stream(lambda: iter([plans])))
    first, *_, last = (float(tf.squeeze(step.run(batches, tf.constant(8)))) for _ in range(9))
    assert last < first - 0.05
    loss, weight, squares, cells = step.validate(batches, tf.constant(1)).numpy()
    assert np.isfinite(loss / weight)
    inputs, hr = samples.load(np.arange(4))
    assert 0 < squares / cells < 4 * np.nanvar(samples.normalizer.target.inverse(hr))
    field = Downscaler((network,), bound_of(spec.model, samples.normalizer))(samples, inputs)
    assert np.nanmin(field) >= 0
    assert np.isfinite(field).sum() == 4 * samples.normalizer.mask.sum()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"output_activation": "linear"}, "output_activation is linear.*=auto"),
        ({"constraint": "softmax"}, "constraint is softmax.*constraint=multiplicative"),
        ({"constraint": "additive"}, "constraint is additive.*constraint=multiplicative"),
    ],
)
def test_what_the_distribution_does_not_go_with_is_refused(model, words):
    with pytest.raises(SpecError, match=words):
        spec_of(**model)


def test_fields_below_zero_are_refused():
    with pytest.raises(DataError, match="falls to -3.*training.loss bernoulli_gamma.*choose mae"):
        check_field(spec_of(), make_pairs(waves()), -3.0)
    check_field(spec_of(), make_pairs(waves()), 0.0)


def test_the_loss_knows_the_unit():
    normalizer = Normalizer(
        ValueTransform(10.0, 4.0), (), (), 1.0, 2.0, 22.0, True, np.ones((2, 2), bool), False, False, mean=7.0
    )
    loss = Loss.of(spec_of().training, normalizer)
    assert (loss.target, loss.mean) == (ValueTransform(10.0, 4.0), 7.0)
