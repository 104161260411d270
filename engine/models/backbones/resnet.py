"""Residual blocks (He et al. 2016; without normalisation as Lim et al. 2017)."""

from __future__ import annotations

from engine.models.backbones.parts import attention, convolution, dropout, normalization, stack
from engine.models.layers import Activation, Add, Backbone, Block, Keep
from engine.spec import ModelOptions


def resnet(options: ModelOptions) -> Backbone:
    return stack(options, _block)


def _block(options: ModelOptions, name: str) -> Block:
    """Two convolutions around one activation, added to the input (Lim et al. 2017, EDSR, fig. 2c)."""
    layers = [
        Keep(name),
        convolution(options, options.n_filters, f"{name}_first"),
        *normalization(options, f"{name}_first_norm"),
        Activation(f"{name}_activation", options.activation),
        *dropout(options, f"{name}_dropout"),
        convolution(options, options.n_filters, f"{name}_second"),
        *normalization(options, f"{name}_second_norm"),
        *attention(options, name),
        Add(f"{name}_add", name),
    ]
    return Block("block", "residual block", tuple(layers))
