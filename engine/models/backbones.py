"""Backbones: from inputs (batch, y, x, channels) to features (batch, y, x, n_filters), at LR or, before pin, at HR."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from keras import layers

from engine.models import blocks
from engine.models.shapes import DENSE_LAYERS, growth, unet_widths
from engine.spec import ModelOptions

Backbone = Callable[[tf.Tensor, ModelOptions], tf.Tensor]


def convnet(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    """Plain convolutions, one a block."""
    x = blocks.convolution(options.n_filters, "entry", options.activation)(x)
    for number in range(options.n_blocks):
        x = blocks.plain_block(x, options, options.n_filters, f"block{number + 1}")
        x = blocks.attended(x, options, f"block{number + 1}")
    return x


def resnet(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    """Residual blocks (He et al. 2016; without normalisation as Lim et al. 2017)."""
    x = blocks.convolution(options.n_filters, "entry")(x)
    for number in range(options.n_blocks):
        x = blocks.residual_block(x, options, f"block{number + 1}")
    return x


def densenet(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    """Dense blocks, each layer seeing all before it, and a transition after each (Huang et al. 2017, eq. 2)."""
    x = blocks.convolution(options.n_filters, "entry", options.activation)(x)
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
        x = _twice(x, options, width, "entry" if level == 0 else f"down{level + 1}")
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
    x = blocks.convolution(options.n_filters, "entry")(x)
    for number in range(options.n_blocks):
        x = blocks.convnext_block(x, options, f"block{number + 1}")
    return x


BACKBONES: dict[str, Backbone] = {
    "resnet": resnet,
    "convnet": convnet,
    "densenet": densenet,
    "convnext": convnext,
    "unet": unet,
}


def _twice(x: tf.Tensor, options: ModelOptions, filters: int, name: str) -> tf.Tensor:
    x = blocks.plain_block(x, options, filters, f"{name}_first")
    x = blocks.plain_block(x, options, filters, f"{name}_second")
    return blocks.attended(x, options, name)
