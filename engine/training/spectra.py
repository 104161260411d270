"""Power spectra of fields (variance by spatial scale), as graphs with gradients.

Fields are (batch, y, x, 1) float32, from 0 to 1 over the range of the data.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

FLOOR = 1e-8  # added to power, in units of the range squared: below it no difference counts


def log_distance(hr: tf.Tensor, field: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean over wavenumbers of |log power of the field - log power of HR|: (batch, 1, 1, 1).

    A field that is too smooth lacks power at high wavenumbers, which errors at cells hardly show. Missing cells
    count as HR's mean in both fields.

    Source: the azimuthally averaged spectrum of Durall et al. (2020), CVPR, 7887, section 3, here compared by its
    logarithm, since power falls by orders of magnitude from the largest to the smallest scale.
    """
    has_value = tf.cast(mask, tf.float32)
    cells = tf.reduce_sum(has_value, axis=(1, 2), keepdims=True)
    mean = tf.math.divide_no_nan(tf.reduce_sum(has_value * hr, axis=(1, 2), keepdims=True), cells)
    logs = [tf.math.log(radial_power(has_value * (f - mean)) + FLOOR) for f in (hr, field)]
    return tf.reduce_mean(tf.abs(logs[1] - logs[0]), axis=-1)[:, None, None, None]


def radial_power(fields: tf.Tensor) -> tf.Tensor:
    """Mean power of each wavenumber from 1 to half the shorter side: (batch, y, x, 1) → (batch, wavenumbers).

    Fields are tapered by a Hann window (Harris 1978, Proc. IEEE 66, 51, eq. 27), so that what differs between
    opposite edges doesn't look like small scales.
    """
    y, x = fields.shape[1:3]
    taper = np.outer(*(np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in (y, x)))
    spectrum = tf.signal.rfft2d(fields[..., 0] * tf.constant(taper / np.sqrt((taper**2).mean()), tf.float32))
    power = tf.math.real(spectrum * tf.math.conj(spectrum)) / float(y * x) ** 2
    rings, shares = _rings(y, x)
    flat = tf.transpose(tf.reshape(power, (-1, rings.size))) * tf.constant(shares[:, None], tf.float32)
    sums = tf.math.unsorted_segment_sum(flat, tf.constant(rings), int(rings.max()) + 1)
    return tf.transpose(sums[1:-1])


def amplitude(fields: tf.Tensor) -> tf.Tensor:
    """Amplitudes of the 2-D Fourier transform of each channel: (batch, y, x, c) → (batch, y, x // 2 + 1, c).

    Their mean square over all wavenumbers is that of the field over its cells.
    """
    y, x = fields.shape[1:3]
    spectrum = tf.signal.rfft2d(tf.transpose(fields, (0, 3, 1, 2)))
    return tf.transpose(tf.abs(spectrum), (0, 2, 3, 1)) / math.sqrt(y * x)


def _rings(y: int, x: int) -> tuple[np.ndarray, np.ndarray]:
    """Wavenumber of each entry of a half spectrum along the shorter side, and its share in the mean of that ring.

    Ring 0 is the mean of the field; the last ring takes all beyond half the shorter side.
    """
    shorter = min(y, x)
    radius = shorter * np.hypot(np.fft.fftfreq(y)[:, None], np.fft.rfftfreq(x)[None, :])
    rings = np.minimum(np.rint(radius), shorter // 2 + 1).astype(np.int32)
    column = np.arange(rings.shape[1])
    twice = np.where((column == 0) | (2 * column == x), 1.0, 2.0)  # a half spectrum holds the other columns once
    counts = np.broadcast_to(twice, rings.shape)
    totals = np.bincount(rings.ravel(), counts.ravel())
    return rings.ravel(), (counts / totals[rings]).ravel()
