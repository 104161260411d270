"""Declared layers against the Keras layers made of them, one generic check for all kinds; the registries."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from engine.models import layers
from engine.models.backbones import BACKBONES
from engine.models.backbones.graph import MessagePassing
from engine.models.implicit import CellCentres
from engine.models.keras_layers import APPLICATIONS, apply
from engine.models.layers import Block, Field, Keep
from engine.models.tracing import trace
from engine.models.upsampling import UPSAMPLINGS, Implicit
from engine.spec import ModelOptions

KINDS = [
    layers.Conv("a", 5, activation="relu"),
    layers.Conv("a", 5, side=1),
    layers.SeparableConv("a", 5),
    layers.DepthwiseConv("a", 7),
    layers.Dense("a", 5, "relu"),
    layers.TransposedConv("a", 5, 3),
    layers.SubPixel("a", 2),
    layers.Repeat("a", 3),
    Implicit("a", 5, 1, "silu"),
    layers.Halve("a"),
    layers.Normalization("a", "batch"),
    layers.Normalization("a", "layer"),
    layers.Activation("a", "silu"),
    layers.Dropout("a", "mc_spatial", 0.1),
    layers.Noise("a", 3),
    layers.ChannelScale("a"),
    layers.ChannelAttention("a"),
    layers.WindowAttention("a", 8),
    layers.WindowAttention("a", 40, shift=4),
    layers.FourierFilter("a"),
    layers.Recurrence("a", 4, window=3),
    layers.Add("a", "kept"),
    layers.Concatenate("a", "kept"),
    layers.DoubleLike("a", "kept"),
]


@pytest.mark.parametrize("layer", KINDS, ids=lambda layer: type(layer).__name__)
def test_a_layer_has_the_weights_and_the_output_that_it_declares(layer):
    kept, field = Field(5, 7, 8), Field(3, 4, 8) if isinstance(layer, layers.DoubleLike) else Field(5, 7, 8)
    x, other = (keras.Input((side.y, side.x, side.channels)) for side in (field, kept))
    made = keras.Model([x, other], apply([layer], x, {"kept": other, "query": CellCentres(1)(x), "like": x}))
    ((step,),) = trace([Block("block", "", (layer,))], field, {"kept": kept})
    assert made.output.shape[1:] == (step.output.y, step.output.x, step.output.channels)
    assert step.parameters == sum(int(np.prod(weight.shape)) for weight in made.trainable_weights)


def test_every_kind_of_layer_is_known_to_keras():
    kinds = {kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, layers.Layer)}
    declared = kinds - {layers.Layer, Keep} | {Implicit, MessagePassing}
    assert declared == set(APPLICATIONS) == {type(layer) for layer in KINDS} | {MessagePassing}  # tested by itself


def test_the_spec_offers_the_declared_backbones_and_upsamplings():
    declared = ModelOptions.declared()
    assert sorted(declared["backbone"].objects) == sorted(BACKBONES)
    assert sorted(declared["upsampling"].objects) == sorted([*UPSAMPLINGS, "pin"])


def test_a_kept_field_counts_until_it_was_used():
    block = Block("block", "", (Keep("start"), layers.Conv("a", 4), layers.Add("add", "start"), layers.Conv("b", 4)))
    (steps,) = trace([block], Field(2, 3, 4))
    assert [step.kept_values for step in steps] == [24, 24, 24, 0]
