"""The supervised training step, the same for any number of ranks."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from engine.data.normalizer import Normalizer, ValueTransform
from engine.data.samples import Shuffle
from engine.models.blocks import Drawn, drawn
from engine.models.shapes import members_of
from engine.spec import TrainingOptions
from engine.training.averaging import WeightAverage
from engine.training.feed import Feed
from engine.training.losses import Loss, summed_over_components
from engine.training.schedules import Schedule
from engine.training.station_draw import StationDraw
from engine.training.workers import Workers


class Step:
    """Training step and validation of one network, as graphs without Python."""

    losses: tuple[str, ...] = ("loss",)  # returned by `run`, by their names in progress records

    def __init__(
        self, network: keras.Model, options: TrainingOptions, steps: int, workers: Workers, normalizer: Normalizer
    ):
        self.network, self.options, self.workers, self.normalizer = network, options, workers, normalizer
        self.component_losses = Loss.of_components(options, normalizer)
        self.loss = self.component_losses[0]
        self.members = members_of(options)
        for layer in network.layers:
            if isinstance(layer, Drawn):
                layer.rank = workers.rank
        self.optimizer = keras.optimizers.AdamW(
            Schedule(options, steps, workers.size), weight_decay=options.weight_decay, beta_2=0.99, epsilon=1e-7
        )
        self.optimizer.build(network.trainable_variables)
        self.average = WeightAverage(self.trained, options.ema)
        self.station_draw: StationDraw | None = None

    @property
    def trained(self) -> keras.Model:
        """The network, or the part of it whose weights are trained."""
        return self.network

    @property
    def groups(self) -> dict[str, list[Any]]:
        """Variables that change from step to step, by their group in the last checkpoint."""
        return {
            "weights": self.network.variables,
            "optimizer": self.optimizer.variables,
            "averaged": self.average.variables,
        }

    @property
    def optimizers(self) -> list[keras.Optimizer]:
        return [self.optimizer]

    def prepare(self, train: Feed, validation: Feed, shuffle: Shuffle) -> None:
        """Take what the step needs of the data before the first of its steps; nothing here."""

    def gradients(self, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Compute loss and gradients over the batches of all ranks, as if they were one batch."""
        inputs, static, *_ = batch
        with tf.GradientTape() as tape:
            downscaled = self.predict(inputs, static, training=True)  # (batch, y, x, channels)
            loss, weight = self.compare(batch, downscaled, training=True)
            loss /= tf.maximum(self.workers.allreduce_mean([weight])[0], 1e-6)
        gradients = tape.gradient(loss, self.network.trainable_variables)
        return loss, self.workers.allreduce_mean(gradients)

    def predict(self, inputs: tf.Tensor, static: tf.Tensor, training: bool) -> tf.Tensor:
        """Run the network; members, if there are several, stand side by side: (batch, y, x, channels or members)."""
        if self.members == 1:
            return self.network([inputs, static], training=training)
        static = tf.broadcast_to(static, tf.concat([tf.shape(inputs)[:1], tf.shape(static)[1:]], 0))
        repeated = [tf.tile(fields, (self.members, 1, 1, 1)) for fields in (inputs, static)]
        with drawn(self.network):
            fields = self.network(repeated, training=training)  # (members · batch, y, x, 1)
        return tf.concat(tf.split(fields, self.members), axis=-1)

    def compare(
        self, batch: tuple[tf.Tensor, ...], downscaled: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sum weight · loss, and weight, of what `predict` gave."""
        _, _, hr, weights = batch
        return summed_over_components(self.component_losses, hr, downscaled, weights)

    @tf.function(autograph=False)  # converting all that is called to a graph's control flow takes as long as the rest
    def run(self, batches: tf.data.Iterator, steps: tf.Tensor) -> tf.Tensor:
        """Take a number of steps; returns the mean of each of the losses on this rank: (losses,)."""

        def step(number: tf.Tensor, totals: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch = batches.get_next()
            if self.station_draw:
                batch = self.station_draw(batch, tf.cast(self.optimizer.iterations, tf.int32))
            losses, gradients = self.gradients(batch)
            self.apply(gradients)
            self.average.update(self.optimizer.iterations.value)
            return number + 1, totals + losses

        start = tf.constant(0, steps.dtype), tf.zeros(len(self.losses))
        _, totals = tf.while_loop(lambda number, _: number < steps, step, start)
        return totals / tf.cast(steps, tf.float32)

    def apply(self, gradients: list[tf.Tensor]) -> None:
        """Move the weights."""
        self.optimizer.apply(gradients, self.network.trainable_variables)

    @tf.function(autograph=False)
    def validate(self, batches: tf.data.Iterator, steps: tf.Tensor) -> tf.Tensor:
        """Sum loss, weight, squared error in the target's unit, and cells, over a number of batches: (4,)."""

        def step(number: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            inputs, static, hr, _ = batch = batches.get_next()
            downscaled = self.predict(inputs, static, training=False)  # (batch, y, x, channels)
            loss, weight = self.compare(batch, downscaled, training=False)
            squares, cells = self._squared_error(hr, downscaled)
            of_batch = tf.stack([loss, weight, squares, cells])
            return number + 1, sums + tf.cast(of_batch, tf.float64)

        start = tf.constant(0, steps.dtype), tf.zeros(4, tf.float64)
        return tf.while_loop(lambda number, _: number < steps, step, start)[1]

    def _squared_error(self, hr: tf.Tensor, downscaled: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Sum the squared error in the target's unit, and count cells; of a vector, those of each component."""
        mask = tf.math.is_finite(hr)
        cells = tf.reduce_sum(tf.cast(mask, tf.float32))
        if (components := self.normalizer.components)[1:]:
            error = (hr - downscaled) * tf.constant([each.target.divisor for each in components])
            return tf.reduce_sum(tf.where(mask, error, 0.0) ** 2), cells
        target = self.normalizer.target
        field = tf.reduce_mean(_in_unit(downscaled[..., : self.members], target), axis=-1, keepdims=True)
        error = tf.where(mask, _in_unit(hr, target) - field, 0.0)
        return tf.reduce_sum(error**2), cells


def _in_unit(scaled: tf.Tensor, transform: ValueTransform) -> tf.Tensor:
    """ValueTransform.inverse, in a graph and up to a constant that differences don't see."""
    values = scaled * transform.divisor
    return transform.reference * tf.exp(values + transform.offset) if transform.reference else values
