"""Upsampling of features (y_lr, x_lr, n_filters) to HR, as layers, without TensorFlow.

A composite scale is reached in one stage for each prime factor, each stage with weights of its own. Pre-upsampling by
interpolation (pin) has no stages: its backbone works at HR already. An implicit function reads features of that scale
at any points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from engine.models.layers import Back, Block, Conv, Dense, Field, Layer, Repeat, SubPixel, TransposedConv, neighbours
from engine.spec import ModelOptions

IMPLICIT = "implicit"


@dataclass(frozen=True)
class Implicit(Layer):
    """A function of the nearest features, the way to them and the cell's size, at any points: here at their own.

    Chen et al. (2021, LIIF), eqs. 1 to 4. The first of its HIDDEN layers sees 3 × 3 features, and their positions come
    in at each of the four cells around a point.

    factor : cells of the features along the side of an LR cell.
    around : cells around a point that are asked; of points on their centres, one is enough.
    """

    HIDDEN: ClassVar[int] = 2
    QUERY: ClassVar[int] = 3  # values that describe a point: row, column, side of its cell
    copies: ClassVar[int] = 5

    filters: int
    factor: int
    activation: str
    around: int = 4

    @property
    def tensors(self) -> int:  # type: ignore[override]
        """Before and after activations, and weighted."""
        return self.around * (2 * self.HIDDEN + 1)

    def parameters(self, channels: int) -> int:
        first = Conv("", self.filters).parameters(channels) + self.QUERY * self.filters
        return first + (self.HIDDEN - 1) * Dense("", self.filters).parameters(self.filters)

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        return replace(field, channels=self.filters)

    def back(self) -> Back:
        return neighbours(3)


def stage_blocks(options: ModelOptions, scale: int) -> list[Block]:
    """One block for each stage, and one for an implicit function after them; none with pin."""
    if options.upsampling == "pin":
        return []
    does, layers = UPSAMPLINGS[options.upsampling]
    blocks = [
        Block(f"stage {number}", f"{does} × {factor}", tuple(layers(options, factor, f"stage{number}")))
        for number, factor in enumerate(stages(scale), 1)
    ]
    if options.upsampling == IMPLICIT:
        around = 4 if options.scales else 1
        function = Implicit("implicit", hr_filters(options), scale, options.activation, around)
        blocks.append(Block("implicit function", "at any points", (function,)))
    return blocks


def stages(scale: int) -> list[int]:
    """The prime factors of a scale, the smallest first: upsampling goes in that many stages."""
    factors, rest, factor = [], scale, 2
    while rest > 1:
        while rest % factor == 0:
            factors.append(factor)
            rest //= factor
        factor += 1
    return factors


def hr_filters(options: ModelOptions) -> int:
    """Channels at HR: an HR layer costs scale² times an LR layer, so they are half as many."""
    return max(4, options.n_filters // 2)


def _sub_pixel(options: ModelOptions, factor: int, name: str) -> list[Layer]:
    """Sub-pixel convolution (Shi et al. 2016, eq. 4)."""
    filters = hr_filters(options) * factor**2
    return [Conv(name, filters, activation=options.activation), SubPixel(f"{name}_shuffle", factor)]


def _resize_convolution(options: ModelOptions, factor: int, name: str) -> list[Layer]:
    """Cells repeated, then a convolution: no checkerboard (Odena et al. 2016)."""
    return [Repeat(f"{name}_resize", factor), Conv(name, hr_filters(options), activation=options.activation)]


def _transposed_convolution(options: ModelOptions, factor: int, name: str) -> list[Layer]:
    return [TransposedConv(name, hr_filters(options), factor, options.activation)]


UPSAMPLINGS: dict[str, tuple[str, Callable[[ModelOptions, int, str], list[Layer]]]] = {
    "spc": ("sub-pixel convolution", _sub_pixel),
    "rc": ("resize convolution", _resize_convolution),
    "dc": ("transposed convolution", _transposed_convolution),
    IMPLICIT: ("sub-pixel convolution", _sub_pixel),
}
