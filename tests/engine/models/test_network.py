"""Whole networks: as many weights as counted on paper, and what the field is when they are zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.data.normalizer import Normalizer, ValueTransform
from engine.data.resample import interpolate
from engine.errors import SpecError
from engine.models.architecture import count_parameters
from engine.models.blocks import Noise, drawn
from engine.models.network import Output, bound_of, build, scaled_zero
from engine.models.shapes import Shape
from engine.spec import INSEPARABLE, ModelOptions
from tests.engine.network_combinations import COMBINATIONS, SPATIAL, SPATIO_TEMPORAL, UPSAMPLINGS

PLAIN = Output("bicubic", residual_std=1.0, zero=0.0, bound="linear")
VARIANTS: list[dict[str, Any]] = [
    {},
    {"attention": True, "normalization": "batch", "n_blocks": 2, "n_filters": 16},  # 4 units weigh the channels
    {"normalization": "layer", "residual": False, "dropout_rate": 0.2, "dropout_variant": "mc_spatial"},
    {"localized": True, "n_filters": 3},
    {"noise": 3},
    {"separable": True, "normalization": "batch"},
]

VARIED = [
    pytest.param(combination, given, id=f"{combination} {given}", marks=[pytest.mark.slow] if given else [])
    for given in VARIANTS
    for combination in COMBINATIONS
    if not (given.get("separable") and combination.backbone in INSEPARABLE)
]


def options(**given: Any) -> ModelOptions:
    return ModelOptions(**{"n_filters": 6, "n_blocks": 1, "localized": False, **given})


def network(given: dict[str, Any], shape: Shape, output: Output = PLAIN) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build(options(**given), shape, output)


def inputs_for(shape: Shape, samples: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    static = rng.normal(size=(1, *shape.hr, shape.static))
    return [rng.normal(size=(samples, shape.y_lr, shape.x_lr, shape.channels)).astype("f4"), static.astype("f4")]


def shake(model: keras.Model) -> keras.Model:
    """Random numbers for weights that start at zero, so that they hide nothing."""
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        if not np.any(variable.numpy()):
            variable.assign(0.3 * rng.normal(size=variable.shape))
    return model


@pytest.mark.parametrize("scale", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_scales(scale, upsampling):
    shape = Shape(2, 3, 1, 1, scale)
    given = {"upsampling": upsampling, "n_filters": 8, "localized": True}
    model = network(given, shape)
    assert model.output_shape == (None, 2 * scale, 3 * scale, 1)
    assert model(inputs_for(shape)).shape == (2, 2 * scale, 3 * scale, 1)
    assert sum(v.numpy().size for v in model.trainable_variables) == sum(
        count_parameters(options(**given), shape).values()
    )


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_a_residual_network_starts_as_the_interpolated_field(kernel):
    shape = Shape(5, 4, 3, 1, 3)
    model = network({"localized": True}, shape, Output(kernel, 0.7, 0.0, "linear"))
    inputs, static = inputs_for(shape)
    expected = interpolate(inputs[..., 0], 3, kernel)  # of the first channel, LR at the own step
    np.testing.assert_allclose(model([inputs, static])[..., 0], expected, rtol=1e-5, atol=1e-6)


def test_what_a_residual_network_adds_is_scaled_by_the_residual_std():
    shape = Shape(3, 4, 1, 0, 2)
    model = network({}, shape, Output("bilinear", 0.25, 0.0, "linear"))
    model.get_layer("output").bias.assign([2.0])
    inputs, static = inputs_for(shape)
    expected = interpolate(inputs[..., 0], 2, "bilinear") + 0.25 * 2.0
    np.testing.assert_allclose(model([inputs, static])[..., 0], expected, rtol=1e-5, atol=1e-6)


def test_a_network_that_is_not_residual_starts_elsewhere():
    shape = Shape(3, 4, 1, 0, 2)
    model = network({"residual": False}, shape)
    inputs, static = inputs_for(shape)
    assert model([inputs, static]).numpy().any()
    model.get_layer("output").set_weights([np.zeros((3, 3, 4, 1)), np.float32([1.5])])
    assert (model([inputs, static]).numpy() == 1.5).all()


def test_a_network_without_localized_block_takes_fields_of_any_sides():
    """Cells whose neighbourhood lies in a crop have the same value in the crop and in the whole."""
    shape = Shape(20, 20, 1, 0, 2)
    model = shake(network({"residual": False}, shape))
    inputs, static = inputs_for(shape, 1)
    whole = model([inputs, static]).numpy()
    crop = model([inputs[:, 3:17, 5:16], static[:, 6:34, 10:32]]).numpy()
    assert crop.shape == (1, 28, 22, 1)
    # At LR 4 convolutions (entry, two of the block, stage), at HR 2 (tail, output): 4 × 2 + 2 = 10 HR cells.
    np.testing.assert_allclose(crop[:, 10:-10, 10:-10], whole[:, 16:24, 20:22], rtol=1e-4, atol=1e-5)
    assert not np.allclose(crop[:, 0, 10:-10], whole[:, 6, 20:22], rtol=1e-4)  # at the border they differ


def test_a_localized_network_is_bound_to_its_grid():
    model = network({"localized": True}, Shape(3, 4, 1, 0, 2))
    with pytest.raises(ValueError, match=r"expected shape=\(None, 3, 4, 1\)"):
        model(inputs_for(Shape(4, 4, 1, 0, 2)))


def test_noise_makes_members_and_adds_weights_by_paper():
    """Three channels more for the 3 × 3 kernels of the entry's 6 filters.

    Draws from one state are those of the rank; a prediction that isn't drawn has none.
    """
    shape = Shape(4, 5, 2, 1, 2)
    plain, noisy = network({}, shape), shake(network({"noise": 3}, shape))
    assert noisy.count_params() - plain.count_params() == 9 * 3 * 6
    inputs = inputs_for(shape, 1)
    states = [layer.seed_generator.state for layer in noisy.layers if isinstance(layer, Noise)]
    begin = [state.numpy() for state in states]

    def member(rank: int) -> np.ndarray:
        for state, value in zip(states, begin, strict=True):
            state.assign(value)
        for layer in noisy.layers:
            layer.rank = rank
        with drawn(noisy):
            return noisy(inputs).numpy()

    np.testing.assert_array_equal(member(0), member(0))
    assert np.abs(member(0) - member(1)).mean() > 0.1
    np.testing.assert_array_equal(noisy(inputs), noisy(inputs))
    with drawn(noisy):
        assert np.abs(noisy(inputs) - noisy(inputs)).mean() > 0.1


def test_there_are_36_spatial_and_30_spatio_temporal_networks():
    assert (len(SPATIAL), len(SPATIO_TEMPORAL)) == (36, 30)


@pytest.mark.parametrize("combination", SPATIO_TEMPORAL, ids=str)
def test_a_recurrent_network_sees_each_step_and_knows_which_is_its_own(combination):
    """With the recurrence silent the prediction is that of the own step alone, with the same weights; without, steps
    the same number of steps before and after tell different things."""
    shape = replace(combination, window=5).shape(3, 4, fields=1, static=1, scale=2)
    model = shake(network({**combination.model, "residual": False}, shape))
    inputs, static = inputs_for(shape, 1)
    seen = model([inputs, static]).numpy()
    for step in range(5):
        assert not np.allclose(seen, model([inputs + np.float32(np.arange(5) == step), static]), rtol=1e-4)
    mirrored = inputs[..., [0, 4, 3, 2, 1]]  # own step, then the first, second, fourth and fifth
    assert not np.allclose(seen, model([mirrored, static]), rtol=1e-4)
    model.get_layer("recurrence_join").set_weights([np.zeros((1, 1, 8, 6)), np.zeros(6)])
    alone = network({**combination.model, "residual": False}, replace(shape, channels=1, window=1))
    rest = [v for v in model.trainable_variables if "recurrence" not in v.path]
    for mine, other in zip(alone.trainable_variables, rest, strict=True):
        mine.assign(other)
    np.testing.assert_allclose(model([inputs, static]), alone([inputs[..., :1], static]), rtol=1e-4, atol=1e-5)


def test_a_recurrent_network_does_not_shift_its_prediction():
    """Where HR is made of the own step alone, the network learns that the other steps tell nothing."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(64, 4, 4, 3)).astype("f4")  # own, before, after: nothing in one tells of another
    hr = np.repeat(np.repeat(np.tanh(2 * steps[..., :1]), 2, axis=1), 2, axis=2)
    shape = Shape(4, 4, 3, 0, 2, window=3)
    model = network({"n_filters": 8, "residual": False}, shape)
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
    x, static = tf.constant(steps), tf.zeros((64, 8, 8, 0))
    model.fit([x, static], hr, epochs=30, batch_size=16, verbose=0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        field = model([x, static])
    gradient = np.abs(tape.gradient(field, x)).mean(axis=(0, 1, 2))
    assert gradient[0] > 3 * gradient[1:].max()
    assert np.mean((field - hr) ** 2) < 0.5 * np.var(hr)


def test_the_first_channel_of_a_window_is_the_base_of_a_residual_network():
    shape = Shape(3, 4, 6, 0, 2, window=3, fields=2)
    inputs, static = inputs_for(shape)
    field = network({}, shape)([inputs, static])
    np.testing.assert_allclose(field[..., 0], interpolate(inputs[..., 0], 2, "bicubic"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("upsampling", ["spc", "rc", "dc"])
def test_a_unet_works_at_hr_alone(upsampling):
    with pytest.raises(SpecError, match="set model.upsampling=pin, or model.backbone=resnet"):
        options(backbone="unet", upsampling=upsampling)


@pytest.mark.parametrize(("y", "x"), [(5, 7), (2, 2), (1, 3)])
def test_a_unet_takes_odd_sides(y, x):
    shape = Shape(y, x, 1, 0, 3)
    model = network({"backbone": "unet", "upsampling": "pin", "n_blocks": 4}, shape)
    assert model(inputs_for(shape)).shape == (2, 3 * y, 3 * x, 1)


@pytest.mark.parametrize(("combination", "given"), VARIED)
def test_there_are_as_many_weights_as_counted_and_gradients_are_finite_and_reach_each(combination, given):
    shape = combination.shape(4, 6, fields=2, static=2, scale=2, known=1)
    model = shake(network({**combination.model, **given}, shape))
    counted = count_parameters(options(**combination.model, **given), shape)
    assert sum(v.numpy().size for v in model.trainable_variables) == sum(counted.values())
    inputs, static = inputs_for(shape, 4)
    hr = np.random.default_rng(2).normal(size=(4, 8, 12, 1)).astype("f4")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model([inputs, static], training=True) - hr) ** 2)
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.any(gradient), variable.path


def test_each_input_and_each_static_variable_counts():
    shape = Shape(4, 4, 3, 2, 2)
    model = shake(network({}, shape))
    inputs, static = inputs_for(shape, 1)
    before = model([inputs, static]).numpy()
    for channel in range(3):
        other = inputs.copy()
        other[..., channel] += 1
        assert not np.allclose(model([other, static]), before)
    for variable in range(2):
        other = static.copy()
        other[..., variable] += 1
        assert not np.allclose(model([inputs, other]), before)


def test_static_variables_reach_the_network_at_lr_and_at_hr():
    shape = Shape(3, 3, 1, 1, 2)
    model = network({}, shape)
    inputs, static = inputs_for(shape)
    at_lr = keras.Model(model.inputs, model.get_layer("inputs_and_static").output)
    expected = static.reshape(3, 2, 3, 2).mean(axis=(1, 3))  # means of 2 × 2 cells
    np.testing.assert_allclose(at_lr([inputs, static])[..., 1], np.stack([expected] * 2), rtol=1e-5, atol=1e-6)
    at_hr = keras.Model(model.inputs, model.get_layer("hr_and_static").output)
    np.testing.assert_array_equal(at_hr([inputs, static])[..., -1], np.repeat(static[..., 0], 2, axis=0))


def test_static_variables_may_differ_from_sample_to_sample():
    shape = Shape(3, 3, 1, 1, 2)
    model = shake(network({}, shape))
    inputs, static = inputs_for(shape)
    each = np.concatenate([static, static + 1])
    together = model([inputs, each]).numpy()
    np.testing.assert_allclose(together[:1], model([inputs[:1], each[:1]]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(together[1:], model([inputs[1:], each[1:]]), rtol=1e-4, atol=1e-6)


def test_a_bounded_network_has_nothing_below_zero():
    shape = Shape(3, 4, 1, 0, 2)
    inputs, static = inputs_for(shape)
    free = network({}, shape)([inputs, static]).numpy()
    assert free.min() < -0.4 < free.max()
    bounded = network({}, shape, Output("bicubic", 1.0, -0.4, "relu"))([inputs, static]).numpy()
    np.testing.assert_allclose(bounded, np.maximum(free, -0.4), rtol=1e-5, atol=1e-6)
    assert bounded.min() == np.float32(-0.4)
    soft = network({}, shape, Output("bicubic", 1.0, -0.4, "softplus"))([inputs, static]).numpy()
    np.testing.assert_allclose(soft, -0.4 + np.log1p(np.exp(free + 0.4)), rtol=1e-4, atol=1e-5)


def normalizer(**given: Any) -> Normalizer:
    plain = {"predictors": (), "static": (), "residual_std": 0.3, "hr_min": 0.0, "hr_max": 9.0, "is_nonnegative": False}
    plain |= {"mask": np.ones((2, 2), bool), "hr_has_gaps": False, "lr_has_gaps": False}
    return Normalizer(**{"target": ValueTransform(4.0, 2.0), **plain, **given})


@pytest.mark.parametrize(
    ("given", "is_nonnegative", "bound"),
    [
        ("auto", True, "relu"),
        ("auto", False, "linear"),
        ("linear", True, "linear"),
        ("relu", False, "relu"),
        ("softplus", False, "softplus"),
    ],
)
def test_the_bound_of_the_output(given, is_nonnegative, bound):
    assert bound_of(options(output_activation=given), normalizer(is_nonnegative=is_nonnegative)) == bound


def test_the_end_of_the_network_knows_the_scaling():
    # Zero in the target's unit is (0 - 4) / 2 when scaled.
    output = Output.of(options(), normalizer(is_nonnegative=True), "lanczos")
    assert output == Output("lanczos", 0.3, -2.0, "relu", ValueTransform(4.0, 2.0), mean=1.0)
    log = normalizer(target=ValueTransform(0.5, 0.25, reference=3.0))  # log(1 + 0 / 3) = 0
    assert scaled_zero(log) == -2.0
    assert log.target.forward(np.zeros(1)) == np.float32(-2.0)


@pytest.fixture
def half_precision() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("half_precision")
def test_with_bfloat16_the_field_itself_stays_float32():
    shape = Shape(3, 4, 1, 1, 2)
    model = network({"localized": True}, shape, Output("bicubic", 1.0, 0.0, "relu"))
    inputs, static = inputs_for(shape)
    field = model([inputs, static])
    assert field.dtype == tf.float32
    assert model.get_layer("entry").compute_dtype == "bfloat16"
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    expected = np.maximum(interpolate(inputs[..., 0], 2, "bicubic"), 0)
    np.testing.assert_allclose(field[..., 0], expected, rtol=1e-5, atol=1e-6)  # bfloat16 would be off by 1e-3
