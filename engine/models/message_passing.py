"""Messages between neighbouring cells, as a Keras layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

EDGES = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]  # rows and columns from receiver to sender
WAY = 3  # east, north, length


class Messages(layers.Layer):
    """[(batch, y, x, c), vectors (n · batch, y, x, 4)] → (batch, y, x, filters): mean of the messages to a cell.

    A message is activation(W_s sender + W_r receiver + W_e way + b). The way is dy and dx times the vectors of
    `data.cell_vectors` at the receiver, and its length. Beyond the border of the field there are no cells, and so no
    messages. Vectors are alike in each of the n steps of a time window. Without them, cells are squares of side 1.
    """

    def __init__(self, filters: int, activation: str, **settings: Any):
        super().__init__(**settings)
        self.filters, self.activation = filters, keras.activations.get(activation)

    def build(self, shapes: Any) -> None:
        channels = (shapes[0] if isinstance(shapes, list) else shapes)[-1]

        def weight(rows: int, name: str) -> Any:
            return self.add_weight(shape=(rows, self.filters), initializer="glorot_uniform", name=name)

        self.sender, self.receiver, self.way = (
            weight(channels, "sender"),
            weight(channels, "receiver"),
            weight(WAY, "way"),
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, fields: Any) -> tf.Tensor:
        x, vectors = fields if isinstance(fields, list | tuple) else (fields, tf.eye(2))
        sender, receiver, way, bias = (
            tf.cast(weight, x.dtype) for weight in (self.sender, self.receiver, self.way, self.bias)
        )
        around = [[0, 0], [1, 1], [1, 1], [0, 0]]
        there = tf.pad(tf.ones_like(x[:1, ..., :1]), around)
        senders, receivers = tf.pad(tf.matmul(x, sender), around), tf.matmul(x, receiver) + bias
        vectors = tf.cast(tf.reshape(vectors, (1, 1, 1, 4)) if vectors.shape.rank == 2 else vectors, x.dtype)
        to_column, to_row = tf.split(vectors[: tf.shape(x)[0]], 2, axis=-1)  # (batch, y, x, 2) each
        rows, columns = tf.unstack(tf.shape(x)[1:3])
        total, count = 0.0, 0.0
        for dy, dx in EDGES:
            box = slice(1 + dy, 1 + dy + rows), slice(1 + dx, 1 + dx + columns)
            offset = float(dy) * to_row + float(dx) * to_column
            ways = tf.concat([offset, tf.norm(offset, axis=-1, keepdims=True)], axis=-1)
            message = self.activation(receivers + senders[:, *box] + tf.matmul(ways, way))
            total, count = total + there[:, *box] * message, count + there[:, *box]
        return total / tf.maximum(count, 1.0)

    def compute_output_shape(self, shapes: Any) -> tuple[Any, ...]:
        return *(shapes[0] if isinstance(shapes, list) else shapes)[:-1], self.filters
