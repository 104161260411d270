"""Stations drawn for training, against the set convolution of NumPy; and that ranks draw together what one would."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from engine.data.normalizer import Normalizer, fit_normalizer
from engine.data.samples import Samples
from engine.data.station_inputs import cell_vectors, gaussians, set_convolution
from engine.training.station_draw import StationDraw
from engine.training.workers import Workers
from tests.engine.data.test_station_inputs import pairs_with_stations, samples_of


def with_noise(normalizer: Normalizer, noise: float) -> Normalizer:
    return dataclasses.replace(normalizer, stations=dataclasses.replace(normalizer.stations, noise=noise))


@pytest.fixture(scope="module")
def samples() -> Samples:
    pairs = pairs_with_stations()
    hr = pairs.hr.copy()
    hr[:, 0, 0] = np.nan  # a cell that is never drawn
    hr[::2, 5, 5] = np.nan
    pairs = dataclasses.replace(pairs, hr=hr)
    normalizer = fit_normalizer(pairs, "standard")
    return samples_of(pairs, with_noise(normalizer, 0.2))


def batch_of(samples: Samples, rows: np.ndarray) -> tuple[tf.Tensor, ...]:
    inputs, hr = samples.load(rows)
    return tf.constant(inputs), tf.zeros((1, 8, 8, 0)), tf.constant(hr), tf.ones((1, 8, 8, 1))


def test_what_is_drawn_spreads_as_measurements_do(samples):
    draw = StationDraw(samples, 3, Workers(0, 1))
    rng = np.random.default_rng(0)
    departures = rng.normal(size=(4, 5)).astype("f4")
    departures[rng.random((4, 5)) < 0.3] = np.nan
    places = cell_vectors(samples.pairs.hr_grid)[[3, 9, 20, 40, 63]]
    at_lr, lengths = cell_vectors(samples.pairs.lr_grid), samples.normalizer.stations.lengths
    expected = set_convolution(departures, gaussians(at_lr, places, lengths))
    present = tf.constant(np.isfinite(departures), tf.float32)
    got = draw.spread(tf.constant(np.nan_to_num(departures)), present, tf.constant(places, tf.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


def test_two_ranks_draw_what_one_would_for_all_samples(samples):
    rows, step = np.arange(6), tf.constant(7)
    whole = StationDraw(samples, 3, Workers(0, 1))(batch_of(samples, rows), step)[0]
    halves = [StationDraw(samples, 3, Workers(k, 2))(batch_of(samples, rows[3 * k :][:3]), step)[0] for k in range(2)]
    np.testing.assert_allclose(tf.concat(halves, 0), whole, rtol=1e-4, atol=1e-5)
    another = StationDraw(samples, 3, Workers(0, 1))(batch_of(samples, rows), step + 1)[0]
    assert np.abs(another - whole).max() > 0.1


def test_all_else_in_a_batch_stays_and_some_samples_have_no_station(samples):
    rows = np.resize(np.arange(len(samples)), 400)
    batch = batch_of(samples, rows)
    made, *rest = StationDraw(samples, 3, Workers(0, 1))(batch, tf.constant(1))
    channels = samples.inputs.stations
    for before, after in zip(batch[1:], rest, strict=True):
        assert before is after
    np.testing.assert_array_equal(made[..., : channels.start], batch[0][..., : channels.start])
    assert np.isfinite(made).all()
    density = made.numpy()[..., channels.start].sum((1, 2))
    # A share of 1.1 u - 0.1 of 16 cells is kept, u even from 0 to 1: none for 1/11, of a small share none by chance.
    assert 0.09 < (density == 0).mean() < 0.2
    assert density.max() > 5


def test_without_noise_a_sample_is_given_its_own_departures(samples):
    """Where all cells depart by the same from their means, so does the signal, wherever there is a station."""
    samples = dataclasses.replace(samples, normalizer=with_noise(samples.normalizer, 0.0))
    inputs, static, _, weights = batch_of(samples, np.arange(4))
    without_lr = tf.concat([tf.zeros_like(inputs[..., :1]), inputs[..., 1:]], axis=-1)
    hr = np.broadcast_to(samples.normalizer.stations.cell_means + 0.5, (4, 8, 8))[..., None]
    made = StationDraw(samples, 3, Workers(0, 1))((without_lr, static, tf.constant(hr), weights), tf.constant(2))[0]
    density, signal = (made.numpy()[..., samples.inputs.stations.start + k] for k in (2, 3))
    near = density > 0.1
    assert near.any()
    np.testing.assert_allclose(signal[near], 0.5 * density[near] / (density[near] + 1e-3), rtol=1e-3)
