"""Attention within windows, every second block shifted by half a window (Liu et al. 2021, Swin, fig. 3b)."""

from __future__ import annotations

from engine.models.backbones.parts import attention, dropout, normalization
from engine.models.layers import Add, Backbone, Block, Conv, Dense, Keep, WindowAttention
from engine.spec import ModelOptions

WIDENING = 2  # Liang et al. (2021), SwinIR, section 4.1


def swin(options: ModelOptions) -> Backbone:
    blocks = tuple(_block(options, number, f"block{number + 1}") for number in range(options.n_blocks))
    return Backbone((Conv("entry", options.n_filters),), blocks)


def _block(options: ModelOptions, number: int, name: str) -> Block:
    """Attention among the cells of a window, then weights across channels, each added to its input."""
    shift = WindowAttention.window_side // 2 if number % 2 else 0
    layers = [
        Keep(name),
        *normalization(options, f"{name}_window_norm"),
        WindowAttention(f"{name}_window", options.n_filters, shift),
        *dropout(options, f"{name}_window_dropout"),
        Add(f"{name}_window_add", name),
        Keep(f"{name}_mixed"),
        *normalization(options, f"{name}_norm"),
        Dense(f"{name}_widen", WIDENING * options.n_filters, options.activation),
        *dropout(options, f"{name}_dropout"),
        Dense(f"{name}_narrow", options.n_filters),
        *attention(options, name),
        Add(f"{name}_add", f"{name}_mixed"),
    ]
    return Block("block", "shifted-window attention", tuple(layers))
