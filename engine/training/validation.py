"""Validation of a network on the validation part, each rank its share of the samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from engine.data.samples import Shuffle
from engine.training.feed import Feed
from engine.training.memory_budget import Pieces
from engine.training.supervised import Step
from engine.training.workers import Workers


@dataclass(frozen=True)
class Validation:
    """The validation part, cut into batches that take no more memory than those of training."""

    step: Step
    feed: Feed
    shuffle: Shuffle
    workers: Workers

    def measure(self) -> tuple[float, float]:
        """Loss, and RMSE in the target's unit, over the whole part."""
        loss, weight, squares, cells = self.workers.allreduce_array(self.sums())
        return float(loss / max(weight, 1e-6)), float(np.sqrt(squares / max(cells, 1e-6)))

    def sums(self) -> np.ndarray:
        """Σ loss, Σ weight, Σ squared error and number of cells, of this rank's share."""
        steps = tf.constant(self._pieces.steps(len(self.rows)))
        return self.step.validate(iter(self._batches), steps).numpy()

    @cached_property
    def rows(self) -> np.ndarray:
        """Samples of this rank."""
        return np.arange(self.workers.rank, len(self.feed.samples), self.workers.size, dtype=np.int32)

    @cached_property
    def _pieces(self) -> Pieces:
        pairs, shuffle = self.feed.samples.pairs, self.shuffle
        return Pieces.of(pairs.lr_grid.shape, pairs.scale, shuffle.patch_lr, shuffle.batch_size)

    @cached_property
    def _batches(self) -> tf.data.Dataset:
        plan, at_once = np.pad(self.rows[:, None], ((0, 0), (0, 2))), self._pieces.at_once
        starts = range(0, len(plan), at_once)
        stream = self.feed.stream(lambda: (plan[None, k : k + at_once] for k in starts))
        return self.feed.cut(stream, self._pieces) if self._pieces.corners else stream
