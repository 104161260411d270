"""The training step of a network for any scale: LR and targets of a random scale, made of those of the data."""

from __future__ import annotations

import keras
import tensorflow as tf

from engine.data.normalizer import Normalizer
from engine.models.constraints import in_unit, scaled
from engine.models.implicit import query_of
from engine.models.network import at_points
from engine.spec import ScaleRange, TrainingOptions
from engine.training.memory_budget import QUERIES
from engine.training.supervised import Step
from engine.training.workers import Workers

OWN_SHARE = 0.5  # of the steps, at the scale of the data
ROUNDING = 1e-4  # of a cell


class RandomScaleStep(Step):
    """Supervised training at the scale of the data, and in half of the steps at one drawn evenly from `scales`.

    All ranks take the same. Up to the scale of the data LR stays, and targets are area means of HR; above, HR stays and
    LR is coarsened. The loss is taken at QUERIES rows and as many columns of targets, spread over the field. What is
    drawn follows from the seed and the number of the step alone.
    """

    def __init__(
        self,
        network: keras.Model,
        options: TrainingOptions,
        steps: int,
        workers: Workers,
        normalizer: Normalizer,
        scales: ScaleRange,
        scale: int,
    ):
        super().__init__(network, options, steps, workers, normalizer)
        self.scales, self.scale, self.at_points = scales, scale, at_points(network)

    def gradients(self, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        seed = tf.stack([self.options.seed, tf.cast(self.optimizer.iterations, tf.int32)])
        low, high = self.scales.plain()
        drawn, *places = tf.split(tf.random.stateless_uniform((3 + 2 * QUERIES,), seed), [1, 2, QUERIES, QUERIES])
        another = low + (high - low) * (drawn[0] - OWN_SHARE) / (1 - OWN_SHARE)
        scale = tf.where(drawn[0] < OWN_SHARE, float(self.scale), another)
        return super().gradients(self.at_scale(batch, scale, *places))

    def predict(self, inputs: tf.Tensor, static: tf.Tensor, training: bool) -> tf.Tensor:
        """Run the network; in training, at the points that `at_scale` gives in place of static variables."""
        return self.at_points([inputs, *static], training=True) if training else super().predict(inputs, static, False)

    def at_scale(
        self, batch: tuple[tf.Tensor, ...], scale: tf.Tensor, corner: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Make a batch of some scale: LR and static variables on it, (static variables, query) of targets, HR, weights.

        corner : (2,), rows and columns, (QUERIES,) each: places from 0 to 1 that are chosen at random, of the LR cells
            within the field and of each target within its share of the field.
        """
        inputs, static, hr, areas = batch
        lr_areas = tf.nn.avg_pool2d(areas, self.scale, self.scale, "VALID")
        given = inputs
        if static.shape[-1]:
            at_lr = tf.nn.avg_pool2d(static, self.scale, self.scale, "VALID")
            spread = tf.broadcast_to(at_lr, tf.concat([tf.shape(inputs)[:3], tf.shape(static)[3:]], axis=0))
            given = tf.concat([inputs, spread], axis=-1)
        step = tf.maximum(scale / self.scale, 1.0)  # LR cells of the data in one of this scale, along a side
        side = step * self.scale / scale  # HR cells in a target, along a side
        at_lr, at_hr, centres = [], [], []
        for axis, place in ((1, rows), (2, columns)):
            cells = tf.cast(tf.shape(inputs)[axis], tf.float32)
            many = tf.floor(cells / step + ROUNDING)
            start = corner[axis - 1] * tf.maximum(cells - many * step, 0.0)
            at_lr.append(_overlap(start + step * tf.range(many), step, cells))
            strata = (tf.range(QUERIES, dtype=tf.float32) + place) / QUERIES
            targets = tf.floor(strata * tf.floor(many * scale + ROUNDING))
            at_hr.append(_overlap(start * self.scale + side * targets, side, cells * self.scale))
            centres.append((targets + 0.5) / scale - 0.5)
        points = query_of(centres[0], centres[1], 1.0 / scale)
        hr, static = self._mean_in_unit(hr, areas, at_hr), _mean(static, areas, at_hr)
        return _mean(given, lr_areas, at_lr), (static, points), hr, _mean(areas, tf.ones_like(areas), at_hr)

    def _mean_in_unit(self, hr: tf.Tensor, areas: tf.Tensor, sides: list[tf.Tensor]) -> tf.Tensor:
        """Average HR as `_mean` does, in the target's own unit; missing values are left out."""
        target, present = self.normalizer.target, tf.cast(tf.math.is_finite(hr), tf.float32)
        values = tf.where(present > 0, in_unit(hr, target) if target.reference else hr, 0.0)
        mean, share = _mean(values * present, areas, sides), _mean(present, areas, sides)
        mean = tf.where(share > 0, mean / tf.maximum(share, 1e-6), float("nan"))
        return scaled(mean, target) if target.reference else mean


def _mean(fields: tf.Tensor, areas: tf.Tensor, sides: list[tf.Tensor]) -> tf.Tensor:
    """Average fields (batch, y, x, channels) over new cells; sides : how they cover the old ones, (new, old) each."""
    rows, columns = sides
    total, covered = (
        tf.einsum("Xx,bYxc->bYXc", columns, tf.einsum("Yy,byxc->bYxc", rows, each)) for each in (fields * areas, areas)
    )
    return total / covered


def _overlap(starts: tf.Tensor, width: tf.Tensor, cells: tf.Tensor) -> tf.Tensor:
    """Lengths of cells 0, 1, … along a side that lie in intervals of one width: (intervals, cells)."""
    first = tf.range(cells)
    ends = tf.minimum(starts[:, None] + width, first + 1.0)
    return tf.maximum(ends - tf.maximum(starts[:, None], first), 0.0)
