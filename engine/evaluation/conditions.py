"""Conditions under which a test part is scored: which of its time steps count."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

SEASONS = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}
BOUNDS = {"months": (1, 12), "hours": (0, 23), "hardest": (1, 10**9)}


@dataclass(frozen=True)
class Condition:
    """Time steps that count; empty or 0 is no condition.

    months : of the calendar, 1 to 12; hours : of the day, 0 to 23.
    hardest : number of steps that are hardest to interpolate, of those that the others leave.
    """

    months: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    hardest: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` gives, as 'DJF/hours:0,12/hardest:10'; '' is no condition.

        Raises
        ------
        ValueError
            If a part is none of these, comes twice, or is out of bounds.
        """
        given: dict[str, tuple[int, ...]] = {}
        for part in filter(None, text.split("/")):
            name, _, words = ("months", "", "") if part in SEASONS else part.partition(":")
            numbers = SEASONS[part] if part in SEASONS else tuple(map(int, words.split(",")))
            low, high = BOUNDS.get(name, (0, -1))
            if name in given or not all(low <= number <= high for number in numbers):
                raise ValueError(f"{part!r} is not a condition, or given twice")
            given[name] = numbers
        hardest = given.get("hardest", (0,))
        if len(hardest) > 1:
            raise ValueError(f"hardest is {hardest}, expected one number")
        return cls(given.get("months", ()), given.get("hours", ()), hardest[0])

    def __bool__(self) -> bool:
        return self != type(self)()

    def __str__(self) -> str:
        parts = [self.season or f"months:{_listed(self.months)}"] if self.months else []
        parts += [f"hours:{_listed(self.hours)}"] if self.hours else []
        return "/".join([*parts, *([f"hardest:{self.hardest}"] if self.hardest else [])])

    @property
    def season(self) -> str:
        """Name of the season that the months are, '' if they are none."""
        return next((name for name, months in SEASONS.items() if set(months) == set(self.months)), "")

    @property
    def text(self) -> str:
        """The condition in words, as 'DJF, 00 and 12 h, 10 hardest steps'; '' without one."""
        parts = [self.season or _joined([calendar.month_abbr[month] for month in self.months])] if self.months else []
        parts += [f"{_joined([f'{hour:02d}' for hour in self.hours])} h"] if self.hours else []
        parts += [f"{self.hardest} hardest step{'s' if self.hardest > 1 else ''}"] if self.hardest else []
        return ", ".join(parts)

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


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
