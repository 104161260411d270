"""Sums over time at each cell, in one pass, and the scores that follow from them.

Products are compared with HR where HR and all products have a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

# Of sums over the cells of a constant field, against its value; float32 values differ by 1e-7 at least.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Moments:
    """Moments of HR and products over some time steps.

    count : (y, x) steps that are compared.
    mean, squares : (1 + product, y, x) mean, and sum of squared deviations from it; HR first.
    comoment : (product, y, x) sum of deviation of HR × deviation of the product.
    abs_error, squared_error : (product, y, x) sums of |product - HR| and (product - HR)².
    """

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    comoment: np.ndarray
    abs_error: np.ndarray
    squared_error: np.ndarray

    @classmethod
    def of(cls, fields: np.ndarray | Sequence[np.ndarray]) -> Self:
        """Compute them from (1 + product, time, y, x), HR first; NaN and infinite values are missing."""
        values = np.array(fields, np.float64)
        valid = np.asarray(np.isfinite(values).all(axis=0))
        is_complete = valid.all()
        if not is_complete:
            keep(values, valid)
        count = valid.sum(axis=0)
        mean = values.sum(axis=1) / np.maximum(count, 1)
        error = values[1:] - values[0]
        squared_error = np.einsum("ptyx,ptyx->pyx", error, error)
        abs_error = np.abs(error, out=error).sum(axis=1)
        values -= mean[:, None]
        if not is_complete:
            keep(values, valid)
        squares = np.einsum("ptyx,ptyx->pyx", values, values)
        comoment = np.einsum("tyx,ptyx->pyx", values[0], values[1:])
        return cls(count, mean, squares, comoment, abs_error, squared_error)

    def merge(self, other: Self) -> Self:
        """Combine with those of other steps, without the cancellation of sums of squares.

        Source: Chan, Golub and LeVeque (1983), Amer. Stat. 37, 242, eq. 2.1.
        """
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        between = other.mean - self.mean
        return type(self)(
            count,
            self.mean + between * share,
            self.squares + other.squares + between**2 * self.count * share,
            self.comoment + other.comoment + between[0] * between[1:] * self.count * share,
            self.abs_error + other.abs_error,
            self.squared_error + other.squared_error,
        )


def keep(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Put zeros in place of what isn't valid, NaN or not, by bits: ten times as fast as `where`."""
    integer = np.dtype(f"i{values.itemsize}")
    bits = values.view(integer)
    bits &= -valid.astype(integer)  # all bits of what is valid, none of the rest
    return values


def mae(moments: Moments) -> np.ndarray:
    """Compute the mean absolute error, mean(|f - o|) with f the product and o HR: (product, y, x), in the unit.

    Source: Wilks (2019), Statistical Methods in the Atmospheric Sciences, 4th ed., section 9.3.
    """
    return ratio(moments.abs_error, moments.count)


def rmse(moments: Moments) -> np.ndarray:
    """Compute the root-mean-square error, √mean((f - o)²): (product, y, x), in the unit.

    Source: Wilks (2019), section 9.3.
    """
    return np.sqrt(ratio(moments.squared_error, moments.count))


def bias(moments: Moments) -> np.ndarray:
    """Compute the mean error, mean(f) - mean(o): (product, y, x), in the unit. Source: Wilks (2019), section 9.3."""
    return np.where(moments.count > 0, moments.mean[1:] - moments.mean[0], np.nan)


def pearson(moments: Moments) -> np.ndarray:
    """Compute the correlation over time, cov(f, o) / (σ_f σ_o): (product, y, x), NaN where a field is constant.

    Source: Pearson (1895), Proc. R. Soc. Lond. 58, 240.
    """
    return ratio(moments.comoment, np.sqrt(moments.squares[1:]) * np.sqrt(moments.squares[0]))


def std_ratio(moments: Moments) -> np.ndarray:
    """Compute the ratio of standard deviations over time, σ_f / σ_o: (product, y, x), NaN where HR is constant.

    Source: Taylor (2001), J. Geophys. Res. 106, 7183, section 2.
    """
    return ratio(np.sqrt(moments.squares[1:]), np.sqrt(moments.squares[0]))


def kling_gupta(moments: Moments) -> np.ndarray:
    """Compute the Kling–Gupta efficiency, 1 - √((r - 1)² + (σ_f/σ_o - 1)² + (μ_f/μ_o - 1)²): (product, y, x).

    1 is perfect. The ratio of means has a sense only for values with a natural zero. NaN where a field is constant, or
    HR has mean 0.

    Source: Gupta et al. (2009), J. Hydrol. 377, 80, eqs. 9 and 10.
    """
    means = ratio(moments.mean[1:], moments.mean[0])
    return 1 - np.sqrt((pearson(moments) - 1) ** 2 + (std_ratio(moments) - 1) ** 2 + (means - 1) ** 2)


CELL_SCORES: dict[str, Callable[[Moments], np.ndarray]] = {
    "mae": mae,
    "rmse": rmse,
    "bias": bias,
    "pearson": pearson,
    "std_ratio": std_ratio,
    "kling_gupta": kling_gupta,
}


def area_mean(score: str, moments: Moments, areas: np.ndarray) -> np.ndarray:
    """Average a score over the cells that have it: (product,).

    A cell's weight is its area (y, x) × its compared steps, so that mae, rmse and bias are those of all values at once;
    of rmse, the squares are averaged.
    """
    power = 2 if score == "rmse" else 1
    values = CELL_SCORES[score](moments) ** power
    weights = np.where(np.isfinite(values), areas * moments.count, 0.0)
    mean = ratio((np.nan_to_num(values) * weights).sum(axis=(1, 2)), weights.sum(axis=(1, 2)))
    return mean ** (1 / power)


def domain_moments(moments: Moments, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute standard deviations and correlations over all compared values, weighted by cell area (y, x).

    Returns
    -------
    σ of HR and products (1 + product,) in the unit, and r of products with HR (product,); NaN where nothing is
    compared, r also where a field is constant. With them E² = σ_f² + σ_o² - 2 σ_f σ_o r, E being the root-mean-square
    error without bias.

    Source: Taylor (2001), J. Geophys. Res. 106, 7183, eqs. 1 to 4.
    """
    weights = areas * moments.count
    total = weights.sum()
    mean = ratio((weights * moments.mean).sum(axis=(1, 2)), total)
    between = moments.mean - mean[:, None, None]
    variance = ratio((areas * moments.squares + weights * between**2).sum(axis=(1, 2)), total)
    covariance = (areas * moments.comoment + weights * between[0] * between[1:]).sum(axis=(1, 2))
    std = np.where(np.sqrt(variance) <= ROUNDING * np.abs(mean), 0 * mean, np.sqrt(variance))
    return std, ratio(ratio(covariance, total), std[0] * std[1:])


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is 0."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=denominator != 0)
