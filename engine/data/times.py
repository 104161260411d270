"""Time axes of any CF calendar: matching, periods, parts, and windows of steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from engine.data.forecasts import MEMBER, START, is_forecast, same_samples
from engine.errors import TimeError
from engine.spec import Period, Split


@dataclass(frozen=True)
class Parts:
    """Time steps of each part, increasing numbers into the common time axis."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Match:
    """Steps of each field that all others have as well."""

    steps: tuple[np.ndarray, ...]
    notes: tuple[str, ...]


def match(times: Sequence[xr.DataArray], names: Sequence[str]) -> Match:
    """Find the steps that all time axes have in common.

    Parameters
    ----------
    times : increasing time coordinates, (time,) each.
    names : of the fields, for messages.

    Returns
    -------
    Match
        Daily fields stamped at different hours are matched by day, monthly fields stamped on different days by month,
        and different calendars by date, which a note then states.

    Raises
    ------
    TimeError
        If no step is in all of them.
    """
    notes = _note_calendars(times, names)
    seconds = [encode(t) for t in times]
    months = [s // 10**8 for s in seconds]
    if all(_is_monthly(s) for s in seconds) and len(_common(months)) > len(_common(seconds)):
        stamps = "; ".join(f"{name} begins at {first_and_last(t)[0]}" for name, t in zip(names, times, strict=True))
        seconds = months
        notes.append(f"monthly fields are stamped on different days ({stamps}): matched by month")
    elif all(_is_daily(s) for s in seconds) and len({int(s[0] % 10**6) for s in seconds}) > 1:
        seconds = [s // 10**6 for s in seconds]
        notes.append(f"{', '.join(names)} are daily but stamped at different hours: matched by day")
    common = _common([np.unique(s) for s in seconds])
    if not len(common):
        spans = "; ".join(f"{name} has {span(t)}" for name, t in zip(names, times, strict=True))
        raise TimeError(
            f"no time step is in all fields ({spans})", hint="expected common times", action="choose overlapping files"
        )
    for name, keys in zip(names, seconds, strict=True):
        if lonely := int((~np.isin(keys, common)).sum()):
            notes.append(f"{name}: {lonely} of {len(keys)} time steps have no partner and are left out")
    return Match(_partners(times, seconds, common, names), tuple(notes))


def within(times: xr.DataArray, period: Period) -> np.ndarray:
    """Select the steps from the first to the last date, both included to their end, in any calendar."""
    keys = encode(times)
    begin, end = (_pack(np.array(parts, np.int64)) for parts in (period.begin, period.end))
    return np.flatnonzero((keys >= begin) & (keys <= end))


def split_parts(times: xr.DataArray, split: Split) -> Parts:
    """Split the time steps into training, validation and test part.

    Fractions are taken in order of time. `split.gap` steps before a later part are left out of the earlier one, so
    the test part is the same with and without a gap. Of forecasts, starts are split in place of steps.

    Raises
    ------
    TimeError
        If a part is empty, or two parts share steps.
    """
    if is_forecast(times):
        return _by_starts(times[START], split)
    parts = _by_dates(times, split) if isinstance(split.train, tuple) else _by_fractions(len(times), split)
    return _with_gap(parts, split.gap, "step", span(times))


def split_rows(rows: int, split: Split) -> Parts:
    """Split the LR rows of a single time step into parts, in order, as `split_parts` does time steps."""
    if isinstance(split.train, tuple):
        raise TimeError(
            "data.split is by dates, but there is a single time step, whose rows are split", action="give fractions"
        )
    return _with_gap(_by_fractions(rows, split), split.gap, "row", f"a single time step, and {rows} LR rows to split")


def _with_gap(parts: dict[str, np.ndarray], gap: int, item: str, what: str) -> Parts:
    """Leave the gap out, and check that no part is empty."""
    train, validation, test = (parts[name] for name in PARTS)
    train = _leave_gap(train, np.concatenate([validation, test]), gap)
    validation = _leave_gap(validation, test, gap)
    for name, steps in zip(PARTS, (train, validation, test), strict=True):
        if not len(steps):
            raise TimeError(
                f"data.split leaves no {item} for {name}",
                hint=f"the data have {what}",
                action="choose other fractions or dates, or a smaller gap",
            )
    return Parts(train, validation, test)


PARTS = ("train", "validation", "test")
MOST_DAYS_APART = 3  # of stamps of monthly means: the end of a month is its 28th to 31st


def in_blocks(steps: np.ndarray, shape: tuple[int, ...], cells: int) -> Iterator[np.ndarray]:
    """Cut steps into blocks of at most so many cells, at least one step each; `shape` is that of one step."""
    per_block = max(1, cells // max(1, math.prod(shape)))
    for start in range(0, len(steps), per_block):
        yield steps[start : start + per_block]


def spread_evenly(steps: np.ndarray, most: int) -> np.ndarray:
    """Choose at most so many steps, evenly from the first to the last."""
    return steps[np.unique(np.linspace(0, len(steps) - 1, min(len(steps), most)).astype(int))]


def segment_numbers(times: xr.DataArray) -> np.ndarray:
    """Number the unbroken segments of a time axis: (time,); one ends where a step is longer than usual."""
    steps = np.diff(elapsed_seconds(times))
    if not len(steps):
        return np.zeros(len(times), int)
    usual = np.median(steps)
    is_break = steps > 1.5 * usual
    for name in {START, MEMBER} & set(times.coords):
        is_break |= times[name].values[1:] != times[name].values[:-1]
    return np.concatenate([[0], np.cumsum(is_break)]).astype(int)


def window(indices: np.ndarray, k: int, segment: np.ndarray) -> np.ndarray:
    """Find the steps around each step.

    Parameters
    ----------
    indices : (n,) time steps.
    k : length of the window, odd, centred.
    segment : (time,) from `segment_numbers`; beyond its end, the outermost step of a segment is repeated.

    Returns
    -------
    (n, k) time steps.
    """
    first = np.searchsorted(segment, segment[indices], side="left")
    last = np.searchsorted(segment, segment[indices], side="right") - 1
    offsets = np.arange(k) - k // 2
    return np.clip(indices[:, None] + offsets, first[:, None], last[:, None])


def time_features(times: xr.DataArray, kind: str) -> np.ndarray:
    """Compute sine and cosine of the time of day and of the day of the year.

    Parameters
    ----------
    times : (time,) of any CF calendar.
    kind : none, hour, season or both (hour first).

    Returns
    -------
    (time, 0), (time, 2) or (time, 4) float32.
    """
    clock = times.dt
    day = (clock.hour + clock.minute / 60 + clock.second / 3600).values / 24
    year = (clock.dayofyear.values - 1 + day) / clock.days_in_year.values
    turns = {"none": [], "hour": [day], "season": [year], "both": [day, year]}[kind]
    waves = [wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)]
    return np.stack(waves, 1).astype(np.float32) if waves else np.zeros((len(times), 0), np.float32)


def encode(times: xr.DataArray) -> np.ndarray:
    """Encode times as int64 YYYYMMDDhhmmss (time,): ordered as they are, and comparable in every calendar."""
    clock = times.dt
    parts = (clock.year, clock.month, clock.day, clock.hour, clock.minute, clock.second)
    return _pack(np.stack([part.values.astype(np.int64) for part in parts]))


def elapsed_seconds(times: xr.DataArray) -> np.ndarray:
    """Compute seconds (time,) float64 since the first step."""
    since = times.values - times.values[0]
    if since.dtype.kind == "m":
        return since / np.timedelta64(1, "s")
    return np.array([delta.total_seconds() for delta in since])


def span(times: xr.DataArray) -> str:
    """Describe a time axis, as in '744 steps, 2019-03-01T00:00 to 2019-03-31T23:00'."""
    first, last = first_and_last(times)
    steps = "step" if len(times) == 1 else "steps"
    return f"{len(times)} {steps}, {first} to {last}"


def first_and_last(times: xr.DataArray) -> tuple[str, str]:
    """Format the first and the last time, to the minute."""
    return _format(times.values[0]), _format(times.values[-1])


def _format(time: object) -> str:
    if isinstance(time, np.datetime64):
        return str(time.astype("datetime64[m]"))
    return time.strftime("%Y-%m-%dT%H:%M")  # type: ignore[attr-defined]


def _pack(parts: np.ndarray) -> np.ndarray:
    """Pack years to seconds (6, …) as one number YYYYMMDDhhmmss (…)."""
    return np.tensordot([10**10, 10**8, 10**6, 10**4, 100, 1], parts, 1)


def _common(keys: Sequence[np.ndarray]) -> np.ndarray:
    return functools.reduce(np.intersect1d, keys)


def _partners(
    times: Sequence[xr.DataArray], keys: Sequence[np.ndarray], common: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, ...]:
    """Find the steps of each field; where some are forecasts, for each of their samples, which must be the same."""
    forecasts = [number for number, axis in enumerate(times) if is_forecast(axis)]
    if not forecasts:
        return tuple(np.flatnonzero(np.isin(one, common)) for one in keys)
    first = forecasts[0]
    for other in forecasts[1:]:
        if not same_samples(times[first], times[other]):
            raise TimeError(
                f"{names[first]} and {names[other]} are forecasts of different starts, members or lead times",
                hint="expected the same in both",
                action="choose files of one forecast system, or one member with select",
            )
    samples = np.flatnonzero(np.isin(keys[first], common))
    wanted = keys[first][samples]
    return tuple(samples if k in forecasts else np.searchsorted(one, wanted) for k, one in enumerate(keys))


def _by_starts(starts: xr.DataArray, split: Split) -> Parts:
    """Split the samples of forecasts so that no start is in two parts."""
    each = np.unique(starts.values)
    parts = split_parts(xr.DataArray(each, dims="time"), split)
    return Parts(
        *(np.flatnonzero(np.isin(starts.values, each[s])) for s in (parts.train, parts.validation, parts.test))
    )


def _note_calendars(times: Sequence[xr.DataArray], names: Sequence[str]) -> list[str]:
    calendars = [str(t.dt.calendar).replace("proleptic_gregorian", "standard") for t in times]
    calendars = [calendar.replace("gregorian", "standard") for calendar in calendars]
    return [
        f"{names[0]} has the calendar {calendars[0]}, {name} has {calendar}: matched by date; dates that only one of "
        "them has are left out"
        for name, calendar in zip(names, calendars, strict=True)
        if calendar != calendars[0]
    ]


def _is_monthly(keys: np.ndarray) -> bool:
    """True if there is one step in each month from the first to the last, on about the same day of each."""
    months, days = keys // 10**10 * 12 + keys // 10**8 % 100, keys // 10**6 % 100
    return len(keys) > 1 and bool((np.diff(months) == 1).all()) and np.ptp(days) <= MOST_DAYS_APART


def _is_daily(keys: np.ndarray) -> bool:
    """True if there is one step a day, always at the same hour."""
    return len(np.unique(keys % 10**6)) == 1 and len(np.unique(keys // 10**6)) == len(np.unique(keys))


def _by_fractions(n: int, split: Split) -> dict[str, np.ndarray]:
    ends = np.rint(np.cumsum([split.train, split.validation, split.test]) * n + 1e-9).astype(int)
    starts = [0, *ends[:-1]]
    return {name: np.arange(a, b) for name, a, b in zip(PARTS, starts, ends, strict=True)}


def _by_dates(times: xr.DataArray, split: Split) -> dict[str, np.ndarray]:
    parts = {
        name: functools.reduce(np.union1d, (within(times, period) for period in getattr(split, name))) for name in PARTS
    }
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        if len(shared := np.intersect1d(parts[one], parts[other])):
            raise TimeError(
                f"data.split: {one} and {other} share {span(times[shared])}", hint="expected dates that don't overlap"
            )
    return parts


def _leave_gap(steps: np.ndarray, others: np.ndarray, gap: int) -> np.ndarray:
    """Drop the steps that are `gap` steps or less away from any of `others`."""
    if not gap or not len(others):
        return steps
    near = (others[:, None] + np.arange(-gap, gap + 1)).ravel()
    return steps[~np.isin(steps, near)]
