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

    The network makes `training.loss` plus `training.adversarial_weight` times the adversarial loss small; the
    discriminator tells HR from downscaled fields. Both take one step at a time, each from the weights before it.
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
        course = Schedule(options.replace(learning_rate=options.discriminator_learning_rate), steps, workers.size)
        self.discriminator_optimizer = keras.optimizers.Adam(course, beta_1=0.5)  # Isola et al. (2017), section 3.3
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
        """The three losses, and the gradients of the network's weights, then of the discriminator's."""
        inputs, static, hr, weights = batch
        with tf.GradientTape(persistent=True) as tape:
            downscaled = self.network([inputs, static], training=True)
            pixels, weight = weighted_sum(self.loss, hr, downscaled, weights)
            fooling, telling, seen = self._verdicts(inputs, hr, downscaled[..., :1], weights)
            weight, seen = (tf.maximum(mean, 1e-6) for mean in self.workers.allreduce_mean([weight, seen]))
            pixels, fooling, telling = pixels / weight, fooling / seen, telling / seen
            loss = pixels + self.options.adversarial_weight * fooling
        gradients = tape.gradient(loss, self.network.trainable_variables)
        gradients += tape.gradient(telling, self.discriminator.trainable_variables)
        return tf.stack([pixels, fooling, telling]), self.workers.allreduce_mean(gradients)

    def apply(self, gradients: list[tf.Tensor]) -> None:
        ours = len(self.network.trainable_variables)
        super().apply(gradients[:ours])
        self.discriminator_optimizer.apply(gradients[ours:], self.discriminator.trainable_variables)

    def _verdicts(
        self, inputs: tf.Tensor, hr: tf.Tensor, downscaled: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Σ weight · adversarial loss, Σ weight · discriminator loss, and Σ weight, over LR cells.

        The network's loss is the one that doesn't fade (Goodfellow et al. 2014, section 3); labels of real fields
        are smoothed on their side alone (Salimans et al. 2016, section 3.4). An LR cell weighs as the HR cells in
        it that have a value.
        """
        there = tf.math.is_finite(hr)
        seen = tf.cast(there, tf.float32)
        fields = tf.concat([tf.where(there, hr, 0.0), downscaled], 0)
        logits = self.discriminator([tf.tile(inputs, (2, 1, 1, 1)), fields, tf.tile(seen, (2, 1, 1, 1))])
        real, fake = tf.split(logits, 2)  # (batch, y_lr, x_lr, 1)
        scale = self.discriminator.get_layer("onto_lr").strides
        shares = tf.nn.avg_pool2d(seen * weights, scale, scale, "VALID")
        fooling = _entropy(fake, 1.0)
        telling = (_entropy(real, 1.0 - self.options.label_smoothing) + _entropy(fake, 0.0)) / 2
        return tf.reduce_sum(shares * fooling), tf.reduce_sum(shares * telling), tf.reduce_sum(shares)


def _entropy(logits: tf.Tensor, label: float) -> tf.Tensor:
    """Binary cross-entropy at each cell."""
    return tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(logits), label), logits)
