"""Simple methods of downscaling, fitted on the training part alone: what a network has to beat.

docs/verification.md describes each. The cells of the mask are the columns of arrays (step, cell), and are fitted all at
once. As many training steps are held in memory as BUDGET_BYTES allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from engine.data.gaps import fill_missing
from engine.data.kernels import KERNELS
from engine.data.normalizer import CELLS_AT_ONCE, MAX_SAMPLED_STEPS, Normalizer
from engine.data.pairs import FieldBlock, Pairs
from engine.data.resample import interpolate
from engine.data.times import in_blocks, spread_evenly
from engine.evaluation.cell_blocks import by_cells
from engine.evaluation.pc_regression import PcRegression

BUDGET_BYTES = 2**29  # of the training steps that are held
MIN_STEPS = 30  # of a month, to have a mean of its own; of the training part, to fit more than means
MAX_VALIDATION_STEPS = 200  # that choose the number of components
LEVELS = np.arange(1, 100) / 100
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True, eq=False)
class Steps:
    """Some time steps as baselines see them.

    hr : (step, cell), NaN where missing; lr : (step, y_lr, x_lr), nothing missing; both in the target's unit.
    interpolated : (step, cell), by the run's own interpolation.
    vectors : (step, vector) LR and predictors of all LR cells, normalized.
    months : (step,) 1 to 12.
    """

    hr: np.ndarray
    lr: np.ndarray
    interpolated: np.ndarray
    vectors: np.ndarray
    months: np.ndarray

    @classmethod
    def of(cls, block: FieldBlock, months: np.ndarray, pairs: Pairs, normalizer: Normalizer) -> Self:
        """Take fields that were read; a step without any LR has the mean, as it is left out of what is written."""
        lr = np.nan_to_num(fill_missing(block.lr, pairs.periodic), nan=normalizer.mean)
        vectors = [normalizer.target.forward(lr)]
        for number, transform in enumerate(normalizer.predictors):
            vectors.append(
                np.nan_to_num(fill_missing(transform.forward(block.predictors[..., number]), pairs.periodic))
            )
        return cls(
            block.hr[:, normalizer.mask],
            lr,
            interpolate(lr, pairs.scale, pairs.interpolation, pairs.periodic)[:, normalizer.mask],
            np.stack(vectors, axis=1).reshape(len(lr), -1),
            months,
        )

    @classmethod
    def read(cls, pairs: Pairs, normalizer: Normalizer, steps: np.ndarray) -> Self:
        """Read steps in blocks; those without LR, or without any value of a predictor, are left out."""
        months, lr_shape, cells = pairs.times.dt.month.values, pairs.lr_grid.shape, int(normalizer.mask.sum())
        length = (1 + len(pairs.predictors)) * math.prod(lr_shape)
        shapes = ((cells,), lr_shape, (cells,), (length,))
        fields = [np.empty((len(steps), *shape), np.float32) for shape in shapes]
        known: list[np.ndarray] = []
        for some in in_blocks(steps, pairs.hr_grid.shape, CELLS_AT_ONCE):
            block = pairs.read(some)
            full = ~(np.isnan(block.lr).all((1, 2)) | np.isnan(block.predictors).all((1, 2)).any(-1))
            part = cls.of(
                FieldBlock(block.hr[full], block.lr[full], block.predictors[full]),
                months[some[full]],
                pairs,
                normalizer,
            )
            first = sum(map(len, known))
            for field, values in zip(fields, (part.hr, part.lr, part.interpolated, part.vectors), strict=True):
                field[first : first + len(values)] = values
            known.append(part.months)
        count = sum(map(len, known))
        hr, lr, interpolated, vectors = (field[:count] for field in fields)
        return cls(hr, lr, interpolated, vectors, np.concatenate(known))


Baseline = Callable[[Steps], np.ndarray]  # → (step, cell) in the target's unit


@dataclass(frozen=True, eq=False)
class QuantileMapping:
    """Quantiles of the interpolated field and of HR, (level, cell) each: an interpolated one is replaced by that of HR.

    Beyond the outermost levels the difference of these is added. Of equal quantiles (no rain) the lowest counts.

    Source: Boé et al. (2007), Int. J. Climatol. 27, 1643, section 3.2; levels as in Gudmundsson et al. (2012), Hydrol.
    Earth Syst. Sci. 16, 3383, section 2.3.
    """

    interpolated: np.ndarray
    hr: np.ndarray

    @classmethod
    def fit(cls, steps: Steps) -> Self:
        """Take quantiles of the steps that have HR; a cell without any is left as it is interpolated."""

        def of_interpolated(interpolated: np.ndarray, hr: np.ndarray) -> np.ndarray:
            return sample_quantiles(np.where(np.isfinite(hr), interpolated, np.float32(np.nan)), LEVELS)

        of_hr = by_cells(lambda hr: sample_quantiles(hr, LEVELS), steps.hr)
        return cls(np.nan_to_num(by_cells(of_interpolated, steps.interpolated, steps.hr)), np.nan_to_num(of_hr))

    def __call__(self, steps: Steps) -> np.ndarray:
        values, last = steps.interpolated, len(self.hr) - 1
        above = np.zeros(values.shape, np.intp)  # number of quantiles below the value, by bisection
        for bit in reversed(range(len(self.hr).bit_length())):
            tried = np.minimum(above + (1 << bit), last + 1)
            above = np.where(np.take_along_axis(self.interpolated, tried - 1, 0) < values, tried, above)
        low, high = np.clip(above - 1, 0, last), np.clip(above, 0, last)
        left, right = (np.take_along_axis(self.interpolated, index, 0) for index in (low, high))
        share = np.clip(np.divide(values - left, right - left, out=np.ones_like(values), where=right > left), 0, 1)
        of_hr, next_of_hr = (np.take_along_axis(self.hr, index, 0) for index in (low, high))
        beyond = values - np.clip(values, self.interpolated[0], self.interpolated[-1])
        return of_hr + share * (next_of_hr - of_hr) + beyond


def fit_baselines(pairs: Pairs, normalizer: Normalizer) -> tuple[dict[str, Baseline], tuple[str, ...]]:
    """Fit all baselines but the interpolation that the run has anyway; returns them, and notes on their fit."""
    train = pairs.parts.train
    chosen = spread_evenly(train, held_steps(pairs)[0])
    notes = [] if len(chosen) == len(train) else [f"baselines are fitted on {len(chosen)} of {len(train)} steps"]
    interpolations: dict[str, Baseline] = {
        kernel: _interpolation(kernel, pairs, normalizer.mask)
        for kernel in INTERPOLATIONS
        if KERNELS[kernel] != KERNELS[pairs.interpolation]
    }
    if pairs.is_split_by_rows:
        return interpolations, ("no baselines of each cell: those of the test part are in no other",)
    steps = Steps.read(pairs, normalizer, chosen)
    overall = float(np.nanmean(steps.hr))
    climate = by_cells(lambda hr: monthly_means(hr, steps.months, overall), steps.hr)
    bias = by_cells(lambda field, hr: monthly_means(field - hr, steps.months, 0.0), steps.interpolated, steps.hr)
    baselines = interpolations
    baselines["climatology"] = lambda steps: climate[steps.months - 1]
    baselines["bias_corrected"] = lambda steps: steps.interpolated - bias[steps.months - 1]
    if len(steps.lr) < MIN_STEPS:
        notes.append(f"no quantile mapping and no PC regression: {len(steps.lr)} training steps are too few")
        return baselines, tuple(notes)
    baselines["quantile_mapping"] = QuantileMapping.fit(steps)
    validation = Steps.read(pairs, normalizer, spread_evenly(pairs.parts.validation, MAX_VALIDATION_STEPS))
    regression = PcRegression.fit(steps.vectors, steps.hr, overall).choose(validation.vectors, validation.hr)
    baselines["pc_regression"] = lambda steps: regression(steps.vectors)
    notes.append(f"PC regression: {regression.n_components} components")
    return baselines, tuple(notes)


def held_steps(pairs: Pairs) -> tuple[int, int]:
    """Give the number of training steps that are held, and their bytes: HR, the interpolated field, and LR fields."""
    cells, lr_values = math.prod(pairs.hr_grid.shape), (1 + len(pairs.predictors)) * math.prod(pairs.lr_grid.shape)
    of_step = 4 * (2 * cells + 3 * lr_values)
    steps = min(len(pairs.parts.train), MAX_SAMPLED_STEPS, max(1, BUDGET_BYTES // of_step))
    return steps, steps * of_step


def monthly_means(values: np.ndarray, months: np.ndarray, unknown: float) -> np.ndarray:
    """Average (step, cell) over the steps of each month: (12, cell).

    A month with less than MIN_STEPS values of a cell takes the mean of all, and that is `unknown` without any value.
    """
    mean, counts = _mean(values)
    means = np.tile(np.where(counts > 0, mean, unknown), (12, 1))
    for month in np.unique(months):
        mean, counts = _mean(values[months == month])
        means[month - 1] = np.where(counts >= MIN_STEPS, mean, means[month - 1])
    return means.astype(np.float32)


def sample_quantiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Compute quantiles over time: (step, cell) → (level, cell), NaN for a cell without any value.

    Source: Hyndman and Fan (1996), Amer. Stat. 50, 361, definition 7, as NumPy's default.
    """
    ordered = np.sort(values, axis=0)  # NaN last
    position = levels[:, None] * np.maximum(np.isfinite(values).sum(axis=0) - 1, 0)
    below, above = np.floor(position).astype(np.intp), np.ceil(position).astype(np.intp)
    low, high = (np.take_along_axis(ordered, index, 0) for index in (below, above))
    return (low + (position - below) * (high - low)).astype(np.float32)


def _interpolation(kernel: str, pairs: Pairs, mask: np.ndarray) -> Baseline:
    return lambda steps: interpolate(steps.lr, pairs.scale, kernel, pairs.periodic)[:, mask]


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average over steps what isn't missing; returns means (cell,), 0 without any value, and counts."""
    counts = np.isfinite(values).sum(axis=0)
    return np.nansum(values, axis=0, dtype=np.float64) / np.maximum(counts, 1), counts
