"""Losses over the cells that have a value. Shapes are (batch, y, x, 1), everything scaled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as declared
from typing import Self

import numpy as np
import tensorflow as tf

from engine.data.normalizer import Normalizer, ValueTransform
from engine.models.constraints import in_unit
from engine.models.likelihood import minus_log_likelihood
from engine.spec import TrainingOptions
from engine.training import similarity, spectra

HUBER_DELTA = 1.0
SPECTRAL_WEIGHT = 0.1  # of a factor e in power at each scale, against one standard deviation of error in each cell
# Weights as in DL4DS 1.8.0 (Gomez Gonzalez 2023, Environ. Data Sci. 2, e3).
MIXTURES = {
    "dssim_mae": {"dssim": 0.8, "mae": 0.2},
    "dssim_mse": {"dssim": 0.8, "mse": 0.2},
    "dssim_mae_mse": {"dssim": 0.6, "mae": 0.2, "mse": 0.2},
    "ms_dssim_mae": {"ms_dssim": 0.8, "mae": 0.2},
    "ms_dssim_mae_mse": {"ms_dssim": 0.6, "mae": 0.2, "mse": 0.2},
    "spectral": {"mae": 1.0, "log_spectrum": SPECTRAL_WEIGHT},
    "crps": {"fair_crps": 1.0, "spectral_crps": SPECTRAL_WEIGHT},
}


@dataclass(frozen=True)
class Loss:
    """`training.loss`, with the range and mean of HR over the training part.

    low, span : lowest value of HR, and its range, in scaled form. Losses that compare whole fields take
        (x - low) / span, from 0 to 1 over the training part, so that they don't depend on the normalizer, on the
        batch, or on the network.
    target, mean : of HR, for the likelihood, which needs amounts in their own unit.
    """

    name: str
    quantile: float = 0.9
    low: float = 0.0
    span: float = 1.0
    target: ValueTransform = declared(default_factory=ValueTransform)
    mean: float = 1.0

    @classmethod
    def of(cls, options: TrainingOptions, normalizer: Normalizer) -> Self:
        low, high = normalizer.target.forward(np.array([normalizer.hr_min, normalizer.hr_max])).tolist()
        return cls(options.loss, options.quantile, low, high - low, normalizer.target, normalizer.mean)

    @classmethod
    def of_components(cls, options: TrainingOptions, normalizer: Normalizer) -> tuple[Self, ...]:
        """Make the loss of each component of a vector, or the one of a single target."""
        return tuple(cls.of(options, each) for each in normalizer.components)

    @property
    def parts(self) -> dict[str, float]:
        """Terms of the loss and their weights."""
        return MIXTURES.get(self.name, {self.name: 1.0})


@dataclass(frozen=True)
class Compared:
    """HR and the downscaled field, equal where HR is missing, so that nothing is learned in these cells.

    mask : true where HR has a value; weights : of the cells, 0 where it has none; parameters : (batch, y, x, n), of the
        distribution, if the network gives one, or further members.
    """

    hr: tf.Tensor
    field: tf.Tensor
    mask: tf.Tensor
    weights: tf.Tensor
    parameters: tf.Tensor

    @property
    def members(self) -> tf.Tensor:
        """The field, and those beside it: (batch, y, x, member)."""
        return tf.concat([self.field, self.parameters], axis=-1)

    @property
    def error(self) -> tf.Tensor:
        return self.hr - self.field

    def within(self, loss: Loss) -> tuple[tf.Tensor, tf.Tensor]:
        """HR and the field, from 0 to 1 over the range of the training part."""
        return (self.hr - loss.low) / loss.span, (self.field - loss.low) / loss.span


def weighted_sum(loss: Loss, hr: tf.Tensor, downscaled: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Sum weight · loss, and weight, over the cells where HR has a value.

    The first channel of `downscaled` is the field; others are the parameters of a distribution, or further members.
    Two sums rather than their quotient, so that batches and ranks with different numbers of missing
    values add up to what one process would find.
    """
    mask = tf.math.is_finite(hr)  # (batch, y, x, 1)
    weights = tf.where(mask, tf.broadcast_to(weights, tf.shape(hr)), 0.0)
    field, parameters = downscaled[..., :1], downscaled[..., 1:]
    compared = Compared(tf.where(mask, hr, field), field, mask, weights, parameters)
    each = sum(share * TERMS[term](loss, compared) for term, share in loss.parts.items())
    return tf.reduce_sum(weights * each), tf.reduce_sum(weights)


def summed_over_components(
    losses: Sequence[Loss], hr: tf.Tensor, downscaled: tf.Tensor, weights: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Do as `weighted_sum`, of a vector (batch, y, x, component) over both components, which count alike."""
    if len(losses) == 1:
        return weighted_sum(losses[0], hr, downscaled, weights)
    each = [
        weighted_sum(loss, hr[..., k : k + 1], downscaled[..., k : k + 1], weights) for k, loss in enumerate(losses)
    ]
    sums, totals = zip(*each, strict=True)
    return tf.add_n(sums), tf.add_n(totals)


def absolute(loss: Loss, compared: Compared) -> tf.Tensor:
    """Absolute error at each cell."""
    return tf.abs(compared.error)


def squared(loss: Loss, compared: Compared) -> tf.Tensor:
    """Squared error at each cell."""
    return tf.square(compared.error)


def huber(loss: Loss, compared: Compared) -> tf.Tensor:
    """Squared error near zero, absolute beyond HUBER_DELTA (Huber 1964, Ann. Math. Stat. 35, 73)."""
    size = tf.abs(compared.error)
    return tf.where(size < HUBER_DELTA, 0.5 * size**2, HUBER_DELTA * (size - 0.5 * HUBER_DELTA))


def pinball(loss: Loss, compared: Compared) -> tf.Tensor:
    """Pinball loss, lowest where the field is HR's quantile (Koenker & Bassett 1978, Econometrica 46, 33, eq. 2.1)."""
    return tf.maximum(loss.quantile * compared.error, (loss.quantile - 1) * compared.error)


def dssim(loss: Loss, compared: Compared) -> tf.Tensor:
    """(1 - SSIM) / 2 at each cell: 0 for equal fields, 1 for opposite ones."""
    return (1 - similarity.ssim(*compared.within(loss), compared.mask)) / 2


def ms_dssim(loss: Loss, compared: Compared) -> tf.Tensor:
    """(1 - MS-SSIM) / 2 of each sample, the same at all its cells."""
    return (1 - similarity.multi_scale_ssim(*compared.within(loss), compared.weights)) / 2


def log_spectrum(loss: Loss, compared: Compared) -> tf.Tensor:
    """Mean distance between the logarithms of both power spectra of each sample, the same at all its cells."""
    return spectra.log_distance(*compared.within(loss), compared.mask)


def fair_crps(loss: Loss, compared: Compared) -> tf.Tensor:
    """Fair CRPS of the members at each cell."""
    return _crps(compared.members, compared.hr)


def spectral_crps(loss: Loss, compared: Compared) -> tf.Tensor:
    """Fair CRPS of the amplitudes of each sample's 2-D Fourier transform, mean over wavenumbers, the same at all cells.

    Missing cells count as 0 in HR and members. Source: the loss of the noisy DeepESD in deep4downscaling.
    """
    has_value = tf.cast(compared.mask, tf.float32)
    hr = tf.where(compared.mask, compared.hr, 0.0)
    members, hr = (spectra.amplitude(has_value * fields) for fields in (compared.members, hr))
    return tf.reduce_mean(_crps(members, hr), axis=(1, 2), keepdims=True)


def _crps(members: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Fair CRPS at each cell: (batch, y, x, member), (batch, y, x, 1) → (batch, y, x, 1); of one, its absolute error.

    mean |x_m - y| - Σ |x_m - x_n| / (2 M (M - 1)): Ferro (2014), Q. J. R. Meteorol. Soc. 140, 1917, eq. 8; as a
    training loss: Kochkov et al. (2024), Nature 632, 1060; Lang et al. (2024), arXiv 2412.15832. The pairs are summed
    by rank, Σ_{m<n} |x_m - x_n| = Σ_k (2 k - M - 1) x_(k).
    """
    many = members.shape[-1]
    error = tf.reduce_mean(tf.abs(members - value), axis=-1, keepdims=True)
    ranks = tf.constant([2.0 * k - many - 1 for k in range(1, many + 1)])
    pairs = tf.reduce_sum(ranks * tf.sort(members, axis=-1), axis=-1, keepdims=True)
    return error - pairs / max(many * (many - 1), 1)


def bernoulli_gamma(loss: Loss, compared: Compared) -> tf.Tensor:
    """Negative log-likelihood of HR, amounts in units of their mean; it may fall below zero."""
    amount = in_unit(compared.hr, loss.target) / loss.mean
    return minus_log_likelihood(tf.where(compared.mask, amount, 0.0), compared.parameters)


TERMS: dict[str, Callable[[Loss, Compared], tf.Tensor]] = {
    "mae": absolute,
    "mse": squared,
    "huber": huber,
    "quantile": pinball,
    "dssim": dssim,
    "ms_dssim": ms_dssim,
    "log_spectrum": log_spectrum,
    "bernoulli_gamma": bernoulli_gamma,
    "fair_crps": fair_crps,
    "spectral_crps": spectral_crps,
}
