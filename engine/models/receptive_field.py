"""The architecture as a list of parts, in the order in which a field goes through them; known without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import gcd

import numpy as np

from engine.data.kernels import upsampling_matrix
from engine.models.architecture import Architecture, block_parameters, localized_parameters, trace_network
from engine.models.layers import Back
from engine.models.shapes import Shape, is_recurrent
from engine.network_part import Part
from engine.spec import ModelOptions

SMALLEST_WEIGHT = 0.01  # of an LR cell in an interpolated value, to count as seen
LOST_WEIGHT = 1e-7  # of an LR cell in an interpolated value, that float32 doesn't show
INTERPOLATED_SIDE = 48  # LR cells, so many that the middle is far from the borders


@dataclass(frozen=True)
class Reach:
    """Cells that a network needs beside a piece of a field, to predict it as within the whole.

    halo : LR cells around the piece, on each side, up to the border of the field.
    align : the first LR row and column given are multiples of it, as a U-Net halves its fields cell by cell, and
        attention cuts them into windows.
    """

    halo: int
    align: int


@dataclass(frozen=True)
class _Step:
    """A part before it is known what it sees."""

    name: str
    does: str
    y: int
    x: int
    channels: int
    parameters: int = 0
    back: Sequence[Back] = ()
    times: int = 1
    everywhere: bool = False
    beside: Back | None = None  # the way around all parts before


def network_parts(options: ModelOptions, shape: Shape, interpolation: str) -> list[Part]:
    """The parts of the network that `build` makes, from its inputs to the field."""
    parts: list[Part] = []
    back: list[Back] = []
    everywhere, period = False, _period(options, shape)
    for step in _steps(options, shape, interpolation, SMALLEST_WEIGHT):
        back += step.back
        everywhere |= step.everywhere
        seen = [] if everywhere else [_seen(cell, back, step.beside) for cell in range(period)]
        sees = max(last - first + 1 for first, last in seen) if seen else None
        parts.append(Part(step.name, step.does, step.y, step.x, step.channels, step.parameters, sees, step.times))
    return parts


def reach(options: ModelOptions, shape: Shape, interpolation: str) -> Reach | None:
    """Cells needed around a piece of the field; None where the network needs the whole field.

    It has to with channel attention, which takes means over the field, with Fourier filters, and with a localized
    block, whose weights are of cells.
    """
    steps = _steps(options, shape, interpolation, LOST_WEIGHT)
    if options.localized or any(step.everywhere for step in steps):
        return None
    back, beside, period = [each for step in steps for each in step.back], steps[-1].beside, _period(options, shape)
    halo = 0
    for cell in range(period):
        (first, last), own = _seen(cell, back, beside), cell // shape.scale
        halo = max(halo, own - first, last - own)
    align = period // shape.scale
    return Reach(halo, align // gcd(align, shape.scale) if options.upsampling == "pin" else align)


def with_wrap(shape: Shape, options: ModelOptions, periodic: bool) -> Shape:
    """Shape of a network for these fields, with the columns of the other end that its layers see from each end.

    These are at most half of all, where layers see farther, or the whole field: the layers then work on two globes side
    by side.
    """
    if not periodic:
        return shape
    steps, align = _layers(options, shape), Architecture.of(options, shape).period
    per_cell = shape.scale if options.upsampling == "pin" else 1  # of the layers' own field, to an LR column
    back = [each for step in steps for each in step.back]
    reached = 0
    for cell in range(_period(options, shape)):
        (first, last), own = _seen(cell, back, None), cell * per_cell // shape.scale
        reached = max(reached, own - first, last - own)
    align //= gcd(align, per_cell)
    most = max(align, shape.x_lr // 2 // align * align)
    everywhere = any(step.everywhere for step in steps)
    return replace(shape, wrap=most if everywhere else min(most, -(-reached // (per_cell * align)) * align))


def _steps(options: ModelOptions, shape: Shape, interpolation: str, least: float) -> list[_Step]:
    """least : weight of an LR cell in an interpolated value, to count as seen."""
    base = _interpolated(shape, interpolation, least)
    inputs = _inputs(options, shape, interpolation, base)
    return [*inputs, *_layers(options, shape), *_end(options, shape, interpolation, base)]


def _layers(options: ModelOptions, shape: Shape) -> list[_Step]:
    """Blocks of layers; blocks of one name, one after another, are one step."""
    blocks = Architecture.of(options, shape).blocks
    traced = trace_network(options, shape, blocks)
    steps = []
    for name, group in groupby(zip(blocks, traced, block_parameters(traced), strict=True), lambda each: each[0].name):
        alike = list(group)
        layers = [layer for block, *_ in alike for layer in block.layers]
        output, times = alike[-1][1][-1].output, len(alike)
        steps.append(
            _Step(
                f"{name}s 1–{times}" if times > 1 else name,
                alike[0][0].does,
                output.y,
                output.x,
                output.channels,
                sum(parameters for _, _, parameters in alike),
                [back for layer in layers if (back := layer.back())],
                times,
                any(layer.sees_whole_field for layer in layers),
            )
        )
    return steps


def _period(options: ModelOptions, shape: Shape) -> int:
    """HR cells after which a cell lies in its LR cell, and in halved fields and windows, as another did."""
    return shape.scale * Architecture.of(options, shape).period


def _seen(cell: int, back: Sequence[Back], beside: Back | None) -> tuple[int, int]:
    """The first and the last cell of the inputs that an output cell depends on."""
    first = last = cell
    for step in reversed(back):
        first, last = step(first, last)
    other = beside(cell, cell) if beside else (first, last)
    return min(first, other[0]), max(last, other[1])


def _inputs(options: ModelOptions, shape: Shape, interpolation: str, base: Back) -> list[_Step]:
    many = shape.channels + shape.static
    beside = f", {shape.static} static" if shape.static else ""
    recurrent = is_recurrent(options, shape)
    steps = f"{shape.window} steps of {shape.fields}, " if recurrent else ""
    channels = f"{shape.channels} channel{'s' if shape.channels > 1 else ''}"
    around = f", {shape.wrap} columns more beside each end" if shape.wrap else ""
    inputs = [_Step("inputs", f"{steps}{channels}{beside}{around}", shape.y_lr, shape.x_lr, many)]
    if options.upsampling == "pin":
        inputs.append(_Step("interpolation", interpolation, *shape.hr, many, back=[base]))
    return inputs


def _end(options: ModelOptions, shape: Shape, interpolation: str, base: Back) -> list[_Step]:
    sides, found = shape.hr, []
    if options.localized:
        does = "weights for each cell, beside output"
        found.append(_Step("localized", does, *sides, shape.outputs, localized_parameters(options, shape)))
    if not shape.has_features and (options.residual or shape.has_distribution):
        made = ["mean of the distribution"] * shape.has_distribution
        made += [f"with the {interpolation} LR"] * options.residual
        found.append(_Step("field", ", ".join(made), *sides, shape.targets, beside=base if options.residual else None))
    if options.constraint != "none":

        def block(first: int, last: int) -> tuple[int, int]:
            """All HR cells of the LR cells that they lie in."""
            return first // shape.scale * shape.scale, last // shape.scale * shape.scale + shape.scale - 1

        around = (lambda first, last: base(*block(first, last))) if options.residual else None
        does = f"{options.constraint}: the mean is LR"
        found.append(_Step("constraint", does, *sides, 1, back=[block], beside=around))
    return found


def _interpolated(shape: Shape, kernel: str, least: float) -> Back:
    """The columns of the interpolation's own matrix that count: those of a spline never end, but fade."""
    middle, scale = INTERPOLATED_SIDE // 2, shape.scale
    matrix = upsampling_matrix(INTERPOLATED_SIDE, scale, kernel)[middle * scale : (middle + 1) * scale]
    seen = [np.flatnonzero(np.abs(row) >= least) - middle for row in matrix]

    def back(first: int, last: int) -> tuple[int, int]:
        cells = [cell // scale + seen[cell % scale] for cell in range(first, last + 1)]
        return int(min(c.min() for c in cells)), int(max(c.max() for c in cells))

    return back
