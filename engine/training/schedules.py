"""Courses of the learning rate over a training."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from engine.spec import TrainingOptions

LOWEST = 0.01  # share of the learning rate at the end of a cosine


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then constant or half a cosine (Loshchilov and Hutter 2017, eq. 5)."""

    def __init__(self, options: TrainingOptions, steps: int):
        self.options, self.steps = options, steps
        self.warm_up = max(1, round(options.warm_up * steps))

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rate = self.options.learning_rate * tf.minimum(1.0, (step + 1) / self.warm_up)
        if self.options.schedule == "constant":
            return rate
        course = 0.5 * (1 + tf.cos(math.pi * tf.minimum(1.0, step / self.steps)))
        return rate * (LOWEST + (1 - LOWEST) * course)

    def get_config(self) -> dict[str, Any]:
        return {"options": self.options, "steps": self.steps}
