"""Options that have parts: a source of data, a region, a period, a split."""

from __future__ import annotations

import dataclasses
import datetime
import glob
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from engine.errors import SpecError
from engine.options import parts_of

DATE = re.compile(r"([+-]?\d{4,9})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?)?)?")  # ISO 8601, expanded

URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
SECRET = re.compile(r"//[^/?#]*@|[?&][^=&]*(token|key|secret|password|signature|sig)=", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """A variable in a file, a glob, a list of files, a Zarr store, or what is behind a URL."""

    EXPECTED: ClassVar[str] = "a mapping {path: file, glob, list of files, Zarr store or URL, variable: name}"
    path: str | tuple[str, ...]
    variable: str = ""  # may be left out where the file has just one
    units: str = ""  # replaces the unit in the file, or gives the one that is missing there
    select: tuple[tuple[str, float | str], ...] = ()  # a value along each dimension beside time, y and x

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        parts = parts_of(cls, value, where)
        path, variable, units = parts["path"], parts.get("variable", ""), parts.get("units", "")
        is_list = isinstance(path, list | tuple)
        if not (path and all(isinstance(p, str) and p for p in (path if is_list else [path]))):
            raise SpecError(f"{where}.path is {path!r}", hint="expected a file name, a glob, or a list of file names")
        if any(is_url(p) and SECRET.search(p) for p in (path if is_list else [path])):  # don't repeat it
            raise SpecError(
                f"{where}.path has a password or key in its address",
                hint="specs are kept with runs, and shown",
                action="leave it out, and put it into ~/.netrc, or where the store's library looks for it",
            )
        if not isinstance(variable, str):
            raise SpecError(f"{where}.variable is {variable!r}", hint="expected the name of a variable in the file")
        if not isinstance(units, str):
            raise SpecError(f"{where}.units is {units!r}", hint="expected a unit as text, as in 'K' or 'mm/day'")
        select = parts.get("select") or {}
        if not isinstance(select, Mapping) or not all(
            isinstance(name, str) and (_is_number(value) or (isinstance(value, str) and value))
            for name, value in select.items()
        ):
            raise SpecError(
                f"{where}.select is {select!r}",
                hint="expected a mapping of dimensions to a value each, as in {level: 850}",
            )
        return cls(tuple(path) if is_list else path, variable, units, tuple(select.items()))

    def plain(self) -> dict[str, object]:
        path = list(self.path) if isinstance(self.path, tuple) else self.path
        names = {"variable": self.variable, "units": self.units, "select": dict(self.select)}
        return {"path": path, **{part: name for part, name in names.items() if name}}

    def within(self, folder: Path) -> Source:
        """The same source with its paths made absolute from `folder`; `~` and `$VAR` are replaced."""
        if isinstance(self.path, tuple):
            return dataclasses.replace(self, path=tuple(_absolute(p, folder) for p in self.path))
        return dataclasses.replace(self, path=_absolute(self.path, folder))

    def files(self) -> list[str]:
        """All files, globs expanded, in order of name; a path that doesn't exist is kept as given.

        Brackets are taken literally where a file or folder has them in its name.
        """
        paths = [self.path] if isinstance(self.path, str) else self.path
        return [name for path in paths for name in _matches(_expand(path))]


def is_url(path: str) -> bool:
    """True if a path is an address, such as https://…, rather than a file here."""
    return bool(URL.match(path))


def _absolute(path: str, folder: Path) -> str:
    return path if is_url(path) else os.path.join(folder, _expand(path, folder))


def _matches(path: str) -> list[str]:
    if is_url(path) or os.path.lexists(path):
        return [path]
    found = glob.glob(path.replace("[", "[[]"), recursive=True) or glob.glob(path, recursive=True)
    return sorted(found) or [path]


def _expand(path: str, folder: Path | str = "") -> str:
    """Replace `~` and `$VAR` as a shell does, unless the path exists as it stands, or is an address."""
    return (
        path
        if is_url(path) or os.path.lexists(os.path.join(folder, path))
        else os.path.expanduser(os.path.expandvars(path))
    )


@dataclass(frozen=True)
class Region:
    """A box: latitudes in degrees north, longitudes in degrees east."""

    EXPECTED: ClassVar[str] = "a mapping {lat: [south, north], lon: [west, east]}"
    lat: tuple[float, float]
    lon: tuple[float, float]

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        parts = parts_of(cls, value, where)
        for side in ("lat", "lon"):
            pair = parts[side]
            if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(_is_number(v) for v in pair)):
                raise SpecError(f"{where}.{side} is {pair!r}", hint=f"expected two numbers, as in {cls.EXPECTED}")
        south, north = map(float, parts["lat"])
        if south >= north:
            raise SpecError(
                f"{where}.lat is [{south:g}, {north:g}]", hint="expected the south edge first, then the north"
            )
        west, east = map(float, parts["lon"])
        return cls((south, north), (west, east))

    def plain(self) -> dict[str, object]:
        return {"lat": list(self.lat), "lon": list(self.lon)}


@dataclass(frozen=True)
class Period:
    """From one date to another, both included."""

    EXPECTED: ClassVar[str] = "two dates [first, last], as in ['2001-01-01', '2010-12-31']"
    first: str
    last: str

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        if not (isinstance(value, list | tuple) and len(value) == 2):
            raise SpecError(f"{where} is {value!r}", hint=f"expected {cls.EXPECTED}")
        period = cls(*(_date(v, where, cls.EXPECTED) for v in value))
        if period.begin > period.end:
            raise SpecError(
                f"{where} is [{period.first}, {period.last}]",
                hint="the first date is after the last",
                action="swap them",
            )
        return period

    @property
    def begin(self) -> tuple[int, ...]:
        """Year, month, day, hour, minute, second of the first moment, in any calendar."""
        given = _date_fields(self.first)
        return (*given, *[0] * (6 - len(given)))

    @property
    def end(self) -> tuple[int, ...]:
        """Year to second of the last moment, in any calendar: '2001' lasts to the end of that year."""
        given = _date_fields(self.last)
        return (*given, *[99] * (6 - len(given)))

    def plain(self) -> list[str]:
        return [self.first, self.last]


@dataclass(frozen=True)
class ScaleRange:
    """From a smallest to a largest scale, fractions included."""

    EXPECTED: ClassVar[str] = "two numbers [smallest, largest] from 1 to 64, as in [2, 6]"
    low: float
    high: float

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        is_pair = isinstance(value, list | tuple) and len(value) == 2 and all(_is_number(v) for v in value)
        if not (is_pair and 1 <= value[0] < value[1] <= 64):
            raise SpecError(f"{where} is {value!r}", hint=f"expected {cls.EXPECTED}")
        return cls(*map(float, value))

    def plain(self) -> list[float]:
        return [self.low, self.high]


@dataclass(frozen=True)
class Split:
    """Time steps for training, validation and test: fractions in order of time, or two dates each.

    `gap` time steps are left out between neighbouring parts, so that they are less correlated.
    """

    EXPECTED: ClassVar[str] = (
        "a mapping {train, validation, test, gap}: fractions that sum to at most 1, or two dates each, or pairs of them"
    )
    train: float | tuple[Period, ...]
    validation: float | tuple[Period, ...]
    test: float | tuple[Period, ...]
    gap: int = 0

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        parts = dict(parts_of(cls, value, where))
        gap = parts.pop("gap", 0)
        if isinstance(gap, bool) or not isinstance(gap, int) or gap < 0:
            raise SpecError(f"{where}.gap is {gap!r}", hint="expected a whole number from 0 on (time steps)")
        if all(_is_number(v) for v in parts.values()):
            return cls(**cls._fractions(parts, where), gap=gap)
        if any(_is_number(v) for v in parts.values()):
            raise SpecError(f"{where} mixes fractions and dates", hint=f"expected {cls.EXPECTED}")
        return cls(**{part: _periods(v, f"{where}.{part}") for part, v in parts.items()}, gap=gap)

    @classmethod
    def _fractions(cls, parts: Mapping[str, Any], where: str) -> dict[str, float]:
        fractions = {part: float(v) for part, v in parts.items()}
        for part, fraction in fractions.items():
            if not 0 < fraction < 1:
                raise SpecError(f"{where}.{part} is {fraction:g}", hint="expected a fraction between 0 and 1")
        if (total := sum(fractions.values())) > 1 + 1e-9:
            raise SpecError(f"{where} sums to {total:g}", hint="expected fractions that sum to at most 1")
        return fractions

    def plain(self) -> dict[str, object]:
        parts: dict[str, object] = {}
        for part in ("train", "validation", "test"):
            given = getattr(self, part)
            pairs = [] if isinstance(given, float) else [period.plain() for period in given]
            parts[part] = (pairs[0] if len(pairs) == 1 else pairs) or given
        return {**parts, "gap": self.gap} if self.gap else parts


def _periods(value: Any, where: str) -> tuple[Period, ...]:
    """Two dates, or a list of such pairs."""
    if isinstance(value, list | tuple) and value and all(isinstance(pair, list | tuple) for pair in value):
        return tuple(Period.parse(pair, where) for pair in value)
    return (Period.parse(value, where),)


def _is_number(value: Any) -> bool:
    """True for finite numbers within the range of a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _date(value: Any, where: str, expected: str) -> str:
    """An ISO date or date and time as text; a day of any CF calendar is accepted, so 30 February is."""
    text = value.isoformat() if isinstance(value, datetime.date) else value  # a date given in Python
    if not (isinstance(text, str) and DATE.fullmatch(text)):
        raise SpecError(
            f"{where} is {value!r}", hint=f"expected {expected}; a year has at least four digits, as in 0850"
        )
    bounds = ((1, 12), (1, 31), (0, 23), (0, 59), (0, 59))
    for part, (least, most) in zip(_date_fields(text)[1:], bounds, strict=False):
        if not least <= part <= most:
            raise SpecError(f"{where} is {value!r}, in which {part:02d} can't be", hint=f"expected {expected}")
    return text


def _date_fields(text: str) -> tuple[int, ...]:
    """'-0850-02-30T06:00' → (-850, 2, 30, 6, 0): those given of year, month, day, hour, minute, second."""
    found = DATE.fullmatch(text)
    assert found
    return tuple(int(part) for part in found.groups() if part)
