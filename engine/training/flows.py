"""Training steps of what draws residuals of a trained network: flow matching, and a normalizing flow."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from engine.data.samples import Shuffle
from engine.models.flow_matching import deviation
from engine.models.residual_draws import SAMPLER, ResidualSampler
from engine.training.feed import Feed
from engine.training.supervised import Step
from engine.training.validation import Validation

LEAST_SCALE = 1e-6  # of residuals, as scaled
DITHER = 0.05  # of their scale: noise on residuals of a quantity that is often zero, where its density has no limit


class ResidualStep(Step):
    """Training of residuals of a network whose weights stay as they are (`models.residual_draws`)."""

    @property
    def sampler(self) -> ResidualSampler:
        return self.network.get_layer(SAMPLER)

    @property
    def trained(self) -> keras.layers.Layer:
        return self.sampler

    def prepare(self, train: Feed, validation: Feed, shuffle: Shuffle) -> None:
        """Measure the residuals of both parts; those of a whole part, of all ranks."""
        squares = Step(self.network, self.options.replace(loss="mse"), 1, self.workers, self.normalizer)
        parts = [Validation(squares, feed, shuffle, self.workers).measure()[0] for feed in (train, validation)]
        self.sampler.scale.assign([max(math.sqrt(part), LEAST_SCALE) for part in parts])

    def predict(self, inputs: tf.Tensor, static: tf.Tensor, training: bool) -> tf.Tensor:
        """Run the network without a draw: the field around which residuals are learned."""
        return tf.stop_gradient(self.network([inputs, static], training=False))


class FlowMatchingStep(ResidualStep):
    """Flow matching (`models.flow_matching`).

    Each sample has a time and noise of its own; the times of a batch are spread evenly (Kingma et al. 2021, Variational
    Diffusion Models, appendix I.1). The loss is the squared error of the velocity but for what follows from the state,
    times the variance of the state, so that all times weigh alike. Validation takes the same times and noise each time.
    """

    def compare(
        self, batch: tuple[tf.Tensor, ...], downscaled: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, static, hr, weights = batch
        sampler, mask = self.sampler, tf.math.is_finite(hr)
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


class LikelihoodStep(ResidualStep):
    """Maximum likelihood of a normalizing flow (`models.normalizing_flow`).

    The loss is minus log2 of the density of HR, as scaled, for each of its values (bits per value; Theis et al. 2016,
    arXiv 1511.01844, section 3.1, without the share of quantization). Residuals of the validation part are counted in
    units of their own scale, as they are drawn.
    """

    def compare(
        self, batch: tuple[tf.Tensor, ...], downscaled: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, static, hr, _ = batch
        mask, scale = tf.math.is_finite(hr), self.sampler.scale[0 if training else 1]
        residual = tf.where(mask, (hr - downscaled) / scale, 0.0)
        if training and self.normalizer.hr_min == 0:
            residual += DITHER * tf.random.stateless_normal(tf.shape(hr), self.sampler.next_seed())
        noise, log_determinant = self.sampler.noise_of(residual, mask, inputs, static, downscaled, training)
        values = tf.reduce_sum(tf.cast(mask, tf.float32))
        normal = tf.reduce_sum(noise**2) / 2 + values * (math.log(2 * math.pi) / 2 + tf.math.log(scale))
        return (normal - tf.reduce_sum(log_determinant)) / math.log(2), values
