"""Upsampling of features (y_lr, x_lr, n_filters) to (y, x, hr_filters), as layers, without TensorFlow.

A composite scale is reached in one stage for each prime factor, each stage with weights of its own. Pre-upsampling by
interpolation (pin) has no stages: its backbone works at HR already.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.models.layers import Block, Conv, Layer, Repeat, SubPixel, TransposedConv
from engine.spec import ModelOptions


def stage_blocks(options: ModelOptions, scale: int) -> list[Block]:
    """One block for each stage; none with pin."""
    if options.upsampling == "pin":
        return []
    does, layers = UPSAMPLINGS[options.upsampling]
    return [
        Block(f"stage {number}", f"{does} × {factor}", tuple(layers(options, factor, f"stage{number}")))
        for number, factor in enumerate(stages(scale), 1)
    ]


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
}
