"""Scores of a results file: how near the downscaled and the interpolated field come to HR.

Each score is taken for each time step over the cells where both fields have a value, then summarised by mean and
standard deviation over the steps, as in Gomez Gonzalez (2023), Environ. Data Sci. 2, e3, table 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from engine.data.times import in_blocks
from engine.evaluation.moments import CELL_SCORES
from engine.evaluation.products import products_of
from engine.evaluation.score_records import ConstraintViolation, MetricScore, Scores
from engine.evaluation.single_precision import moments32

FIELDS = ("downscaled", "interpolated")
METRICS = ("mae", "rmse", "pearson", "ssim", "psnr", "bias")
CELLS_AT_ONCE = 500_000  # 4 MB as float64, of which SSIM takes a dozen

SSIM_SIGMA, SSIM_RADIUS = 1.5, 5  # cells; Wang et al. (2004), section III.B: a window of 11 × 11
SSIM_K1, SSIM_K2 = 0.01, 0.03  # ibid.


def score(results: xr.Dataset) -> Scores:
    """Compute mean and standard deviation over time of each metric, for each product.

    Parameters
    ----------
    results : hr, downscaled, interpolated (time, y, x), as in results/test.nc, and baselines, if there are any.
    """
    return summarized(scores_of_steps(results))


def scores_of_steps(results: xr.Dataset) -> xr.DataArray:
    """Compute each metric of each time step: (metric, product, time), NaN where a step doesn't have that score.

    The attribute `hr_range` is the range of HR over all steps, by which SSIM and PSNR measure errors.
    """
    span, products = value_range(results), products_of(results)
    blocks: list[np.ndarray] = []
    for block in time_blocks(results):
        hr, reference, of_products = block["hr"].values, None, []
        for name in products:
            field = block[name].values
            if reference is None or not np.array_equal(reference.valid, np.isfinite(hr) & np.isfinite(field)):
                reference = Reference.of(hr, field)
            of_products.append(reference.scores(field, span))
        blocks.append(np.array([[scores[metric] for scores in of_products] for metric in METRICS]))
    values = np.concatenate(blocks, axis=-1) if blocks else np.empty((len(METRICS), len(products), 0))
    coords = {"metric": list(METRICS), "product": list(products), "time": results["time"]}
    return xr.DataArray(values, coords, ("metric", "product", "time"), attrs={"hr_range": span})


def summarized(steps: xr.DataArray) -> Scores:
    """Summarise scores of steps (metric, product, time) by mean and standard deviation over those that have them."""
    summaries = {
        str(product): {metric: _summary(steps.sel(product=product, metric=metric).values) for metric in METRICS}
        for product in steps["product"].values
    }
    downscaled, interpolated = (summaries.pop(name) for name in FIELDS)
    return Scores(downscaled, interpolated, baselines=summaries)


def step_scores(hr: np.ndarray, field: np.ndarray, span: float) -> dict[str, np.ndarray]:
    """Compute each metric of each time step.

    Parameters
    ----------
    hr, field : (time, y, x), the same unit, NaN where missing.
    span : range of HR over the whole period, the same unit: what SSIM and PSNR measure errors by.

    Returns
    -------
    {metric: (time,)}, NaN where a step doesn't have that score; mae, rmse and bias (field minus HR) in the unit.
    """
    return Reference.of(hr, field).scores(field, span)


@dataclass(frozen=True)
class Reference:
    """HR (time, y, x) in the cells that are compared, NaN elsewhere, with what the scores of several fields share."""

    hr: np.ndarray
    valid: np.ndarray

    @classmethod
    def of(cls, hr: np.ndarray, field: np.ndarray) -> Self:
        """HR in the cells where both have a value."""
        valid = np.isfinite(hr) & np.isfinite(field)
        return cls(np.where(valid, hr, np.nan).astype(np.float64), valid)

    def scores(self, field: np.ndarray, span: float) -> dict[str, np.ndarray]:
        """Compute each metric of a field that has a value in all of the cells, as `step_scores` does."""
        span = span if span > 0 else np.nan  # a constant HR has no range to compare errors with
        field = np.where(self.valid, field, np.nan).astype(np.float64)
        error = field - self.hr
        squares = _mean(error**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            psnr = 10 * np.log10(span**2 / squares)
        return {
            "mae": _mean(np.abs(error)),
            "rmse": np.sqrt(squares),
            "pearson": self.correlation(field),
            "ssim": self.ssim(field, span),
            "psnr": np.where(np.isfinite(psnr), psnr, np.nan),
            "bias": _mean(error),
        }

    def correlation(self, field: np.ndarray) -> np.ndarray:
        """Compute the spatial correlation of each time step (time,); NaN where a field is constant."""
        (a, square), (b, of_field) = self._anomaly, _anomaly(field)
        std_products = np.sqrt(square * of_field)
        return np.divide(_mean(a * b), std_products, out=np.full(len(a), np.nan), where=std_products > 0)

    def ssim(self, field: np.ndarray, span: float) -> np.ndarray:
        """Compute the structural similarity of each time step: (time, y, x) → (time,).

        Source: Wang et al. (2004), IEEE Trans. Image Process. 13, 600, eq. 13, with Gaussian windows, which
        leave out missing cells and count the rest by weight. The mean is over the cells whose window lies in the field,
        if there are any.
        """
        mean_hr, variance_hr = self._windows
        mean = self._smooth(field)
        variance = self._smooth(field**2) - mean**2
        covariance = self._smooth(self.hr * field) - mean_hr * mean
        c1, c2 = (SSIM_K1 * span) ** 2, (SSIM_K2 * span) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            luminance = (2 * mean_hr * mean + c1) / (mean_hr**2 + mean**2 + c1)
            structure = (2 * covariance + c2) / (variance_hr + variance + c2)
        similarity = np.where(self.valid, luminance * structure, np.nan)
        inner = similarity[:, SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]
        return _mean(inner if inner.size and np.isfinite(inner).any() else similarity)

    @cached_property
    def _anomaly(self) -> tuple[np.ndarray, np.ndarray]:
        return _anomaly(self.hr)

    @cached_property
    def _windows(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of HR in the window of each cell."""
        mean = self._smooth(self.hr)
        return mean, self._smooth(self.hr**2) - mean**2

    @cached_property
    def _weight(self) -> np.ndarray:
        return _window_sums(self.valid.astype(np.float64))

    def _smooth(self, fields: np.ndarray) -> np.ndarray:
        """Average over a Gaussian window; cells that aren't compared, or lie outside the field, are left out."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return _window_sums(np.where(self.valid, fields, 0.0)) / self._weight


def step_scores_of_cells(hr: np.ndarray, fields: Sequence[np.ndarray], span: float) -> np.ndarray:
    """Compute each metric of `step_scores` but SSIM, which needs the cells around each.

    Parameters
    ----------
    hr, fields : (time, cell) float32 each; each field is compared with HR where both have a value.

    Returns
    -------
    (metric, field, time), in the order of `METRICS`, good to 1e-5.
    """
    together = moments32(hr, fields, axis=1)
    is_same = np.array_equal(together.count[0], np.isfinite(hr).sum(axis=1))  # no field lacks a value that HR has
    each = [together] if is_same else [moments32(hr, [field], axis=1) for field in fields]
    nothing = np.full((len(fields), len(hr)), np.nan)
    scores = {
        name: np.concatenate([CELL_SCORES[name](moments)[:, 0] for moments in each])
        for name in ("mae", "rmse", "pearson", "bias")
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        psnr = 20 * np.log10((span if span > 0 else np.nan) / scores["rmse"])
    scores["psnr"] = np.where(np.isfinite(psnr), psnr, np.nan)
    return np.stack([scores.get(metric, nothing) for metric in METRICS])


def pixel_rmse(results: xr.Dataset, name: str) -> np.ndarray:
    """Compute RMSE over time at each cell: (y, x), in the unit of the fields, NaN where nothing can be compared."""
    squares, counts = np.zeros(results["hr"].shape[1:]), np.zeros(results["hr"].shape[1:])
    for block in time_blocks(results):
        error = block[name].values.astype(np.float64) - block["hr"].values
        squares += np.nan_to_num(error**2).sum(axis=0)
        counts += np.isfinite(error).sum(axis=0)
    return np.sqrt(np.divide(squares, counts, out=np.full(counts.shape, np.nan), where=counts > 0))


def constraint_violation(results: xr.Dataset, areas: np.ndarray, scale: int) -> ConstraintViolation:
    """Measure how well a constraint is kept; the means of downscaled cells are weighted by `areas` (y, x)."""
    errors = (np.abs(lr_difference(block, areas, scale)) for block in time_blocks(results))
    largest = float(max((np.nanmax(error) for error in errors if np.isfinite(error).any()), default=0.0))
    span = value_range(results)
    units = str(results["hr"].attrs.get("units", ""))
    return ConstraintViolation(largest, units, largest / span if span > 0 else None)


def lr_difference(results: xr.Dataset, areas: np.ndarray, scale: int, product: str = "downscaled") -> np.ndarray:
    """Compute the mean of a product's cells of each LR cell minus LR: (time, y_lr, x_lr), NaN where missing."""
    field, lr = results[product].values.astype(np.float64), results["lr"].values
    missing = [side - given for side, given in zip(areas.shape, field.shape[1:], strict=True)]  # mos: extended cells
    field = np.pad(field, ((0, 0), (0, missing[0]), (0, missing[1])), constant_values=np.nan)
    weights = np.where(np.isfinite(field), areas, 0.0)
    sums, totals = (
        f.reshape(len(f), lr.shape[1], scale, lr.shape[2], scale).sum((2, 4))
        for f in (np.nan_to_num(field) * weights, weights)
    )
    return np.divide(sums, totals, out=np.full(lr.shape, np.nan), where=totals > 0) - lr


def value_range(results: xr.Dataset) -> float:
    """Compute highest minus lowest HR value of the whole period."""
    lows, highs = [], []
    for block in time_blocks(results):
        hr = block["hr"].values
        if np.isfinite(hr).any():
            lows.append(np.nanmin(hr))
            highs.append(np.nanmax(hr))
    return float(max(highs) - min(lows)) if lows else 0.0


def time_blocks(results: xr.Dataset) -> Iterator[xr.Dataset]:
    """Cut results into blocks of time steps that CELLS_AT_ONCE allows."""
    steps, *sides = results["hr"].shape
    for some in in_blocks(np.arange(steps), tuple(sides), CELLS_AT_ONCE):
        yield results.isel(time=slice(some[0], some[-1] + 1))


def _summary(values: np.ndarray) -> MetricScore:
    """Summarise a metric (time,) over the steps that have it."""
    values = values[np.isfinite(values)]
    return MetricScore(float(values.mean()), float(values.std())) if values.size else MetricScore()


def _mean(values: np.ndarray) -> np.ndarray:
    """Average over y and x what isn't missing; NaN where all is."""
    counts = np.isfinite(values).sum(axis=(1, 2))
    return np.divide(np.nansum(values, axis=(1, 2)), counts, out=np.full(len(values), np.nan), where=counts > 0)


def _anomaly(fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Subtract the mean of each time step: the anomaly (time, y, x), and the mean of its square (time,)."""
    anomaly = fields - _mean(fields)[:, None, None]
    return anomaly, _mean(anomaly**2)


def _window_sums(fields: np.ndarray) -> np.ndarray:
    """Apply a Gaussian window over y and x; cells outside the field count as 0."""
    for axis in (1, 2):
        fields = gaussian_filter1d(fields, SSIM_SIGMA, axis=axis, mode="constant", radius=SSIM_RADIUS)
    return fields
