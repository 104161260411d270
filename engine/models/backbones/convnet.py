"""Plain convolutions, one a block."""

from __future__ import annotations

from engine.models.backbones.parts import attention, plain
from engine.models.layers import Backbone, Block, Conv
from engine.spec import ModelOptions


def convnet(options: ModelOptions) -> Backbone:
    n = options.n_filters
    names = [f"block{number + 1}" for number in range(options.n_blocks)]
    blocks = [[*plain(options, n, name), *attention(options, name)] for name in names]
    entry = Conv("entry", n, activation=options.activation)
    return Backbone((entry,), tuple(Block("block", "convolution block", tuple(layers)) for layers in blocks))
