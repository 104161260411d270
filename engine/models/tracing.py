"""Fields on their way through declared layers, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.models.layers import Block, Field, Keep, Layer


@dataclass(frozen=True)
class Step:
    """A layer with its input and output, and the values kept meanwhile for layers after it."""

    layer: Layer
    input: Field
    output: Field
    kept_values: int

    @property
    def parameters(self) -> int:
        return self.layer.parameters(self.input.channels)


def trace(blocks: Sequence[Block], field: Field, given: Mapping[str, Field] | None = None) -> list[list[Step]]:
    """Follow a field through all blocks: the steps of each. given : fields kept before the first block."""
    layers = [layer for block in blocks for layer in block.layers]
    last_use = {name: number for number, layer in enumerate(layers) if (name := layer.uses())}
    steps = iter(_steps(layers, field, dict(given or {}), last_use))
    return [[next(steps) for _ in block.layers] for block in blocks]


def _steps(layers: list[Layer], field: Field, kept: dict[str, Field], last_use: Mapping[str, int]) -> Iterator[Step]:
    for number, layer in enumerate(layers):
        if isinstance(layer, Keep):
            kept[layer.name] = field
        made = layer.output(field, kept)
        live = sum(other.values for name, other in kept.items() if last_use.get(name, -1) >= number)
        yield Step(layer, field, made, live)
        field = made
