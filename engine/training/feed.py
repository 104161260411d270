"""Batches for the training step: from memory where a part fits, else read ahead from the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from engine.available_memory import free_memory
from engine.data.samples import Samples
from engine.training.memory_budget import READ_AHEAD, READERS, Pieces, fits


@dataclass(frozen=True)
class Feed:
    """Source of batches of one part of the data.

    A batch is (inputs, static, hr, weights), as the network and the loss take them: static and weights have
    one entry for whole fields, and one for each sample for patches.
    """

    samples: Samples
    in_memory: bool

    @classmethod
    def of(cls, samples: Samples, processes: int = 1, reserved: int = 0) -> Feed:
        """Keep the samples in memory if they fit.

        processes : number of ranks on this machine; reserved : bytes that training itself will take.
        """
        return cls(samples, fits(samples.bytes_in_memory, free_memory(processes), reserved))

    def stream(self, plans: Callable[[], Iterable[np.ndarray]], patch_lr: int = 0) -> tf.data.Dataset:
        """Read batches for a sequence of plans, each (step, sample, 3) as in Shuffle, read ahead in their order.

        Each is (inputs, static, hr, weights), (batch, y, x, channels) each.
        """
        steps = tf.data.Dataset.from_generator(plans, output_signature=tf.TensorSpec((None, None, 3), tf.int32))

        def fetch(plan: tf.Tensor) -> tuple[tf.Tensor, ...]:
            if patch_lr:
                return self._patches(plan, patch_lr)
            static, weights = self._fixed[None, ..., :-1], self._fixed[None, ..., -1:]
            fields = [tf.gather(field, plan[:, 0]) for field in self._memory] if self.in_memory else self._read(plan)
            return fields[0], static, fields[1], weights

        return steps.unbatch().map(fetch, num_parallel_calls=READERS, deterministic=True).prefetch(READ_AHEAD)

    def cut(self, stream: tf.data.Dataset, pieces: Pieces) -> tf.data.Dataset:
        """Cut each batch of whole fields into pieces, one after another."""
        side, scale = pieces.side, self.samples.pairs.scale

        def cut(*fields: tf.Tensor) -> tf.data.Dataset:
            def piece(corner: tf.Tensor) -> tuple[tf.Tensor, ...]:
                inputs, static, hr, weights = fields
                at_hr = (_squares(field, corner * scale, side * scale) for field in (static, hr, weights))
                return _squares(inputs, corner, side), *at_hr

            return tf.data.Dataset.from_tensor_slices(np.array(pieces.corners, np.int32)).map(piece)

        return stream.flat_map(cut)

    @cached_property
    def _memory(self) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.init_scope(), tf.device("/CPU:0"):
            return tuple(tf.constant(array) for array in self.samples.load_all())

    @cached_property
    def _fixed(self) -> tf.Tensor:
        """(y, x, variables + 1): static variables, then the weights of the cells."""
        with tf.init_scope(), tf.device("/CPU:0"):
            return tf.concat([self.samples.static, self.samples.areas[..., None]], axis=-1)

    def _patches(self, plan: tf.Tensor, patch_lr: int) -> tuple[tf.Tensor, ...]:
        """Gather or read patches of some rows, cut at the corners of the plan: (batch, side, side, channels) each."""
        scale = self.samples.pairs.scale
        rows, y, x = tf.unstack(plan, axis=1)
        fixed = _cut(self._fixed[None], tf.zeros_like(rows), y * scale, x * scale, patch_lr * scale)
        if self.in_memory:
            inputs = _cut(self._memory[0], rows, y, x, patch_lr)
            hr = _cut(self._memory[1], rows, y * scale, x * scale, patch_lr * scale)
        else:
            inputs, hr = self._read(plan, patch_lr)
        return inputs, fixed[..., :-1], hr, fixed[..., -1:]

    def _read(self, plan: tf.Tensor, patch_lr: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
        """Read whole fields from the files, or patches of them."""
        samples = self.samples

        def load(plan: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return samples.load_patches(plan, patch_lr) if patch_lr else samples.load(plan[:, 0])

        inputs, hr = tf.numpy_function(load, [plan], (tf.float32, tf.float32), stateful=False)
        y, x = (patch_lr, patch_lr) if patch_lr else samples.pairs.lr_grid.shape
        scale = samples.pairs.scale
        inputs.set_shape((None, y, x, samples.channels))
        hr.set_shape((None, y * scale, x * scale, samples.targets))
        return inputs, hr


def _cut(fields: tf.Tensor, rows: tf.Tensor, y: tf.Tensor, x: tf.Tensor, side: int) -> tf.Tensor:
    """Cut from each row the square that begins at y, x: (batch, side, side, channels), around the globe."""
    height, width, channels = fields.shape[1:]
    rows, y, x = (tf.cast(place, tf.int64) for place in (rows, y, x))
    along = tf.range(side, dtype=tf.int64)
    lines = ((rows * height + y)[:, None] + along) * width  # (batch, side)
    columns = (x[:, None] + along) % width
    return tf.gather(tf.reshape(fields, (-1, channels)), lines[:, :, None] + columns[:, None, :])


def _squares(fields: tf.Tensor, corner: tf.Tensor, side: int) -> tf.Tensor:
    """Cut the same square from each field: (batch, side, side, channels)."""
    y, x = tf.unstack(corner, num=2)
    return tf.ensure_shape(fields[:, y : y + side, x : x + side], (None, side, side, fields.shape[-1]))
