"""Networks: from LR inputs and static variables to the downscaled field, in scaled form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from engine.data.normalizer import Normalizer, ValueTransform
from engine.models import blocks, implicit
from engine.models.architecture import STATIC, Architecture, layers_of
from engine.models.backbones.graph import VECTORS
from engine.models.constraints import CONSTRAINTS, Logits
from engine.models.keras_layers import LIKE, QUERY, apply
from engine.models.layers import Noise
from engine.models.likelihood import BernoulliGamma
from engine.models.shapes import Shape, is_recurrent
from engine.models.upsampling import IMPLICIT
from engine.spec import ModelOptions

GIVEN = "inputs_and_static"  # name of the layer that joins them
LEAST_SHARE = 1e-3  # of the mean of HR: what a softmax takes an interpolated field for that is lower still


@dataclass(frozen=True)
class Output:
    """Facts about the field at the end of a network: interpolation kernel, residual_std, scaled zero, bound.

    residual_stds : of each component of a vector; empty for a single target.

    target, mean : of HR, for constraints, which hold in its own unit; lr_has_gaps : the last channel of the inputs
        marks where LR has a value.
    """

    interpolation: str
    residual_std: float
    zero: float
    bound: str
    target: ValueTransform = field(default_factory=ValueTransform)
    mean: float = 1.0
    lr_has_gaps: bool = False
    residual_stds: tuple[float, ...] = ()

    @classmethod
    def of(cls, options: ModelOptions, normalizer: Normalizer, interpolation: str) -> Output:
        return cls(
            interpolation,
            normalizer.residual_std,
            scaled_zero(normalizer),
            bound_of(options, normalizer),
            normalizer.target,
            normalizer.mean,
            normalizer.lr_has_gaps,
            tuple(each.residual_std for each in normalizer.components) if normalizer.partner else (),
        )

    @property
    def log_spread(self) -> float:
        """Spread of HR around the interpolated field in logarithms, at most 1."""
        in_unit = self.residual_std * self.target.divisor
        return min(1.0, in_unit if self.target.reference else in_unit / self.mean)


def bound_of(options: ModelOptions, normalizer: Normalizer) -> str:
    """`model.output_activation`, with auto resolved: relu when the quantity has no values below zero.

    An additive constraint may move a field below any bound, so with it auto is linear; and so it is for a vector.
    """
    if options.output_activation != "auto":
        return options.output_activation
    if normalizer.partner:
        return "linear"
    return "relu" if normalizer.is_nonnegative and options.constraint != "additive" else "linear"


def scaled_zero(normalizer: Normalizer) -> float:
    return (0.0 - normalizer.target.offset) / normalizer.target.divisor


def build(options: ModelOptions, shape: Shape, output: Output, name: str = "") -> keras.Model:
    """The network that `model` describes; without a localized block it takes fields of any sides.

    With `shape.wrap` a field of `shape.x_lr` columns goes around the globe, and any other is a piece, with borders.

    Inputs are `inputs` (batch, y_lr, x_lr, channels), LR being the first channel, and `static` (1 or batch, y, x,
    variables), with a constraint followed by `Samples.masked_areas`; the output is (batch, y, x, 1) float32,
    scaled as HR is; where the loss is a likelihood (batch, y, x, 4), with a distribution's parameters after its mean;
    of a vector (batch, y, x, 2), the first two channels of the inputs being LR of its components.
    """
    with_areas = options.constraint != "none"
    inputs, fixed = input_layers(options, shape, with_areas)
    static = blocks.Channels(0, shape.static, name="variables")(fixed) if with_areas else fixed
    made = Architecture.of(options, shape)
    given = _inputs_of_backbone(inputs, static, options, shape, output)
    query = implicit.CellCentres(shape.scale, name="query")(inputs) if options.upsampling == IMPLICIT else None
    x = _features(given, query, options, shape, made)
    at_hr = {}
    if shape.static:
        spread = blocks.Spread(name="static_at_hr")([static, given])
        at_hr[STATIC] = spread if query is not None else wrapped(spread, shape, shape.scale, "static_at_hr_around")
    x = apply(made.tail.layers, x, at_hr)  # (batch, y, x, hr_filters)
    output_of_tail = _output(x, inputs, options, shape, made)
    field = layers.Activation("linear", dtype="float32", name="field")(output_of_tail)
    lr = blocks.Channels(0, shape.targets, dtype="float32", name="lr")(inputs if query is None else given)
    field, parameters = _finished(field, _bases(lr, query, options, shape, output), options, shape, output)
    if with_areas:
        field = constrained(field, lr, inputs, fixed, options.constraint, shape, output)
    field = layers.Concatenate(dtype="float32", name="with_parameters")([field, *parameters]) if parameters else field
    return keras.Model([inputs, fixed], field, name=name or f"{options.backbone}_{options.upsampling}")


def at_points(network: keras.Model) -> keras.Model:
    """The same network, with an implicit function, for other points than the cells of its grid.

    Inputs are what the backbone is given (batch, y_lr, x_lr, channels and static variables), static variables at the
    points (1 or batch, rows, columns, variables) and the query, as in `models.implicit`; the output is that of `build`.
    """
    inputs, static = network.inputs
    given = network.get_layer(GIVEN).output if static.shape[-1] else inputs
    return keras.Model([given, static, network.get_layer("query").output], network.output, name="at_points")


def input_layers(options: ModelOptions, shape: Shape, with_areas: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Inputs at LR, and static variables, with `Samples.masked_areas` after them or not."""
    sides, sides_hr = ((shape.y_lr, shape.x_lr), shape.hr) if options.localized else ((None, None), (None, None))
    inputs = layers.Input((*sides, shape.channels), name="inputs")
    return inputs, layers.Input((*sides_hr, shape.static + with_areas), name="static")


def _inputs_of_backbone(
    inputs: tf.Tensor, static: tf.Tensor, options: ModelOptions, shape: Shape, output: Output
) -> tf.Tensor:
    """All that the backbone is given: at LR, or, with pin, at HR."""
    if options.upsampling == "pin":
        at_hr = interpolation(shape, output, name="inputs_at_hr")(inputs)
        return _joined(at_hr, static, shape)
    at_lr = layers.AveragePooling2D(shape.scale, name="static_at_lr")(static) if shape.static else static
    return _joined(inputs, at_lr, shape)


def _features(
    given: tf.Tensor, query: tf.Tensor | None, options: ModelOptions, shape: Shape, made: Architecture
) -> tf.Tensor:
    """HR features: upsampled after the backbone, or, with pin, from inputs interpolated before it."""
    x = given
    if is_recurrent(options, shape):
        x = blocks.TimeSteps(shape.window, shape.fields, name="steps")(x)  # (window · batch, y, x, channels)
    declared = layers_of([made.entry, *made.recurrence, *made.backbone, *made.stages])
    noise = [layer for layer in declared if isinstance(layer, Noise)]  # first of all, so that it goes around as well
    x = wrapped(apply(noise, x), shape, shape.scale if options.upsampling == "pin" else 1, "around")
    kept = {QUERY: query, LIKE: given}
    if shape.vectors:
        first = shape.fields * (1 if is_recurrent(options, shape) else shape.window)
        kept[VECTORS] = blocks.Channels(first, first + shape.vectors, name=VECTORS)(x)
    return apply(declared[len(noise) :], x, kept)


def interpolation(shape: Shape, output: Output, **settings: Any) -> layers.Layer:
    """The interpolation of LR, and of a field around the globe as one."""
    return blocks.Interpolation(shape.scale, output.interpolation, shape.x_lr if shape.wrap else None, **settings)


def wrapped(x: tf.Tensor, shape: Shape, scale: int, name: str) -> tf.Tensor:
    """A field with `scale` columns to each of LR, and those beside its ends where it goes around the globe."""
    return blocks.Wrap(shape.x_lr * scale, shape.wrap * scale, name=name)(x) if shape.wrap else x


def _joined(inputs: tf.Tensor, static: tf.Tensor, shape: Shape) -> tf.Tensor:
    """Inputs and static variables on the same grid."""
    if not shape.static:
        return inputs
    return layers.Concatenate(name=GIVEN)([inputs, blocks.Spread(name="static_spread")([static, inputs])])


def _output(x: tf.Tensor, inputs: tf.Tensor, options: ModelOptions, shape: Shape, made: Architecture) -> tf.Tensor:
    """The field, or the raw parameters of a distribution, at the cells of the field itself."""
    field = apply(made.output.layers, x)
    is_wrapped = shape.wrap and options.upsampling != IMPLICIT
    if is_wrapped:
        field = blocks.Unwrap(shape.scale, name="output_unwrapped")([field, inputs])
    if not options.localized:
        return field
    if is_wrapped:
        x = blocks.Unwrap(shape.scale, name="tail_unwrapped")([x, inputs])
    local = [blocks.Localized(name=f"localized{number + 1 if number else ''}")(x) for number in range(shape.outputs)]
    together = layers.Concatenate(name="localized_outputs")(local) if shape.outputs > 1 else local[0]
    return layers.Add(name="with_localized")([field, together])


def _bases(
    lr: tf.Tensor, query: tf.Tensor | None, options: ModelOptions, shape: Shape, output: Output
) -> list[tf.Tensor]:
    """The interpolated LR that a residual network adds to: a list of one, or of none."""
    if not options.residual:
        return []
    if query is None:
        return [interpolation(shape, output, dtype="float32", name="interpolated")(lr)]
    around = shape.x_lr if shape.wrap else None
    if shape.targets == 1:
        return [implicit.InterpolationAt(output.interpolation, around, name="interpolated")([lr, query])]
    each = [blocks.Channels(k, k + 1, dtype="float32", name=f"lr{k + 1}")(lr) for k in range(shape.targets)]
    fields = [
        implicit.InterpolationAt(output.interpolation, around, name=f"interpolated{k}")([component, query])
        for k, component in enumerate(each, 1)
    ]
    return [layers.Concatenate(dtype="float32", name="interpolated")(fields)]


def _finished(
    field: tf.Tensor, bases: list[tf.Tensor], options: ModelOptions, shape: Shape, output: Output
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The field on its base and above its bound; for a softmax, which has its own bound, the logits.

    Besides, the parameters of a distribution: a list of one, or of none.
    """
    logits = options.constraint == "softmax"
    if shape.has_features:
        return field, []
    if shape.has_distribution:
        return _distribution(field, bases, output)
    for base in bases:
        if logits:
            least = LEAST_SHARE * output.mean
            field = Logits(output.target, output.log_spread, least, dtype="float32", name="logits")([field, base])
        else:
            spread = list(output.residual_stds) or output.residual_std
            field = layers.Rescaling(spread, dtype="float32", name="residual")(field)
            field = layers.Add(dtype="float32", name="downscaled")([base, field])
    if output.bound != "linear" and not logits:
        field = blocks.Bound(output.bound, output.zero, dtype="float32", name="bound")(field)
    return field, []


def _distribution(raw: tf.Tensor, bases: list[tf.Tensor], output: Output) -> tuple[tf.Tensor, list[tf.Tensor]]:
    layer = BernoulliGamma(output.target, output.mean, dtype="float32", name="distribution")
    described = layer([raw, *bases])
    mean = blocks.Channels(0, 1, dtype="float32", name="mean")(described)
    return mean, [blocks.Channels(1, 4, dtype="float32", name="parameters")(described)]


def constrained(
    field: tf.Tensor, lr: tf.Tensor, inputs: tf.Tensor, fixed: tf.Tensor, form: str, shape: Shape, output: Output
) -> tf.Tensor:
    """The field under a constraint of CONSTRAINTS; the last channel of `fixed` has the areas."""
    cells = blocks.Channels(shape.static, shape.static + 1, dtype="float32", name="cells")(fixed)
    last = shape.channels - 1
    gaps = blocks.Channels(last, last + 1, dtype="float32", name="lr_there")
    there = gaps(inputs) if output.lr_has_gaps else _Ones(dtype="float32", name="lr_there")(lr)
    layer = CONSTRAINTS[form](shape.scale, output.target, dtype="float32", name="constraint")
    return layer([field, lr, there, cells])


class _Ones(layers.Layer):
    """One everywhere."""

    def call(self, field: tf.Tensor) -> tf.Tensor:
        return tf.ones_like(field)
