"""Filter of a whole field by its lowest wave numbers, as a Keras layer."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from keras import layers


class FourierFilter(layers.Layer):
    """Channels mixed at each of the lowest wave numbers along y, and along x, and both added.

    (batch, y, x, c) → (batch, y, x, c). The factorised form of Tran et al. (2023, F-FNO, eq. 8). Fields aren't
    periodic, so each side is one half of a period that is zero otherwise: wave number k has the wavelength
    2 · cells / k, and nothing wraps around. A side of fewer cells than `modes` has no more wave numbers than cells.
    """

    def __init__(self, modes: int, **settings: Any):
        super().__init__(**settings)
        self.modes = modes

    def build(self, shape: tuple[Any, ...]) -> None:
        size = (2, self.modes, shape[-1], shape[-1])  # real and imaginary parts
        self.along_y, self.along_x = (
            self.add_weight(shape=size, initializer="glorot_uniform", name=f"along_{side}") for side in "yx"
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        rows, columns = (self._waves(tf.shape(x)[axis], x.dtype) for axis in (1, 2))
        of_rows = self._mix(tf.einsum("byxc,ykp->bxkpc", x, rows), self.along_y)
        of_columns = self._mix(tf.einsum("byxc,xkp->bykpc", x, columns), self.along_x)
        along_y = tf.einsum("bxkpc,ykp->byxc", of_rows, self._shares(rows))
        return along_y + tf.einsum("bykpc,xkp->byxc", of_columns, self._shares(columns))

    def _waves(self, cells: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Real and imaginary parts of exp(-iπkl / cells) for cells l and wave numbers k: (cells, modes, 2)."""
        numbers = tf.range(self.modes)
        phase = tf.cast(tf.range(cells)[:, None] * numbers, tf.float32) * math.pi / tf.cast(cells, tf.float32)
        waves = tf.stack([tf.cos(phase), -tf.sin(phase)], axis=-1)
        return tf.cast(tf.where((numbers < cells)[:, None], waves, 0.0), dtype)

    def _shares(self, waves: tf.Tensor) -> tf.Tensor:
        """Share of each coefficient in each cell: of the inverse transform over twice the cells, real in the end."""
        cells = tf.cast(tf.shape(waves)[0], waves.dtype)
        pairs = tf.where(tf.range(self.modes) == 0, tf.cast(0.5, waves.dtype), tf.cast(1.0, waves.dtype))
        return waves * pairs[:, None] / cells

    def _mix(self, coefficients: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Multiply complex coefficients (batch, cell, mode, part, c) by complex weights (part, mode, c, c)."""
        real, imaginary = tf.unstack(tf.cast(weights, coefficients.dtype))
        of_real, of_imaginary = tf.unstack(coefficients, axis=3)

        def times(some: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
            return tf.einsum("bnkc,kcd->bnkd", some, matrices)

        in_real = times(of_real, real) - times(of_imaginary, imaginary)
        return tf.stack([in_real, times(of_real, imaginary) + times(of_imaginary, real)], axis=3)

    def compute_output_shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return shape
