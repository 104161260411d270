"""Dense blocks, each layer seeing all before it, and a transition after each (Huang et al. 2017, eq. 2)."""

from __future__ import annotations

from engine.models.backbones.parts import attention, plain, stack
from engine.models.layers import Backbone, Block, Concatenate, Conv, Keep, Layer
from engine.spec import ModelOptions

DENSE_LAYERS = 3  # convolutions of a dense block


def densenet(options: ModelOptions) -> Backbone:
    return stack(options, _block, options.activation)


def _block(options: ModelOptions, name: str) -> Block:
    growth = max(4, options.n_filters // 2)  # channels that each layer adds
    layers: list[Layer] = []
    for number in range(DENSE_LAYERS):
        layer = f"{name}_layer{number + 1}"
        joined = Concatenate(f"{layer}_concat", layer, kept_first=True)
        layers += [Keep(layer), *plain(options, growth, layer), joined]
    layers.append(Conv(f"{name}_transition", options.n_filters, side=1, activation=options.activation))
    return Block("block", "dense block", (*layers, *attention(options, name)))
