"""Forecasts and hindcasts: each start, member and lead time is a sample, at the time for which it holds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from engine.data.lazy import stack_samples
from engine.errors import TimeError

START, MEMBER, LEAD = "forecast_reference_time", "realization", "forecast_period"  # also CF's standard names
NAMES = {  # usual names of their dimensions
    START: ("forecast_reference_time", "init", "init_time", "initial_time", "start", "start_date", "S"),
    MEMBER: ("realization", "number", "member", "ensemble", "M"),
    LEAD: ("forecast_period", "step", "lead", "leadtime", "lead_time", "L"),
}
SAMPLE_COORDS = (START, MEMBER, LEAD)
LEAD_UNITS = {"day": "D", "d": "D", "hour": "h", "hr": "h", "h": "h"}


def stack_forecast(field: xr.DataArray, path: str, notes: list[str]) -> tuple[xr.DataArray, dict[str, xr.Variable]]:
    """Put starts, members and lead times of a forecast along one dimension, in this order.

    Returns
    -------
    (time, …) at the times for which it holds, which may come more than once, and (time,) start, member and lead time
    of each sample. Other fields as they are, and nothing.

    Raises
    ------
    TimeError
        If the time for which it holds isn't there and can't be computed.
    """
    dims = {role: _dimension(field, role) for role in SAMPLE_COORDS}
    start, member, lead = dims[START], dims[MEMBER], dims[LEAD]
    if not (start and lead):
        return field, {}
    valid = _valid_times(field, start, lead, path)
    outer = [dim for dim in (start, member, lead) if dim]
    shape = tuple(field.sizes[dim] for dim in outer)
    numbers = dict(zip(outer, np.indices(shape).reshape(len(outer), -1), strict=True))
    times = valid[numbers[start], numbers[lead]]
    aux = {
        role: xr.Variable(
            "time",
            field[dim].values[numbers[dim]],
            {"standard_name": role} | {word: str(text) for word, text in field[dim].attrs.items() if word == "units"},
        )
        for role, dim in dims.items()
        if dim
    }
    labels = ("starts", "members", "lead times") if member else ("starts", "lead times")
    counts = ", ".join(f"{n} {label}" for n, label in zip(shape, labels, strict=True))
    notes.append(f"{field.name} in {path} is a forecast: {counts}, each a sample; parts are split by start")
    return stack_samples(field, outer, xr.Variable("time", times, {"standard_name": "time"})), aux


def is_forecast(times: xr.DataArray) -> bool:
    """True if a time axis is that of samples of a forecast."""
    return START in times.coords


def samples_of(times: xr.DataArray) -> dict[str, xr.Variable]:
    """Give start, member and lead time of each sample, (time,) each; nothing where it is no forecast."""
    return {name: times[name].variable for name in SAMPLE_COORDS if name in times.coords}


def same_samples(one: xr.DataArray, other: xr.DataArray) -> bool:
    """True if two time axes of forecasts have the same starts, members and lead times."""
    return one.sizes == other.sizes and all(
        (name in one.coords) == (name in other.coords)
        and (name not in one.coords or np.array_equal(one[name].values, other[name].values))
        for name in SAMPLE_COORDS
    )


def _dimension(field: xr.DataArray, role: str) -> str:
    """Find the dimension of starts, members or lead times; "" if there is none with a coordinate."""
    for dim in map(str, field.dims):
        if dim in field.coords and (field[dim].attrs.get("standard_name") == role or dim in NAMES[role]):
            return dim
    return ""


def _valid_times(field: xr.DataArray, start: str, lead: str, path: str) -> np.ndarray:
    """Give the times (start, lead) for which a forecast holds, from the file or by adding lead times to starts."""
    for coord in field.coords.values():
        if set(coord.dims) == {start, lead} and coord.dtype.kind in "MO":
            return coord.transpose(start, lead).values
    steps, unit = field[lead], str(field[lead].attrs.get("units", "")).strip().rstrip("s").lower()
    if field[start].dtype.kind not in "MO" or (steps.dtype.kind != "m" and unit not in LEAD_UNITS):
        raise TimeError(
            f"{field.name} in {path} is a forecast over {start} and {lead}, but lacks the times for which it holds",
            hint=f"expected a coordinate valid_time({start}, {lead}), or {lead} in hours or days",
            action=f"add it, or choose one with select: {{{start}: …}}",
        )
    if steps.dtype.kind == "m":
        deltas = steps.values.astype("timedelta64[s]")
    else:
        seconds = {"D": 86400, "h": 3600}[LEAD_UNITS[unit]]
        deltas = np.rint(steps.values * seconds).astype("timedelta64[s]")
    if field[start].dtype.kind == "O":
        return field[start].values[:, None] + deltas.astype(object)[None]
    return field[start].values[:, None] + deltas[None]
