"""Backbones: from inputs (batch, y, x, channels) to features (batch, y, x, n_filters), at LR or, before pin, at HR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf
from keras import layers

from engine.models import blocks
from engine.models.shapes import DENSE_LAYERS, Shape, growth, hidden_filters, is_recurrent, unet_widths
from engine.spec import ModelOptions

Part = Callable[[tf.Tensor, ModelOptions], tf.Tensor]


@dataclass(frozen=True)
class Backbone:
    """The convolution that all channels enter by, and the blocks that follow."""

    entry: Part
    blocks: Part


def features(x: tf.Tensor, options: ModelOptions, shape: Shape) -> tf.Tensor:
    """Features of the sample's own time step; of a recurrent network, with what the window's other steps add."""
    backbone = BACKBONES[options.backbone]
    if not is_recurrent(options, shape):
        return backbone.blocks(backbone.entry(x, options), options)
    steps = blocks.TimeSteps(shape.window, shape.fields, name="steps")(x)  # (window · batch, y, x, channels)
    return backbone.blocks(recurrence(backbone.entry(steps, options), options, shape.window), options)


def recurrence(steps: tf.Tensor, options: ModelOptions, window: int) -> tf.Tensor:
    """Convolutional LSTMs from both ends of the window to its middle, the sample's own step, added to its features.

    Since both end at the middle, the prediction is for that step. (window · batch, y, x, n_filters) → (batch, …)
    """
    hidden = hidden_filters(options)
    before = blocks.ConvLSTM(hidden, window, name="recurrence_forward")(steps)
    after = blocks.ConvLSTM(hidden, window, backward=True, name="recurrence_backward")(steps)
    joined = layers.Concatenate(name="recurrence_both")([before, after])
    joined = layers.Conv2D(options.n_filters, 1, name="recurrence_join")(joined)
    own = blocks.OwnStep(window, name="own_step")(steps)
    return layers.Add(name="recurrence_add")([own, joined])  # (batch, y, x, n_filters)


def convnet(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    """Plain convolutions, one a block."""
    for number in range(options.n_blocks):
        x = blocks.plain_block(x, options, options.n_filters, f"block{number + 1}")
        x = blocks.attended(x, options, f"block{number + 1}")
    return x


def resnet(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    """Residual blocks (He et al. 2016; without normalisation as Lim et al. 2017)."""
    for number in range(options.n_blocks):
        x = blocks.residual_block(x, options, f"block{number + 1}")
    return x


def densenet(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    """Dense blocks, each layer seeing all before it, and a transition after each (Huang et al. 2017, eq. 2)."""
    for number in range(options.n_blocks):
        name = f"block{number + 1}"
        for layer in range(DENSE_LAYERS):
            y = blocks.plain_block(x, options, growth(options), f"{name}_layer{layer + 1}")
            x = layers.Concatenate(name=f"{name}_layer{layer + 1}_concat")([x, y])
        x = layers.Conv2D(options.n_filters, 1, activation=options.activation, name=f"{name}_transition")(x)
        x = blocks.attended(x, options, name)
    return x


def unet(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    """Encoder and decoder with skip connections (Ronneberger et al. 2015, fig. 1), for fields of any sides."""
    *widths, bottom = unet_widths(options)
    skips = []
    for level, width in enumerate(widths):
        name = "entry" if level == 0 else f"down{level + 1}"
        x = _second(x, options, width, name) if level == 0 else _twice(x, options, width, name)
        skips.append(x)
        x = layers.AveragePooling2D(2, padding="same", name=f"down{level + 1}_pool")(x)
    x = _twice(x, options, bottom, "bottom")
    for level, skip in reversed(list(enumerate(skips))):
        x = blocks.ResizeLike(name=f"up{level + 1}_resize")([x, skip])
        x = layers.Concatenate(name=f"up{level + 1}_concat")([x, skip])
        x = _twice(x, options, widths[level], f"up{level + 1}")
    return x


def convnext(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    """Depthwise 7 × 7 convolutions with an inverted bottleneck (Liu et al. 2022, fig. 4)."""
    for number in range(options.n_blocks):
        x = blocks.convnext_block(x, options, f"block{number + 1}")
    return x


def _linear(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    return blocks.convolution(options.n_filters, "entry")(x)


def _activated(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    return blocks.convolution(options.n_filters, "entry", options.activation)(x)


def _first_of_two(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    return blocks.activated(_linear(x, options), options, "entry")


BACKBONES: dict[str, Backbone] = {
    "resnet": Backbone(_linear, resnet),
    "convnet": Backbone(_activated, convnet),
    "densenet": Backbone(_activated, densenet),
    "convnext": Backbone(_linear, convnext),
    "unet": Backbone(_first_of_two, unet),
}


def _twice(x: tf.Tensor, options: ModelOptions, filters: int, name: str) -> tf.Tensor:
    return _second(blocks.plain_block(x, options, filters, f"{name}_first"), options, filters, name)


def _second(x: tf.Tensor, options: ModelOptions, filters: int, name: str) -> tf.Tensor:
    return blocks.attended(blocks.plain_block(x, options, filters, f"{name}_second"), options, name)
