"""Batches for the training step: from memory where a part fits, else read ahead from the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from engine.data.samples import Samples
from engine.memory import free_memory

MEMORY_SHARE = 0.25  # of the free memory, for one part: there are two, each twice while it is handed over
RUNTIME_BYTES = 400 * 2**20  # that TensorFlow takes once it runs, for threads, graphs and kernels
READ_AHEAD = 4  # batches


@dataclass(frozen=True)
class Feed:
    """Makes a stream of batches of one part.

    A batch is (inputs, static, hr, weights), as the network and the loss take them: static and weights have
    one entry for whole fields, and one for each sample for patches.
    """

    samples: Samples
    in_memory: bool

    @classmethod
    def of(cls, samples: Samples, processes: int = 1, reserved: int = 0) -> Feed:
        """In memory if there is room.

        processes : how many of a kind share this machine; reserved : bytes that training itself will take.
        """
        room = free_memory(processes) - RUNTIME_BYTES - reserved
        return cls(samples, samples.bytes_in_memory < MEMORY_SHARE * room)

    def stream(self, plans: Callable[[], Iterable[np.ndarray]], patch_lr: int = 0) -> tf.data.Dataset:
        """Batches for a sequence of plans, each (step, sample, 3) as in Shuffle, read ahead in their order."""
        steps = tf.data.Dataset.from_generator(plans, output_signature=tf.TensorSpec((None, None, 3), tf.int32))

        def fetch(plan: tf.Tensor) -> tuple[tf.Tensor, ...]:
            fields, whole = (
                (self._memory, plan[:, 0]) if self.in_memory else (self._read(plan), tf.range(tf.shape(plan)[0]))
            )
            return self._crop(*fields, whole, plan, patch_lr) if patch_lr else self._whole(*fields, whole)

        return steps.unbatch().map(fetch, num_parallel_calls=2, deterministic=True).prefetch(READ_AHEAD)

    @cached_property
    def _memory(self) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.init_scope(), tf.device("/CPU:0"):
            return tuple(tf.constant(array) for array in self.samples.load_all())

    @cached_property
    def _fixed(self) -> tf.Tensor:
        """(y, x, variables + 1): static variables, then the weights of the cells."""
        with tf.init_scope(), tf.device("/CPU:0"):
            return tf.concat([self.samples.static, self.samples.areas[..., None]], axis=-1)

    def _read(self, plan: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, hr = tf.numpy_function(self.samples.load, [plan[:, 0]], (tf.float32, tf.float32), stateful=False)
        pairs = self.samples.pairs
        inputs.set_shape((None, *pairs.lr_grid.shape, self.samples.channels))
        hr.set_shape((None, *pairs.hr_grid.shape, 1))
        return inputs, hr

    def _whole(self, inputs: tf.Tensor, hr: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Whole fields of some rows."""
        static, weights = self._fixed[None, ..., :-1], self._fixed[None, ..., -1:]
        return tf.gather(inputs, rows), static, tf.gather(hr, rows), weights

    def _crop(
        self, inputs: tf.Tensor, hr: tf.Tensor, rows: tf.Tensor, plan: tf.Tensor, patch_lr: int
    ) -> tuple[tf.Tensor, ...]:
        """Patches of some rows, cut where the plan says."""
        scale = self.samples.pairs.scale
        side, y, x = patch_lr * scale, plan[:, 1], plan[:, 2]
        fixed = _cut(self._fixed[None], tf.zeros_like(rows), y * scale, x * scale, side)
        hr = _cut(hr, rows, y * scale, x * scale, side)
        return _cut(inputs, rows, y, x, patch_lr), fixed[..., :-1], hr, fixed[..., -1:]


def _cut(fields: tf.Tensor, rows: tf.Tensor, y: tf.Tensor, x: tf.Tensor, side: int) -> tf.Tensor:
    """(batch, side, side, channels): from each row the square that begins at y, x."""
    height, width, channels = fields.shape[1:]
    rows, y, x = (tf.cast(place, tf.int64) for place in (rows, y, x))
    first = (rows * height + y) * width + x
    square = tf.range(side, dtype=tf.int64)[:, None] * width + tf.range(side, dtype=tf.int64)
    return tf.gather(tf.reshape(fields, (-1, channels)), first[:, None, None] + square)
