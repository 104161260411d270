"""Messages between neighbouring cells, against the definition cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from engine.data.normalizer import fit_normalizer
from engine.data.samples import Samples
from engine.models.message_passing import Messages
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.spec import Spec
from tests.engine.small_pairs import make_pairs, waves

CHANNELS, FILTERS = 3, 5


def made() -> Messages:
    """A layer with random numbers for weights."""
    layer, rng = Messages(FILTERS, "tanh"), np.random.default_rng(1)
    layer.build([(None, None, None, CHANNELS), (None, None, None, 4)])
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


def by_definition(layer: Messages, field: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Mean of tanh(W_s sender + W_r receiver + W_e (east, north, length) + b) over the cells around that there are."""
    weights = {variable.name: variable.numpy().astype(float) for variable in layer.trainable_variables}
    found = np.zeros((*field.shape[:2], FILTERS))
    cells = list(np.ndindex(field.shape[:2]))
    for y, x in cells:
        messages = []
        for v, u in cells:
            if max(abs(v - y), abs(u - x)) == 1:
                east, north = (u - x) * vectors[y, x, :2] + (v - y) * vectors[y, x, 2:]
                way = np.array([east, north, np.hypot(east, north)])
                parts = field[v, u] @ weights["sender"], field[y, x] @ weights["receiver"], way @ weights["way"]
                messages.append(np.tanh(sum(parts) + weights["bias"]))
        found[y, x] = np.mean(messages, axis=0) if messages else 0.0
    return found


@pytest.mark.parametrize("sides", [(4, 5), (1, 3), (1, 1)])
def test_a_cell_has_the_mean_of_the_messages_from_the_cells_around(sides):
    layer, rng = made(), np.random.default_rng(0)
    fields, vectors = rng.normal(size=(2, *sides, CHANNELS)), rng.normal(size=(2, *sides, 4))
    expected = [by_definition(layer, field, vector) for field, vector in zip(fields, vectors, strict=True)]
    found = layer([tf.constant(fields, tf.float32), tf.constant(vectors, tf.float32)])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_without_vectors_cells_are_squares():
    layer, field = made(), np.random.default_rng(0).normal(size=(1, 4, 5, CHANNELS)).astype("f4")
    squares = np.broadcast_to(np.array([1, 0, 0, 1], "f4"), (1, 4, 5, 4))
    np.testing.assert_allclose(layer(field), layer([field, squares]), atol=1e-6)


def test_a_field_in_another_order_of_rows_has_the_same_messages():
    # Northward is the other way in the file: the vectors say so, and the weights need not know.
    layer, rng = made(), np.random.default_rng(0)
    field, vectors = rng.normal(size=(1, 4, 5, CHANNELS)).astype("f4"), rng.normal(size=(1, 4, 5, 4)).astype("f4")
    flipped = vectors[:, ::-1] * np.array([1, 1, -1, -1], "f4")
    np.testing.assert_allclose(layer([field[:, ::-1], flipped]), layer([field, vectors])[:, ::-1], atol=1e-6)


def test_the_vectors_of_a_window_are_those_of_its_steps():
    layer, rng = made(), np.random.default_rng(0)
    field, vectors = rng.normal(size=(2, 4, 5, CHANNELS)).astype("f4"), rng.normal(size=(2, 4, 5, 4)).astype("f4")
    np.testing.assert_array_equal(layer([field, np.concatenate([vectors] * 3)]), layer([field, vectors]))


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("temporal", ["recurrent", "stacked"])
def test_the_network_takes_the_vectors_out_of_its_inputs(window, temporal):
    data = {"target": {"path": "hr.nc"}, "scale": 2, "time_window": window, "time_features": "hour"}
    model = {"backbone": "graph", "n_filters": 4, "n_blocks": 1, "localized": False, "temporal": temporal}
    spec = Spec.from_plain({"version": 1, "data": data, "model": model})
    hr = waves(8, 8, 10)
    pairs = make_pairs(hr, predictors=[waves(8, 4, 5, seed=1)], static=[waves(1, 8, 10, seed=2)[0]])
    samples = Samples.of(spec, pairs, fit_normalizer(pairs, "standard"), np.arange(3))
    inputs, _ = samples.load_all()
    # LR and a predictor at each step, then the vectors, then sine and cosine of the hour.
    assert inputs.shape[-1] == 2 * window + 4 + 2
    np.testing.assert_array_equal(
        inputs[..., 2 * window : 2 * window + 4], np.broadcast_to(samples.inputs.vectors, (3, 4, 5, 4))
    )
    network = build(spec.model, Shape.of(samples), Output("bicubic", 1.0, 0.0, "linear"))
    found = network.get_layer("cell_vectors")
    assert (found.first, found.last) == ((2, 6) if temporal == "recurrent" else (2 * window, 2 * window + 4))
