"""Local implicit functions: features at LR, read at any points (Chen et al. 2021, LIIF, arXiv 2012.09161).

A query is (1, rows, columns, 3), for all samples alike: row and column of each point, counted in LR cells from the
centre of the first one, and the side of the point's cell in LR cells. Rows and columns of a query are only an order.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from engine.data.kernels import KERNELS, LANCZOS_LOBES
from engine.models.blocks import Sides

ROUNDING = 1e-3  # of a cell
SPLINE_REACH = 12  # cells, after which the filter of a cubic spline has faded to 1e-7
SPLINE_POLE = math.sqrt(3) - 2  # Unser (1999), table 1


class ImplicitFunction(layers.Layer):
    """[features, query, a field at LR] → (batch, rows, columns, filters): LIIF, but for its last, linear layer.

    Features have `factor` cells along the side of an LR cell.

    Of the four cells around a point each gives hidden values, from its 3 × 3 features, the way from its centre to the
    point, and the cell's side; they are weighted by the area of the opposite corner (eq. 4). With `around` 1 instead of
    4, points are on centres, where one cell has all the weight. Features may have columns beside those of the field, as
    many at each end.
    """

    def __init__(self, filters: int, factor: int, hidden: int, activation: str, around: int = 4, **settings: Any):
        super().__init__(autocast=False, **settings)  # positions stay float32
        self.filters, self.factor, self.activation = filters, factor, keras.activations.get(activation)
        self.near = _neighbours if around > 1 else _nearest
        self.features = layers.Conv2D(filters, 3, padding="same", name="features")
        self.mixing = [layers.Dense(filters, activation, name=f"hidden{number}") for number in range(1, hidden)]

    def build(self, shapes: list[Sides]) -> None:
        self.features.build(shapes[0])
        self.place = self.add_weight(shape=(3, self.filters), initializer="glorot_uniform", name="place")
        for layer in self.mixing:
            layer.build((None, None, self.filters))

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        x, query, like = fields
        x = self.features(tf.cast(x, self.compute_dtype))
        batch, y, columns, _ = tf.unstack(tf.shape(x))
        beside = (columns - self.factor * tf.shape(like)[2]) // 2
        cells = tf.reshape(x, (batch, y * columns, self.filters))
        row, column, side = tf.unstack(tf.reshape(query, (-1, 3)), axis=1)  # (points,) each
        row, column = (_snap_to_centres((at + 0.5) * self.factor - 0.5) for at in (row, column))
        column, side = column + tf.cast(beside, tf.float32), side * self.factor
        total = 0.0
        for of_row, of_column in product(self.near(row, y), self.near(column, columns)):
            (near_row, by_row), (near_column, by_column) = of_row, of_column
            way = tf.stack([row - tf.cast(near_row, tf.float32), column - tf.cast(near_column, tf.float32), side], -1)
            placed = tf.cast(tf.matmul(way, self.place), x.dtype)  # (points, filters)
            hidden = self.activation(tf.gather(cells, near_row * columns + near_column, axis=1) + placed)
            for layer in self.mixing:
                hidden = layer(hidden)
            total += tf.cast(by_row * by_column, x.dtype)[:, None] * hidden  # (batch, points, filters)
        return tf.reshape(total, tf.concat([[batch], tf.shape(query)[1:3], [self.filters]], axis=0))

    def compute_output_shape(self, shapes: list[Sides]) -> Sides:
        return shapes[0][0], *shapes[1][1:3], self.filters


class CellCentres(layers.Layer):
    """The query of all cells of a grid `scale` times finer: (batch, y_lr, x_lr, c) → (1, y, x, 3)."""

    def __init__(self, scale: int, **settings: Any):
        super().__init__(dtype="float32", **settings)
        self.scale = scale

    def call(self, field: tf.Tensor) -> tf.Tensor:
        cells = (tf.range(side * self.scale) for side in tf.unstack(tf.shape(field)[1:3]))
        rows, columns = ((tf.cast(cell, tf.float32) + 0.5) / self.scale - 0.5 for cell in cells)
        return query_of(rows, columns, 1 / self.scale)

    def compute_output_shape(self, shape: Sides) -> Sides:
        return 1, *(side and side * self.scale for side in shape[1:3]), 3


def query_of(rows: tf.Tensor, columns: tf.Tensor, side: Any) -> tf.Tensor:
    """Query of cells at all of some rows (y,) and columns (x,), with one side: (1, y, x, 3)."""
    grid = tf.meshgrid(rows, columns, indexing="ij")
    return tf.stack([*grid, tf.fill(tf.shape(grid[0]), tf.cast(side, tf.float32))], axis=-1)[None]


class InterpolationAt(layers.Layer):
    """LR interpolated at points, as `blocks.Interpolation` does at the cells of a grid.

    [(batch, y_lr, x_lr, 1), query] → (batch, rows, columns, 1). around : as there.
    """

    def __init__(self, kernel: str, around: int | None = None, **settings: Any):
        super().__init__(dtype="float32", **settings)
        self.kernel, self.around = kernel, around

    def call(self, fields: list[tf.Tensor]) -> tf.Tensor:
        lr, query = fields
        shape, reach = WEIGHTS[self.kernel], KERNELS[self.kernel][1]
        pad = reach + (SPLINE_REACH if self.kernel == "bicubic" else 0)
        values = _padded_fields(lr[..., 0], pad, is_around=lr.shape[2] == self.around)
        if self.kernel == "bicubic":
            values, pad = _spline_filter(values), reach
        batch, y, x = tf.unstack(tf.shape(values))
        at_cells = tf.reshape(tf.transpose(values, (1, 2, 0)), (y * x, batch))
        row, column, _ = tf.unstack(tf.reshape(query, (-1, 3)), axis=1)
        rows, columns = (_taps(at, cells, reach, pad, shape) for at, cells in ((row, y), (column, x)))
        taps = [
            (by_row * by_column)[:, None] * tf.gather(at_cells, near_row * x + near_column)
            for (near_row, by_row), (near_column, by_column) in product(rows, columns)
        ]  # (points, batch) each
        return tf.reshape(tf.transpose(tf.add_n(taps)), tf.concat([[batch], tf.shape(query)[1:3], [1]], axis=0))

    def compute_output_shape(self, shapes: list[Sides]) -> Sides:
        return shapes[0][0], *shapes[1][1:3], 1


def _snap_to_centres(at: tf.Tensor) -> tf.Tensor:
    """Places on the centre of a cell up to rounding are on it, so that no other cell counts."""
    nearest = tf.round(at)
    return tf.where(tf.abs(at - nearest) < ROUNDING, nearest, at)


def _neighbours(at: tf.Tensor, cells: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """The cell before each place and the one after it, within the field, with what each weighs."""
    at = tf.clip_by_value(at, -0.5, tf.cast(cells, tf.float32) - 0.5)
    before = tf.floor(at)
    number, share = tf.cast(before, tf.int32), at - before
    return [(tf.maximum(number, 0), 1.0 - share), (tf.minimum(number + 1, cells - 1), share)]


def _nearest(at: tf.Tensor, cells: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """The cell of each place, with all the weight."""
    return [(tf.clip_by_value(tf.cast(tf.round(at), tf.int32), 0, cells - 1), tf.ones_like(at))]


def _taps(at: tf.Tensor, cells: tf.Tensor, reach: int, pad: int, shape: Any) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Cells within the kernel of each place, and their weights; `cells` counts `pad` more before the first."""
    at = tf.clip_by_value(at, -0.5, tf.cast(cells - 2 * pad, tf.float32) - 0.5) + pad
    before = tf.floor(at)
    near = [before + offset for offset in range(1 - reach, reach + 1)]
    weights = [shape(cell - at) for cell in near]
    total = tf.add_n(weights)
    return [(tf.cast(cell, tf.int32), weight / total) for cell, weight in zip(near, weights, strict=True)]


def _padded_fields(fields: tf.Tensor, pad: int, is_around: bool) -> tf.Tensor:
    """Fields (batch, y, x) with the outermost values repeated beyond their borders, or those of the other end."""
    _, y, x = tf.unstack(tf.shape(fields))
    rows, columns = (tf.range(-pad, cells + pad) for cells in (y, x))
    columns = columns % x if is_around else tf.clip_by_value(columns, 0, x - 1)
    return tf.gather(tf.gather(fields, tf.clip_by_value(rows, 0, y - 1), axis=1), columns, axis=2)


def _spline_filter(values: tf.Tensor) -> tf.Tensor:
    """Coefficients of the interpolating cubic B-spline (Unser 1999, eq. 15), SPLINE_REACH cells fewer at each end."""
    taps = range(-SPLINE_REACH, SPLINE_REACH + 1)
    filter = tf.constant([-6 * SPLINE_POLE / (1 - SPLINE_POLE**2) * SPLINE_POLE ** abs(tap) for tap in taps])
    by_rows = tf.nn.conv2d(values[..., None], filter[:, None, None, None], 1, "VALID")
    return tf.nn.conv2d(by_rows, filter[None, :, None, None], 1, "VALID")[..., 0]


def _box(distance: tf.Tensor) -> tf.Tensor:
    return tf.cast((distance > -0.5) & (distance <= 0.5), tf.float32)


def _triangle(distance: tf.Tensor) -> tf.Tensor:
    return tf.maximum(0.0, 1.0 - tf.abs(distance))


def _cubic_b_spline(distance: tf.Tensor) -> tf.Tensor:
    d = tf.abs(distance)
    return tf.where(d < 1, 2 / 3 - d**2 + d**3 / 2, tf.maximum(0.0, 2 - d) ** 3 / 6)


def _windowed_sinc(distance: tf.Tensor) -> tf.Tensor:
    inside = tf.cast(tf.abs(distance) < LANCZOS_LOBES, tf.float32)
    return _sinc(distance) * _sinc(distance / LANCZOS_LOBES) * inside


def _sinc(x: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(tf.sin(math.pi * x), math.pi * x) + tf.cast(x == 0, tf.float32)


WEIGHTS = {  # of the kernels of `engine.data.kernels`, in a graph
    "nearest": _box,
    "bilinear": _triangle,
    "bicubic": _cubic_b_spline,
    "lanczos": _windowed_sinc,
}
