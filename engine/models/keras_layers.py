"""Keras layers of declared layers: fields are (batch, y, x, channels)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from engine.models import blocks, layers, upsampling
from engine.models.backbones.graph import VECTORS, MessagePassing
from engine.models.fourier_filter import FourierFilter
from engine.models.implicit import ImplicitFunction
from engine.models.message_passing import Messages
from engine.models.window_attention import WindowAttention

Kept = Mapping[str, tf.Tensor]
QUERY, LIKE = "query", "like"  # fields kept for an implicit function: its points, and the field that they are given in


def apply(declared: Iterable[layers.Layer], x: tf.Tensor, given: Kept | None = None) -> tf.Tensor:
    """Pass a field through layers, in their order. given : fields kept before, by name."""
    kept = dict(given or {})
    for layer in declared:
        if isinstance(layer, layers.Keep):
            kept[layer.name] = x
        else:
            x = APPLICATIONS[type(layer)](layer, x, kept)
    return x


def _attention(layer: layers.ChannelAttention, x: tf.Tensor, kept: Kept) -> tf.Tensor:
    name, channels = layer.name, x.shape[-1]
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)  # (batch, 1, 1, channels)
    weights = keras.layers.Dense(layer.hidden(channels), "relu", name=f"{name}_squeeze")(weights)
    weights = keras.layers.Dense(channels, "sigmoid", name=f"{name}_excite")(weights)
    return keras.layers.Multiply(name=f"{name}_weigh")([x, weights])


def _recurrence(layer: layers.Recurrence, steps: tf.Tensor, kept: Kept) -> tf.Tensor:
    """(window · batch, y, x, channels) → (batch, y, x, channels), the prediction being for the window's middle."""
    name, channels = layer.name, steps.shape[-1]
    before = blocks.ConvLSTM(layer.hidden, layer.window, name=f"{name}_forward")(steps)
    after = blocks.ConvLSTM(layer.hidden, layer.window, backward=True, name=f"{name}_backward")(steps)
    joined = keras.layers.Concatenate(name=f"{name}_both")([before, after])
    joined = keras.layers.Conv2D(channels, 1, name=f"{name}_join")(joined)
    own = blocks.OwnStep(layer.window, name="own_step")(steps)
    return keras.layers.Add(name=f"{name}_add")([own, joined])  # (batch, y, x, channels)


def _normalization(layer: layers.Normalization) -> keras.layers.Layer:
    if layer.kind == "batch":
        return keras.layers.BatchNormalization(momentum=0.9, name=layer.name)
    return keras.layers.LayerNormalization(name=layer.name)


def _of_input(make: Callable[[Any], keras.layers.Layer]) -> Callable[[Any, tf.Tensor, Kept], tf.Tensor]:
    """Application of a Keras layer that takes the input alone."""
    return lambda layer, x, kept: make(layer)(x)


APPLICATIONS: dict[type[layers.Layer], Callable[[Any, tf.Tensor, Kept], tf.Tensor]] = {
    layers.Conv: _of_input(
        lambda layer: keras.layers.Conv2D(
            layer.filters,
            layer.side,
            padding="same",
            activation=layer.activation,
            kernel_initializer=layer.initializer,
            name=layer.name,
        )
    ),
    layers.SeparableConv: _of_input(
        lambda layer: keras.layers.SeparableConv2D(layer.filters, layer.side, padding="same", name=layer.name)
    ),
    layers.DepthwiseConv: _of_input(
        lambda layer: keras.layers.DepthwiseConv2D(layer.side, padding="same", name=layer.name)
    ),
    layers.Dense: _of_input(lambda layer: keras.layers.Dense(layer.filters, layer.activation, name=layer.name)),
    layers.TransposedConv: _of_input(
        lambda layer: keras.layers.Conv2DTranspose(
            layer.filters,
            2 * layer.factor,
            layer.factor,
            padding="same",
            activation=layer.activation,
            name=layer.name,
        )
    ),
    layers.SubPixel: _of_input(lambda layer: blocks.SubPixel(layer.factor, name=layer.name)),
    layers.Repeat: _of_input(
        lambda layer: keras.layers.UpSampling2D(layer.factor, interpolation="nearest", name=layer.name)
    ),
    upsampling.Implicit: lambda layer, x, kept: ImplicitFunction(
        layer.filters, layer.factor, layer.HIDDEN, layer.activation, layer.around, name=layer.name
    )([x, kept[QUERY], kept[LIKE]]),
    layers.Halve: _of_input(lambda layer: keras.layers.AveragePooling2D(2, padding="same", name=layer.name)),
    layers.Normalization: _of_input(_normalization),
    layers.Activation: _of_input(lambda layer: keras.layers.Activation(layer.kind, name=layer.name)),
    layers.Dropout: _of_input(lambda layer: blocks.DROPOUTS[layer.kind](layer.rate, name=layer.name)),
    layers.Noise: _of_input(lambda layer: blocks.Noise(layer.channels, name=layer.name)),
    layers.ChannelScale: _of_input(lambda layer: blocks.ChannelScale(name=layer.name)),
    layers.ChannelAttention: _attention,
    layers.WindowAttention: _of_input(
        lambda layer: WindowAttention(layer.window_side, layer.shift, layer.heads, layer.HEAD, name=layer.name)
    ),
    layers.FourierFilter: _of_input(lambda layer: FourierFilter(layer.MODES, name=layer.name)),
    MessagePassing: lambda layer, x, kept: Messages(layer.filters, layer.activation, name=layer.name)(
        [x, kept[VECTORS]] if VECTORS in kept else x
    ),
    layers.Recurrence: _recurrence,
    layers.Add: lambda layer, x, kept: keras.layers.Add(name=layer.name)([kept[layer.kept], x]),
    layers.Concatenate: lambda layer, x, kept: keras.layers.Concatenate(name=layer.name)(
        [kept[layer.kept], x] if layer.kept_first else [x, kept[layer.kept]]
    ),
    layers.DoubleLike: lambda layer, x, kept: blocks.ResizeLike(name=layer.name)([x, kept[layer.kept]]),
}
