"""The training step of flow matching: the velocity from noise to what a trained network leaves of HR."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from engine.data.samples import Shuffle
from engine.models.flow_matching import SAMPLER, deviation
from engine.training.feed import Feed
from engine.training.supervised import Step
from engine.training.validation import Validation

LEAST_SCALE = 1e-6  # of residuals, as scaled


class FlowMatchingStep(Step):
    """Flow matching of the residuals of a network whose weights stay as they are (`models.flow_matching`).

    Each sample has a time and noise of its own; the times of a batch are spread evenly (Kingma et al. 2021, Variational
    Diffusion Models, appendix I.1). The loss is the squared error of the velocity but for what the state tells of it,
    times the variance of the state, so that all times weigh alike. Validation takes the same times and noise each time.
    """

    @property
    def trained(self) -> keras.Model:
        return self.network.get_layer(SAMPLER).velocity

    def prepare(self, train: Feed, validation: Feed, shuffle: Shuffle) -> None:
        """Measure the residuals of both parts; those of a whole part, of all ranks."""
        squares = Step(self.network, self.options.replace(loss="mse"), 1, self.workers, self.normalizer)
        parts = [Validation(squares, feed, shuffle, self.workers).measure()[0] for feed in (train, validation)]
        self.network.get_layer(SAMPLER).scale.assign([max(math.sqrt(part), LEAST_SCALE) for part in parts])

    def predict(self, inputs: tf.Tensor, static: tf.Tensor, training: bool) -> tf.Tensor:
        """Run the network without a draw: the field around which residuals are learned."""
        return tf.stop_gradient(self.network([inputs, static], training=False))

    def compare(
        self, batch: tuple[tf.Tensor, ...], downscaled: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, static, hr, weights = batch
        sampler, mask = self.network.get_layer(SAMPLER), tf.math.is_finite(hr)
        weights = tf.where(mask, tf.broadcast_to(weights, tf.shape(hr)), 0.0)
        residual = tf.where(mask, (hr - downscaled) / sampler.scale[0], 0.0)
        seeds = tf.random.experimental.stateless_split(sampler.next_seed() if training else tf.constant([0, 0]), 2)
        noise = tf.random.stateless_normal(tf.shape(hr), seeds[0])
        samples = tf.cast(tf.shape(hr)[0], tf.float32)
        time = (tf.range(samples) / samples + tf.random.stateless_uniform((), seeds[1])) % 1.0  # (batch,)
        t, rho = time[:, None, None, None], deviation(time)
        given = (inputs, static, downscaled, mask)
        found = sampler.rotated((1 - t) * noise + t * residual, time, *given, training=training)
        error = found - ((1 - t) * residual - t * noise) / rho
        return tf.reduce_sum(weights * error**2), tf.reduce_sum(weights)
