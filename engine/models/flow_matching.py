"""Residual flow matching: a network's field, and around it residuals that a second network draws from noise.

Flow matching with straight paths (Lipman et al. 2023, arXiv 2210.02747, section 4.1, conditional optimal transport) of
the residual of a network for the mean (Mardani et al. 2025, CorrDiff, Commun. Earth Environ. 6, 124). Fields are
(batch, y, x, 1) float32, scaled as HR is; states and residuals have a standard deviation of about 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from engine.models import blocks
from engine.models.network import Output, build, constrained, input_layers, interpolation
from engine.models.shapes import Shape
from engine.models.velocity import velocity_of
from engine.spec import ModelOptions

MEAN, SAMPLER = "mean", "sampler"  # layers of the network


def build_with_flow(options: ModelOptions, shape: Shape, output: Output) -> keras.Model:
    """The network of `build`, which stays as it is, and the draw of residuals around its field; see `blocks.drawn`.

    Inputs are those of `build`, `static` with `Samples.masked_areas` as its last channel whether there is a constraint
    or not. Without a draw, the field is that of the first network.
    """
    inputs, fixed = input_layers(options, shape, with_areas=True)
    mean = build(options, shape, output, name=MEAN)
    mean.trainable = False
    given = fixed
    if options.constraint == "none":
        given = blocks.Channels(0, shape.static, dtype="float32", name="variables")(fixed)
    field = blocks.Channels(0, 1, dtype="float32", name="mean_field")(mean([inputs, given]))
    velocity = build(*velocity_of(options, shape), replace(output, bound="linear"), name="velocity")
    sampler = FlowSampler(velocity, shape, output, options.upsampling, options.sampling_steps)
    field = sampler([inputs, fixed, field])
    if output.bound != "linear":  # softplus would raise the first network's field once more
        field = blocks.Bound("relu", output.zero, dtype="float32", name="bound")(field)
    if options.constraint != "none":
        # A softmax of logarithms multiplies all cells of a block by one factor.
        form = "additive" if options.constraint == "additive" else "multiplicative"
        lr = blocks.Channels(0, 1, dtype="float32", name="lr")(inputs)
        field = constrained(field, lr, inputs, fixed, form, shape, output)
    return keras.Model([inputs, fixed], field, name=f"{options.backbone}_{options.upsampling}_flow")


class FlowSampler(blocks.Drawn, layers.Layer):
    """[inputs, static and areas, the mean network's field] → the field, and when drawn one member around it.

    The velocity at time t of a state x = (1 - t) · noise + t · residual is ((2t - 1) x / ρ + r) / ρ, where
    ρ² = t² + (1 - t)² is the variance of x and r is what the network gives for x / ρ: the part of the velocity that the
    state alone doesn't tell, ((1 - t) · residual - t · noise) / ρ, which has variance 1 at any time (Salimans and Ho
    2022, arXiv 2202.00512, appendix D). With r = 0, noise stays noise.

    scale : root mean square of the residuals of the training part, by which the network learned them, and of the
        validation part, by which they are drawn: a network's errors are smaller where it was trained.
    """

    def __init__(self, velocity: keras.Model, shape: Shape, output: Output, upsampling: str, steps: int):
        super().__init__(dtype="float32", name=SAMPLER)
        self.velocity, self.static, self.steps = velocity, shape.static, steps
        self.factor = 0 if upsampling == "pin" else shape.scale  # of cells that become channels
        self.residual_std = output.residual_std
        self.interpolation = interpolation(shape, output, dtype="float32", name="interpolated")
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, shapes: list[Any]) -> None:
        self.scale = self.add_weight(shape=(2,), initializer="ones", trainable=False, name="scale")

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        inputs, fixed, mean = fields
        if not self.drawn:
            return mean
        present = fixed[..., -1:] > 0
        span = 1.0 / self.steps

        def heun(number: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            time = tf.fill(tf.shape(state)[:1], tf.cast(number, tf.float32) * span)
            slope = self._velocity(state, time, inputs, fixed, mean, present)
            later = self._velocity(state + span * slope, time + span, inputs, fixed, mean, present)
            return number + 1, tf.ensure_shape(state + span / 2 * (slope + later), mean.shape)

        noise = tf.ensure_shape(tf.random.stateless_normal(tf.shape(mean), self.next_seed()), mean.shape)
        _, residual = tf.while_loop(lambda number, state: number < self.steps, heun, [tf.constant(0), noise])
        return mean + self.scale[1] * residual

    def next_seed(self) -> tf.Tensor:
        """Seed of a draw; the state that it comes from is one of the network's variables."""
        return tf.cast(self.seed_generator.next(), tf.int32) + tf.constant([self.rank, 0])

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
        added = (mean - self.interpolation(inputs[..., :1])) / self.residual_std
        at_hr = tf.concat([tf.where(present, state / deviation(time), 0.0), added], axis=-1)
        static = tf.broadcast_to(
            fixed[..., : self.static], tf.concat([tf.shape(mean)[:3], [self.static]], axis=0)
        )  # given once for whole fields
        at_lr = [inputs, tf.ones_like(inputs[..., :1]) * _of_sample(time)]
        if self.factor:
            at_lr.append(tf.nn.space_to_depth(at_hr, self.factor))
        return self.velocity([tf.concat(at_lr, axis=-1), tf.concat([static, at_hr], axis=-1)], training=training)

    def _velocity(self, state: tf.Tensor, time: tf.Tensor, *given: tf.Tensor) -> tf.Tensor:
        rho = deviation(time)
        return ((2 * _of_sample(time) - 1) * state / rho + self.rotated(state, time, *given)) / rho

    def compute_output_shape(self, shapes: list[Any]) -> Any:
        return shapes[2]

    def get_config(self) -> dict[str, object]:
        return {"name": self.name, "steps": self.steps}


def deviation(time: tf.Tensor) -> tf.Tensor:
    """Standard deviation ρ of the state at times (batch,) from 0 to 1: (batch, 1, 1, 1)."""
    t = _of_sample(time)
    return tf.sqrt(t**2 + (1 - t) ** 2)


def _of_sample(time: tf.Tensor) -> tf.Tensor:
    return time[:, None, None, None]
