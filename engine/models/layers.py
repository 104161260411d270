"""Layers that networks are declared with, known without TensorFlow.

A network is a list of blocks, a block a list of layers. From that list follow the Keras network (`keras_layers.apply`),
parameter counts, memory, the receptive field and the table of parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

# Cells of the input that the cells from a first to a last one of the output depend on, along a side.
Back = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Field:
    """Sides and channels of what a layer takes or makes."""

    y: int
    x: int
    channels: int

    @property
    def values(self) -> int:
        return self.y * self.x * self.channels


@dataclass(frozen=True)
class Layer:
    """One layer; as it stands here, without weights, it changes neither sides nor channels and sees single cells.

    tensors : outputs kept for the gradient, the value before an activation included.
    copies : outputs that exist at once while it works.
    sees_whole_field : takes means over all cells.
    halving : the sides are divided by it.
    window_side : side of the windows that it cuts a field into, from the first cell.
    """

    name: str

    tensors: ClassVar[int] = 1
    copies: ClassVar[int] = 1
    sees_whole_field: ClassVar[bool] = False
    halving: ClassVar[int] = 1
    window_side: ClassVar[int] = 1

    def parameters(self, channels: int) -> int:
        """Trainable weights, for an input of so many channels."""
        return 0

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        """Field that it makes of `field` and of those kept before."""
        return field

    def working_values(self, output: Field) -> int:
        """Values that exist at once while it makes `output`."""
        return self.copies * output.values

    def back(self) -> Back | None:
        """Cells that it looks back at; None: only its own."""
        return None

    def uses(self) -> str | None:
        """Name of the kept field that it takes beside its input."""
        return None


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution that keeps the sides."""

    filters: int
    side: int = 3
    activation: str | None = None
    initializer: str = "glorot_uniform"

    def parameters(self, channels: int) -> int:
        return (self.side**2 * channels + 1) * self.filters

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        return replace(field, channels=self.filters)

    def back(self) -> Back:
        return neighbours(self.side)


@dataclass(frozen=True)
class SeparableConv(Conv):
    """A depthwise convolution and then a pointwise one (Chollet 2017, Xception, section 2)."""

    def parameters(self, channels: int) -> int:
        return self.side**2 * channels + (channels + 1) * self.filters


@dataclass(frozen=True)
class DepthwiseConv(Layer):
    """A convolution of each channel by itself."""

    side: int

    def parameters(self, channels: int) -> int:
        return (self.side**2 + 1) * channels

    def back(self) -> Back:
        return neighbours(self.side)


@dataclass(frozen=True)
class Dense(Layer):
    """Weights across the channels of each cell."""

    filters: int
    activation: str | None = None

    @property
    def tensors(self) -> int:  # type: ignore[override]
        return 2 if self.activation else 1

    def parameters(self, channels: int) -> int:
        return (channels + 1) * self.filters

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        return replace(field, channels=self.filters)


@dataclass(frozen=True)
class TransposedConv(Layer):
    """A transposed convolution whose kernel is twice its stride, so that every cell is reached equally often."""

    filters: int
    factor: int
    activation: str | None = None

    def parameters(self, channels: int) -> int:
        return ((2 * self.factor) ** 2 * channels + 1) * self.filters

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        return Field(field.y * self.factor, field.x * self.factor, self.filters)

    def back(self) -> Back:
        """Input cell i reaches the output cells from factor · i - factor // 2 on, twice `factor` of them."""
        factor, before = self.factor, self.factor // 2
        return lambda first, last: (-(-(first + before - 2 * factor + 1) // factor), (last + before) // factor)


@dataclass(frozen=True)
class SubPixel(Layer):
    """factor² channels become factor × factor cells (Shi et al. 2016, eq. 4)."""

    factor: int

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        return Field(field.y * self.factor, field.x * self.factor, field.channels // self.factor**2)

    def back(self) -> Back:
        return coarser(self.factor)


@dataclass(frozen=True)
class Repeat(Layer):
    """Each cell repeated factor × factor times."""

    factor: int

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        return Field(field.y * self.factor, field.x * self.factor, field.channels)

    def back(self) -> Back:
        return coarser(self.factor)


@dataclass(frozen=True)
class Halve(Layer):
    """Means over 2 × 2 cells, and over fewer at an odd border."""

    halving: ClassVar[int] = 2

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        return Field(-(-field.y // 2), -(-field.x // 2), field.channels)

    def back(self) -> Back:
        return lambda first, last: (2 * first, 2 * last + 1)


@dataclass(frozen=True)
class Normalization(Layer):
    kind: str

    def parameters(self, channels: int) -> int:
        return 2 * channels


@dataclass(frozen=True)
class Activation(Layer):
    kind: str


@dataclass(frozen=True)
class Dropout(Layer):
    kind: str
    rate: float


@dataclass(frozen=True)
class Noise(Layer):
    """Channels of Gaussian noise beside those of the input."""

    channels: int

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        return replace(field, channels=field.channels + self.channels)


@dataclass(frozen=True)
class ChannelScale(Layer):
    """One factor for each channel (Touvron et al. 2021, CaiT, eq. 8)."""

    def parameters(self, channels: int) -> int:
        return channels


@dataclass(frozen=True)
class ChannelAttention(Layer):
    """Each channel weighted by its mean (Hu et al. 2018, squeeze and excitation)."""

    RATIO: ClassVar[int] = 4  # channels per hidden unit (Hu et al. use 16, on wider networks)
    sees_whole_field: ClassVar[bool] = True

    @classmethod
    def hidden(cls, channels: int) -> int:
        return max(1, channels // cls.RATIO)

    def parameters(self, channels: int) -> int:
        hidden = self.hidden(channels)
        return (channels + 1) * hidden + (hidden + 1) * channels


@dataclass(frozen=True)
class WindowAttention(Layer):
    """Attention among the cells of each window (Liu et al. 2022, eq. 2); windows begin at cell `shift` of their first.

    shift : less than the window; the cells before it are a window of their own.
    """

    HEAD: ClassVar[int] = 16  # channels of a head
    window_side: ClassVar[int] = 8  # cells along a side, as Liu et al. (2021, SwinIR)

    filters: int
    shift: int = 0

    @property
    def heads(self) -> int:
        return max(1, self.filters // self.HEAD)

    @property
    def tensors(self) -> int:  # type: ignore[override]
        """Queries, keys, values, as they are and of length 1; four of the weights of a window; and what follows.

        Queries and keys are also transposed for their product, which may still be there beside the weights. What
        follows is three: windows joined, the field cut out of them, and its channels mixed.
        """
        return 3 + -(-self.heads * (8 * self.HEAD + 4 * self.window_side**2) // self.filters)

    copies = tensors

    def working_values(self, output: Field) -> int:
        """Values of the layer, with the cells that fill up the windows at the borders."""
        side, before = self.window_side, -self.shift % self.window_side
        y, x = (-(-(cells + before) // side) * side for cells in (output.y, output.x))
        return self.copies * y * x * output.channels

    def parameters(self, channels: int) -> int:
        """Queries, keys and values, and back; of each head the biases of all distances, and one scale."""
        inner = self.heads * self.HEAD
        return (channels + 1) * 3 * inner + (inner + 1) * channels + self.heads * ((2 * self.window_side - 1) ** 2 + 1)

    def back(self) -> Back:
        side, shift = self.window_side, self.shift
        return lambda first, last: (
            (first - shift) // side * side + shift,
            (last - shift) // side * side + shift + side - 1,
        )


@dataclass(frozen=True)
class FourierFilter(Layer):
    """Weights across channels for each of the lowest wave numbers along y, and along x (Tran et al. 2023, eq. 8)."""

    MODES: ClassVar[int] = 12
    sees_whole_field: ClassVar[bool] = True

    def parameters(self, channels: int) -> int:
        return 2 * 2 * self.MODES * channels**2  # real and imaginary, along both sides


@dataclass(frozen=True)
class Keep(Layer):
    """Keeps its input under its name, for a later Add, Concatenate or DoubleLike."""

    tensors: ClassVar[int] = 0


@dataclass(frozen=True)
class Add(Layer):
    """The kept field and the input, added; its output takes the memory of the input."""

    kept: str
    tensors: ClassVar[int] = 0
    copies: ClassVar[int] = 0

    def uses(self) -> str:
        return self.kept


@dataclass(frozen=True)
class Concatenate(Layer):
    """Channels of the kept field and of the input; kept_first: in that order, else the input's come first."""

    kept: str
    kept_first: bool = False

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        return replace(field, channels=field.channels + kept[self.kept].channels)

    def uses(self) -> str:
        return self.kept


@dataclass(frozen=True)
class DoubleLike(Layer):
    """Each cell repeated 2 × 2 times, cut to the sides of the kept field."""

    kept: str
    copies: ClassVar[int] = 2  # before and after the cut

    def output(self, field: Field, kept: Mapping[str, Field]) -> Field:
        like = kept[self.kept]
        return Field(like.y, like.x, field.channels)

    def back(self) -> Back:
        return coarser(2)

    def uses(self) -> str:
        return self.kept


@dataclass(frozen=True)
class Recurrence(Layer):
    """Convolutional LSTMs from both ends of a time window to its middle, joined and added to that step's features."""

    tensors: ClassVar[int] = 0  # those of all steps are counted apart

    hidden: int
    window: int

    def parameters(self, channels: int) -> int:
        """Weights of four gates of both directions, from features and hidden state, and of the join."""
        gates = Conv("gates", 4 * self.hidden).parameters(channels + self.hidden)
        return 2 * gates + Conv("join", channels, side=1).parameters(2 * self.hidden)

    def back(self) -> Back:
        """The step farthest away comes through one convolution more for each step on the way."""
        return neighbours(1 + 2 * (1 + self.window // 2))


@dataclass(frozen=True)
class Block:
    """Layers that stand as one part in the table of parts; those of one name, one after another, are one row.

    does : the part in words.
    """

    name: str
    does: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Backbone:
    """Layers through which all channels enter, the first a convolution, and the blocks that follow."""

    entry: tuple[Layer, ...]
    blocks: tuple[Block, ...]


def neighbours(side: int) -> Back:
    return lambda first, last: (first - side // 2, last + side // 2)


def coarser(factor: int) -> Back:
    """Cells divided into `factor` each."""
    return lambda first, last: (first // factor, last // factor)
