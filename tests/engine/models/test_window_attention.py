"""Attention within windows, against the definition cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from engine.models.window_attention import WindowAttention

HEADS, HEAD, CHANNELS = 2, 3, 5


def made(window: int, shift: int) -> WindowAttention:
    """A layer with random numbers for weights."""
    layer, rng = WindowAttention(window, shift, HEADS, HEAD), np.random.default_rng(1)
    layer.build((None, None, None, CHANNELS))
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


def by_definition(layer: WindowAttention, field: np.ndarray) -> np.ndarray:
    """softmax(scale · cos(q, k) + bias of the distance) over the cells of one window, without padding or mask."""
    weights = {variable.name: variable.numpy().astype(float) for variable in layer.trainable_variables}
    entered = field @ weights["enter"] + weights["enter_bias"]
    queries, keys, values = np.moveaxis(entered.reshape(*field.shape[:2], 3, HEADS, HEAD), 2, 0)
    cells, scale = list(np.ndindex(field.shape[:2])), np.minimum(np.exp(weights["scale"]), 100)
    found = np.zeros((*field.shape[:2], HEADS, HEAD))
    for y, x in cells:
        window = [(v, u) for v, u in cells if of_window(layer, v, u) == of_window(layer, y, x)]
        for head in range(HEADS):
            query, logits = queries[y, x, head], []
            for v, u in window:
                key = keys[v, u, head]
                cosine = query @ key / np.linalg.norm(query) / np.linalg.norm(key)
                ends = y - v + layer.window - 1, x - u + layer.window - 1
                logits.append(scale[head] * cosine + weights["distance_bias"][*ends, head])
            shares = np.exp(logits - np.max(logits)) / np.exp(logits - np.max(logits)).sum()
            found[y, x, head] = sum(share * values[v, u, head] for share, (v, u) in zip(shares, window, strict=True))
    return found.reshape(*field.shape[:2], HEADS * HEAD) @ weights["leave"] + weights["leave_bias"]


def of_window(layer: WindowAttention, y: int, x: int) -> tuple[int, int]:
    return (y - layer.shift) // layer.window, (x - layer.shift) // layer.window


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("sides", [(8, 8), (5, 7), (1, 2)])
def test_each_cell_attends_to_the_cells_of_its_window(sides, shift):
    layer = made(window=4, shift=shift)
    fields = np.random.default_rng(0).normal(size=(2, *sides, CHANNELS)).astype("f4")
    expected = np.stack([by_definition(layer, field.astype(float)) for field in fields])
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-4)


def test_the_field_of_a_graph_may_have_any_sides():
    layer = made(window=4, shift=0)
    call = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, CHANNELS))])
    field = np.random.default_rng(0).normal(size=(1, 9, 6, CHANNELS)).astype("f4")
    np.testing.assert_allclose(call(field), layer(field), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(call(field[:, 4:8, :4]), layer(field)[:, 4:8, :4], rtol=1e-4, atol=1e-5)  # one window
