"""Stations drawn for training: values at random HR cells stand in for measurements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from engine.data.kernels import upsampling_matrix
from engine.data.lengths import EARTH_RADIUS_KM
from engine.data.samples import Samples
from engine.data.station_inputs import LEAST_DENSITY, cell_vectors
from engine.training.workers import Workers

LEAST_DRAWN = 16  # cells drawn in a step
NONE_SHARE = 0.1  # of the samples that have no station


class StationDraw:
    """Replaces the channels of stations in a batch by those of cells drawn at random.

    In each step twice as many cells are drawn as there are stations, of which each sample has a random share, and some
    samples none. To the departure of a cell noise is added, as large as that of a station from its cell. All follows
    from the seed and the number of the step: of several ranks each takes its samples' part of what one would draw.
    """

    def __init__(self, samples: Samples, seed: int, workers: Workers):
        scaling, pairs = samples.normalizer.stations, samples.pairs
        assert scaling is not None
        self.seed, self.workers, self.channels = seed, workers, samples.inputs.stations
        self.drawn = max(LEAST_DRAWN, 2 * len(scaling.ids))
        self.noise, self.lengths = scaling.noise, scaling.lengths
        (y, x), kernel = pairs.lr_grid.shape, pairs.interpolation
        sides = upsampling_matrix(y, pairs.scale, kernel), upsampling_matrix(x, pairs.scale, kernel, pairs.periodic)
        self.by_row, self.by_column = (tf.constant(side, tf.float32) for side in sides)
        rows, columns = np.nonzero(np.isfinite(scaling.cell_means))
        self.cells = tf.constant(np.stack([rows, columns], axis=-1), tf.int32)
        self.means = tf.constant(scaling.cell_means[rows, columns], tf.float32)
        at_hr = cell_vectors(pairs.hr_grid).reshape(*pairs.hr_grid.shape, 3)[rows, columns]
        self.places, self.at_lr = (tf.constant(places, tf.float32) for places in (at_hr, cell_vectors(pairs.lr_grid)))

    def __call__(self, batch: tuple[tf.Tensor, ...], step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Make the batch (inputs, static, hr, weights) of a step with stations that are drawn."""
        inputs, static, hr, weights = batch
        samples = tf.shape(inputs)[0]
        seeds = tf.random.experimental.stateless_split(tf.stack([self.seed, step]), 4)
        chosen = tf.random.stateless_uniform((self.drawn,), seeds[0], 0, len(self.means), tf.int32)
        cells = tf.gather(self.cells, chosen)
        lr = inputs[..., 0]
        rows, columns = tf.gather(self.by_row, cells[:, 0]), tf.gather(self.by_column, cells[:, 1])
        base = tf.einsum("sy,byx,sx->bs", rows, lr, columns)
        values = tf.transpose(tf.gather_nd(tf.transpose(hr[..., 0], (1, 2, 0)), cells))  # (batch, station)
        share = self._own(tf.random.stateless_uniform, 1, seeds[1], samples) * (1 + NONE_SHARE) - NONE_SHARE
        kept = self._own(tf.random.stateless_uniform, self.drawn, seeds[2], samples) < share
        present = kept & tf.math.is_finite(values)
        noise = self.noise * self._own(tf.random.stateless_normal, self.drawn, seeds[3], samples)
        departures = tf.where(present, values - base - tf.gather(self.means, chosen) + noise, 0.0)
        spread = self.spread(departures, tf.cast(present, tf.float32), tf.gather(self.places, chosen))
        made = tf.reshape(spread, tf.concat([tf.shape(inputs)[:3], tf.shape(spread)[-1:]], axis=0))
        first, end = self.channels.start, self.channels.stop
        return tf.concat([inputs[..., :first], made, inputs[..., end:]], axis=-1), static, hr, weights

    def _own(self, draw: Callable[..., tf.Tensor], many: int, seed: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
        """This rank's part of what is drawn for the samples of all ranks: (batch, many)."""
        drawn = draw((samples * self.workers.size, many), seed)
        first = self.workers.rank * samples
        return drawn[first : first + samples]

    def spread(self, departures: tf.Tensor, present: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        """`set_convolution` and `gaussians` of engine.data.station_inputs, in a graph: (batch, cell, channels)."""
        squares = tf.reduce_sum((self.at_lr[:, None] - places) ** 2, axis=-1) * EARTH_RADIUS_KM**2
        channels = []
        for length in self.lengths:
            kernel = tf.exp(-0.5 * squares / length**2)  # (cell, station)
            density = tf.matmul(present, kernel, transpose_b=True)
            signal = tf.matmul(departures, kernel, transpose_b=True) / (density + LEAST_DENSITY)
            channels += [density, signal]
        return tf.stack(channels, axis=-1)
