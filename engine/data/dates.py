"""Times that xarray doesn't decode: YYYYMMDD as a number or in a name, text of WRF, months or years since a date."""

from __future__ import annotations

import datetime
import os
import re

import cftime
import numpy as np
import xarray as xr

DECODED_FROM = "decoded_from"  # attribute of a coordinate: its units in the file, in words
SINCE = re.compile(
    r"\s*(month|year)s?\s+since\s+(\d{1,4})-(\d{1,2})-(\d{1,2})(?:[T ]+0?0(?::0?0)*(?:\.0*)?)?\s*(?:Z|UTC)?"
)
WRF_TIMES = "Times"  # in files without XTIME, the only time
DAYS = "days since 1970-01-01"
IN_NAME = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-._]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    r"(?:([01]\d|2[0-3])(?:([0-5]\d)([0-5]\d)?)?)?(?!\d)"
)
START_IN_NAME = re.compile(r".*time from (\d{4})(\d\d)(\d\d)\s*", re.IGNORECASE)  # long_name of CAMS's forecasts

UNDATED = np.datetime64("1970-01-01", "s")  # stands for the time of a single step that isn't known
UNKNOWN = {"comment": "not known"}  # attributes of that time


def date_in_name(path: str) -> np.datetime64 | None:
    """Read the date in the name of a file; None if there is none, or more than one.

    YYYYMMDD, or YYYY-MM-DD with hyphens, dots or underscores; hour, minute and second may follow: YYYYMMDDhhmm.
    """
    found = {
        f"{year}-{month}-{day}T{hour or '00'}:{minute or '00'}:{second or '00'}"
        for year, _, month, day, hour, minute, second in IN_NAME.findall(os.path.basename(path))
    }
    try:
        return np.datetime64(found.pop(), "s") if len(found) == 1 else None
    except ValueError:  # 30 February
        return None


def with_days_since(dataset: xr.Dataset) -> xr.Dataset:
    """Give undecoded times the units that CF recommends, with `decoded_from` for what they had.

    Months and years are those of the calendar, and a fraction is one of the month or year that it falls into: 0.5
    months since 2000-01-01 is the middle of January. UDUNITS takes them for 30.44 and 365.24 days.
    """
    converted = {}
    for name, times in dataset.variables.items():
        if times.ndim > 1 or times.dtype.kind not in "iufSU" or not times.size:
            continue
        units = str(times.attrs.get("units", ""))
        calendar = str(times.attrs.get("calendar", "standard")).lower()
        if times.dtype.kind in "SU":
            if name != WRF_TIMES or any(
                t.dtype.kind == "M" and t.dims == times.dims for t in dataset.variables.values()
            ):
                continue
            dates = [_from_text(text, calendar) for text in times.values.astype(str).tolist()]
            units = "text"
        elif found := SINCE.fullmatch(units):
            step, start = found[1], tuple(int(part) for part in found.groups()[1:])
            dates = [_add(number, step, start, calendar) for number in times.values.ravel().tolist()]
        elif units == "hours" and (start_of := START_IN_NAME.fullmatch(str(times.attrs.get("long_name", "")))):
            first = cftime.datetime(*(int(part) for part in start_of.groups()), calendar=calendar)
            dates = [first + datetime.timedelta(hours=float(number)) for number in times.values.ravel().tolist()]
            units = f"hours, {times.attrs['long_name']}"
        elif "%Y%m%d" in units or (not units and (name in dataset.dims or name == "time")):
            dates = [_from_digits(number, calendar) for number in times.values.ravel().tolist()]
        else:
            continue
        if None in dates:
            continue
        days = np.reshape(cftime.date2num(dates, DAYS, calendar).astype(float), times.shape)
        attrs = {**times.attrs, "units": DAYS, "calendar": calendar, DECODED_FROM: units or "YYYYMMDD without units"}
        converted[name] = xr.Variable(times.dims, days, attrs)
    return dataset.assign_coords(converted) if converted else dataset


def _from_digits(number: float, calendar: str) -> cftime.datetime | None:
    """Read YYYYMMDD with a fraction of a day; None if it is no date."""
    if not 10_000_000 <= number < 100_000_000:  # eight digits
        return None
    day = int(number)
    try:
        date = cftime.datetime(day // 10000, day // 100 % 100, day % 100, calendar=calendar)
    except ValueError:
        return None
    return date + datetime.timedelta(seconds=round((number - day) * 86400))


def _from_text(text: str, calendar: str) -> cftime.datetime | None:
    """Read YYYY-MM-DD_hh:mm:ss; None if it is no date."""
    try:
        return cftime.datetime.strptime(text, "%Y-%m-%d_%H:%M:%S", calendar=calendar)
    except ValueError:
        return None


def _add(number: float, step: str, start: tuple[int, ...], calendar: str) -> cftime.datetime | None:
    """Add calendar months or years to a date; None if there is no such date."""
    months = 12 if step == "year" else 1
    if not np.isfinite(number):
        return None
    whole = int(np.floor(number))
    try:
        first, following = (_month_after(start, months * (whole + more), calendar) for more in (0, 1))
    except ValueError:
        return None
    return first + (following - first) * (number - whole)


def _month_after(start: tuple[int, ...], months: int, calendar: str) -> cftime.datetime:
    year, month, day = start
    count = year * 12 + month - 1 + months
    return cftime.datetime(count // 12, count % 12 + 1, day, calendar=calendar)
