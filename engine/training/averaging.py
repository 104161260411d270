"""Exponential moving average of the weights, with which a network validates and predicts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


class WeightAverage:
    """Mean of the weights over the steps so far, step s of t weighted by decay^(t - s).

    Source: Polyak and Juditsky (1992), SIAM J. Control Optim. 30, 838, for averaging the iterates. The mean needs no
    start value, by Adam's bias correction (Kingma and Ba 2015, section 3), Σ (1 - d) d^(t-s) w_s / (1 - d^t),
    written as a step towards w_t. With decay 0 there is nothing to average, and the network's weights stay as they are.
    """

    def __init__(self, network: keras.Model, decay: float):
        self.decay = decay
        self.statistics = statistics(network) if decay else []
        self.live = [*network.trainable_variables, *self.statistics] if decay else []
        self.variables = [keras.Variable(v.numpy(), trainable=False, dtype=v.dtype, name=v.name) for v in self.live]

    @property
    def averaged_statistics(self) -> list[Any]:
        """Averages of the running statistics."""
        return self.variables[len(self.variables) - len(self.statistics) :]

    def update(self, step: tf.Tensor) -> None:
        """Add the weights after a step, counted from 1; inside a graph."""
        if not self.decay:
            return
        share = (1 - self.decay) / -tf.math.expm1(tf.cast(step, tf.float32) * math.log(self.decay))
        for average, variable in zip(self.variables, self.live, strict=True):
            average.value.assign_add(share * (variable.value - average.value))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network its averaged weights within the context."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for average, variable in zip(self.variables, self.live, strict=True):
            held = variable.numpy()
            variable.assign(average.numpy())
            average.assign(held)


def statistics(network: keras.Model) -> list[Any]:
    """Running means of batch normalisation: weights without gradient, but for the seeds of dropout."""
    return [v for v in network.non_trainable_variables if v.dtype == "float32"]
