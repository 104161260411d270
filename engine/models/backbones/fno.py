"""Residual blocks with a Fourier filter of the whole field beside the convolutions (Tran et al. 2023, F-FNO)."""

from __future__ import annotations

from engine.models.backbones.parts import activated, attention, convolution, normalization, stack
from engine.models.layers import Add, Backbone, Block, FourierFilter, Keep
from engine.spec import ModelOptions


def fno(options: ModelOptions) -> Backbone:
    return stack(options, _block)


def _block(options: ModelOptions, name: str) -> Block:
    """The first convolution's output and its Fourier filter, added; activation, second convolution, and the input."""
    layers = [
        Keep(name),
        convolution(options, options.n_filters, f"{name}_first"),
        Keep(f"{name}_local"),
        FourierFilter(f"{name}_fourier"),
        Add(f"{name}_fourier_add", f"{name}_local"),
        *activated(options, name),
        convolution(options, options.n_filters, f"{name}_second"),
        *normalization(options, f"{name}_second_norm"),
        *attention(options, name),
        Add(f"{name}_add", name),
    ]
    return Block("block", "Fourier filter, convolutions", tuple(layers))
