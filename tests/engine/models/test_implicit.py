"""Implicit functions: weights and values by hand, interpolation against the matrices, points against the grid."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from engine.data.kernels import kernel_weights
from engine.models.architecture import count_parameters
from engine.models.implicit import CellCentres, ImplicitFunction, InterpolationAt, query_of
from engine.models.network import Output, at_points, build
from engine.models.shapes import Shape
from engine.spec import ModelOptions, ScaleRange

ROWS, COLUMNS = np.array([-0.5, 0.3, 1.0, 2.9, 4.4], "f4"), np.array([-0.2, 0.0, 3.7, 5.5], "f4")


def options(**given: Any) -> ModelOptions:
    return ModelOptions(
        **{
            "upsampling": "implicit",
            "scales": ScaleRange(2, 6),
            "n_filters": 8,
            "n_blocks": 1,
            "localized": False,
            **given,
        }
    )


def network_of(model: ModelOptions, shape: Shape) -> keras.Model:
    """With random numbers for weights, so that nothing stays zero."""
    network = build(model, shape, Output("bicubic", 1.0, 0.0, "linear"))
    rng = np.random.default_rng(0)
    for weight in network.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) / np.sqrt(max(1, np.prod(weight.shape[:-1]))))
    return network


def test_the_weights_by_hand():
    # Two stages of sub-pixel convolution make 4 channels, of 8 and of 4. The first hidden layer sees 3 × 3 of them, and
    # row, column and side of the point; the second 4. Then 1 × 1 convolutions to 4 channels, with 2 static variables
    # beside, and to 1.
    counted = count_parameters(options(), Shape(5, 6, 3, 2, 4))
    stages = (9 * 8 + 1) * 4 * 4 + (9 * 4 + 1) * 4 * 4
    assert counted["upsampling"] == stages + (9 * 4 + 1) * 4 + 3 * 4 + (4 + 1) * 4
    assert (counted["tail"], counted["output"]) == ((4 + 2 + 1) * 4, 4 + 1)


def with_weights(kernel: np.ndarray, place: np.ndarray, activation: str, factor: int = 1) -> ImplicitFunction:
    """One hidden layer: `kernel` (channels, filters) of a cell's own features, `place` (3, filters)."""
    layer = ImplicitFunction(kernel.shape[1], factor, 1, activation)
    layer.build([(None, None, None, len(kernel)), (1, None, None, 3), (None, None, None, 1)])
    centre = np.zeros((3, 3, *kernel.shape), "f4")
    centre[1, 1] = kernel
    layer.features.kernel.assign(centre)
    layer.place.assign(place)
    return layer


def test_without_places_features_are_interpolated_between_four_cells():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 1)).astype("f4")
    layer = with_weights(np.eye(1), np.zeros((3, 1)), "linear")
    found = layer([x, query_of(tf.constant(ROWS), tf.constant(COLUMNS), 0.5), x]).numpy()
    at = np.meshgrid(ROWS, COLUMNS, indexing="ij")
    expected = [ndimage.map_coordinates(each[..., 0], at, order=1, mode="nearest") for each in x]
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-6)


def test_the_way_to_a_point_and_the_side_of_its_cell_by_hand():
    # At a share f between two rows, the way from the row before is f, with weight 1 - f; from the row after it is
    # f - 1, of which relu makes 0: in all f (1 - f). At the border both are the outermost row. The side is the same.
    x = np.zeros((1, 5, 6, 1), "f4")
    layer = with_weights(np.zeros((1, 2)), np.array([[1, 0], [0, 0], [0, 1]]), "relu")
    rows = tf.constant([1.25, 2.0, 3.9, 4.3, -0.4])
    found = layer([x, query_of(rows, tf.constant([2.2]), 0.4), x])[0, :, 0]
    np.testing.assert_allclose(found, np.transpose([[0.1875, 0, 0.09, 0.3, 0], [0.4] * 5]), atol=1e-6)


def test_finer_features_are_read_where_they_lie():
    # 2 × 2 features to an LR cell: those of rows 0 and 1 lie at -0.25 and 0.25, row 2 at 0.75.
    lr, x = np.zeros((1, 2, 3, 1), "f4"), np.arange(24, dtype="f4").reshape(1, 4, 6, 1)
    layer = with_weights(np.eye(1), np.array([[0], [0], [1.0]]), "linear", factor=2)
    found = layer([x, query_of(tf.constant([-0.25, 0.5]), tf.constant([0.25]), 0.5), lr])[0, :, 0, 0]
    np.testing.assert_allclose(found, [1 + 1, (7 + 13) / 2 + 1])  # and the side, as wide as a feature


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("periodic", [False, True])
def test_interpolation_at_points_is_that_of_the_baseline(kernel, periodic):
    lr = np.random.default_rng(0).normal(size=(2, 5, 24, 1)).astype("f4")
    rows, columns = ROWS + np.float32(0.01), np.array([-0.49, 0.2, 11.3, 23.45], "f4")
    layer = InterpolationAt(kernel, 24 if periodic else None)
    found = layer([tf.constant(lr), query_of(tf.constant(rows), tf.constant(columns), 0.5)])[..., 0]
    by_row, by_column = kernel_weights(rows.clip(-0.5, 4.5), 5, kernel), kernel_weights(columns, 24, kernel, periodic)
    np.testing.assert_allclose(found, by_row @ lr[..., 0] @ by_column.T, atol=2e-5)


@pytest.mark.parametrize("static", [0, 2])
def test_at_the_cells_of_its_grid_points_are_the_field(static):
    shape = Shape(5, 6, 2, static, 3)
    network, rng = network_of(options(), shape), np.random.default_rng(1)
    inputs, fixed = (rng.normal(size=size).astype("f4") for size in ((2, 5, 6, 2), (1, 15, 18, static)))
    field = network([inputs, fixed]).numpy()  # (2, 15, 18, 1)
    at_lr = fixed.reshape(1, 5, 3, 6, 3, static).mean((2, 4)).repeat(2, axis=0)
    query, order = CellCentres(3)(inputs), rng.permutation(15 * 18)
    in_order = [tf.gather(tf.reshape(each, (1, 15 * 18, 1, -1)), order, axis=1) for each in (fixed, query)]
    found = at_points(network)([tf.constant(np.concatenate([inputs, at_lr], -1)), *in_order]).numpy()
    np.testing.assert_allclose(found[:, :, 0], field.reshape(2, -1, 1)[:, order], rtol=1e-4, atol=1e-5)


def test_at_one_scale_a_single_cell_tells_what_four_tell():
    shape, fields = Shape(5, 6, 2, 0, 3), [np.ones((2, 5, 6, 2), "f4"), np.zeros((1, 15, 18, 0), "f4")]
    four, one = (network_of(options(scales=scales), shape) for scales in (ScaleRange(2, 6), None))
    np.testing.assert_allclose(one(fields), four(fields), rtol=1e-5)


def test_every_weight_has_a_finite_gradient():
    network, rng = network_of(options(activation="silu"), Shape(5, 6, 2, 1, 3)), np.random.default_rng(1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network([rng.normal(size=(2, 5, 6, 2)), rng.normal(size=(1, 15, 18, 1))]) ** 2)
    gradients = tape.gradient(loss, network.trainable_variables)
    assert [w.path for w, g in zip(network.trainable_variables, gradients, strict=True) if not np.any(g)] == []
    assert all(np.isfinite(gradient).all() for gradient in gradients)
