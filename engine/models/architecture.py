"""The layers of a whole network, and how many weights they have; known without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.models.backbones import BACKBONES
from engine.models.backbones.graph import VECTORS
from engine.models.layers import Block, Concatenate, Conv, Field, Layer, Noise, Recurrence
from engine.models.shapes import Shape, is_recurrent
from engine.models.tracing import Step, trace
from engine.models.upsampling import IMPLICIT, hr_filters, stage_blocks
from engine.spec import ModelOptions

STATIC = "static"  # name of the kept field of static variables at HR


@dataclass(frozen=True)
class Architecture:
    """Blocks of a network from entry to output, in order; a field goes through all but `localized`.

    recurrence, stages : empty where the network has none.
    """

    entry: Block
    recurrence: tuple[Block, ...]
    backbone: tuple[Block, ...]
    stages: tuple[Block, ...]
    tail: Block
    output: Block

    @classmethod
    def of(cls, options: ModelOptions, shape: Shape) -> Architecture:
        backbone, recurrent, m = BACKBONES[options.backbone](options), is_recurrent(options, shape), hr_filters(options)
        each = f", each of {shape.window} steps" if recurrent else ""
        joined: list[Layer] = [Concatenate("hr_and_static", STATIC)] if shape.static else []
        beside = " with static variables" if shape.static else ""
        noisy = [Noise("noise", options.noise)] if options.noise else []
        both = max(4, options.n_filters // 2)  # hidden states of two directions: as many channels as the backbone
        recurrence = Recurrence("recurrence", both, shape.window)
        side = 1 if options.upsampling == IMPLICIT else 3  # points have no neighbours
        own = next(layer.side for layer in backbone.entry if isinstance(layer, Conv))
        entry, at_hr = (f"{n} × {n} convolution" for n in (own, side))
        start = "zeros" if options.residual else "glorot_uniform"  # a residual network starts as the interpolation
        return cls(
            Block("entry", f"{entry}{each}", (*noisy, *backbone.entry)),
            (Block("recurrence", "convolutional LSTM, both ways", (recurrence,)),) if recurrent else (),
            backbone.blocks,
            tuple(stage_blocks(options, shape.scale)),
            Block("tail", f"{at_hr}{beside}", (*joined, Conv("tail", m, side, options.activation))),
            Block("output", at_hr, (Conv("output", shape.outputs, side, initializer=start),)),
        )

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.entry, *self.recurrence, *self.backbone, *self.stages, self.tail, self.output

    @property
    def period(self) -> int:
        """Cells along a side of the backbone's input after which a cell is treated as another was.

        These are the cells that the coarsest field inside puts together, or those of a window.
        """
        layers = layers_of(self.blocks)
        return math.prod(layer.halving for layer in layers) * math.lcm(*(layer.window_side for layer in layers))


def layers_of(blocks: Iterable[Block]) -> list[Layer]:
    return [layer for block in blocks for layer in block.layers]


def trace_network(options: ModelOptions, shape: Shape, blocks: Sequence[Block]) -> list[list[Step]]:
    """Follow a field of the inputs through the blocks of `Architecture.blocks`."""
    shape = shape.wrapped
    sides = shape.hr if options.upsampling == "pin" else (shape.y_lr, shape.x_lr)
    channels = shape.channels_of_step if is_recurrent(options, shape) else shape.channels
    kept = {STATIC: Field(*shape.hr, shape.static), VECTORS: Field(*sides, shape.vectors)}
    return trace(blocks, Field(*sides, channels + shape.static), kept)


def count_parameters(options: ModelOptions, shape: Shape) -> dict[str, int]:
    """Trainable weights of each part of the network."""
    made = Architecture.of(options, shape)
    weights = iter(block_parameters(trace_network(options, shape, made.blocks)))
    parts = {"entry": 1, "recurrence": len(made.recurrence), "backbone": len(made.backbone)}
    parts |= {"upsampling": len(made.stages), "tail": 1, "output": 1}
    counted = {part: sum(next(weights) for _ in range(many)) for part, many in parts.items()}
    return {**counted, "localized": localized_parameters(options, shape) if options.localized else 0}


def block_parameters(traced: Iterable[Sequence[Step]]) -> list[int]:
    return [sum(step.parameters for step in steps) for steps in traced]


def localized_parameters(options: ModelOptions, shape: Shape) -> int:
    """Weights of their own for each HR cell, from the tail's channels to each output."""
    y, x = shape.hr
    return y * x * (hr_filters(options) + 1) * shape.outputs
