"""Losses over the cells that have a value. Shapes are (batch, y, x, 1), everything scaled."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

HUBER_DELTA = 1.0


def absolute(error: tf.Tensor) -> tf.Tensor:
    return tf.abs(error)


def squared(error: tf.Tensor) -> tf.Tensor:
    return tf.square(error)


def huber(error: tf.Tensor) -> tf.Tensor:
    """Squared near zero, absolute beyond HUBER_DELTA (Huber 1964, eq. 1)."""
    size = tf.abs(error)
    return tf.where(size < HUBER_DELTA, 0.5 * size**2, HUBER_DELTA * (size - 0.5 * HUBER_DELTA))


LOSSES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {"mae": absolute, "mse": squared, "huber": huber}


def weighted_sum(loss: str, hr: tf.Tensor, downscaled: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Σ weight · loss and Σ weight over the cells where HR has a value.

    Two sums rather than their quotient, so that batches and ranks with different numbers of missing
    values add up to what one process would find.
    """
    there = tf.math.is_finite(hr)
    weights = tf.where(there, tf.broadcast_to(weights, tf.shape(hr)), 0.0)
    error = tf.where(there, hr, downscaled) - downscaled  # no gradient where HR is missing
    return tf.reduce_sum(weights * LOSSES[loss](error)), tf.reduce_sum(weights)
