"""The discriminator of adversarial training: at each LR cell, does this field go with this LR, or was it made up?

Conditional on the inputs, as Mirza and Osindero (2014); a verdict for each place, as Isola et al. (2017), section 3.2;
for downscaling after Leinonen et al. (2021), IEEE Trans. Geosci. Remote Sens. 59, 7211.
"""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

from engine.models import blocks
from engine.models.network import Output, interpolation, wrapped
from engine.models.shapes import DISCRIMINATOR_BLOCKS, DISCRIMINATOR_FILTERS, DISCRIMINATOR_HR_FILTERS, Shape

SLOPE = 0.2  # below zero; Radford et al. (2016), section 3


def build_discriminator(shape: Shape, output: Output) -> keras.Model:
    """From LR inputs and a field at HR to the logits of its being real, for fields of any sides.

    Inputs are `inputs` (batch, y_lr, x_lr, channels) as the network takes them, `field` (batch, y, x, 1) scaled, and
    `there` (batch, y, x, 1), 1 where HR has a value and 0 elsewhere; the output is (batch, y_lr, x_lr, 1) float32.
    Of the field it sees the detail, what it adds to the interpolated LR in units of its usual spread, and that only
    where HR has a value: a real and a made-up field are the same elsewhere.
    """
    inputs = layers.Input((None, None, shape.channels), name="inputs")
    field = layers.Input((None, None, 1), name="field")
    there = layers.Input((None, None, 1), name="there")
    x = wrapped(_detail(inputs, field, there, shape, output), shape, shape.scale, "detail_around")
    x = _activated(blocks.convolution(DISCRIMINATOR_HR_FILTERS, "hr")(x), "hr")
    onto_lr = layers.Conv2D(DISCRIMINATOR_FILTERS, shape.scale, shape.scale, name="onto_lr")
    x = _activated(onto_lr(x), "onto_lr")  # (batch, y_lr, x_lr, filters)
    x = layers.Concatenate(name="with_inputs")([x, wrapped(inputs, shape, 1, "inputs_around")])
    x = blocks.convolution(DISCRIMINATOR_FILTERS, "entry")(x)
    for number in range(DISCRIMINATOR_BLOCKS):
        x = _residual_block(x, f"block{number + 1}")
    logits = blocks.convolution(1, "verdict")(_activated(x, "verdict"))
    logits = blocks.Unwrap(1, name="logits_unwrapped")([logits, inputs]) if shape.wrap else logits
    logits = layers.Activation("linear", dtype="float32", name="logits")(logits)
    return keras.Model([inputs, field, there], logits, name="discriminator")


def _detail(inputs: tf.Tensor, field: tf.Tensor, there: tf.Tensor, shape: Shape, output: Output) -> tf.Tensor:
    lr = blocks.Channels(0, 1, dtype="float32", name="lr")(inputs)
    base = interpolation(shape, output, dtype="float32", name="interpolated")(lr)
    added = layers.Subtract(dtype="float32", name="added")([field, base])
    detail = layers.Rescaling(1 / output.residual_std, dtype="float32", name="detail")(added)
    return layers.Multiply(dtype="float32", name="where_there")([detail, there])


def _residual_block(x: tf.Tensor, name: str) -> tf.Tensor:
    """Two convolutions, each after an activation, added to the input (He et al. 2016, Identity Mappings, fig. 4e)."""
    y = x
    for part in ("first", "second"):
        y = blocks.convolution(DISCRIMINATOR_FILTERS, f"{name}_{part}")(_activated(y, f"{name}_{part}"))
    return layers.Add(name=f"{name}_add")([x, y])


def _activated(x: tf.Tensor, name: str) -> tf.Tensor:
    """Leaky ReLU, in two layers: TensorFlow's graph optimiser loses its way in the gradient of the one."""
    return layers.Maximum(name=f"{name}_activation")([x, layers.Rescaling(SLOPE, name=f"{name}_below")(x)])
