"""Message passing between neighbouring cells, with their positions as inputs (Pfaff et al. 2021, MeshGraphNets).

Nodes are cells, and edges lead to each from the eight around it. Edges have no state of their own, unlike those of
Pfaff et al. and of Lam et al. (2023, GraphCast), so that memory is that of the nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from engine.models.backbones.parts import attention, dropout, normalization
from engine.models.layers import Add, Back, Backbone, Block, Concatenate, Conv, Dense, Field, Keep, Layer, neighbours
from engine.spec import ModelOptions

VECTORS = "cell_vectors"  # name of the kept field of `data.cell_vectors`


@dataclass(frozen=True)
class MessagePassing(Layer):
    """Mean over the eight cells around each of a message: activation(sender, receiver, way from one to the other).

    The linear map of each of the three is shared by all edges (Pfaff et al. 2021, eq. 1, the first layer of f^M; its
    others come after the mean, in the dense layers that follow).
    """

    EDGES: ClassVar[int] = 8
    WAY: ClassVar[int] = 3  # east, north, length
    copies: ClassVar[int] = 9

    filters: int
    activation: str

    @property
    def tensors(self) -> int:  # type: ignore[override]
        """Each edge before and after activation; maps of senders and receivers, ways along both sides, the mean."""
        return 2 * self.EDGES + 5

    def parameters(self, channels: int) -> int:
        return (2 * channels + self.WAY + 1) * self.filters

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        return replace(field, channels=self.filters)

    def back(self) -> Back:
        return neighbours(3)

    def uses(self) -> str:
        return VECTORS


def graph(options: ModelOptions) -> Backbone:
    blocks = tuple(_block(options, f"block{number + 1}") for number in range(options.n_blocks))
    return Backbone((Conv("entry", options.n_filters, 1, options.activation),), blocks)


def _block(options: ModelOptions, name: str) -> Block:
    """Messages from the cells around, and with them an update of each cell (Pfaff et al. 2021, eq. 1, f^V)."""
    layers = [
        Keep(name),
        *normalization(options, f"{name}_norm"),
        Keep(f"{name}_nodes"),
        MessagePassing(f"{name}_messages", options.n_filters, options.activation),
        Concatenate(f"{name}_both", f"{name}_nodes"),
        Dense(f"{name}_mix", options.n_filters, options.activation),
        *dropout(options, f"{name}_dropout"),
        Dense(f"{name}_update", options.n_filters),
        *attention(options, name),
        Add(f"{name}_add", name),
    ]
    return Block("block", "messages from the cells around", tuple(layers))
