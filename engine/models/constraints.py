"""Hard constraints: the area mean of the downscaled cells is the LR value, whatever the network has learned.

After Harder et al. (2023), J. Mach. Learn. Res. 24, 365, section 3, with cells weighted by area and cells that are
never downscaled (the sea, say) left out. The layers have no weights. Fields are (batch, y, x, 1) and LR is
(batch, y_lr, x_lr, 1), scaled; means are taken in the target's own unit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf
from keras import layers

from engine.data.normalizer import ValueTransform

MOST = 1e3  # times a network's field is raised at most; a block still weaker gets LR in each cell
LARGEST_LOG = 30.0  # of a field over its mean: what a network that has not learned yet may reach without overflow


@dataclass(frozen=True)
class Blocks:
    """Which HR cells belong to an LR cell, and what each counts in its mean.

    scale : HR cells along a side of an LR cell; cells : (1 or batch, y, x, 1), area where a cell is downscaled, else 0.
    """

    scale: int
    cells: tf.Tensor

    def mean(self, field: tf.Tensor) -> tf.Tensor:
        """(batch, y, x, 1) → (batch, y_lr, x_lr, 1); over all cells alike where none is downscaled."""
        sums = self._pool(self.cells)
        weights = tf.where(self.spread(sums) > 0, self.cells, 1.0)
        return self._pool(weights * field) / tf.where(sums > 0, sums, 1.0)

    def spread(self, lr: tf.Tensor) -> tf.Tensor:
        """LR's value in each of its HR cells."""
        return tf.repeat(tf.repeat(lr, self.scale, axis=1), self.scale, axis=2)

    def _pool(self, field: tf.Tensor) -> tf.Tensor:
        return tf.nn.avg_pool2d(field, self.scale, self.scale, "VALID")


def in_unit(scaled: tf.Tensor, transform: ValueTransform) -> tf.Tensor:
    """ValueTransform.inverse, in a graph."""
    values = scaled * transform.divisor + transform.offset
    return transform.reference * tf.math.expm1(tf.minimum(values, LARGEST_LOG)) if transform.reference else values


def scaled(values: tf.Tensor, transform: ValueTransform) -> tf.Tensor:
    """ValueTransform.forward, in a graph."""
    if transform.reference:
        values = tf.math.log1p(tf.maximum(values, 0.0) / transform.reference)
    return (values - transform.offset) / transform.divisor


class Constraint(layers.Layer, ABC):
    """[field, LR, whether LR has a value (0 or 1), cells] → the field whose block means are LR."""

    def __init__(self, scale: int, target: ValueTransform, **settings: Any):
        super().__init__(**settings)
        self.scale, self.target = scale, target

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        field, lr, there, cells = fields
        return self.constrained(field, lr, there, Blocks(self.scale, cells))

    @abstractmethod
    def constrained(self, field: tf.Tensor, lr: tf.Tensor, there: tf.Tensor, blocks: Blocks) -> tf.Tensor:
        """The field, its LR, and where that has a value, to the field with LR's means."""

    def compute_output_shape(self, shapes: list[Any]) -> Any:
        return shapes[0]

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "scale": self.scale, "target": asdict(self.target)}


class Additive(Constraint):
    """Add the missing part of a block's mean to each of its cells; may fall below zero.

    Harder et al. (2023), AddCL: y = x + LR - mean(x). A constant has the same place in scaled form and in the unit, as
    long as normalizer is linear. Blocks where LR is missing stay as they are.
    """

    def constrained(self, field: tf.Tensor, lr: tf.Tensor, there: tf.Tensor, blocks: Blocks) -> tf.Tensor:
        off = blocks.mean(field - blocks.spread(lr))
        return field - blocks.spread(there * off)


class Multiplicative(Constraint):
    """Each cell of a block is raised by the same factor; for fields that are never negative.

    Harder et al. (2023), MultCL: y = x · LR / mean(x). Cells that are zero stay zero, but in a block that would have to
    be raised more than MOST-fold, each cell is LR. Blocks where LR is missing stay as they are.
    """

    def constrained(self, field: tf.Tensor, lr: tf.Tensor, there: tf.Tensor, blocks: Blocks) -> tf.Tensor:
        values = tf.maximum(in_unit(field, self.target), 0.0)
        lr = tf.maximum(in_unit(lr, self.target), 0.0)
        mean = blocks.mean(values)
        weak = mean * MOST <= lr
        factor = tf.where(weak, 0.0, lr / tf.where(weak, 1.0, mean))
        shared = blocks.spread(factor) * values + blocks.spread(tf.where(weak, lr, 0.0))
        return tf.where(blocks.spread(there) > 0, scaled(shared, self.target), field)


class Softmax(Constraint):
    """LR shared out by a softmax over each block; nothing is below zero, nor zero itself where LR is not.

    Harder et al. (2023), SmCL: y = LR · exp(x) / mean(exp(x)), x being logits. Where LR is missing, its neighbours'
    value takes its place: without a level a softmax has no field.
    """

    def constrained(self, field: tf.Tensor, lr: tf.Tensor, there: tf.Tensor, blocks: Blocks) -> tf.Tensor:
        lr = tf.maximum(in_unit(lr, self.target), 0.0)
        highest = tf.nn.max_pool2d(tf.stop_gradient(field), self.scale, self.scale, "VALID")
        shares = tf.exp(tf.maximum(field - blocks.spread(highest), -LARGEST_LOG))
        mean = tf.maximum(blocks.mean(shares), tf.exp(-LARGEST_LOG))
        return scaled(blocks.spread(lr / mean) * shares, self.target)


class Logits(layers.Layer):
    """Logits that a residual network gives a softmax: [x, interpolated LR] → log(interpolated LR) + spread · x.

    So the field starts as the interpolation, brought to LR's mean. least : of what the logarithm is taken, in the unit.
    """

    def __init__(self, target: ValueTransform, spread: float, least: float, **settings: Any):
        super().__init__(**settings)
        self.target, self.spread, self.least = target, spread, least

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        field, base = fields
        return tf.math.log(tf.maximum(in_unit(base, self.target), self.least)) + self.spread * field

    def compute_output_shape(self, shapes: list[Any]) -> Any:
        return shapes[0]

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "target": asdict(self.target), "spread": self.spread, "least": self.least}


CONSTRAINTS: dict[str, type[Constraint]] = {
    "additive": Additive,
    "multiplicative": Multiplicative,
    "softmax": Softmax,
}
