"""Encoder and decoder with skip connections (Ronneberger et al. 2015, fig. 1), for fields of any sides."""

from __future__ import annotations

from engine.models.backbones.parts import activated, attention, plain
from engine.models.layers import Backbone, Block, Concatenate, Conv, DoubleLike, Halve, Keep, Layer
from engine.spec import ModelOptions

MOST_LEVELS = 4  # at most so often the sides are halved
WIDEST = 4  # times n_filters


def unet(options: ModelOptions) -> Backbone:
    """The top's second convolution, levels down, the bottom, and levels up; the entry is the top's first."""
    levels = min(int(options.n_blocks), MOST_LEVELS)
    *widths, bottom = [options.n_filters * min(2**level, WIDEST) for level in range(levels + 1)]
    top = [*_second_layer(options, widths[0], "entry"), Keep("down1")]
    blocks = [Block("down 1", "3 × 3 convolution", tuple(top))]
    for level, width in enumerate(widths[1:], 2):
        layers = [
            Halve(f"down{level - 1}_pool"),
            *_two_layers(options, width, f"down{level}"),
            Keep(f"down{level}"),
        ]
        blocks.append(Block(f"down {level}", "halved, 2 convolutions", tuple(layers)))
    at_bottom = (Halve(f"down{levels}_pool"), *_two_layers(options, bottom, "bottom"))
    blocks.append(Block("bottom", "halved, 2 convolutions", at_bottom))
    for level, width in reversed(list(enumerate(widths, 1))):
        name, beside = f"up{level}", f"down{level}"
        joined = [DoubleLike(f"{name}_resize", beside), Concatenate(f"{name}_concat", beside)]
        words = f"doubled, beside down {level}, 2 convolutions"
        blocks.append(Block(f"up {level}", words, (*joined, *_two_layers(options, width, name))))
    return Backbone((Conv("entry", widths[0]), *activated(options, "entry")), tuple(blocks))


def _two_layers(options: ModelOptions, filters: int, name: str) -> list[Layer]:
    return [*plain(options, filters, f"{name}_first"), *_second_layer(options, filters, name)]


def _second_layer(options: ModelOptions, filters: int, name: str) -> list[Layer]:
    return [*plain(options, filters, f"{name}_second"), *attention(options, name)]
