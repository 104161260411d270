"""The adversarial training step: the network learns from HR and from a discriminator, which learns along with it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from engine.data.normalizer import Normalizer
from engine.spec import TrainingOptions
from engine.training.losses import weighted_sum
from engine.training.schedules import Schedule
from engine.training.supervised import Step
from engine.training.workers import Workers


class AdversarialStep(Step):
    """A conditional generative adversarial network (Isola et al. 2017, pix2pix, eq. 4), the network generating.

    The network minimises `training.loss` plus `training.adversarial_weight` times the generator loss; the
    discriminator learns to separate HR from downscaled fields. Both take each step from the weights before it.
    """

    losses = ("loss", "loss_adversarial", "loss_discriminator")

    def __init__(
        self,
        network: keras.Model,
        discriminator: keras.Model,
        options: TrainingOptions,
        steps: int,
        workers: Workers,
        normalizer: Normalizer,
    ):
        super().__init__(network, options, steps, workers, normalizer)
        self.discriminator = discriminator
        schedule = Schedule(options.replace(learning_rate=options.discriminator_learning_rate), steps, workers.size)
        self.discriminator_optimizer = keras.optimizers.Adam(schedule, beta_1=0.5)  # Isola et al. (2017), section 3.3
        self.discriminator_optimizer.build(discriminator.trainable_variables)

    @property
    def groups(self) -> dict[str, list[Any]]:
        return {
            **super().groups,
            "discriminator": self.discriminator.variables,
            "discriminator_optimizer": self.discriminator_optimizer.variables,
        }

    @property
    def optimizers(self) -> list[keras.Optimizer]:
        return [self.optimizer, self.discriminator_optimizer]

    def gradients(self, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Compute the three losses, and the gradients of the network's weights, then of the discriminator's."""
        inputs, static, hr, weights = batch
        with tf.GradientTape(persistent=True) as tape:
            downscaled = self.predict(inputs, static, training=True)  # (batch, y, x, channels)
            pixel_loss, weight = weighted_sum(self.loss, hr, downscaled, weights)
            generator_loss, discriminator_loss, area = self._adversarial_sums(inputs, hr, downscaled[..., :1], weights)
            weight, area = (tf.maximum(mean, 1e-6) for mean in self.workers.allreduce_mean([weight, area]))
            pixel_loss, generator_loss = pixel_loss / weight, generator_loss / area
            discriminator_loss /= area
            loss = pixel_loss + self.options.adversarial_weight * generator_loss
        gradients = tape.gradient(loss, self.network.trainable_variables)
        gradients += tape.gradient(discriminator_loss, self.discriminator.trainable_variables)
        return tf.stack([pixel_loss, generator_loss, discriminator_loss]), self.workers.allreduce_mean(gradients)

    def apply(self, gradients: list[tf.Tensor]) -> None:
        split = len(self.network.trainable_variables)
        super().apply(gradients[:split])
        self.discriminator_optimizer.apply(gradients[split:], self.discriminator.trainable_variables)

    def _adversarial_sums(
        self, inputs: tf.Tensor, hr: tf.Tensor, downscaled: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Sum over LR cells: weight · generator loss, weight · discriminator loss, and weight.

        The generator loss is the non-saturating one (Goodfellow et al. 2014, section 3); only the labels of real
        fields are smoothed (Salimans et al. 2016, section 3.4). The weight of an LR cell is that of the HR cells in
        it that have a value.
        """
        mask = tf.math.is_finite(hr)  # (batch, y, x, 1)
        has_value = tf.cast(mask, tf.float32)
        fields = tf.concat([tf.where(mask, hr, 0.0), downscaled], 0)  # (2 batch, y, x, 1)
        logits = self.discriminator([tf.tile(inputs, (2, 1, 1, 1)), fields, tf.tile(has_value, (2, 1, 1, 1))])
        real, fake = tf.split(logits, 2)  # (batch, y_lr, x_lr, 1)
        scale = self.discriminator.get_layer("onto_lr").strides
        area = tf.nn.avg_pool2d(has_value * weights, scale, scale, "VALID")  # (batch, y_lr, x_lr, 1)
        generator_loss = _entropy(fake, 1.0)
        discriminator_loss = (_entropy(real, 1.0 - self.options.label_smoothing) + _entropy(fake, 0.0)) / 2
        return tf.reduce_sum(area * generator_loss), tf.reduce_sum(area * discriminator_loss), tf.reduce_sum(area)


def _entropy(logits: tf.Tensor, label: float) -> tf.Tensor:
    """Binary cross-entropy at each cell, same shape as the logits."""
    return tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(logits), label), logits)
