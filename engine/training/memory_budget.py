"""Memory of a run: bytes of a network in training and in prediction, and the shares of the data that are kept or read.

Known without TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import isqrt

from engine.data.samples import CELLS_AT_ONCE
from engine.models.architecture import Architecture, count_parameters, layers_of, trace_network
from engine.models.layers import Field, Keep, Recurrence
from engine.models.second_network import count_second, coupling_values, levels, second_network
from engine.models.shapes import (
    DISCRIMINATOR_BLOCKS,
    DISCRIMINATOR_FILTERS,
    DISCRIMINATOR_HR_FILTERS,
    Shape,
    count_discriminator,
    members_of,
)
from engine.models.tracing import Step
from engine.models.upsampling import IMPLICIT, Implicit, hr_filters, stage_blocks, stages
from engine.spec import ModelOptions, Spec

HR_CELLS_AT_ONCE = 500_000  # of a batch without gradients: 64 MB of activations for each layer of 32 filters
MEMORY_SHARE = 0.25  # of the free memory, for one part: there are two, each twice while it is handed over
RUNTIME_BYTES = 400 * 2**20  # that TensorFlow takes once it runs, for threads, graphs and kernels
READ_AHEAD = 4  # batches
READERS = 2  # batches that are being read at a time
COPIES = 5  # of a field, as float32, while it is read and scaled, which is done in float64
STATES = 12  # tensors that a step of the recurrence keeps for its gradient, each as wide as the hidden state
QUERIES = 32  # rows, and columns, of points in a step of training at random scales
OPTIMIZER_COPIES = 4  # weights, gradients, and Adam's two moments


def training_bytes(spec: Spec, shape: Shape) -> int:
    """Bytes that training takes beside the data: weights, gradients and moments, and activations of a step, twice."""
    patch, batch_size = spec.data.patch_size // spec.data.scale, spec.training.batch_size
    step = shape.piece(patch, patch) if patch else shape
    parameters = sum(count_parameters(spec.model, shape).values())
    activations = activation_bytes(spec.model, step, batch_size * members_of(spec.training))
    if spec.draws_residuals:
        parameters += count_second(spec, shape)
        second = activation_bytes(*second_network(spec.model, step, spec.training.learning), batch_size)
        couplings = 4 * batch_size * len(levels()) * spec.model.sampling_steps * coupling_values(spec, step)
        activations = max(activations, second + couplings + prediction_bytes(spec.model, step, batch_size))
    if spec.training.learning == "adversarial":
        parameters += count_discriminator(shape)
        activations += _discriminator_bytes(step.wrapped, batch_size)
    return 4 * OPTIMIZER_COPIES * parameters + 2 * activations


def activation_bytes(options: ModelOptions, shape: Shape, batch_size: int) -> int:
    """Activations kept for the gradient of one step: those of the blocks, two of each stage, and four fields at HR."""
    shape = shape.wrapped
    at_hr, m = shape.hr[0] * shape.hr[1], hr_filters(options)
    cells = shape.y_lr * shape.x_lr
    entry, *traced = _trace_backbone(options, shape)
    total = 2 * entry[-1].output.values
    total += sum(step.layer.tensors * step.output.values for steps in traced for step in steps)
    for layer, field in _recurrences(traced):
        of_steps = layer.window * (shape.channels_of_step + 2 * field.channels)
        total += (of_steps + (layer.window + 1) * STATES * layer.hidden) * field.y * field.x
    points = min(at_hr, QUERIES**2) if options.scales else at_hr
    implicit = [layer for layer in layers_of(stage_blocks(options, shape.scale)) if isinstance(layer, Implicit)]
    total += sum(layer.tensors for layer in implicit) * points * m
    for factor in [] if options.upsampling == "pin" else stages(shape.scale):
        cells *= factor * factor
        total += 2 * cells * m
    return 4 * batch_size * (total + at_hr * (3 * m + shape.static + 4 * shape.targets))


def prediction_bytes(options: ModelOptions, shape: Shape, samples: int) -> int:
    """Activations of so many samples that exist at once in prediction: those of the widest layer or block, or at HR.

    A layer has its input, its output, a working copy of that, and the fields kept for layers after it. A block has its
    input and what its layers make: measured, TensorFlow holds them up to its end where layers are joined. Beside both
    stand fields at HR: inputs and LR as interpolated, and the output before and after it is added to that.
    """
    shape = shape.wrapped
    at_hr, m = shape.hr[0] * shape.hr[1], hr_filters(options)
    _, *traced = _trace_backbone(options, shape)
    values = [at_hr * (4 * m if options.upsampling != IMPLICIT else m + Implicit.copies * m)]
    for steps in traced:
        values.append(_block_values(steps))
        for step in steps:
            copies = 2 if step.parameters else 1
            values.append(step.kept_values + step.input.values + copies * step.output.values)
    for layer, field in _recurrences(traced):
        n, seen = field.channels, layer.window // 2 + 1
        channels = max(layer.window * (shape.channels_of_step + n), layer.window * n + 9 * seen * layer.hidden)
        values.append(channels * field.y * field.x)
    return 4 * samples * (max(values) + at_hr * (shape.channels + 2 * shape.static + 8 * shape.targets))


def _block_values(steps: list[Step]) -> int:
    """Values of a block's input and of all that its layers make, but for those that take the memory of their input."""
    first = steps[0]
    kept_before = 0 if isinstance(first.layer, Keep) else first.kept_values
    made = sum(step.layer.working_values(step.output) for step in steps if step.parameters or step.layer.uses())
    return kept_before + first.input.values + made


def _trace_backbone(options: ModelOptions, shape: Shape) -> list[list[Step]]:
    """Steps of the entry, of the recurrence and of each block."""
    made = Architecture.of(options, shape)
    return trace_network(options, shape, [made.entry, *made.recurrence, *made.backbone])


def _recurrences(traced: list[list[Step]]) -> list[tuple[Recurrence, Field]]:
    """Recurrences of the network, one or none, each with its input."""
    steps = [step for steps in traced for step in steps]
    return [(step.layer, step.input) for step in steps if isinstance(step.layer, Recurrence)]


def _discriminator_bytes(shape: Shape, batch_size: int) -> int:
    """Activations of the discriminator kept for the gradient of one step: of real and of downscaled fields."""
    m, n, cells = DISCRIMINATOR_HR_FILTERS, DISCRIMINATOR_FILTERS, shape.y_lr * shape.x_lr
    at_lr = n * (4 + 5 * DISCRIMINATOR_BLOCKS) + 2 * shape.channels
    return 4 * 2 * batch_size * cells * (shape.scale**2 * (2 * m + 5) + at_lr)


def fits(part: int, free: int, reserved: int) -> bool:
    """True if a part of so many bytes is kept in memory, of which `free` bytes are free.

    reserved : bytes that training itself will take.
    """
    return part < share(free, reserved)


def share(free: int, reserved: int) -> int:
    """Bytes of the free ones that a part may take."""
    return max(0, int(MEMORY_SHARE * (free - RUNTIME_BYTES - reserved)))


def needed(part: int, reserved: int) -> int:
    """Bytes that have to be free for a part to be kept in memory."""
    return int(part / MEMORY_SHARE) + RUNTIME_BYTES + reserved


def ahead_bytes(shape: Shape, batch_size: int, patch_lr: int) -> int:
    """Bytes of batches that are read ahead, and of the whole fields from which they are cut, with their time windows.

    patch_lr : side of a patch in LR cells, 0 for whole fields.
    """
    cells, cells_lr = shape.hr[0] * shape.hr[1], shape.y_lr * shape.x_lr
    at_once = min(batch_size, max(1, CELLS_AT_ONCE // cells)) if patch_lr else batch_size
    reading = at_once * shape.window * (shape.targets * cells + cells_lr * (1 + shape.fields)) * COPIES
    kept_lr = patch_lr**2 or cells_lr
    batch = batch_size * kept_lr * (shape.targets * shape.scale**2 + shape.channels)
    return 4 * (READERS * reading + (READERS + READ_AHEAD) * batch)


@dataclass(frozen=True)
class Pieces:
    """Division of the validation fields for the network, which must not take more than training in patches.

    at_once : whole fields in a batch; side, corners : in LR cells, of squares into which a field that is too large even
    alone is cut. They overlap where it is no multiple of them, and their edges count as borders of the field.
    """

    at_once: int
    side: int = 0
    corners: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, lr_shape: tuple[int, int], scale: int, patch_lr: int, batch_size: int) -> Pieces:
        y, x = lr_shape
        cells = y * x * scale**2
        if not patch_lr:
            return cls(batch_size)
        if cells <= HR_CELLS_AT_ONCE:
            return cls(min(batch_size, HR_CELLS_AT_ONCE // cells))
        side = min(max(patch_lr, isqrt(HR_CELLS_AT_ONCE) // scale), y, x)
        corners = product(*([*range(0, cells - side, side), cells - side] for cells in lr_shape))
        return cls(1, side, tuple(corners))

    def steps(self, fields: int) -> int:
        """Batches in which so many fields are validated."""
        return fields * len(self.corners) if self.corners else -(-fields // self.at_once)
