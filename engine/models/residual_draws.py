"""A network's field, and around it residuals that a second network draws from noise: the part that methods share.

The residual of a network for the mean is learned, as by CorrDiff (Mardani et al. 2025, Commun. Earth Environ. 6, 124).
Methods: `models.flow_matching`, `models.normalizing_flow`. Fields are (batch, y, x, 1) float32, scaled as HR is;
residuals have a standard deviation of about 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from engine.models import blocks
from engine.models.network import Output, build, constrained, input_layers, interpolation
from engine.models.second_network import GIVES, second_network
from engine.models.shapes import Shape
from engine.spec import ModelOptions

MEAN, SAMPLER = "mean", "sampler"  # layers of the network


class ResidualSampler(ABC, blocks.Drawn, layers.Layer):
    """[inputs, static and areas, the mean network's field] → the field, and when drawn one member around it.

    scale : root mean square of the residuals of the training part, by which the network learned them, and of the
        validation part, by which they are drawn: a network's errors are smaller where it was trained.
    """

    def __init__(self, network: keras.Model, shape: Shape, output: Output, options: ModelOptions):
        super().__init__(dtype="float32", name=SAMPLER)
        self.network, self.static, self.steps = network, shape.static, options.sampling_steps
        self.factor = 0 if options.upsampling == "pin" else shape.scale  # of cells that become channels
        self.residual_std = output.residual_std
        self.interpolation = interpolation(shape, output, dtype="float32", name="interpolated")
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, shapes: list[Any]) -> None:
        self.scale = self.add_weight(shape=(2,), initializer="ones", trainable=False, name="scale")

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        inputs, fixed, mean = fields
        if not self.drawn:
            return mean
        noise = tf.ensure_shape(tf.random.stateless_normal(tf.shape(mean), self.next_seed()), mean.shape)
        return mean + self.scale[1] * self.residual(noise, inputs, fixed, mean, fixed[..., -1:] > 0)

    @abstractmethod
    def residual(
        self, noise: tf.Tensor, inputs: tf.Tensor, fixed: tf.Tensor, mean: tf.Tensor, present: tf.Tensor
    ) -> tf.Tensor:
        """Turn noise into a residual in units of its scale; cells that aren't present have no influence."""

    def next_seed(self) -> tf.Tensor:
        """Seed of a draw; the state that it comes from is one of the network's variables."""
        return tf.cast(self.seed_generator.next(), tf.int32) + tf.constant([self.rank, 0])

    def ask_network(
        self,
        inputs: tf.Tensor,
        fixed: tf.Tensor,
        mean: tf.Tensor,
        at_lr: list[tf.Tensor],
        at_hr: list[tf.Tensor],
        training: bool,
    ) -> tf.Tensor:
        """Run the second network on the inputs of the first, further fields, and what the mean adds to the LR."""
        added = (mean - self.interpolation(inputs[..., :1])) / self.residual_std
        fields = tf.concat([*at_hr, added], axis=-1)
        static = tf.broadcast_to(
            fixed[..., : self.static], tf.concat([tf.shape(mean)[:3], [self.static]], axis=0)
        )  # given once for whole fields
        channels = [inputs, *at_lr]
        if self.factor:
            channels.append(tf.nn.space_to_depth(fields, self.factor))
        return self.network([tf.concat(channels, axis=-1), tf.concat([static, fields], axis=-1)], training=training)

    def compute_output_shape(self, shapes: list[Any]) -> Any:
        return shapes[2]

    def get_config(self) -> dict[str, object]:
        return {"name": self.name, "steps": self.steps}


def build_with_draws(
    options: ModelOptions, shape: Shape, output: Output, learning: str, sampler: Callable[..., ResidualSampler]
) -> keras.Model:
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
    second = second_network(options, shape, learning)
    network = build(*second, replace(output, bound="linear"), name=GIVES[learning])
    field = sampler(network, shape, output, options)([inputs, fixed, field])
    if output.bound != "linear":  # softplus would raise the first network's field once more
        field = blocks.Bound("relu", output.zero, dtype="float32", name="bound")(field)
    if options.constraint != "none":
        # A softmax of logarithms multiplies all cells of a block by one factor.
        form = "additive" if options.constraint == "additive" else "multiplicative"
        lr = blocks.Channels(0, 1, dtype="float32", name="lr")(inputs)
        field = constrained(field, lr, inputs, fixed, form, shape, output)
    return keras.Model([inputs, fixed], field, name=f"{options.backbone}_{options.upsampling}_flow")
