"""Conditional normalizing flow: residuals of an exactly known density, turned into noise and drawn back from it.

Affine couplings (Dinh et al. 2017, RealNVP, arXiv 1605.08803) with squeezing and invertible mixing (Kingma and Dhariwal
2018, Glow, arXiv 1807.03039), given features of the inputs (Winkler et al. 2019, arXiv 1912.00042; Groenke et al. 2020,
ClimAlign). Cells without a value take no part: where one lies in a block of cells, the block isn't mixed, and couplings
don't see it. So the density is that of the cells that have one, for any mask, and fields of any sides are padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from engine.models.network import Output
from engine.models.residual_draws import ResidualSampler
from engine.models.second_network import CONTEXT, SQUEEZES
from engine.models.shapes import Shape
from engine.spec import ModelOptions

LOG_SCALE = 2.0  # how far the context alone may raise or lower the logarithm of a scale
COUPLING_LOG_SCALE = 0.5  # and each coupling, so that the inverse of many stays bounded

Transformed = tuple[tf.Tensor, tf.Tensor]  # field, and log |determinant| of the sample (batch,)


class NormalizingSampler(ResidualSampler):
    """Residuals drawn through the inverse of a flow of `sampling_steps` couplings at 2 × 2 and at 4 × 4 cells."""

    def __init__(self, network: keras.Model, shape: Shape, output: Output, options: ModelOptions):
        super().__init__(network, shape, output, options)
        around = shape.x_lr * shape.scale if shape.wrap else None
        self.flow = Flow(self.steps, options.n_filters, around, dtype="float32", name="flow")

    def build(self, shapes: list[Any]) -> None:
        super().build(shapes)
        self.flow.build((*shapes[2][:3], 1))

    def residual(
        self, noise: tf.Tensor, inputs: tf.Tensor, fixed: tf.Tensor, mean: tf.Tensor, present: tf.Tensor
    ) -> tf.Tensor:
        context = self.ask_network(inputs, fixed, mean, [], [], training=False)
        return self.flow.from_noise(noise, tf.broadcast_to(present, tf.shape(noise)), context)

    def noise_of(
        self, residual: tf.Tensor, mask: tf.Tensor, inputs: tf.Tensor, fixed: tf.Tensor, mean: tf.Tensor, training: bool
    ) -> Transformed:
        """Turn a residual, in units of its scale, into noise; the mask (batch, y, x, 1) marks where it has values."""
        return self.flow.to_noise(residual, mask, self.ask_network(inputs, fixed, mean, [], [], training))


class Flow(layers.Layer):
    """Bijection between residuals and noise (batch, y, x, 1), in the cells of a mask, given (batch, y, x, CONTEXT).

    First comes an affine transform of each cell by the context alone; then, of 2 × 2 cells as 4 channels, and of 4 × 4
    as 16, `steps` times mixing and coupling.
    around : columns of a field whose last one lies beside the first; other fields end at their border.
    """

    def __init__(self, steps: int, filters: int, around: int | None, **settings: Any):
        super().__init__(**settings)
        self.steps, self.filters, self.around = steps, filters, around
        self.affine = layers.Conv2D(2, 1, kernel_initializer="zeros", dtype="float32", name="affine")
        self.levels = [
            [(Mixing(name=f"mixing{cells}_{n}"), Coupling(filters, n % 2, name=f"coupling{cells}_{n}")) for n in steps_]
            for cells, steps_ in ((2**level, range(steps)) for level in range(1, SQUEEZES + 1))
        ]
        self.parts = [part for level in self.levels for step in level for part in step]  # seen by Keras

    def build(self, shape: Any) -> None:
        self.affine.build((None, None, None, CONTEXT))
        for level, steps in enumerate(self.levels, 1):
            for mixing, coupling in steps:
                mixing.build((None, None, None, 4**level))
                coupling.build((None, None, None, 4**level))

    def to_noise(self, x: tf.Tensor, mask: tf.Tensor, context: tf.Tensor) -> Transformed:
        """Transform a residual; also log |d noise / d residual| of each sample."""
        (x, mask, context), sides = _padded(x, mask, context)
        shift, log_scale = self._affine(context)
        x, total = (x - shift) * tf.exp(-log_scale) * mask, _sum(-log_scale * mask)
        for steps, at, given in self._squeezed(mask, context):
            x = tf.nn.space_to_depth(x, 2)
            for mixing, coupling in steps:
                x, mixed = mixing.forward(x, at)
                x, coupled = coupling.forward(x, at, given, self._is_around(sides))
                total += mixed + coupled
        for _ in range(SQUEEZES):  # cells of the last level back to their places
            x = tf.nn.depth_to_space(x, 2)
        return _cut(x, sides), total

    def from_noise(self, z: tf.Tensor, mask: tf.Tensor, context: tf.Tensor) -> tf.Tensor:
        """Transform noise; the inverse of `to_noise`."""
        (z, mask, context), sides = _padded(z, mask, context)
        shift, log_scale = self._affine(context)
        x = z * mask
        for _ in range(SQUEEZES):
            x = tf.nn.space_to_depth(x, 2)
        for steps, at, given in reversed(list(self._squeezed(mask, context))):
            for mixing, coupling in reversed(steps):
                x = mixing.inverse(coupling.inverse(x, at, given, self._is_around(sides)), at)
            x = tf.nn.depth_to_space(x, 2)
        return _cut((x * tf.exp(log_scale) + shift) * mask, sides)

    def _affine(self, context: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, raw = tf.split(self.affine(context), 2, axis=-1)
        return shift, _limited(raw, LOG_SCALE)

    def _squeezed(self, mask: tf.Tensor, context: tf.Tensor) -> Iterator[tuple[list[Any], tf.Tensor, tf.Tensor]]:
        """Steps of each level, from 2 × 2 cells on, with the mask and the context there."""
        for steps in self.levels:
            mask, context = tf.nn.space_to_depth(mask, 2), tf.nn.space_to_depth(context, 2)
            yield steps, mask, context

    def _is_around(self, sides: tuple[int, int]) -> bool:
        """True for a field whose ends meet; one that was padded has a border there."""
        return sides[1] == self.around and sides[1] % 2**SQUEEZES == 0


class Mixing(layers.Layer):
    """Channels multiplied by an invertible matrix L · U (Glow, eqs. 10 and 11, without its permutation).

    One matrix has the weights of both: L below its diagonal, where it is 1, U above, and log U on it.
    """

    def build(self, shape: Any) -> None:
        self.weight = self.add_weight(shape=(shape[-1], shape[-1]), initializer="zeros", name="weight")

    def forward(self, x: tf.Tensor, mask: tf.Tensor) -> Transformed:
        lower, upper = self._factors()
        whole = _is_whole(mask)
        log_determinant = _sum(whole) * tf.linalg.trace(self.weight)
        return tf.where(whole > 0, x @ upper @ lower, x), log_determinant

    def inverse(self, x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        lower, upper = self._factors()
        identity = tf.eye(x.shape[-1])
        inverse = tf.linalg.triangular_solve(lower, identity) @ tf.linalg.triangular_solve(upper, identity, lower=False)
        return tf.where(_is_whole(mask) > 0, x @ inverse, x)

    def _factors(self) -> tuple[tf.Tensor, tf.Tensor]:
        weight = tf.convert_to_tensor(self.weight)
        below, above = tf.linalg.band_part(weight, -1, 0), tf.linalg.band_part(weight, 0, -1)
        diagonal = tf.linalg.diag_part(weight)
        return tf.linalg.set_diag(below, tf.ones_like(diagonal)), tf.linalg.set_diag(above, tf.exp(diagonal))


class Coupling(layers.Layer):
    """Half of the channels shifted and scaled by functions of the other half and the context (RealNVP, eqs. 7 and 8).

    half : of the channels, 0 or 1, that stays as it is.
    """

    def __init__(self, filters: int, half: int, **settings: Any):
        super().__init__(**settings)
        self.filters, self.half = filters, half

    def build(self, shape: Any) -> None:
        channels = shape[-1]
        settings = {"kernel_size": 3, "padding": "valid", "dtype": "float32"}
        self.hidden = layers.Conv2D(self.filters, activation="relu", name="hidden", **settings)
        self.last = layers.Conv2D(channels, kernel_initializer="zeros", name="last", **settings)
        self.hidden.build((None, None, None, channels // 2 + CONTEXT * channels))
        self.last.build((None, None, None, self.filters))

    def forward(self, x: tf.Tensor, mask: tf.Tensor, context: tf.Tensor, around: bool) -> Transformed:
        kept, changed, shift, log_scale, of_changed = self._halves(x, mask, context, around)
        changed = (changed * tf.exp(log_scale) + shift) * of_changed
        return self._joined(kept, changed), _sum(log_scale)

    def inverse(self, x: tf.Tensor, mask: tf.Tensor, context: tf.Tensor, around: bool) -> tf.Tensor:
        kept, changed, shift, log_scale, of_changed = self._halves(x, mask, context, around)
        return self._joined(kept, (changed - shift) * tf.exp(-log_scale) * of_changed)

    def _halves(self, x: tf.Tensor, mask: tf.Tensor, context: tf.Tensor, around: bool) -> tuple[tf.Tensor, ...]:
        """Half that is kept, half that is changed, its shift and log scale, and its mask."""
        kept, changed = tf.split(x, 2, axis=-1)[:: 1 - 2 * self.half]
        _, of_changed = tf.split(mask, 2, axis=-1)[:: 1 - 2 * self.half]
        found = self.hidden(_with_border(tf.concat([kept, context], axis=-1), around))
        shift, raw = tf.split(self.last(_with_border(found, around)), 2, axis=-1)
        return kept, changed, shift * of_changed, _limited(raw, COUPLING_LOG_SCALE) * of_changed, of_changed

    def _joined(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return tf.concat([kept, changed][:: 1 - 2 * self.half], axis=-1)


def _limited(raw: tf.Tensor, most: float) -> tf.Tensor:
    return most * tf.tanh(raw / most)


def _is_whole(mask: tf.Tensor) -> tf.Tensor:
    """1 where all cells of a block have a value, else 0: (batch, y, x, 1)."""
    return tf.reduce_min(mask, axis=-1, keepdims=True)


def _sum(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values, axis=[1, 2, 3])


def _with_border(x: tf.Tensor, around: bool) -> tf.Tensor:
    """A cell more at each border: of the other end, or zero."""
    if around:
        return tf.pad(tf.concat([x[:, :, -1:], x, x[:, :, :1]], axis=2), [[0, 0], [1, 1], [0, 0], [0, 0]])
    return tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])


def _padded(x: tf.Tensor, mask: tf.Tensor, context: tf.Tensor) -> tuple[list[tf.Tensor], tuple[int, int]]:
    """Fields with sides that can be squeezed, the mask as float32, and the sides that they had."""
    y, x_side = sides = tuple(x.shape[1:3])
    pads = [[0, 0], [0, -y % 2**SQUEEZES], [0, -x_side % 2**SQUEEZES], [0, 0]]
    mask = tf.cast(mask, tf.float32)
    return [tf.pad(field, pads) for field in (tf.where(mask > 0, x, 0.0), mask, context)], sides


def _cut(x: tf.Tensor, sides: tuple[int, int]) -> tf.Tensor:
    return x[:, : sides[0], : sides[1]]
