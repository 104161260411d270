"""Keras layers of our own. Shapes are (batch, y, x, channels)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from engine.data.kernels import upsampling_matrix

FIRST_CHANNEL_SCALE = 0.1
FORGET_BIAS = 1.0
Sides = tuple[Any, ...]  # (batch, y, x, channels), None where open


def convolution(filters: int, name: str, activation: str | None = None, **settings: Any) -> layers.Layer:
    """A 3 × 3 convolution that keeps the sides."""
    return layers.Conv2D(filters, 3, padding="same", activation=activation, name=name, **settings)


class Drawn:
    """A layer whose output is drawn at random in prediction too, while its network is drawn from: see `drawn`.

    rank : of the process, as ranks have the same random state.
    """

    drawn, rank = False, 0


class MonteCarlo(Drawn):
    """Dropout that is active in prediction too."""

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return super().call(x, training=training or self.drawn)  # type: ignore[misc]


class MonteCarloDropout(MonteCarlo, layers.Dropout): ...


class MonteCarloGaussianDropout(MonteCarlo, layers.GaussianDropout): ...


class MonteCarloSpatialDropout(MonteCarlo, layers.SpatialDropout2D): ...


DROPOUTS: dict[str, type[layers.Layer]] = {
    "vanilla": layers.Dropout,
    "gaussian": layers.GaussianDropout,
    "spatial": layers.SpatialDropout2D,
    "mc_vanilla": MonteCarloDropout,
    "mc_gaussian": MonteCarloGaussianDropout,
    "mc_spatial": MonteCarloSpatialDropout,
}


class Noise(Drawn, layers.Layer):
    """Channels of standard normal noise beside those of a field; zeros in prediction, unless drawn: see `drawn`.

    (batch, y, x, c) → (batch, y, x, c + channels). The random state is one of the network's variables, so that a
    resumed training goes on with the same numbers; ranks with one state differ by `rank`.
    """

    def __init__(self, channels: int, **settings: Any):
        super().__init__(**settings)
        self.channels, self.seed_generator = channels, keras.random.SeedGenerator()

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        shape = tf.concat([tf.shape(x)[:-1], [self.channels]], axis=0)
        if training or self.drawn:
            seed = tf.cast(self.seed_generator.next(), tf.int32) + tf.constant([self.rank, 0])
            noise = tf.random.stateless_normal(shape, seed)
        else:
            noise = tf.zeros(shape)
        return tf.concat([x, tf.cast(noise, x.dtype)], axis=-1)

    def compute_output_shape(self, shape: Sides) -> Sides:
        return (*shape[:-1], shape[-1] + self.channels)


@contextmanager
def drawn(network: keras.Model) -> Iterator[None]:
    """Within, each call of the network draws one member (Gal and Ghahramani 2016, eq. 6); all else is as in prediction.

    In a graph it counts while the graph is made.
    """
    stochastic = [layer for layer in network.layers if isinstance(layer, Drawn)]
    for layer in stochastic:
        layer.drawn = True
    try:
        yield
    finally:
        for layer in stochastic:
            layer.drawn = False


class TimeSteps(layers.Layer):
    """Steps of a time window, one after another along the batch.

    (batch, y, x, window · fields + rest), the fields of the sample's own step first and then those of the others, →
    (window · batch, y, x, fields + rest) in order of time; the rest, known of the sample as a whole, goes with each.
    """

    def __init__(self, window: int, fields: int, **settings: Any):
        super().__init__(**settings)
        self.window, self.fields = window, fields

    def call(self, x: tf.Tensor) -> tf.Tensor:
        middle = self.window // 2
        places = [*range(1, middle + 1), 0, *range(middle + 1, self.window)]
        starts = [place * self.fields for place in places]
        rest = x[..., self.window * self.fields :]
        steps = [tf.concat([x[..., start : start + self.fields], rest], axis=-1) for start in starts]
        return tf.concat(steps, axis=0)

    def compute_output_shape(self, shape: Sides) -> Sides:
        batch, y, x, channels = shape
        return batch and batch * self.window, y, x, channels - (self.window - 1) * self.fields


class OwnStep(layers.Layer):
    """The middle step of a time window: (window · batch, y, x, c) → (batch, y, x, c)."""

    def __init__(self, window: int, **settings: Any):
        super().__init__(**settings)
        self.window = window

    def call(self, steps: tf.Tensor) -> tf.Tensor:
        return tf.split(steps, self.window)[self.window // 2]

    def compute_output_shape(self, shape: Sides) -> Sides:
        batch, *sides = shape
        return batch and batch // self.window, *sides


class ConvLSTM(layers.Layer):
    """Hidden state at the middle of a time window, after the steps from its first, or, backward, from its last.

    (window · batch, y, x, c) in order of time → (batch, y, x, filters), the hidden state. Shi et al. (2015), eq. 3,
    without the peepholes, which would have weights for each cell and so bind the network to its grid; the forget gate
    begins open (Jozefowicz et al. 2015, section 2.2). One convolution for all gates: in, forget, new, out.
    """

    def __init__(self, filters: int, window: int, backward: bool = False, **settings: Any):
        super().__init__(**settings)
        self.filters, self.window, self.backward = filters, window, backward

    def build(self, shape: Sides) -> None:
        gates = 4 * self.filters
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], gates), initializer="glorot_uniform", name="kernel")
        self.recurrent = self.add_weight(
            shape=(3, 3, self.filters, gates), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(gates,), initializer="zeros", name="bias")

    def call(self, steps: tf.Tensor) -> tf.Tensor:
        kernel, recurrent, bias = (tf.cast(v, steps.dtype) for v in (self.kernel, self.recurrent, self.bias))
        batch, seen = tf.shape(steps)[0] // self.window, self.window // 2 + 1
        half = steps[-seen * batch :] if self.backward else steps[: seen * batch]
        of_input = tf.split(tf.nn.conv2d(half, kernel, 1, "SAME") + bias, seen)  # each (batch, y, x, gates)
        first, *later = reversed(of_input) if self.backward else of_input
        hidden, cell = self._step(first, None)
        for gates in later:
            hidden, cell = self._step(gates + tf.nn.conv2d(hidden, recurrent, 1, "SAME"), cell)
        return hidden

    def _step(self, gates: tf.Tensor, cell: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Hidden state and cell after a step; None is the empty cell before the first."""
        enter, forget, new, out = tf.split(gates, 4, axis=-1)
        entered = tf.sigmoid(enter) * tf.tanh(new)
        cell = entered if cell is None else tf.sigmoid(forget + FORGET_BIAS) * cell + entered
        return tf.sigmoid(out) * tf.tanh(cell), cell

    def compute_output_shape(self, shape: Sides) -> Sides:
        batch, y, x, _ = shape
        return batch and batch // self.window, y, x, self.filters


class Localized(layers.Layer):
    """Weights of its own for each cell: what one place has that its neighbours don't.

    (batch, y, x, channels) → (batch, y, x, 1): out = Σ_c w[y, x, c] · in[y, x, c] + b[y, x]. Weights start at
    zero, so that the shared convolutions learn first. After the localized convolutional block of
    Gomez Gonzalez (2023), Environ. Data Sci. 2, e3.
    """

    def build(self, shape: Sides) -> None:
        _, y, x, channels = shape
        self.weight = self.add_weight(shape=(y, x, channels), initializer="zeros", name="weight")
        self.bias = self.add_weight(shape=(y, x, 1), initializer="zeros", name="bias")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        weight, bias = tf.cast(self.weight, x.dtype), tf.cast(self.bias, x.dtype)
        return tf.reduce_sum(x * weight, axis=-1, keepdims=True) + bias  # (batch, y, x, 1)

    def compute_output_shape(self, shape: Sides) -> Sides:
        return (*shape[:-1], 1)


class ChannelScale(layers.Layer):
    """One factor for each channel, small at first (Touvron et al. 2021, CaiT, eq. 8)."""

    def build(self, shape: Sides) -> None:
        start = keras.initializers.Constant(FIRST_CHANNEL_SCALE)
        self.factor = self.add_weight(shape=(shape[-1],), initializer=start, name="factor")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x * tf.cast(self.factor, x.dtype)

    def compute_output_shape(self, shape: Sides) -> Sides:
        return shape


class ResizeLike(layers.Layer):
    """Cells doubled, and cut to the sides of another field.

    [(batch, y, x, c), (batch, y', x', d)] → (batch, y', x', c)
    """

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        small, like = fields
        doubled = tf.repeat(tf.repeat(small, 2, axis=1), 2, axis=2)
        return doubled[:, : tf.shape(like)[1], : tf.shape(like)[2]]

    def compute_output_shape(self, shapes: list[Sides]) -> Sides:
        small, like = shapes
        return (*like[:3], small[-1])


class SubPixel(layers.Layer):
    """factor² channels become factor × factor cells (Shi et al. 2016, eq. 4)."""

    def __init__(self, factor: int, **settings: Any):
        super().__init__(**settings)
        self.factor = factor

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.depth_to_space(x, self.factor)

    def compute_output_shape(self, shape: Sides) -> Sides:
        return _enlarged(shape, self.factor, shape[-1] // self.factor**2)


class Interpolation(layers.Layer):
    """Each channel interpolated by the baseline's own matrices: (batch, y_lr, x_lr, c) → (batch, y, x, c).

    around : columns of a field whose last one lies beside the first; other fields end at their border.
    """

    def __init__(self, scale: int, kernel: str, around: int | None = None, **settings: Any):
        super().__init__(**settings)
        self.scale, self.kernel, self.around = scale, kernel, around

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y_lr, x_lr = x.shape[1:3]
        rows = tf.constant(upsampling_matrix(y_lr, self.scale, self.kernel), x.dtype)
        columns = tf.constant(upsampling_matrix(x_lr, self.scale, self.kernel, x_lr == self.around), x.dtype)
        return tf.einsum("Xx,bYxc->bYXc", columns, tf.einsum("Yy,byxc->bYxc", rows, x))

    def compute_output_shape(self, shape: Sides) -> Sides:
        return _enlarged(shape, self.scale, shape[-1])


class Wrap(layers.Layer):
    """Columns of the other end beside each end of a field that goes around the globe; other fields stay as they are.

    (batch, y, around, c) → (batch, y, beside + around + beside, c)
    """

    def __init__(self, around: int, beside: int, **settings: Any):
        super().__init__(**settings)
        self.around, self.beside = around, beside

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if x.shape[2] != self.around:
            return x
        return tf.gather(x, np.arange(-self.beside, self.around + self.beside) % self.around, axis=2)

    def compute_output_shape(self, shape: Sides) -> Sides:
        batch, y, x, channels = shape
        return batch, y, x + 2 * self.beside if x == self.around else x, channels


class Unwrap(layers.Layer):
    """A field without what `Wrap` put beside it: [(batch, y, x + 2 · beside, c), (batch, y, x, d)] → (batch, y, x, c).

    The second field has the columns, `scale` to each of its own.
    """

    def __init__(self, scale: int, **settings: Any):
        super().__init__(**settings)
        self.scale = scale

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        wide, like = fields
        x = like.shape[2] * self.scale
        beside = (wide.shape[2] - x) // 2
        return wide[:, :, beside : beside + x]

    def compute_output_shape(self, shapes: list[Sides]) -> Sides:
        (batch, y, _, channels), (_, _, x, _) = shapes
        return batch, y, x and x * self.scale, channels


class Spread(layers.Layer):
    """Static variables, given once, for each sample of the batch: (1, y, x, v), (batch, …) → (batch, y, x, v)."""

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        static, like = fields
        return tf.broadcast_to(static, tf.concat([tf.shape(like)[:1], tf.shape(static)[1:]], 0))

    def compute_output_shape(self, shapes: list[Sides]) -> Sides:
        static, like = shapes
        return (like[0], *static[1:])


class Channels(layers.Layer):
    """Some channels of a field, from `first` up to but not including `last`."""

    def __init__(self, first: int, last: int, **settings: Any):
        super().__init__(**settings)
        self.first, self.last = first, last

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        return fields[..., self.first : self.last]

    def compute_output_shape(self, shape: Sides) -> Sides:
        return (*shape[:-1], self.last - self.first)


class Bound(layers.Layer):
    """Nothing below the scaled zero of the target's unit."""

    def __init__(self, activation: str, zero: float, **settings: Any):
        super().__init__(**settings)
        self.bound, self.zero = keras.activations.get(activation), zero

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.zero + self.bound(x - self.zero)


def _enlarged(shape: Sides, factor: int, channels: int) -> Sides:
    batch, *sides, _ = shape
    return batch, *(side and side * factor for side in sides), channels
