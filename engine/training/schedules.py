"""Schedules of the learning rate over a training."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from engine.spec import LEARNING_RATE_FACTORS, TrainingOptions

LOWEST = 0.01  # fraction of the learning rate at the end of a cosine


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then constant, one fall (piecewise), or half a cosine (Loshchilov and Hutter 2017, eq. 5).

    processes : number by which the learning rate is scaled, by `training.learning_rate_scaling`.
    """

    def __init__(self, options: TrainingOptions, steps: int, processes: int = 1):
        self.options, self.steps, self.processes = options, steps, processes
        self.highest = options.learning_rate * LEARNING_RATE_FACTORS[options.learning_rate_scaling](processes)
        self.warm_up = max(1, round(options.warm_up * steps))

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rate = self.highest * tf.minimum(1.0, (step + 1) / self.warm_up)
        return rate * FACTORS[self.options.schedule](step / self.steps, self.options)

    def get_config(self) -> dict[str, object]:
        return {"options": self.options, "steps": self.steps, "processes": self.processes}


def _constant(done: tf.Tensor, options: TrainingOptions) -> tf.Tensor:
    return tf.ones_like(done)


def _piecewise(done: tf.Tensor, options: TrainingOptions) -> tf.Tensor:
    """Lower the rate once, as in DL4DS (Gomez Gonzalez 2023, Environ. Data Sci. 2, e3)."""
    return tf.where(done < options.decay_at, 1.0, options.decay_factor)


def _cosine(done: tf.Tensor, options: TrainingOptions) -> tf.Tensor:
    return LOWEST + (1 - LOWEST) * 0.5 * (1 + tf.cos(math.pi * tf.minimum(1.0, done)))


# Factor of the learning rate, by the fraction of all steps that is done.
FACTORS: dict[str, Callable[[tf.Tensor, TrainingOptions], tf.Tensor]] = {
    "constant": _constant,
    "piecewise": _piecewise,
    "cosine": _cosine,
}
