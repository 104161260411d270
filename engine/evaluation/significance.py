"""Uncertainty of scores of a test part, and whether one product is better than another, from errors of each step.

Steps aren't independent: weather lasts. The intervals resample blocks of steps, and the test takes the variance of the
mean from the slow part of the spectrum, so that neither counts one long spell as many cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from engine.evaluation.moments import keep, ratio

SCORES = ("mae", "rmse", "bias")
RESAMPLES = 2000
COVERAGE = 0.95
MIN_STEPS = 10
CLEAR = 0.05  # p below which a difference is called one


@dataclass(frozen=True, eq=False)
class StepErrors:
    """Errors of products in each step, averaged over the compared cells by area.

    weight : (time,) area that is compared.
    absolute, squared, signed : (product, time) mean absolute, mean squared and mean error.
    """

    products: tuple[str, ...]
    weight: np.ndarray
    absolute: np.ndarray
    squared: np.ndarray
    signed: np.ndarray


@dataclass(frozen=True)
class Interval:
    """Value of a score, and the bounds between which it lies with 95 % probability; NaN where steps are too few."""

    value: float
    low: float
    high: float


def errors_of(verifications: Mapping[str, xr.Dataset]) -> tuple[StepErrors, dict[str, str]]:
    """Take the errors of runs over the steps that all of them have, from verification.nc by a key for each run.

    Members and starts of a forecast for the same time are averaged to one step: they aren't independent cases.

    Returns
    -------
    Errors of the simple products of the first run, and of each run's downscaled field by its key; and, by key, why a
    run isn't among them.
    """
    first, *others = ((key, _one_a_time(verification)) for key, verification in verifications.items())
    left_out: dict[str, str] = {}
    kept, times = dict([first]), _compared_times(first[1])
    for key, verification in others:
        common = times.intersection(_compared_times(verification))
        areas, own_areas = (each["step_area"].sel(time=common).values for each in (first[1], verification))
        if not len(common):
            left_out[key] = "no test step in common"
        elif not np.allclose(areas, own_areas):
            left_out[key] = "other cells are compared"
        else:
            kept[key], times = verification, common
    series = {str(name): (first[1], str(name)) for name in first[1]["product"].values if name != "downscaled"}
    series |= {key: (verification, "downscaled") for key, verification in kept.items()}
    fields = (
        np.stack([of[f"step_{name}"].sel(product=product, time=times).values for of, product in series.values()])
        for name in ("mae", "mse", "bias")
    )
    return StepErrors(tuple(series), first[1]["step_area"].sel(time=times).values, *fields), left_out


def best_of(errors: StepErrors, products: Iterable[str]) -> str:
    """Name the one of these products with the least squared error."""
    return min(products, key=lambda product: float(errors.weight @ errors.squared[errors.products.index(product)]))


def intervals(errors: StepErrors, seed: int = 0) -> dict[str, dict[str, Interval]]:
    """Compute the scores over the domain and all steps with their intervals: {product: {score: interval}}.

    Circular block bootstrap: blocks of `block_length` steps are drawn with replacement, the same for all products, and
    the interval is that between the 2.5 % and the 97.5 % quantile of the scores of RESAMPLES draws.

    Source: Politis and Romano (1992), in LePage and Billard (eds.), Exploring the Limits of Bootstrap, Wiley, 263.
    """
    n = len(errors.weight)
    fields = np.concatenate([errors.absolute, errors.squared, errors.signed])
    sums = np.vstack([errors.weight, errors.weight * fields])  # (1 + 3 products, time)
    length = max((block_length(series) for series in errors.squared), default=1)
    cumulated = np.pad(np.concatenate([sums, sums[:, :length]], axis=1).cumsum(axis=1), ((0, 0), (1, 0)))
    blocks = cumulated[:, length : length + n] - cumulated[:, :n]
    starts = np.random.default_rng(seed).integers(0, n, (RESAMPLES, -(-n // length)))
    drawn = np.stack([of_sum[starts].sum(axis=1) for of_sum in blocks])
    tail = 50 * (1 - COVERAGE)
    value = _scores(sums.sum(axis=1, keepdims=True), len(errors.products))[..., 0]
    bounds = np.percentile(_scores(drawn, len(errors.products)), [tail, 100 - tail], axis=-1)
    bounds = bounds if n >= MIN_STEPS else np.full_like(bounds, np.nan)
    return {
        product: {
            score: Interval(float(value[k, number]), *(float(bound) for bound in bounds[:, k, number]))
            for k, score in enumerate(SCORES)
        }
        for number, product in enumerate(errors.products)
    }


def interval_texts(interval: Interval) -> tuple[str, str, str]:
    """Format value and bounds with as many decimals as distinguish the bounds; bounds that aren't known are ''."""
    width = interval.high - interval.low
    decimals = int(np.clip(1 - np.floor(np.log10(width)), 0, 6)) if width > 0 else 3
    value, low, high = (
        f"{round(each, decimals) + 0.0:.{decimals}f}".replace("-", "−")  # + 0.0: zero has no sign
        for each in (interval.value, interval.low, interval.high)
    )
    return (value, low, high) if width >= 0 else (value, "", "")


def block_length(series: np.ndarray) -> int:
    """Choose a length of blocks (steps) by the correlation r of successive values: at least n^⅓, at most n / 4.

    n^⅓ (√6 r / (1 - r²))^⅔, the best one for the variance of the mean of an autoregressive series.

    Source: Carlstein (1986), Ann. Stat. 14, 1171, section 3.
    """
    n = len(series)
    anomalies = series - series.mean()
    variance = float((anomalies**2).sum())
    r = min(max(float((anomalies[1:] * anomalies[:-1]).sum()) / variance, 0.0), 0.99) if variance > 0 else 0.0
    factor = max(1.0, (np.sqrt(6) * r / (1 - r**2)) ** (2 / 3))
    return max(1, min(int(np.ceil(factor * n ** (1 / 3))), n // 4))


def equal_accuracy(differences: np.ndarray) -> np.ndarray:
    """Compute the probability of a mean at least as far from 0 if the expected difference is 0: (…, time) → (…).

    differences : of the squared errors of two products in each step, in order of time, as `DifferenceSums`.
    """
    *shape, n = differences.shape
    sums = DifferenceSums(n, int(np.prod(shape)))
    sums.add(np.arange(n), differences.reshape(-1, n).T)
    return sums.p_values().reshape(shape)


class DifferenceSums:
    """Sums over time of differences of the squared errors of two products, some steps at a time.

    n : number of times; steps of the same time, members of a forecast, are one case. cells : series that are tested.

    Source: Diebold and Mariano (1995), J. Bus. Econ. Stat. 13, 253, with the small-sample correction of Coroneo and
    Iacone (2020), J. Appl. Econom. 35, 391: the long-run variance is the mean of the first m = n^⅓ ordinates of the
    periodogram, and the statistic has Student's t-distribution with 2m degrees of freedom. With that of Harvey,
    Leybourne and Newbold (1997), Int. J. Forecast. 13, 281, equally good series whose errors last differ too often.
    A missing step is one without anomaly (Parzen 1963, Sankhyā A 25, 383).
    """

    def __init__(self, n: int, cells: int):
        self._n, self._m = n, int(n ** (1 / 3) + 1e-9)
        self._values, self._valid = (np.zeros((2 * (self._m + 1), cells)) for _ in range(2))

    def add(self, times: np.ndarray, differences: np.ndarray) -> None:
        """Add steps, by the number of their time: (step, cell), NaN where a value is missing."""
        phases = 2 * np.pi * np.outer(np.arange(self._m + 1), times) / self._n
        waves = np.concatenate([np.cos(phases), np.sin(phases)]).astype(differences.dtype)  # (wave, step)
        valid = np.isfinite(differences)
        if valid.all():
            self._values += waves @ differences
            self._valid += waves.sum(axis=1, keepdims=True)
        else:
            self._values += waves @ keep(differences.copy(), valid)
            self._valid += waves @ valid.astype(differences.dtype)

    def p_values(self) -> np.ndarray:
        """Compute the probability, at each cell, of a mean at least as far from 0 if none is expected: (cell,).

        NaN where there are fewer than MIN_STEPS times or values.
        """
        count = self._valid[0]
        mean = ratio(self._values[0], count)
        waves = (self._values - mean * self._valid).reshape(2, self._m + 1, -1)[:, 1:]
        variance = ratio((waves**2).sum(axis=0).mean(axis=0), count**2)  # of the mean
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.abs(mean) / np.sqrt(variance)
        p = np.where(mean == 0, 1.0, 2 * stats.t.sf(statistic, 2 * self._m))
        return np.where((count >= MIN_STEPS) & (self._n >= MIN_STEPS), p, np.nan)


def is_significant(p: np.ndarray, alpha: float = CLEAR) -> np.ndarray:
    """Find the tests that stand out from all of them; NaN is no test.

    Benjamini and Hochberg (1995), J. R. Stat. Soc. B 57, 289: the i-th smallest of n values of p, and all below, if it
    is at most i/n α_FDR; with α_FDR = 2 α, for fields that are alike over the size of weather systems, about a share
    α of fields without any difference has such a cell (Wilks 2016, Bull. Amer. Meteor. Soc. 97, 2263).
    """
    is_test, found = np.isfinite(p), np.zeros(p.shape, bool)
    if is_test.any():
        found[is_test] = stats.false_discovery_control(p[is_test]) <= 2 * alpha
    return found


def verdict(errors: StepErrors, product: str, reference: str) -> str:
    """Say how a product stands against another by their squared errors: 'better (p = 0.012)'; '' of itself.

    The mean of the differences is that of all values: steps count by the area that is compared in them.
    """
    own, other = (errors.squared[errors.products.index(name)] for name in (product, reference))
    differences = (own - other) * errors.weight / errors.weight.mean()
    p = float(equal_accuracy(differences))
    if product == reference or not np.isfinite(p):
        return ""
    word = "no clear difference" if p >= CLEAR else "better" if differences.mean() < 0 else "worse"
    return f"{word} (p {'< 0.001' if p < 0.001 else f'= {p:.3f}'})"


def _one_a_time(verification: xr.Dataset) -> xr.Dataset:
    """Average the errors of steps of the same time, by area."""
    times = verification.indexes["time"]
    if times.is_unique:
        return verification
    number, unique = pd.factorize(times, sort=True)
    areas = verification["step_area"].values

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(number, np.nan_to_num(values) * areas)

    area = np.bincount(number, areas)
    averaged = {
        f"step_{name}": (
            ("product", "time"),
            [ratio(total(each), area) for each in verification[f"step_{name}"].transpose("product", "time").values],
        )
        for name in ("mae", "mse", "bias")
    }
    coords = {"product": verification["product"].values, "time": unique}
    return xr.Dataset({"step_area": ("time", area), **averaged}, coords)


def _compared_times(verification: xr.Dataset) -> pd.Index:
    return verification.indexes["time"][verification["step_area"].values > 0]


def _scores(sums: np.ndarray, products: int) -> np.ndarray:
    """Compute scores from (1 + 3 products, …) sums: weight, absolute, squared, signed → (score, product, …)."""
    absolute, squared, signed = (sums[1:] / sums[0]).reshape(3, products, *sums.shape[1:])
    return np.stack([absolute, np.sqrt(squared), signed])
