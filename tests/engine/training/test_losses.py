"""Losses by hand: missing values weigh nothing and move nothing."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from engine.training.losses import LOSSES, weighted_sum

NAN = np.nan


def field(*values: float) -> tf.Tensor:
    """(1, 2, 2, 1)"""
    return tf.constant(values, tf.float32, (1, 2, 2, 1))


ONES = field(1, 1, 1, 1)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("mae", 0.5 + 1 + 3 + 0),
        ("mse", 0.25 + 1 + 9 + 0),
        ("huber", 0.5 * 0.25 + 0.5 + (3 - 0.5) + 0),  # Huber (1964) with delta 1
    ],
)
def test_losses_by_hand(loss, expected):
    total, weight = weighted_sum(loss, field(1, 2, 0, 5), field(1.5, 1, 3, 5), ONES)
    assert float(total) == pytest.approx(expected)
    assert float(weight) == 4


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_zero_without_error_and_even(loss):
    errors = tf.constant([-2.0, -0.5, 0.0, 0.5, 2.0])
    values = LOSSES[loss](errors).numpy()
    np.testing.assert_array_equal(values, values[::-1])
    assert values[2] == 0
    assert values[0] > values[1] > 0


def test_cells_count_by_their_weight():
    total, weight = weighted_sum("mae", field(1, 2, 0, 5), field(1.5, 1, 3, 5), field(2, 0.5, 1, 1))
    assert float(total) == pytest.approx(2 * 0.5 + 0.5 * 1 + 3)
    assert float(weight) == 4.5


def test_missing_cells_leave_loss_and_weight():
    total, weight = weighted_sum("mse", field(1, NAN, 0, NAN), field(1.5, 1, 3, 5), field(2, 0.5, 1, 7))
    assert float(total) == pytest.approx(2 * 0.25 + 9)
    assert float(weight) == 3


def test_without_any_value_there_is_no_loss():
    total, weight = weighted_sum("mae", field(NAN, NAN, NAN, NAN), field(1, 2, 3, 4), ONES)
    assert (float(total), float(weight)) == (0, 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_missing_cells_have_no_gradient(loss):
    downscaled = tf.Variable(field(1.5, 1, 3, 5))
    with tf.GradientTape() as tape:
        total, _ = weighted_sum(loss, field(1, NAN, 0, np.inf), downscaled, ONES)
    gradient = tape.gradient(total, downscaled).numpy().ravel()
    expected = {"mae": [1, 0, 1, 0], "mse": [2 * 0.5, 0, 2 * 3, 0], "huber": [0.5, 0, 1, 0]}
    np.testing.assert_allclose(gradient, expected[loss])


def test_one_set_of_weights_serves_the_whole_batch():
    hr, downscaled = tf.zeros((3, 2, 2, 1)), tf.ones((3, 2, 2, 1))
    total, weight = weighted_sum("mae", hr, downscaled, field(1, 2, 3, 4))
    assert (float(total), float(weight)) == (30, 30)


def test_batches_add_up_to_what_one_batch_finds():
    rng = np.random.default_rng(0)
    hr, downscaled = rng.normal(size=(2, 6, 2, 2, 1)).astype("f4")
    hr[0, 0], hr[4, 1] = NAN, NAN  # the batches have different numbers of values
    whole = weighted_sum("huber", tf.constant(hr), tf.constant(downscaled), ONES)
    halves = [weighted_sum("huber", hr[part], downscaled[part], ONES) for part in (slice(3), slice(3, 6))]
    np.testing.assert_allclose(whole, np.sum(halves, axis=0), rtol=1e-6)
