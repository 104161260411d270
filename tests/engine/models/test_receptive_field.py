"""The architecture as a list of parts, held against numbers by hand and against the built network."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.models.architecture import count_parameters
from engine.models.layers import WindowAttention
from engine.models.network import Output, build
from engine.models.receptive_field import network_parts
from engine.models.shapes import Shape
from engine.network_part import Part
from engine.spec import ModelOptions
from tests.engine.network_combinations import COMBINATIONS, Combination


def options(**given: Any) -> ModelOptions:
    return ModelOptions(**{"n_filters": 4, "n_blocks": 2, "localized": False, "activation": "silu", **given})


def parts_of(shape: Shape, **given: Any) -> dict[str, Part]:
    return {part.name: part for part in network_parts(options(**given), shape, "bicubic")}


def test_the_parts_by_hand():
    # Entry and two blocks of two convolutions see 1 + 2 · 5 LR cells. The first stage convolves at LR, the second at
    # HR / 2, where a cell sees 0.5 LR cells more to each side, reaching the next LR cell from either half of its own;
    # two convolutions at HR / 4 reach 0.5 farther: the 4 places of an HR cell then span 13 + 2 cells at most.
    parts = parts_of(Shape(12, 16, 3, 2, 4), n_filters=32, localized=True)
    assert list(parts) == [
        "inputs",
        "entry",
        "blocks 1–2",
        "stage 1",
        "stage 2",
        "tail",
        "output",
        "localized",
        "field",
    ]
    assert parts["inputs"] == Part("inputs", "3 channels, 2 static", 12, 16, 5, 0, 1)
    assert parts["entry"] == Part("entry", "3 × 3 convolution", 12, 16, 32, (9 * 5 + 1) * 32, 3)
    assert parts["blocks 1–2"] == Part("blocks 1–2", "residual block", 12, 16, 32, 2 * 2 * 289 * 32, 11, times=2)
    assert parts["stage 1"] == Part("stage 1", "sub-pixel convolution × 2", 24, 32, 16, 289 * 64, 13)
    assert parts["stage 2"].sees == 14  # 3 cells of HR / 2 lie in 2 LR cells
    assert (parts["tail"].y, parts["tail"].x, parts["tail"].channels) == (48, 64, 16)
    assert parts["tail"].does == "3 × 3 convolution with static variables"
    assert parts["localized"].parameters == 48 * 64 * 17
    assert parts["field"].does == "with the bicubic LR"
    distribution = parts_of(Shape(12, 16, 1, 0, 4, outputs=3))
    assert [distribution[name].channels for name in ("output", "field")] == [3, 1]
    assert distribution["field"].does == "mean of the distribution, with the bicubic LR"


def test_of_a_spline_what_weighs_a_hundredth_is_seen():
    # Halfway between two cells to either side: 0.881 and 0.269, -0.123 and -0.068, 0.033 and 0.018, -0.009 and -0.005.
    assert parts_of(Shape(12, 16, 1, 0, 2), upsampling="pin")["interpolation"].sees == 6
    bilinear = network_parts(options(upsampling="pin"), Shape(12, 16, 1, 0, 2), "bilinear")[1]
    assert (bilinear.does, bilinear.sees) == ("bilinear", 2)


def test_a_unet_by_hand():
    # HR of 12 × 16 from LR of 6 × 8: two levels down to 3 × 4.
    parts = parts_of(Shape(6, 8, 1, 0, 2), backbone="unet", upsampling="pin")
    rows = {name: (part.y, part.x, part.channels) for name, part in parts.items()}
    assert rows == {
        "inputs": (6, 8, 1),
        "interpolation": (12, 16, 1),
        "entry": (12, 16, 4),
        "down 1": (12, 16, 4),
        "down 2": (6, 8, 8),
        "bottom": (3, 4, 16),
        "up 2": (6, 8, 8),
        "up 1": (12, 16, 4),
        "tail": (12, 16, 4),
        "output": (12, 16, 1),
        "field": (12, 16, 1),
    }
    # From a to b channels: (9 a + 1) b.
    assert parts["down 2"].parameters == 37 * 8 + 73 * 8
    assert parts["up 1"].parameters == (9 * 12 + 1) * 4 + 37 * 4
    odd = parts_of(Shape(5, 7, 1, 0, 3), backbone="unet", upsampling="pin")  # 15 × 21: halves are rounded up
    assert [(odd[name].y, odd[name].x) for name in ("down 2", "bottom")] == [(8, 11), (4, 6)]


@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_the_parts_count_as_the_network_is_counted(combination):
    shape = combination.shape(6, 8, fields=2, static=1, scale=6, known=1)
    given = options(**combination.model, localized=True, normalization="batch", attention=True, n_blocks=3)
    parts = network_parts(given, shape, "bicubic")
    assert sum(part.parameters for part in parts) == sum(count_parameters(given, shape).values())
    assert (parts[-1].y, parts[-1].x, parts[-1].channels, parts[-1].sees) == (36, 48, 1, None)
    assert any(part.name == "recurrence" for part in parts) == (combination.window > 1)


@pytest.mark.parametrize("residual", [False, True])
def test_a_constraint_sees_what_all_cells_of_its_block_see(residual):
    given = {"constraint": "additive", "residual": residual}
    assert_seen(Combination("convnet", "spc"), Shape(24, 24, 1, 0, 4), 4, **given)
    assert parts_of(Shape(4, 4, 1, 0, 4), **given)["constraint"].does == "additive: the mean is LR"


def seen_by(model: keras.Model, shape: Shape, period: int) -> int:
    """LR cells along a side with a gradient, of each HR cell of a period in the middle of the field."""
    y, x = shape.hr
    inputs = tf.random.stateless_normal((1, shape.y_lr, shape.x_lr, shape.channels), [0, 1])
    start = shape.y_lr // 2 * shape.scale // period * period
    cells = [(n, start + n, start + n, 0) for n in range(period)]  # each in a sample of its own
    inputs = tf.repeat(inputs, period, axis=0)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        field = model([inputs, tf.ones((1, y, x, model.inputs[1].shape[-1]))])
        values = tf.gather_nd(field, cells)
    gradient = np.any(tape.gradient(values, inputs).numpy() != 0, axis=3)  # (period, y_lr, x_lr)
    sides = [np.flatnonzero(seen.any(axis=axis)) for seen in gradient for axis in (0, 1)]
    return max(int(np.ptp(side)) + 1 for side in sides)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_what_a_value_sees_is_where_the_network_has_gradients(combination, scale):
    shape = combination.shape(40, 40, fields=1, static=0, scale=scale)
    assert_seen(combination, shape, scale)


@pytest.mark.parametrize(("upsampling", "scale"), [("spc", 6), ("rc", 4), ("dc", 6), ("dc", 4), ("pin", 5)])
def test_what_a_value_sees_through_several_stages(upsampling, scale):
    assert_seen(Combination("convnet", upsampling, window=5), Shape(24, 24, 5, 0, scale, window=5), scale)


def assert_seen(combination: Combination, shape: Shape, period: int, **more: Any) -> None:
    given = options(**combination.model, **more)
    keras.utils.set_random_seed(0)
    model = build(given, shape, Output("bilinear", 1.0, 0.0, "linear"))  # the weights of a spline never end
    kernel = model.get_layer("output").kernel
    kernel.assign(tf.random.stateless_normal(kernel.shape, [1, 2]))  # zero at first, in a residual network
    period *= {"unet": 4, "swin": WindowAttention.window_side}.get(combination.backbone, 1)  # two levels, windows
    sees = network_parts(given, shape, "bilinear")[-1].sees or shape.y_lr  # the whole field
    assert sees == seen_by(model, shape, period)
