"""Season and trend of each cell, subtracted before values are normalized and added to the downscaled field.

A network is given anomalies a = LR - C_LR - T, where C_LR is the season of an LR cell, harmonics of the year and of the
day, and T its linear trend. It learns HR - C_HR - I(T), where I is the interpolation, and a downscaled field is
C_HR + I(T) + what the network gives. A residual network gives I(a) + f(a), so that the field is
C_HR + I(LR - C_LR) + f(a): its change is that of LR itself, whatever T is, and the trend of HR in the training part is
never carried on. T only decides what f is asked: without a trend, values as in training. Harmonics: Wilks (2011),
Statistical Methods in the Atmospheric Sciences, section 9.4.3.
"""

from __future__ import annotations

import calendar
import json
import math
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Self

import numpy as np
import xarray as xr

from engine.data.gaps import fill_missing
from engine.data.pairs import FieldBlock, Pairs
from engine.data.resample import interpolate
from engine.data.times import elapsed_seconds, in_blocks
from engine.errors import DataError

KINDS = {"season": False, "season_trend": True}  # of `data.scaling`: with a trend or not
SEASON_DAYS = 60  # of the year, with a step, without which no harmonics of the year are fitted
TREND_YEARS = 5.0  # shortest part that a trend is fitted to
CELLS_AT_ONCE = 1_000_000  # of HR, in a block of steps; values of sums that are solved at once
STEPS_OF_TERM = 3  # with a value that a cell needs, for each term


# Arrays of Anomalies → their dimensions in scaling.nc.
IN_FILE: dict[str, tuple[str, ...]] = {
    "hr": ("term", "y", "x"),
    "lr": ("term", "y_lr", "x_lr"),
    "predictors": ("predictor", "term", "y_lr", "x_lr"),
    "lr_trend": ("line", "y_lr", "x_lr"),
    "predictor_trends": ("predictor", "line", "y_lr", "x_lr"),
}


@dataclass(frozen=True)
class Season:
    """Terms of a season: a constant, harmonics of the year and of the day, and the day's with the year's first one.

    year, day : number of harmonics of each.
    months : of the training part, from 1; in others the harmonics aren't known.
    origin : year, with its fraction, from which trends are counted: the middle of the training part.
    """

    year: int
    day: int
    months: tuple[int, ...]
    origin: float

    @classmethod
    def of(cls, times: xr.DataArray) -> Season:
        """Choose harmonics by the times of the training part.

        Of the year: two of all months, one of fewer, none of less than SEASON_DAYS. Of the day: two of steps shorter
        than 6 h, one up to 8 h.
        """
        months = tuple(sorted({int(month) for month in times.dt.month.values}))
        step_h = np.median(np.diff(elapsed_seconds(times))) / 3600 if len(times) > 1 else 24.0
        days = len(np.unique(times.dt.dayofyear.values))
        year = 2 if len(months) == 12 else int(days >= SEASON_DAYS)
        years = years_of(times)
        return cls(year, 2 if step_h < 6 else int(step_h <= 8), months, float(years[0] + years[-1]) / 2)

    @property
    def n_terms(self) -> int:
        """Number of columns of `terms`."""
        return 1 + 2 * self.year + 2 * self.day + (4 if self.year and self.day else 0)

    def terms(self, times: xr.DataArray) -> np.ndarray:
        """Compute the terms at some times of any CF calendar: (time, terms) float64, the constant first."""
        clock = times.dt
        day = (clock.hour + clock.minute / 60 + clock.second / 3600).values / 24
        year = (clock.dayofyear.values - 1 + day) / clock.days_in_year.values
        of_year, of_day = (
            [wave(2 * np.pi * k * turn) for k in range(1, many + 1) for wave in (np.cos, np.sin)]
            for turn, many in ((year, self.year), (day, self.day))
        )
        both = [first * second for first, second in product(of_year[:2], of_day[:2])]
        return np.stack([np.ones(len(times)), *of_year, *of_day, *both], axis=1)

    def check(self, times: xr.DataArray, what: str) -> None:
        """Raise DataError if there are months that the season isn't known of."""
        if missing := sorted({int(month) for month in times.dt.month.values} - set(self.months)):
            names, known = (", ".join(calendar.month_abbr[m] for m in months) for months in (missing, self.months))
            raise DataError(
                f"{what} has months without a season: {names}",
                hint=f"data.scaling season learns it from the training part, which has {known}",
                action="give a training part with all months (data.split takes dates), or choose data.scaling=standard",
            )


@dataclass(frozen=True, eq=False)
class Anomalies:
    """Season of HR, LR and predictors, and trend of LR and predictors, of each cell, in the field's own unit.

    hr : (term, y, x), lr : (term, y_lr, x_lr), predictors : (predictor, term, y_lr, x_lr), coefficients of the terms;
        NaN in cells with too few values in the training part, which have no anomalies then.
    lr_trend : (2, y_lr, x_lr), predictor_trends : (predictor, 2, y_lr, x_lr), value at the season's origin and change
        in a year; zero without trends.
    """

    season: Season
    hr: np.ndarray
    lr: np.ndarray
    predictors: np.ndarray
    lr_trend: np.ndarray
    predictor_trends: np.ndarray

    def add_to(self, file: xr.Dataset) -> None:
        """Put all into scaling.nc."""
        file.attrs["season"] = json.dumps(asdict(self.season))
        for name, dims in IN_FILE.items():
            file[f"anomalies_{name}"] = (dims, getattr(self, name))

    @classmethod
    def from_file(cls, file: xr.Dataset) -> Self | None:
        """Read what `add_to` put there; None where there is nothing."""
        if "season" not in file.attrs:
            return None
        season = json.loads(file.attrs["season"])
        arrays = {name: file[f"anomalies_{name}"].values for name in IN_FILE}
        return cls(Season(**season | {"months": tuple(season["months"])}), **arrays)

    def of_lr(self, lr: np.ndarray, predictors: np.ndarray, times: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
        """Subtract season and trend: (n, y_lr, x_lr), (n, y_lr, x_lr, predictors) in the same units."""
        terms, line = self.season.terms(times), self._line(times)
        taken = [
            _evaluate_terms(terms, coefficients) + _evaluate_terms(line, trend)
            for coefficients, trend in zip(self.predictors, self.predictor_trends, strict=True)
        ]
        of_predictors = predictors - np.stack(taken, axis=-1) if taken else predictors
        return lr - _evaluate_terms(terms, self.lr) - _evaluate_terms(line, self.lr_trend), of_predictors

    def base(self, times: xr.DataArray, pairs: Pairs) -> np.ndarray:
        """Season of HR with the interpolated trend of LR, to which anomalies are added: (n, y, x) float32."""
        season = _evaluate_terms(self.season.terms(times), self.hr)
        if self.lr_trend.any():
            trend = fill_missing(_evaluate_terms(self._line(times), self.lr_trend).astype(np.float32), pairs.periodic)
            season += interpolate(trend, pairs.scale, pairs.interpolation, pairs.periodic)
        return season.astype(np.float32)

    def of_block(self, block: FieldBlock, times: xr.DataArray, pairs: Pairs) -> FieldBlock:
        """Subtract season and trend from fields of some time steps."""
        lr, predictors = self.of_lr(block.lr, block.predictors, times)
        return FieldBlock(block.hr - self.base(times, pairs), lr, predictors)

    def follow(self, pairs: Pairs) -> tuple[Anomalies, tuple[str, ...]]:
        """Fit the trend of new LR and predictors, once their season is subtracted; returns a note on it.

        Raises
        ------
        DataError
            If they have months that the season isn't known of.
        """
        self.season.check(pairs.times, "LR")
        if not self.lr_trend.any():
            return self, ()
        years = np.ptp(years_of(pairs.times))
        if years < TREND_YEARS:
            return self, (
                f"LR spans {years:.1f} years, too few for a trend of its own: the network is given anomalies from the "
                "trend of LR in training, carried on; the change in the downscaled field is LR's own",
            )
        flat = replace(self, lr_trend=0 * self.lr_trend, predictor_trends=0 * self.predictor_trends)
        fits = [Fit(2, pairs.lr_grid.shape) for _ in range(1 + len(self.predictors))]
        for steps in in_blocks(np.arange(len(pairs.times)), pairs.hr_grid.shape, CELLS_AT_ONCE):
            block, times = pairs.read(steps), pairs.times.isel(time=steps)
            lr, predictors = flat.of_lr(block.lr, block.predictors, times)
            for fit, field in zip(fits, [lr, *np.moveaxis(predictors, -1, 0)], strict=True):
                fit.add(self._line(times), field)
        known = [self.lr_trend, *self.predictor_trends]  # carried on in cells with too few new values
        found = [np.where(np.isnan(new := fit.coefficients()), old, new) for fit, old in zip(fits, known, strict=True)]
        lr_trend, trends = found[0], np.reshape(found[1:], self.predictor_trends.shape)
        mean = np.nanmean(lr_trend[0] + lr_trend[1] * (years_of(pairs.times).mean() - self.season.origin))
        note = (
            f"LR is {mean:+.2f} {pairs.lr.attrs.get('units', '')} from the season of the training part on average, and "
            f"changes by {10 * np.nanmean(lr_trend[1]):+.2f} in ten years: the downscaled field keeps that, and the "
            "network is given what is left"
        )
        return replace(self, lr_trend=lr_trend, predictor_trends=trends), (note,)

    def _line(self, times: xr.DataArray) -> np.ndarray:
        """(time, 2): 1, and years since the season's origin."""
        years = years_of(times) - self.season.origin
        return np.stack([np.ones_like(years), years], axis=1)


class Fit:
    """Least squares in each cell, of the steps at which it has a value, added in blocks.

    shape : of the cells, each of which takes 8 (terms² + terms) bytes.
    """

    def __init__(self, terms: int, shape: tuple[int, ...]):
        self.shape, cells = shape, math.prod(shape)
        self.squares, self.products = np.zeros((terms, terms, cells)), np.zeros((terms, cells))

    def add(self, terms: np.ndarray, values: np.ndarray) -> None:
        """Add values (n, …) at steps with these terms (n, terms), of which the first is 1."""
        flat = values.reshape(len(values), -1).astype(np.float64)
        is_known = np.isfinite(flat)
        mask = is_known.astype(np.float64)
        for squares, term in zip(self.squares, terms.T, strict=True):
            squares += (terms * term[:, None]).T @ mask
        self.products += terms.T @ np.where(is_known, flat, 0.0)

    def coefficients(self) -> np.ndarray:
        """Solve for the coefficients (terms, …) float64; NaN in cells with too few values."""
        found = np.full(self.products.shape, np.nan)
        counts = self.squares[0, 0]
        known = np.flatnonzero(counts >= STEPS_OF_TERM * len(found))
        for cells in in_blocks(known, self.squares.shape[:2], CELLS_AT_ONCE):
            inverses = np.linalg.pinv(np.moveaxis(self.squares[..., cells], -1, 0), rcond=1e-10, hermitian=True)
            found[:, cells] = (inverses @ self.products.T[cells, :, None])[..., 0].T
        return found.reshape(-1, *self.shape)


def check_season(pairs: Pairs, kind: str) -> Season:
    """Choose the terms of a season for `data.scaling` `kind`.

    Raises
    ------
    DataError
        If there is a single time step, the training part is too short for a trend, or lacks months of another part.
    """
    if pairs.is_split_by_rows:
        raise DataError("there is a single time step, which has no season", action="choose data.scaling=standard")
    train = pairs.times.isel(time=pairs.parts.train)
    season, years = Season.of(train), np.ptp(years_of(train))
    if KINDS[kind] and years < TREND_YEARS:
        raise DataError(
            f"the training part spans {years:.1f} years, too few to fit a trend",
            hint=f"data.scaling season_trend needs {TREND_YEARS:g}",
            action="choose data.scaling=season",
        )
    for part in ("validation", "test"):
        season.check(pairs.times.isel(time=getattr(pairs.parts, part)), f"the {part} part")
    return season


def describe(season: Season, kind: str) -> str:
    """Describe for the user what is subtracted."""
    trend = ", and the linear trend of LR and predictors" if KINDS[kind] else ""
    return (
        f"each cell's season is subtracted before scaling ({season.year} harmonics of the year, {season.day} of the "
        f"day, of the training part){trend}; the downscaled field has the season of HR and the change of LR"
    )


def fit_anomalies(pairs: Pairs, kind: str) -> Anomalies:
    """Fit season, and with `season_trend` trend, of each cell to the training part, both at once.

    Raises
    ------
    DataError
        As `check_season`.
    """
    season = check_season(pairs, kind)
    with_trend = KINDS[kind]
    many, lr_shape = season.n_terms, pairs.lr_grid.shape
    fits = [Fit(many + with_trend, shape) for shape in (pairs.hr_grid.shape, *[lr_shape] * (1 + len(pairs.predictors)))]
    for steps in in_blocks(pairs.parts.train, pairs.hr_grid.shape, CELLS_AT_ONCE):
        block, times = pairs.read(steps), pairs.times.isel(time=steps)
        years = (years_of(times) - season.origin)[:, None]
        terms = np.concatenate([season.terms(times), years], axis=1) if with_trend else season.terms(times)
        for fit, field in zip(fits, [block.hr, block.lr, *np.moveaxis(block.predictors, -1, 0)], strict=True):
            fit.add(terms, field)
    hr, lr, *predictors = (fit.coefficients() for fit in fits)

    def trend(coefficients: np.ndarray) -> np.ndarray:
        slope = coefficients[many] if with_trend else np.zeros(lr_shape)
        return np.stack([np.zeros(lr_shape), slope])

    return Anomalies(
        season,
        hr[:many],
        lr[:many],
        np.reshape([field[:many] for field in predictors], (-1, many, *lr_shape)),
        trend(lr),
        np.reshape([trend(field) for field in predictors], (-1, 2, *lr_shape)),
    )


def fit_bytes(pairs: Pairs, kind: str) -> int:
    """Bytes of the sums of `fit_anomalies`; 0 for other kinds of `data.scaling`."""
    if kind not in KINDS:
        return 0
    terms = Season.of(pairs.times.isel(time=pairs.parts.train)).n_terms + KINDS[kind]
    cells = math.prod(pairs.hr_grid.shape) + (1 + len(pairs.predictors)) * math.prod(pairs.lr_grid.shape)
    return 8 * terms * (terms + 1) * cells


def years_of(times: xr.DataArray) -> np.ndarray:
    """Compute years with their fraction (time,) float64, in the times' own calendar."""
    clock = times.dt
    day = clock.dayofyear.values - 1 + (clock.hour + clock.minute / 60).values / 24
    return clock.year.values + day / clock.days_in_year.values


def _evaluate_terms(terms: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Evaluate terms (n, terms) with their coefficients (terms, y, x): (n, y, x)."""
    return np.tensordot(terms, coefficients, axes=1)
