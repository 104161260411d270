"""The architecture as a list of parts, in the order in which a field goes through them; known without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import gcd
from typing import Any

import numpy as np

from engine.data.kernels import upsampling_matrix
from engine.models.shapes import (
    DENSE_LAYERS,
    DEPTHWISE_SIDE,
    Shape,
    block_weights,
    count_parameters,
    hr_filters,
    is_recurrent,
    stages,
    unet_widths,
    upsampling_weights,
)
from engine.spec import ModelOptions

BLOCKS = {
    "resnet": "residual block",
    "convnet": "convolution block",
    "densenet": "dense block",
    "convnext": "ConvNeXt block",
}
STAGES = {"spc": "sub-pixel convolution", "rc": "resize convolution", "dc": "transposed convolution"}
SMALLEST_WEIGHT = 0.01  # of an LR cell in an interpolated value, to count as seen
LOST_WEIGHT = 1e-7  # of an LR cell in an interpolated value, that float32 doesn't show
INTERPOLATED_SIDE = 48  # LR cells, so many that the middle is far from the borders
CONVOLUTION = "3 × 3 convolution"

# Cells of the input that the cells from a first to a last one of the output depend on, along a side.
Back = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Part:
    """A part of the network, with the sides and channels of what it hands on.

    times : so many of the same, one after another, with `parameters` together.
    sees : LR cells along a side that one value of the part depends on, at most; None: the whole field.
    """

    name: str
    does: str
    y: int
    x: int
    channels: int
    parameters: int
    sees: int | None
    times: int = 1

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Reach:
    """Cells that a network needs beside a piece of a field, to predict it as within the whole.

    halo : LR cells around the piece, on each side, up to the border of the field.
    align : the first LR row and column given are multiples of it, as a U-Net halves its fields cell by cell.
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


def picture(options: ModelOptions, shape: Shape, interpolation: str) -> list[Part]:
    """The parts of the network that `build` makes, from its inputs to the field."""
    parts: list[Part] = []
    back: list[Back] = []
    everywhere = False
    for step in _steps(options, shape, interpolation, SMALLEST_WEIGHT):
        back += step.back
        everywhere |= step.everywhere
        sees = None if everywhere else _most_seen(back, step.beside, _period(options, shape))
        parts.append(Part(step.name, step.does, step.y, step.x, step.channels, step.parameters, sees, step.times))
    return parts


def reach(options: ModelOptions, shape: Shape, interpolation: str) -> Reach | None:
    """Cells needed around a piece of the field; None where the network needs the whole field.

    It has to with attention, which takes means over the field, and with a localized block, whose weights are of cells.
    """
    steps = _steps(options, shape, interpolation, LOST_WEIGHT)
    if options.localized or any(step.everywhere for step in steps):
        return None
    back, beside, period = [each for step in steps for each in step.back], steps[-1].beside, _period(options, shape)
    halo = 0
    for cell in range(period):
        (first, last), own = _seen(cell, back, beside), cell // shape.scale
        halo = max(halo, own - first, last - own)
    return Reach(halo, period // shape.scale // gcd(period // shape.scale, shape.scale))


def _steps(options: ModelOptions, shape: Shape, interpolation: str, least: float) -> list[_Step]:
    """least : weight of an LR cell in an interpolated value, to count as seen."""
    base = _interpolated(shape, interpolation, least)
    inputs = _inputs(options, shape, interpolation, base)
    ends = _end(options, shape, interpolation, base)
    return [*inputs, *_backbone(options, shape), *_upsampling(options, shape), *ends]


def _period(options: ModelOptions, shape: Shape) -> int:
    """HR cells after which a cell lies in its LR cell, and in the halved fields of a U-Net, as another did."""
    return shape.scale * 2 ** (len(unet_widths(options)) - 1 if options.backbone == "unet" else 0)


def _most_seen(back: Sequence[Back], beside: Back | None, period: int) -> int:
    """Cells of the inputs that an output cell depends on, of all places that it can have within an LR cell."""
    seen = [_seen(cell, back, beside) for cell in range(period)]
    return max(last - first + 1 for first, last in seen)


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
    inputs = [_Step("inputs", f"{steps}{channels}{beside}", shape.y_lr, shape.x_lr, many)]
    if options.upsampling == "pin":
        inputs.append(_Step("interpolation", interpolation, *shape.hr, many, back=[base]))
    return inputs


def _backbone(options: ModelOptions, shape: Shape) -> list[_Step]:
    sides = shape.hr if options.upsampling == "pin" else (shape.y_lr, shape.x_lr)
    weights, n = count_parameters(options, shape), int(options.n_filters)
    recurrent = is_recurrent(options, shape)
    each = f", each of {shape.window} steps" if recurrent else ""
    found = [_Step("entry", f"{CONVOLUTION}{each}", *sides, n, weights["entry"], [_conv(3)])]
    if recurrent:  # the step farthest away comes through one convolution more for each step on the way
        back = [_conv(3)] * (1 + shape.window // 2)
        found.append(_Step("recurrence", "convolutional LSTM, both ways", *sides, n, weights["recurrence"], back))
    return found + (_unet(options, sides) if options.backbone == "unet" else _blocks(options, sides))


def _blocks(options: ModelOptions, sides: tuple[int, int]) -> list[_Step]:
    n, many = int(options.n_filters), int(options.n_blocks)
    block = {
        "resnet": [_conv(3)] * 2,
        "convnet": [_conv(3)],
        "densenet": [_conv(3)] * DENSE_LAYERS,
        "convnext": [_conv(DEPTHWISE_SIDE)],
    }[options.backbone]
    name = f"blocks 1–{many}" if many > 1 else "block"
    weights = sum(block_weights(options))
    return [_Step(name, BLOCKS[options.backbone], *sides, n, weights, block * many, many, bool(options.attention))]


def _unet(options: ModelOptions, sides: tuple[int, int]) -> list[_Step]:
    """The top's second convolution, levels down, the bottom, and levels up."""
    *widths, bottom = unet_widths(options)
    y, x = sides
    halved = [(-(-y // 2**level), -(-x // 2**level)) for level in range(len(widths) + 1)]
    weights, twice = iter(block_weights(options)), [_conv(3)] * 2
    everywhere = bool(options.attention)
    found = [_Step("down 1", CONVOLUTION, *sides, widths[0], next(weights), [_conv(3)], everywhere=everywhere)]
    for level, width in enumerate([*widths[1:], bottom], 1):
        name = f"down {level + 1}" if level < len(widths) else "bottom"
        found.append(_Step(name, "halved, 2 convolutions", *halved[level], width, next(weights), [_pooled, *twice]))
    for level in range(len(widths) - 1, -1, -1):
        words = f"doubled, beside down {level + 1}, 2 convolutions"
        found.append(
            _Step(f"up {level + 1}", words, *halved[level], widths[level], next(weights), [_coarser(2), *twice])
        )
    return found


def _upsampling(options: ModelOptions, shape: Shape) -> list[_Step]:
    found, y, x = [], shape.y_lr, shape.x_lr
    if options.upsampling == "pin":
        return []
    for number, (factor, weights) in enumerate(
        zip(stages(shape.scale), upsampling_weights(options, shape.scale), strict=True), 1
    ):
        y, x = y * factor, x * factor
        back = {
            "spc": [_conv(3), _coarser(factor)],
            "rc": [_coarser(factor), _conv(3)],
            "dc": [_transposed(factor)],
        }[options.upsampling]
        words = f"{STAGES[options.upsampling]} × {factor}"
        found.append(_Step(f"stage {number}", words, y, x, hr_filters(options), weights, back))
    return found


def _end(options: ModelOptions, shape: Shape, interpolation: str, base: Back) -> list[_Step]:
    weights, sides = count_parameters(options, shape), shape.hr
    beside = " with static variables" if shape.static else ""
    found = [
        _Step("tail", f"{CONVOLUTION}{beside}", *sides, hr_filters(options), weights["tail"], [_conv(3)]),
        _Step("output", CONVOLUTION, *sides, shape.outputs, weights["output"], [_conv(3)]),
    ]
    if options.localized:
        does = "weights for each cell, beside output"
        found.append(_Step("localized", does, *sides, shape.outputs, weights["localized"]))
    if options.residual or shape.outputs > 1:
        made = ["mean of the distribution"] * (shape.outputs > 1) + [f"with the {interpolation} LR"] * options.residual
        found.append(_Step("field", ", ".join(made), *sides, 1, beside=base if options.residual else None))
    if options.constraint != "none":
        block = _whole_block(shape.scale)
        around = (lambda first, last: base(*block(first, last))) if options.residual else None
        does = f"{options.constraint}: the mean is LR"
        found.append(_Step("constraint", does, *sides, 1, back=[block], beside=around))
    return found


def _conv(side: int) -> Back:
    return lambda first, last: (first - side // 2, last + side // 2)


def _pooled(first: int, last: int) -> tuple[int, int]:
    return 2 * first, 2 * last + 1


def _coarser(factor: int) -> Back:
    """Cells divided into `factor` each."""
    return lambda first, last: (first // factor, last // factor)


def _whole_block(scale: int) -> Back:
    """All HR cells of the LR cells that they lie in."""
    return lambda first, last: (first // scale * scale, last // scale * scale + scale - 1)


def _transposed(factor: int) -> Back:
    """Input cell i reaches the output cells from factor · i - factor // 2 on, twice `factor` of them."""
    before = factor // 2
    return lambda first, last: (-(-(first + before - 2 * factor + 1) // factor), (last + before) // factor)


def _interpolated(shape: Shape, kernel: str, least: float) -> Back:
    """The columns of the interpolation's own matrix that count: those of a spline never end, but fade."""
    middle, scale = INTERPOLATED_SIDE // 2, shape.scale
    matrix = upsampling_matrix(INTERPOLATED_SIDE, scale, kernel)[middle * scale : (middle + 1) * scale]
    seen = [np.flatnonzero(np.abs(row) >= least) - middle for row in matrix]

    def back(first: int, last: int) -> tuple[int, int]:
        cells = [cell // scale + seen[cell % scale] for cell in range(first, last + 1)]
        return int(min(c.min() for c in cells)), int(max(c.max() for c in cells))

    return back
