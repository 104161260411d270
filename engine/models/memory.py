"""Bytes that a network takes in training and in prediction, from its layers; known without TensorFlow."""

from __future__ import annotations

from dataclasses import replace

from engine.models.architecture import Architecture, count_parameters, trace_network
from engine.models.layers import Field, Keep, Recurrence, Step
from engine.models.shapes import (
    DISCRIMINATOR_BLOCKS,
    DISCRIMINATOR_FILTERS,
    DISCRIMINATOR_HR_FILTERS,
    Shape,
    count_discriminator,
)
from engine.models.upsampling import hr_filters, stages
from engine.spec import ModelOptions, Spec

STATES = 12  # tensors that a step of the recurrence keeps for its gradient, each as wide as the hidden state
OPTIMIZER_COPIES = 4  # weights, gradients, and Adam's two moments


def training_bytes(spec: Spec, shape: Shape) -> int:
    """Bytes that training takes beside the data: weights, gradients and moments, and activations of a step, twice."""
    patch, batch_size = spec.data.patch_size // spec.data.scale, spec.training.batch_size
    step = replace(shape, y_lr=patch, x_lr=patch) if patch else shape
    parameters = sum(count_parameters(spec.model, shape).values())
    activations = activation_bytes(spec.model, step, batch_size)
    if spec.training.learning == "adversarial":
        parameters += count_discriminator(shape)
        activations += _discriminator_bytes(step, batch_size)
    return 4 * OPTIMIZER_COPIES * parameters + 2 * activations


def activation_bytes(options: ModelOptions, shape: Shape, batch_size: int) -> int:
    """Activations kept for the gradient of one step: those of the blocks, two of each stage, and four fields at HR."""
    at_hr, m = shape.hr[0] * shape.hr[1], hr_filters(options)
    cells = shape.y_lr * shape.x_lr
    entry, *traced = _trace_backbone(options, shape)
    total = 2 * entry[-1].output.values
    total += sum(step.layer.tensors * step.output.values for steps in traced for step in steps)
    for layer, field in _recurrences(traced):
        of_steps = layer.window * (shape.channels_of_step + 2 * field.channels)
        total += (of_steps + (layer.window + 1) * STATES * layer.hidden) * field.y * field.x
    for factor in [] if options.upsampling == "pin" else stages(shape.scale):
        cells *= factor * factor
        total += 2 * cells * m
    return 4 * batch_size * (total + at_hr * (3 * m + shape.static + 4))


def prediction_bytes(options: ModelOptions, shape: Shape, samples: int) -> int:
    """Activations of so many samples that exist at once in prediction: those of the widest layer or block, or at HR.

    A layer has its input, its output, a working copy of that, and the fields kept for layers after it. A block has its
    input and what its layers make: measured, TensorFlow holds them up to its end where layers are joined. Beside both
    stand fields at HR: inputs and LR as interpolated, and the output before and after it is added to that.
    """
    at_hr, m = shape.hr[0] * shape.hr[1], hr_filters(options)
    _, *traced = _trace_backbone(options, shape)
    values = [at_hr * 4 * m]
    for steps in traced:
        values.append(_block_values(steps))
        for step in steps:
            copies = 2 if step.parameters else 1
            values.append(step.kept_values + step.input.values + copies * step.output.values)
    for layer, field in _recurrences(traced):
        n, seen = field.channels, layer.window // 2 + 1
        channels = max(layer.window * (shape.channels_of_step + n), layer.window * n + 9 * seen * layer.hidden)
        values.append(channels * field.y * field.x)
    return 4 * samples * (max(values) + at_hr * (shape.channels + 2 * shape.static + 8))


def _block_values(steps: list[Step]) -> int:
    """Values of a block's input and of all that its layers make, but for those that take the memory of their input."""
    first = steps[0]
    kept_before = 0 if isinstance(first.layer, Keep) else first.kept_values
    made = sum(step.layer.copies * step.output.values for step in steps if step.parameters or step.layer.uses())
    return kept_before + first.input.values + made


def _trace_backbone(options: ModelOptions, shape: Shape) -> list[list[Step]]:
    """Steps of the entry, of the recurrence and of each block."""
    made = Architecture.of(options, shape)
    return trace_network(options, shape, [made.entry, *made.recurrence, *made.backbone])


def _recurrences(traced: list[list[Step]]) -> list[tuple[Recurrence, Field]]:
    """Those of the network, one or none, each with its input."""
    steps = [step for steps in traced for step in steps]
    return [(step.layer, step.input) for step in steps if isinstance(step.layer, Recurrence)]


def _discriminator_bytes(shape: Shape, batch_size: int) -> int:
    """Activations of the discriminator kept for the gradient of one step: of real and of downscaled fields."""
    m, n, cells = DISCRIMINATOR_HR_FILTERS, DISCRIMINATOR_FILTERS, shape.y_lr * shape.x_lr
    at_lr = n * (4 + 5 * DISCRIMINATOR_BLOCKS) + 2 * shape.channels
    return 4 * 2 * batch_size * cells * (shape.scale**2 * (2 * m + 5) + at_lr)
