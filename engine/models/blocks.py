"""The blocks of which networks are made. Shapes are (batch, y, x, channels)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from engine.data.resample import upsampling_matrix
from engine.models.shapes import ATTENTION_RATIO
from engine.spec import ModelOptions

Sides = tuple[Any, ...]  # (batch, y, x, channels), None where open


def convolution(filters: int, name: str, activation: str | None = None, **settings: Any) -> layers.Layer:
    """A 3 × 3 convolution that keeps the sides."""
    return layers.Conv2D(filters, 3, padding="same", activation=activation, name=name, **settings)


def residual_block(x: tf.Tensor, options: ModelOptions, name: str) -> tf.Tensor:
    """Two convolutions around one activation, added to the input (Lim et al. 2017, EDSR, fig. 2c)."""
    y = convolution(options.n_filters, f"{name}_first")(x)
    y = normalization(y, options, f"{name}_first_norm")
    y = layers.Activation(options.activation, name=f"{name}_activation")(y)
    y = dropout(y, options, f"{name}_dropout")
    y = convolution(options.n_filters, f"{name}_second")(y)
    y = normalization(y, options, f"{name}_second_norm")
    y = channel_attention(y, f"{name}_attention") if options.attention else y
    return layers.Add(name=f"{name}_add")([x, y])


def normalization(x: tf.Tensor, options: ModelOptions, name: str) -> tf.Tensor:
    if options.normalization == "batch":
        return layers.BatchNormalization(momentum=0.9, name=name)(x)
    if options.normalization == "layer":
        return layers.LayerNormalization(name=name)(x)
    return x


def dropout(x: tf.Tensor, options: ModelOptions, name: str) -> tf.Tensor:
    if not options.dropout_rate:
        return x
    kinds = {"vanilla": layers.Dropout, "gaussian": layers.GaussianDropout, "spatial": layers.SpatialDropout2D}
    return kinds[options.dropout_variant](options.dropout_rate, name=name)(x)


def channel_attention(x: tf.Tensor, name: str) -> tf.Tensor:
    """Each channel weighted by what its mean tells (Hu et al. 2018, squeeze and excitation)."""
    channels = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)
    weights = layers.Dense(max(1, channels // ATTENTION_RATIO), "relu", name=f"{name}_squeeze")(weights)
    weights = layers.Dense(channels, "sigmoid", name=f"{name}_excite")(weights)
    return layers.Multiply(name=f"{name}_weigh")([x, weights])


class Localized(layers.Layer):
    """Weights of its own for each cell: what one place has that its neighbours don't.

    (batch, y, x, channels) → (batch, y, x, 1): out = Σ_c w[y, x, c] · in[y, x, c] + b[y, x]. Weights start at
    zero, so that the shared convolutions learn first. After the localized convolutional block of
    Gomez Gonzalez (2023), Environ. Data Sci. 2, e3.
    """

    def build(self, shape: Sides) -> None:
        _, y, x, channels = shape
        self.weight = self.add_weight(shape=(y, x, channels), initializer="zeros", name="weight")
        self.bias = self.add_weight(shape=(y, x, 1), initializer="zeros", name="bias")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        weight, bias = tf.cast(self.weight, x.dtype), tf.cast(self.bias, x.dtype)
        return tf.reduce_sum(x * weight, axis=-1, keepdims=True) + bias  # (batch, y, x, 1)

    def compute_output_shape(self, shape: Sides) -> Sides:
        return (*shape[:-1], 1)


class SubPixel(layers.Layer):
    """factor² channels become factor × factor cells (Shi et al. 2016, eq. 4)."""

    def __init__(self, factor: int, **settings: Any):
        super().__init__(**settings)
        self.factor = factor

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.depth_to_space(x, self.factor)

    def compute_output_shape(self, shape: Sides) -> Sides:
        return _enlarged(shape, self.factor, shape[-1] // self.factor**2)


class Interpolation(layers.Layer):
    """The interpolated field, by the same matrices as the yardstick's: (batch, y_lr, x_lr, 1) → (batch, y, x, 1)."""

    def __init__(self, scale: int, kernel: str, **settings: Any):
        super().__init__(**settings)
        self.scale, self.kernel = scale, kernel

    def call(self, x: tf.Tensor) -> tf.Tensor:
        field = tf.squeeze(x, -1)
        rows, columns = (
            upsampling_matrix(side, self.scale, self.kernel).astype(np.float32) for side in field.shape[1:]
        )
        return tf.linalg.matmul(rows, tf.linalg.matmul(field, columns, transpose_b=True))[..., None]

    def compute_output_shape(self, shape: Sides) -> Sides:
        return _enlarged(shape, self.scale, 1)


class Spread(layers.Layer):
    """Static variables, given once, for each sample of the batch: (1, y, x, v), (batch, …) → (batch, y, x, v)."""

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        static, like = fields
        return tf.broadcast_to(static, tf.concat([tf.shape(like)[:1], tf.shape(static)[1:]], 0))

    def compute_output_shape(self, shapes: list[Sides]) -> Sides:
        static, like = shapes
        return (like[0], *static[1:])


class Bound(layers.Layer):
    """Nothing below the scaled zero of the target's unit."""

    def __init__(self, activation: str, zero: float, **settings: Any):
        super().__init__(**settings)
        self.bound, self.zero = keras.activations.get(activation), zero

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.zero + self.bound(x - self.zero)


def _enlarged(shape: Sides, factor: int, channels: int) -> Sides:
    batch, *sides, _ = shape
    return batch, *(side and side * factor for side in sides), channels
