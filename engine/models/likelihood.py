"""The Bernoulli–gamma distribution of a quantity that is often zero, as precipitation: as a layer and as a likelihood.

Cannon (2008), J. Hydrometeorol. 9, 1284, eqs. 3 to 5: it rains with probability p, and how much is gamma distributed
with a shape and a scale. Amounts are counted in units of the mean of HR, so that they are about 1 for any quantity.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import tensorflow as tf
from keras import layers

from engine.data.normalizer import ValueTransform
from engine.models.constraints import in_unit, scaled

TRACE = 1e-3  # of the mean of HR: what is less counts as dry, be it zero itself or what rounding makes of it
LEAST = 1e-3  # of the mean of HR: what an interpolated field is taken for that is lower still
LOGIT, LOG_AMOUNT, LOG_SHAPE = 15.0, 10.0, 4.0  # how far each may go, up or down


class BernoulliGamma(layers.Layer):
    """[(batch, y, x, 3), interpolated LR if residual] → (batch, y, x, 4): field, logit of p, log of amount and shape.

    The field is the distribution's mean, p · shape · scale, scaled as HR is; the amount is the mean where it rains,
    shape · scale. Zeros from a residual network make the field the interpolated one, r in units of the mean of HR:
    p = r / (1 + r) and amount 1 + r.
    """

    def __init__(self, target: ValueTransform, mean: float, **settings: Any):
        super().__init__(**settings)
        self.target, self.mean = target, mean

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        raw, *base = fields
        level = tf.math.log(tf.maximum(in_unit(base[0], self.target) / self.mean, LEAST)) if base else 0.0
        logit, amount, shape = tf.split(raw, 3, axis=-1)
        logit = _clipped(logit + level, LOGIT)
        amount = _clipped(amount + tf.math.softplus(level), LOG_AMOUNT)
        field = scaled(self.mean * tf.sigmoid(logit) * tf.exp(amount), self.target)
        return tf.concat([field, logit, amount, _clipped(shape, LOG_SHAPE)], axis=-1)

    def compute_output_shape(self, shapes: list[Any]) -> Any:
        return (*shapes[0][:-1], 4)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "target": asdict(self.target), "mean": self.mean}


def minus_log_likelihood(amount: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
    """Minus log likelihood of HR at each cell: (batch, y, x, 1).

    Parameters
    ----------
    amount : HR in units of its mean; below TRACE it counts as dry.
    parameters : (batch, y, x, 3), logit of p, log of the mean amount where it rains, and log of the shape.
    """
    logit, log_amount, log_shape = tf.split(parameters, 3, axis=-1)
    wet = amount > TRACE
    x, shape = tf.where(wet, amount, 1.0), tf.exp(log_shape)
    log_scale = log_amount - log_shape
    density = (shape - 1) * tf.math.log(x) - x * tf.exp(-log_scale) - shape * log_scale - tf.math.lgamma(shape)
    return tf.where(wet, tf.math.softplus(-logit) - density, tf.math.softplus(logit))


def _clipped(values: tf.Tensor, most: float) -> tf.Tensor:
    return tf.clip_by_value(values, -most, most)
