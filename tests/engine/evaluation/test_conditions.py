"""Conditions: as text, and which steps of any calendar they leave."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from engine.evaluation.conditions import Condition
from engine.spec import Region

NAN = np.nan


@pytest.mark.parametrize(
    ("text", "condition", "words"),
    [
        ("", Condition(), ""),
        ("DJF", Condition(months=(12, 1, 2)), "DJF"),
        ("months:3,4", Condition(months=(3, 4)), "Mar and Apr"),
        ("hours:0,6,12", Condition(hours=(0, 6, 12)), "00, 06 and 12 h"),
        ("box:50,55.25,-6,2", Condition(region=Region((50, 55.25), (-6, 2))), "50 to 55.25° N, -6 to 2° E"),
        ("from:273.15", Condition(low=273.15), "HR from 273.15 K"),
        (
            "hardest:2/from:-1.5/below:20",
            Condition(hardest=2, low=-1.5, high=20),
            "2 hardest steps, HR from -1.5 below 20 K",
        ),
        ("sea", Condition(surface="sea"), "sea"),
        ("elevation:-10,500", Condition(elevation=(-10, 500)), "-10 to 500 m above sea level"),
        (
            "polygon:50,0,52,0,51,3/land",
            Condition(polygon=((50, 0), (52, 0), (51, 3)), surface="land"),
            "the area drawn around 51° N, 1° E, land",
        ),
        ("SON/hours:6/hardest:1", Condition((9, 10, 11), (6,), 1), "SON, 06 h, 1 hardest step"),
    ],
)
def test_text_is_read_as_it_is_written(text, condition, words):
    assert Condition.parse(text) == condition
    assert str(condition) == text
    assert condition.text("K") == words
    assert bool(condition) == bool(text)


def test_months_of_a_season_in_any_order_are_that_season():
    assert str(Condition.parse("months:1,2,12")) == "DJF"


@pytest.mark.parametrize(
    "text",
    ["DJF/months:3", "months:13", "months:0", "hours:24", "hours:-1", "hardest:0", "hardest:1,2", "months:",
     "hours:1.5", "months", "winter", "hours:1/hours:2", "hardest:x", "box:1,2,3", "box:2,1,0,5", "from:nan",
     "below:inf", "from:1,2", "from:2/below:2", "land/sea", "land:1", "elevation:5", "elevation:5,5", "elevation:nan,2",
     "polygon:1,2,3,4", "polygon:1,2,3,4,5", "polygon:1,2,91,4,5,6", "polygon:" + ",".join(["1"] * 82)],
)  # fmt: skip
def test_other_text_is_refused(text):
    with pytest.raises(
        ValueError, match="condition|invalid literal|could not convert|out of bounds|north first|no value|corners"
    ):
        Condition.parse(text)


def test_steps_of_a_360_day_calendar():
    times = xr.date_range("2001-01-30", periods=6, freq="12h", calendar="360_day", use_cftime=True)
    # 30 Jan 00 and 12 h, 1 Feb 00 and 12 h, 2 Feb 00 and 12 h
    none = np.zeros(6)
    assert Condition(months=(2,)).steps(times, none).tolist() == [2, 3, 4, 5]
    assert Condition(months=(2,), hours=(12,)).steps(times, none).tolist() == [3, 5]
    assert Condition(months=(7,)).steps(times, none).tolist() == []
    assert Condition().steps(times, none).tolist() == [0, 1, 2, 3, 4, 5]


def test_the_hardest_steps_are_in_order_of_time_without_those_that_have_no_score():
    times = xr.date_range("2001-01-31", periods=6, freq="12h")  # the last four in February
    difficulty = np.array([9.0, 9.0, NAN, 2.0, 1.0, 3.0])
    assert Condition(hardest=2).steps(times, difficulty).tolist() == [0, 1]
    assert Condition(months=(2,), hardest=2).steps(times, difficulty).tolist() == [3, 5]
    assert Condition(months=(2,), hardest=99).steps(times, difficulty).tolist() == [3, 4, 5]


def test_values_are_at_least_the_lower_limit_and_below_the_upper():
    hr = np.array([1.0, 2.0, 3.0, NAN])
    np.testing.assert_array_equal(Condition(low=2, high=3).values(hr), [NAN, 2, NAN, NAN])
    np.testing.assert_array_equal(Condition(high=2).values(hr), [1, NAN, NAN, NAN])
    assert Condition().values(hr) is hr
