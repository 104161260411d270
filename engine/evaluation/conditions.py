"""Conditions under which a test part is scored: which of its time steps, cells and values count."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from engine.spec import Region

SEASONS = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}
SURFACES = ("land", "sea")
LARGEST = 1e30
MOST_CORNERS = 40  # of a polygon, so that a link stays short enough to be sent
_PARTS: dict[str, tuple[Callable[[str], float], float, float, int]] = {  # kind, least, most, how many (0: any)
    "months": (int, 1, 12, 0),
    "hours": (int, 0, 23, 0),
    "hardest": (int, 1, 10**9, 1),
    "box": (float, -360, 360, 4),
    "polygon": (float, -360, 360, 0),
    "elevation": (float, -LARGEST, LARGEST, 2),
    "from": (float, -LARGEST, LARGEST, 1),
    "below": (float, -LARGEST, LARGEST, 1),
}


@dataclass(frozen=True)
class Condition:
    """Values that count; empty, 0 or None is no condition.

    months : of the calendar, 1 to 12; hours : of the day, 0 to 23.
    hardest : number of steps that are hardest to interpolate, of those that months and hours leave.
    region : of cells, by their centres; polygon : latitude and longitude of its corners, in degrees, likewise.
    surface : of cells, one of `SURFACES`; elevation : of cells, at least the first and below the second, in m.
    low, high : HR is at least `low` and below `high`, in the target's unit.
    """

    months: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    hardest: int = 0
    region: Region | None = None
    low: float | None = None
    high: float | None = None
    surface: str = ""
    elevation: tuple[float, float] | None = None
    polygon: tuple[tuple[float, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` gives, as 'DJF/hours:0,12/hardest:10/box:50,55,-6,2/land/from:273.15/below:280'; '' is none.

        A box is south, north, west, east; a polygon latitude, longitude of each corner.

        Raises
        ------
        ValueError
            If a part is none of these, comes twice, or is out of bounds.
        """
        given: dict[str, tuple[Any, ...]] = {}
        for part in filter(None, text.split("/")):
            name, _, words = part.partition(":")
            numbers: tuple[Any, ...] = SEASONS.get(part, ())
            if numbers:
                name = "months"
            elif part in SURFACES:
                name, numbers = "surface", (part,)
            elif name in _PARTS:
                kind, least, most, count = _PARTS[name]
                numbers = tuple(map(kind, words.split(",")))
                if not all(least <= number <= most for number in numbers) or count not in (0, len(numbers)):
                    raise ValueError(f"{part!r} is out of bounds")
            else:
                raise ValueError(f"{part!r} is not a condition")
            if name in given:
                raise ValueError(f"{part!r} is the second condition of its kind")
            given[name] = numbers
        south, north, west, east = box = given.get("box", (0.0, 1.0, 0.0, 0.0))
        if not south < north:
            raise ValueError(f"the box {box} has its north first")
        low, high = (given.get(name, (None,))[0] for name in ("from", "below"))
        for least, most in ((low, high), given.get("elevation", (None, None))):
            if least is not None and most is not None and not least < most:
                raise ValueError(f"from {least:g} below {most:g} holds no value")
        sides = given.get("polygon", ())
        polygon = tuple(zip(sides[::2], sides[1::2], strict=False))
        if sides and (len(sides) % 2 or not 3 <= len(polygon) <= MOST_CORNERS or max(map(abs, sides[::2])) > 90):
            raise ValueError(f"a polygon needs latitude and longitude of 3 to {MOST_CORNERS} corners")
        return cls(
            months=given.get("months", ()),
            hours=given.get("hours", ()),
            hardest=given.get("hardest", (0,))[0],
            region=Region((south, north), (west, east)) if "box" in given else None,
            low=low,
            high=high,
            surface=given.get("surface", ("",))[0],
            elevation=given.get("elevation"),
            polygon=polygon,
        )

    def __bool__(self) -> bool:
        return self != type(self)()

    def __str__(self) -> str:
        parts = [self.season or f"months:{_listed(self.months)}"] if self.months else []
        parts += [f"hours:{_listed(self.hours)}"] if self.hours else []
        parts += [f"hardest:{self.hardest}"] if self.hardest else []
        parts += [f"box:{_listed((*self.region.lat, *self.region.lon))}"] if self.region else []
        parts += [f"polygon:{_listed(sum(self.polygon, ()))}"] if self.polygon else []
        parts += [self.surface] if self.surface else []
        parts += [f"elevation:{_listed(self.elevation)}"] if self.elevation else []
        parts += [f"from:{self.low:.9g}"] if self.low is not None else []
        return "/".join([*parts, *([f"below:{self.high:.9g}"] if self.high is not None else [])])

    @property
    def season(self) -> str:
        """Name of the season that the months are, '' if they are none."""
        return next((name for name, months in SEASONS.items() if set(months) == set(self.months)), "")

    @property
    def of_steps(self) -> Self:
        """The condition without its part on cells and values: all of a step counts, or nothing."""
        return type(self)(self.months, self.hours, self.hardest)

    @property
    def of_cells(self) -> Self:
        """The condition without its part on steps and values: all of a cell counts, or nothing."""
        return replace(self, months=(), hours=(), hardest=0, low=None, high=None)

    def text(self, units: str = "") -> str:
        """The condition in words, as 'DJF, 00 and 12 h, 10 hardest steps, HR from 273 K'; '' without one."""
        parts = [self.season or _joined([calendar.month_abbr[month] for month in self.months])] if self.months else []
        parts += [f"{_joined([f'{hour:02d}' for hour in self.hours])} h"] if self.hours else []
        parts += [f"{self.hardest} hardest step{'s' if self.hardest > 1 else ''}"] if self.hardest else []
        if self.region:
            (south, north), (west, east) = self.region.lat, self.region.lon
            parts.append(f"{south:.5g} to {north:.5g}° N, {west:.5g} to {east:.5g}° E")
        if self.polygon:
            lat, lon = np.mean(self.polygon, axis=0)
            parts.append(f"the area drawn around {lat:.4g}° N, {lon:.4g}° E")
        parts += [self.surface] if self.surface else []
        if self.elevation:
            parts.append(f"{self.elevation[0]:.5g} to {self.elevation[1]:.5g} m above sea level")
        limits = {"from": self.low, "below": self.high}
        values = " ".join(f"{word} {value:.9g}" for word, value in limits.items() if value is not None)
        return ", ".join([*parts, *([f"HR {values} {units}".rstrip()] if values else [])])

    def steps(self, times: pd.Index, difficulty: np.ndarray) -> np.ndarray:
        """Find the steps that count, in order.

        times : dates of any calendar; difficulty : (time,) RMSE of the interpolated field; a step without one is never
        among the hardest.
        """
        chosen = np.ones(len(times), bool)
        for given, own in ((self.months, times.month), (self.hours, times.hour)):
            chosen &= np.isin(own, given) if given else True
        steps = np.flatnonzero(chosen)
        if not self.hardest:
            return steps
        steps = steps[np.isfinite(difficulty[steps])]
        return np.sort(steps[np.argsort(-difficulty[steps], kind="stable")[: self.hardest]])

    def values(self, hr: np.ndarray) -> np.ndarray:
        """Replace by NaN what is out of the range of values; then float32."""
        if self.low is None and self.high is None:
            return hr
        hr = hr.astype(np.float32, copy=False)
        inside = np.ones(hr.shape, bool) if self.low is None else hr >= self.low
        if self.high is not None:
            inside &= hr < self.high
        bits = -(~inside).astype(np.int32)  # all bits of what is out of it, which are NaN, none of the rest
        return (hr.view(np.int32) | bits).view(np.float32)  # twenty times as fast as by `where`


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:.9g}" for number in numbers)


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
