"""Depthwise 7 × 7 convolutions with an inverted bottleneck (Liu et al. 2022, fig. 4)."""

from __future__ import annotations

from engine.models.backbones.parts import attention, dropout, normalization, stack
from engine.models.layers import Add, Backbone, Block, ChannelScale, Dense, DepthwiseConv, Keep
from engine.spec import ModelOptions

DEPTHWISE_SIDE = 7  # cells; Liu et al. (2022), section 2.5
WIDENING = 4  # ibid., section 2.4


def convnext(options: ModelOptions) -> Backbone:
    return stack(options, _block)


def _block(options: ModelOptions, name: str) -> Block:
    """Depthwise convolution, normalisation, four times as many channels and back, scaled and added to the input."""
    layers = [
        Keep(name),
        DepthwiseConv(f"{name}_depthwise", DEPTHWISE_SIDE),
        *normalization(options, f"{name}_norm"),
        Dense(f"{name}_widen", WIDENING * options.n_filters, options.activation),
        *dropout(options, f"{name}_dropout"),
        Dense(f"{name}_narrow", options.n_filters),
        ChannelScale(f"{name}_scale"),
        *attention(options, name),
        Add(f"{name}_add", name),
    ]
    return Block("block", "ConvNeXt block", tuple(layers))
