"""The discriminator: as many weights as counted on paper, and what it may see."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.data.resample import interpolate
from engine.models.discriminator import build_discriminator
from engine.models.network import Output
from engine.models.shapes import Shape, count_discriminator

OUTPUT = Output("bilinear", residual_std=0.25, zero=0.0, bound="linear")


def discriminator(shape: Shape) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_discriminator(shape, OUTPUT)


def seen(shape: Shape, samples: int = 2) -> list[np.ndarray]:
    """Inputs, a field, and where HR has a value: here everywhere."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(samples, shape.y_lr, shape.x_lr, shape.channels))
    field = rng.normal(size=(samples, *shape.hr, 1))
    return [array.astype("f4") for array in (inputs, field, np.ones_like(field))]


@pytest.mark.parametrize(("channels", "scale"), [(1, 2), (3, 5), (7, 4)])
def test_weights_by_hand(channels, scale):
    shape = Shape(3, 4, channels, 2, scale)
    # 3 × 3 from 1 to 16; scale × scale from 16 to 32; 3 × 3 with the inputs to 32; two blocks of two; 3 × 3 to a logit
    by_hand = 10 * 16 + (scale**2 * 16 + 1) * 32 + (9 * (32 + channels) + 1) * 32 + 4 * 289 * 32 + 289
    assert count_discriminator(shape) == by_hand
    assert sum(v.numpy().size for v in discriminator(shape).trainable_variables) == by_hand


def test_a_verdict_at_each_lr_cell_for_fields_of_any_sides():
    model = discriminator(Shape(4, 5, 2, 0, 3))
    for y, x in [(4, 5), (2, 7)]:
        assert model(seen(Shape(y, x, 2, 0, 3))).shape == (2, y, x, 1)


def test_each_channel_and_the_field_count():
    shape = Shape(4, 4, 3, 0, 2)
    model = discriminator(shape)
    inputs, field, there = seen(shape)
    before = model([inputs, field, there]).numpy()
    assert not np.allclose(model([inputs, field + 1, there]), before)
    for channel in range(3):
        assert not np.allclose(model([inputs + np.float32(np.arange(3) == channel), field, there]), before)


def test_of_the_field_it_sees_what_is_added_to_the_interpolated_lr():
    shape = Shape(3, 4, 1, 0, 2)
    model = discriminator(shape)
    inputs, field, there = seen(shape)
    detail = keras.Model(model.inputs, model.get_layer("where_there").output)
    base = interpolate(inputs[..., 0], 2, "bilinear")[..., None]
    np.testing.assert_allclose(detail([inputs, field, there]), (field - base) / 0.25, rtol=1e-4, atol=1e-5)


def test_where_hr_has_no_value_any_field_is_the_same():
    shape = Shape(4, 4, 1, 0, 2)
    model = discriminator(shape)
    inputs, field, there = seen(shape)
    there[:, 2:5, :3] = 0
    other = np.where(there, field, 9.0)
    np.testing.assert_array_equal(model([inputs, field, there]), model([inputs, other, there]))
    watched = [tf.constant(array) for array in (inputs, field, there)]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        total = tf.reduce_sum(model(watched))
    gradient = tape.gradient(total, watched[1]).numpy()
    assert (gradient[there == 0] == 0).all()
    assert (gradient[there == 1] != 0).all()


def test_gradients_reach_every_weight():
    shape = Shape(4, 4, 2, 0, 2)
    model = discriminator(shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.softplus(model(seen(shape))))
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        assert np.isfinite(gradient).all(), variable.path
        assert np.any(gradient), variable.path


def test_with_bfloat16_logits_stay_float32():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = discriminator(Shape(4, 4, 2, 0, 2))
    finally:
        keras.config.set_dtype_policy(before)
    assert model(seen(Shape(4, 4, 2, 0, 2))).dtype == tf.float32
    assert model.get_layer("entry").compute_dtype == "bfloat16"
