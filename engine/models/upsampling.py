"""Upsampling of features (batch, y_lr, x_lr, n_filters) to (batch, y, x, hr_filters).

A composite scale is reached in one stage for each prime factor, each stage with weights of its own. Pre-upsampling by
interpolation (pin) needs nothing here: its backbone works at HR already.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from keras import layers

from engine.models import blocks
from engine.models.shapes import hr_filters, stages
from engine.spec import ModelOptions

Upsampling = Callable[[tf.Tensor, ModelOptions, int], tf.Tensor]


def sub_pixel(x: tf.Tensor, options: ModelOptions, scale: int) -> tf.Tensor:
    """Sub-pixel convolution (Shi et al. 2016, eq. 4)."""
    for name, factor in _stages(scale):
        x = blocks.convolution(hr_filters(options) * factor**2, name, options.activation)(x)
        x = blocks.SubPixel(factor, name=f"{name}_shuffle")(x)
    return x


def resize_convolution(x: tf.Tensor, options: ModelOptions, scale: int) -> tf.Tensor:
    """Cells repeated, then a convolution: no checkerboard (Odena et al. 2016)."""
    for name, factor in _stages(scale):
        x = layers.UpSampling2D(factor, interpolation="nearest", name=f"{name}_resize")(x)
        x = blocks.convolution(hr_filters(options), name, options.activation)(x)
    return x


def transposed_convolution(x: tf.Tensor, options: ModelOptions, scale: int) -> tf.Tensor:
    """Transposed convolution whose kernel is twice its stride, so that every cell is reached equally often."""
    for name, factor in _stages(scale):
        x = layers.Conv2DTranspose(
            hr_filters(options), 2 * factor, factor, padding="same", activation=options.activation, name=name
        )(x)
    return x


UPSAMPLINGS: dict[str, Upsampling] = {
    "spc": sub_pixel,
    "rc": resize_convolution,
    "dc": transposed_convolution,
}


def _stages(scale: int) -> list[tuple[str, int]]:
    return [(f"stage{number + 1}", factor) for number, factor in enumerate(stages(scale))]
