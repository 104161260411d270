"""Sequences of layers that several backbones share, as the options ask for them."""

from __future__ import annotations

from collections.abc import Callable

from engine.models.layers import (
    Activation,
    Backbone,
    Block,
    ChannelAttention,
    Conv,
    Dropout,
    Layer,
    Normalization,
    SeparableConv,
)
from engine.spec import ModelOptions


def stack(
    options: ModelOptions, make_block: Callable[[ModelOptions, str], Block], activation: str | None = None
) -> Backbone:
    """An entry convolution, then blocks named block1, block2 and so on."""
    blocks = tuple(make_block(options, f"block{number + 1}") for number in range(options.n_blocks))
    return Backbone((Conv("entry", options.n_filters, activation=activation),), blocks)


def convolution(options: ModelOptions, filters: int, name: str) -> Conv:
    """The 3 × 3 convolution of a block: full, or separable."""
    return SeparableConv(name, filters) if options.separable else Conv(name, filters)


def plain(options: ModelOptions, filters: int, name: str) -> list[Layer]:
    """Convolution, normalisation, activation, dropout."""
    return [convolution(options, filters, name), *activated(options, name)]


def activated(options: ModelOptions, name: str) -> list[Layer]:
    """Normalisation, activation, dropout."""
    return [
        *normalization(options, f"{name}_norm"),
        Activation(f"{name}_activation", options.activation),
        *dropout(options, f"{name}_dropout"),
    ]


def normalization(options: ModelOptions, name: str) -> list[Layer]:
    return [] if options.normalization == "none" else [Normalization(name, options.normalization)]


def dropout(options: ModelOptions, name: str) -> list[Layer]:
    return [Dropout(name, options.dropout_variant, options.dropout_rate)] if options.dropout_rate else []


def attention(options: ModelOptions, name: str) -> list[Layer]:
    return [ChannelAttention(f"{name}_attention")] if options.attention else []
