"""Flow matching with straight paths (Lipman et al. 2023, arXiv 2210.02747, section 4.1, conditional optimal transport).

States, as residuals, have a standard deviation of about 1; fields are as in `models.residual_draws`.
"""

from __future__ import annotations

import tensorflow as tf

from engine.models.residual_draws import ResidualSampler


class FlowSampler(ResidualSampler):
    """Residuals drawn by Heun's method.

    The velocity at time t of a state x = (1 - t) · noise + t · residual is ((2t - 1) x / ρ + r) / ρ, where
    ρ² = t² + (1 - t)² is the variance of x and r is what the network gives for x / ρ: the part of the velocity that the
    state alone doesn't determine, ((1 - t) · residual - t · noise) / ρ, which has variance 1 at any time (Salimans and
    Ho 2022, arXiv 2202.00512, appendix D). With r = 0, noise stays noise.
    """

    def residual(
        self, noise: tf.Tensor, inputs: tf.Tensor, fixed: tf.Tensor, mean: tf.Tensor, present: tf.Tensor
    ) -> tf.Tensor:
        span = 1.0 / self.steps

        def heun(number: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            time = tf.fill(tf.shape(state)[:1], tf.cast(number, tf.float32) * span)
            slope = self._velocity(state, time, inputs, fixed, mean, present)
            later = self._velocity(state + span * slope, time + span, inputs, fixed, mean, present)
            return number + 1, tf.ensure_shape(state + span / 2 * (slope + later), mean.shape)

        return tf.while_loop(lambda number, state: number < self.steps, heun, [tf.constant(0), noise])[1]

    def rotated(
        self,
        state: tf.Tensor,
        time: tf.Tensor,
        inputs: tf.Tensor,
        fixed: tf.Tensor,
        mean: tf.Tensor,
        present: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Compute r of a state with variance ρ² at times (batch,); it is hidden in cells that aren't present."""
        at_hr = [tf.where(present, state / deviation(time), 0.0)]
        at_lr = [tf.ones_like(inputs[..., :1]) * _with_field_dims(time)]
        return self.ask_network(inputs, fixed, mean, at_lr, at_hr, training)

    def _velocity(self, state: tf.Tensor, time: tf.Tensor, *given: tf.Tensor) -> tf.Tensor:
        rho = deviation(time)
        return ((2 * _with_field_dims(time) - 1) * state / rho + self.rotated(state, time, *given)) / rho


def deviation(time: tf.Tensor) -> tf.Tensor:
    """Standard deviation ρ of the state at times (batch,) from 0 to 1: (batch, 1, 1, 1)."""
    t = _with_field_dims(time)
    return tf.sqrt(t**2 + (1 - t) ** 2)


def _with_field_dims(time: tf.Tensor) -> tf.Tensor:
    return time[:, None, None, None]
