"""What a network is built for, and how many weights it will have; known without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from engine.spec import ModelOptions

KERNEL = 9  # cells of a 3 × 3 convolution
ATTENTION_RATIO = 4  # channels per hidden unit of channel attention (Hu et al. 2018 use 16, on wider networks)


@dataclass(frozen=True)
class Shape:
    """Sides of the LR field, channels of the inputs, static variables, and the scale."""

    y_lr: int
    x_lr: int
    channels: int
    static: int
    scale: int

    @property
    def hr(self) -> tuple[int, int]:
        return self.y_lr * self.scale, self.x_lr * self.scale


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


def count_parameters(options: ModelOptions, shape: Shape) -> dict[str, int]:
    """Trainable weights of each part of the network, by hand."""
    n, m = options.n_filters, hr_filters(options)
    widths: list[int] = [n] + [m] * len(stages(shape.scale))
    upsampling = sum(_conv(width, m * f * f) for width, f in zip(widths, stages(shape.scale), strict=False))
    y, x = shape.hr
    return {
        "entry": _conv(shape.channels + shape.static, n),
        "backbone": options.n_blocks * _residual_block(options, n),
        "upsampling": upsampling,
        "tail": _conv(m + shape.static, m),
        "output": _conv(m, 1),
        "localized": y * x * (m + 1) if options.localized else 0,
    }


def activation_bytes(options: ModelOptions, shape: Shape, batch_size: int) -> int:
    """Activations kept for the gradient of one step: two at LR a block, two at each stage, four at HR."""
    n, m = options.n_filters, hr_filters(options)
    cells, total = shape.y_lr * shape.x_lr, 0
    total += cells * n * (2 + 3 * options.n_blocks)
    for factor in stages(shape.scale):
        cells *= factor * factor
        total += 2 * cells * m
    return 4 * batch_size * (total + cells * (3 * m + shape.static + 4))


def _conv(channels: int, filters: int) -> int:
    return (KERNEL * channels + 1) * filters


def _residual_block(options: ModelOptions, n: int) -> int:
    normalization = 0 if options.normalization == "none" else 2 * 2 * n
    hidden = max(1, n // ATTENTION_RATIO)
    attention = (n + 1) * hidden + (hidden + 1) * n if options.attention else 0
    return 2 * _conv(n, n) + normalization + attention
