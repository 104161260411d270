"""Networks: from LR inputs and static variables to the downscaled field, in scaled form."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import layers

from engine.data.scaling import Scaling
from engine.models import blocks
from engine.models.backbones import features
from engine.models.shapes import Shape, hr_filters
from engine.models.upsampling import UPSAMPLINGS
from engine.spec import ModelOptions


@dataclass(frozen=True)
class Output:
    """What the end of a network knows of the field: interpolation kernel, residual spread, scaled zero, bound."""

    interpolation: str
    residual_spread: float
    zero: float
    bound: str

    @classmethod
    def of(cls, options: ModelOptions, scaling: Scaling, interpolation: str) -> Output:
        return cls(interpolation, scaling.residual_spread, scaled_zero(scaling), bound_of(options, scaling))


def bound_of(options: ModelOptions, scaling: Scaling) -> str:
    """`model.output_activation`, with auto resolved: relu when the quantity has no values below zero."""
    if options.output_activation != "auto":
        return options.output_activation
    return "relu" if scaling.floored else "linear"


def scaled_zero(scaling: Scaling) -> float:
    return (0.0 - scaling.target.centre) / scaling.target.spread


def build(options: ModelOptions, shape: Shape, output: Output) -> keras.Model:
    """The network that `model` describes; without a localized block it takes fields of any sides.

    Inputs are `inputs` (batch, y_lr, x_lr, channels), LR being the first channel, and `static` (1 or batch, y, x,
    variables); the output is (batch, y, x, 1) float32, scaled as HR is.
    """
    sides, sides_hr = ((shape.y_lr, shape.x_lr), shape.hr) if options.localized else ((None, None), (None, None))
    inputs = layers.Input((*sides, shape.channels), name="inputs")
    static = layers.Input((*sides_hr, shape.static), name="static")
    x = _features(inputs, static, options, shape, output)
    x = _tail(x, inputs, static, options, shape)
    field = layers.Activation("linear", dtype="float32", name="field")(_output(x, options))
    if options.residual:
        field = _on_interpolated(field, inputs, shape, output)
    if output.bound != "linear":
        field = blocks.Bound(output.bound, output.zero, dtype="float32", name="bound")(field)
    return keras.Model([inputs, static], field, name=f"{options.backbone}_{options.upsampling}")


def _features(inputs: tf.Tensor, static: tf.Tensor, options: ModelOptions, shape: Shape, output: Output) -> tf.Tensor:
    """HR features: upsampled after the backbone, or, with pin, from inputs interpolated before it."""
    if options.upsampling == "pin":
        at_hr = blocks.Interpolation(shape.scale, output.interpolation, name="inputs_at_hr")(inputs)
        return features(_joined(at_hr, static, shape), options, shape)
    at_lr = layers.AveragePooling2D(shape.scale, name="static_at_lr")(static) if shape.static else static
    x = features(_joined(inputs, at_lr, shape), options, shape)
    return UPSAMPLINGS[options.upsampling](x, options, shape.scale)


def _joined(inputs: tf.Tensor, static: tf.Tensor, shape: Shape) -> tf.Tensor:
    """Inputs and static variables on the same grid."""
    if not shape.static:
        return inputs
    return layers.Concatenate(name="inputs_and_static")([inputs, blocks.Spread(name="static_spread")([static, inputs])])


def _tail(x: tf.Tensor, inputs: tf.Tensor, static: tf.Tensor, options: ModelOptions, shape: Shape) -> tf.Tensor:
    """HR features, informed by static variables."""
    if shape.static:
        x = layers.Concatenate(name="hr_and_static")([x, blocks.Spread(name="static_at_hr")([static, inputs])])
    return blocks.convolution(hr_filters(options), "tail", options.activation)(x)


def _output(x: tf.Tensor, options: ModelOptions) -> tf.Tensor:
    """One field; a residual network starts as the interpolation itself."""
    start = "zeros" if options.residual else "glorot_uniform"
    field = blocks.convolution(1, "output", kernel_initializer=start)(x)
    if not options.localized:
        return field
    return layers.Add(name="with_localized")([field, blocks.Localized(name="localized")(x)])


def _on_interpolated(field: tf.Tensor, inputs: tf.Tensor, shape: Shape, output: Output) -> tf.Tensor:
    middle = LRChannel(dtype="float32", name="lr")(inputs)
    base = blocks.Interpolation(shape.scale, output.interpolation, dtype="float32", name="interpolated")(middle)
    field = layers.Rescaling(output.residual_spread, dtype="float32", name="residual")(field)
    return layers.Add(dtype="float32", name="downscaled")([base, field])


class LRChannel(layers.Layer):
    """The LR field of the sample's own time step."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs[..., :1]

    def compute_output_shape(self, shape: blocks.Sides) -> blocks.Sides:
        return (*shape[:-1], 1)
