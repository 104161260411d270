"""Structural similarity of fields with missing cells, as graphs with gradients.

Fields are (batch, y, x, 1) float32, from 0 to 1 over the range of the data. Windows leave out missing cells and cells
beyond the edge, and count the rest by weight.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

SIGMA, RADIUS = 1.5, 5  # cells; Wang et al. (2004), section III.B: a window of 11 × 11
C1, C2 = 0.01**2, 0.03**2  # ibid., for values from 0 to 1
POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. (2003), section 3.2: of each scale, the finest first
BEND_BELOW = 0.05  # mean similarity of a scale below which it is bent to stay above zero: powers end there


def ssim(hr: tf.Tensor, field: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Structural similarity at each cell, from -1 to 1.

    Source: Wang et al. (2004), IEEE Trans. Image Process. 13, 600, eq. 13.
    """
    return _combine(*_similarities(hr, field, tf.cast(mask, tf.float32)))


def multi_scale_ssim(hr: tf.Tensor, field: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Structural similarity over up to five scales, (batch, 1, 1, 1): each doubles the cells of the one before.

    Parameters
    ----------
    weights : (batch, y, x, 1), of each cell in the mean over a scale; 0 where HR is missing.

    Source: Wang et al. (2003), 37th Asilomar Conf. Signals, 1398, eq. 7. Fields with sides too short for five
    windows have fewer scales, with powers made to sum to 1 again.
    """
    powers = scale_powers(min(hr.shape[1:3]))
    total = 1.0
    for number, power in enumerate(powers):
        luminance, structure = _similarities(hr, field, tf.cast(weights > 0, tf.float32))
        last = number == len(powers) - 1
        mean = _mean(_combine(luminance, structure) if last else structure, weights)
        bent = BEND_BELOW**2 / (2 * BEND_BELOW - tf.minimum(mean, BEND_BELOW))  # a hyperbola of the same slope, > 0
        total *= tf.where(mean > BEND_BELOW, mean, bent) ** power
        if not last:  # average over 2 × 2 cells, by weight: (batch, y / 2, x / 2, 1), rounded up
            pooled = tf.nn.avg_pool2d(tf.concat([weights * hr, weights * field, weights], axis=-1), 2, 2, "SAME")
            hr, field, weights = tf.split(pooled, 3, axis=-1)
            hr, field = (tf.math.divide_no_nan(sums, weights) for sums in (hr, field))
    return total


def scale_powers(side: int) -> np.ndarray:
    """The powers of the scales at which a side is still as long as the window, the finest always among them."""
    scales = [number for number in range(len(POWERS)) if number == 0 or side >> number >= 2 * RADIUS + 1]
    powers = np.array(POWERS)[scales]
    return powers / powers.sum()


def _similarities(hr: tf.Tensor, field: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute the similarity of luminance, and that of contrast and structure together: (batch, y, x, 1) each."""
    x, y = mask * hr, mask * field
    smooth = _smooth(tf.concat([mask, x, y, x * x, y * y, x * y], axis=-1))
    moments = smooth[..., 1:] / tf.maximum(smooth[..., :1], 1e-6)
    mean_x, mean_y, xx, yy, xy = tf.split(moments, 5, axis=-1)
    variances = tf.maximum(xx - mean_x**2, 0.0) + tf.maximum(yy - mean_y**2, 0.0)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2 * (xy - mean_x * mean_y) + C2) / (variances + C2)


def _combine(luminance: tf.Tensor, structure: tf.Tensor) -> tf.Tensor:
    """Multiply both; where means differ in sign, which images never do, take luminance alone: signs would cancel."""
    return tf.where(luminance > 0, luminance * structure, luminance)


def _smooth(fields: tf.Tensor) -> tf.Tensor:
    """Smooth over y and x by a Gaussian window; cells beyond the edge count as zero."""
    window = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    window = tf.constant(window / window.sum(), tf.float32)
    for sides in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        kernel = tf.repeat(tf.reshape(window, sides), fields.shape[-1], axis=2)
        fields = tf.nn.depthwise_conv2d(fields, kernel, (1, 1, 1, 1), "SAME")
    return fields


def _mean(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Weighted mean over the cells of each sample: (batch, 1, 1, 1)."""
    total = tf.reduce_sum(weights, axis=(1, 2), keepdims=True)
    return tf.math.divide_no_nan(tf.reduce_sum(weights * values, axis=(1, 2), keepdims=True), total)
