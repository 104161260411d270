"""Attention among the cells of windows, as a Keras layer."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

FIRST_SCALE = math.log(10.0)  # of cosines, as its logarithm (Liu et al. 2022, SwinV2, section 3.2)
HIGHEST_SCALE = math.log(100.0)  # ibid.
MASKED = -1e9  # in place of the cosine of a cell beyond the field


class WindowAttention(layers.Layer):
    """Each cell attends to the cells of its window: (batch, y, x, c) → (batch, y, x, c).

    Weights are softmax(scale · cos(query, key) + bias), with one bias for each distance along y and x (Liu et al. 2022,
    SwinV2, eq. 2). Windows begin at cell `shift`. They are filled beyond the field with cells that nobody attends to;
    nothing is rolled around, so that opposite borders don't see each other (unlike Liu et al. 2021, fig. 4).
    """

    def __init__(self, window: int, shift: int, heads: int, head: int, **settings: Any):
        super().__init__(**settings)
        self.window, self.shift, self.heads, self.head = window, shift, heads, head
        ends = np.arange(window)
        distances = ends[:, None] - ends + window - 1
        self.distances = np.eye(2 * window - 1, dtype=np.float32)[distances]  # (window, window, distance), one or zero

    def build(self, shape: tuple[Any, ...]) -> None:
        channels, inner, distances = shape[-1], self.heads * self.head, 2 * self.window - 1
        self.enter = self.add_weight(shape=(channels, 3 * inner), initializer="glorot_uniform", name="enter")
        self.enter_bias = self.add_weight(shape=(3 * inner,), initializer="zeros", name="enter_bias")
        self.leave = self.add_weight(shape=(inner, channels), initializer="glorot_uniform", name="leave")
        self.leave_bias = self.add_weight(shape=(channels,), initializer="zeros", name="leave_bias")
        shape_of_biases = (distances, distances, self.heads)
        self.distance_bias = self.add_weight(shape=shape_of_biases, initializer="zeros", name="distance_bias")
        first = keras.initializers.Constant(FIRST_SCALE)
        self.scale = self.add_weight(shape=(self.heads,), initializer=first, name="scale")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        dtype, (rows, columns) = x.dtype, tf.unstack(tf.shape(x)[1:3])
        around = [[0, 0], self._padding(rows), self._padding(columns), [0, 0]]
        outside = self._cut(tf.pad(tf.zeros_like(x[:1, ..., :1], tf.float32), around, constant_values=MASKED))
        entered = tf.matmul(x, tf.cast(self.enter, dtype)) + tf.cast(self.enter_bias, dtype)
        padded = tf.pad(entered, around)
        windows = self._cut(padded)  # (batch, window, cell, 3 · heads · head)
        parts = tf.reshape(windows, [*tf.unstack(tf.shape(windows)[:3]), 3, self.heads, self.head])
        queries, keys, values = tf.unstack(parts, axis=3)
        cosines = tf.einsum("bwqhc,bwkhc->bwhqk", _directions(queries), _directions(keys))
        scale = tf.exp(tf.minimum(tf.cast(self.scale, tf.float32), HIGHEST_SCALE))[:, None, None]
        logits = scale * tf.cast(cosines, tf.float32) + self._biases() + outside[:, :, None, None, :, 0]
        weights = tf.cast(tf.nn.softmax(logits), dtype)  # (batch, window, head, cell, cell)
        found = tf.einsum("bwhqk,bwkhc->bwqhc", weights, values)
        joined = self._join(found, tf.shape(padded))
        (top, _), (left, _) = around[1:3]
        left_out = joined[:, top : top + rows, left : left + columns]
        return tf.matmul(left_out, tf.cast(self.leave, dtype)) + tf.cast(self.leave_bias, dtype)

    def _padding(self, cells: tf.Tensor) -> list[Any]:
        """Cells before and after a side, to whole windows of which the first begins at `shift` or before the field."""
        before = -self.shift % self.window
        return [before, -(before + cells) % self.window]

    def _cut(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, y, x, c) → (batch, window, cell, c)."""
        side, (batch, rows, columns, _) = self.window, tf.unstack(tf.shape(x))
        windows = tf.reshape(x, [batch, rows // side, side, columns // side, side, x.shape[-1]])
        return tf.reshape(tf.transpose(windows, (0, 1, 3, 2, 4, 5)), [batch, -1, side**2, x.shape[-1]])

    def _join(self, windows: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """(batch, window, cell, head, c) → (batch, y, x, head · c), of these sides."""
        side, (batch, rows, columns, _) = self.window, tf.unstack(shape)
        cells = tf.reshape(windows, [batch, rows // side, columns // side, side, side, self.heads * self.head])
        return tf.reshape(tf.transpose(cells, (0, 1, 3, 2, 4, 5)), [batch, rows, columns, self.heads * self.head])

    def _biases(self) -> tf.Tensor:
        """Bias of each pair of cells: (head, cell, cell)."""
        of_distance = tf.cast(self.distance_bias, tf.float32)
        pairs = tf.einsum("ijd,kle,deh->hikjl", self.distances, self.distances, of_distance)
        return tf.reshape(pairs, (self.heads, self.window**2, self.window**2))

    def compute_output_shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return shape


def _directions(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors of length 1, along the last axis."""
    return tf.math.l2_normalize(vectors, axis=-1, epsilon=1e-6)
