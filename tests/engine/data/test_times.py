import math
from datetime import timedelta

import cftime
import numpy as np
import pytest
import xarray as xr

from engine.data.times import match, segment_numbers, span, split_parts, time_features, window, within
from engine.errors import TimeError
from engine.spec import Period, Split
from tests.engine.data.mock import steps

CALENDARS = ["standard", "noleap", "360_day"]


def axis(n: int = 20, **how) -> xr.DataArray:
    return xr.DataArray(steps(n, **how), dims="time", name="time")


@pytest.mark.parametrize("calendar", CALENDARS)
def test_common_steps(calendar):
    first, second = axis(10, calendar=calendar), axis(10, start="2001-01-04", calendar=calendar)
    matched = match([first, second], ["data.target", "data.lr"])
    np.testing.assert_array_equal(matched.steps[0], np.arange(3, 10))
    np.testing.assert_array_equal(matched.steps[1], np.arange(7))
    assert matched.notes == (
        "data.target: 3 of 10 time steps have no partner and are left out",
        "data.lr: 3 of 10 time steps have no partner and are left out",
    )


def test_equal_times_need_no_note():
    assert match([axis(5), axis(5)], ["a", "b"]).notes == ()


def test_days_stamped_at_different_hours():
    noon = axis(10, start="2001-01-02T12:00")
    matched = match([axis(10), noon], ["data.target", "data.lr"])
    np.testing.assert_array_equal(matched.steps[0], np.arange(1, 10))
    np.testing.assert_array_equal(matched.steps[1], np.arange(9))
    assert matched.notes[0] == "data.target, data.lr are daily but stamped at different hours: matched by day"


def test_hours_are_not_matched_by_day():
    with pytest.raises(TimeError, match="no time step is in all fields"):
        match([axis(10), axis(10, start="2001-01-01T03:00", frequency="6h")], ["data.target", "data.lr"])


def test_no_common_times():
    with pytest.raises(TimeError) as caught:
        match([axis(3), axis(2, start="2002-01-01")], ["data.target", "data.lr"])
    assert str(caught.value) == (
        "no time step is in all fields (data.target has 3 steps, 2001-01-01T00:00 to 2001-01-03T00:00; data.lr has 2 "
        "steps, 2002-01-01T00:00 to 2002-01-02T00:00): expected common times; choose overlapping files"
    )


def test_monthly_means_stamped_on_different_days_are_matched_by_month():
    first = axis(6, frequency="MS")  # 1 January to 1 June
    middle = xr.DataArray(steps(6, start="2001-02-01", frequency="MS") + np.timedelta64(14, "D"), dims="time")
    matched = match([first, middle], ["data.target", "data.lr"])
    np.testing.assert_array_equal(matched.steps[0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(matched.steps[1], [0, 1, 2, 3, 4])
    assert matched.notes[0] == (
        "monthly fields are stamped on different days (data.target begins at 2001-01-01T00:00; data.lr begins at "
        "2001-02-15T00:00): matched by month"
    )
    with pytest.raises(TimeError, match="no time step is in all fields"):
        match([first, middle[[0, 2, 4]]], ["a", "b"])  # with months left out: no monthly means
    assert "matched by month" not in str(match([first, first[1:]], ["a", "b"]).notes)
    with pytest.raises(TimeError, match="no time step is in all fields"):
        match([axis(2, start="2001-01-31"), axis(2, start="2001-01-30", frequency="3D")], ["a", "b"])  # two days


def test_calendars_that_differ_are_matched_by_date():
    real, model = (
        axis(4, start="2004-02-27"),
        axis(4, start="2004-02-27", calendar="noleap"),
    )  # noleap has no 29 February
    matched = match([real, model], ["data.target", "data.lr"])
    np.testing.assert_array_equal(matched.steps[0], [0, 1, 3])  # 27, 28 February, 1 March
    np.testing.assert_array_equal(matched.steps[1], [0, 1, 2])
    assert matched.notes[0] == (
        "data.target has the calendar standard, data.lr has noleap: matched by date; dates that only one of them has "
        "are left out"
    )
    matched = match([axis(5, start="2001-02-27"), axis(5, start="2001-02-27", calendar="360_day")], ["a", "b"])
    np.testing.assert_array_equal(matched.steps[0], [0, 1, 2])  # 27, 28 February, 1 March
    np.testing.assert_array_equal(matched.steps[1], [0, 1, 4])  # 27, 28, 29, 30 February, 1 March


@pytest.mark.parametrize("calendar", CALENDARS)
def test_a_period_includes_both_ends(calendar):
    times = axis(24 * 90, frequency="h", calendar=calendar)
    days = within(times, Period("2001-01-02", "2001-01-03"))
    np.testing.assert_array_equal(days, np.arange(24, 72))
    np.testing.assert_array_equal(within(times, Period("2001-01-02T06:00", "2001-01-02T06:00")), [30])
    january = 31 if calendar != "360_day" else 30
    assert len(within(times, Period("2001", "2001-01"))) == 24 * january


def test_30_february_is_a_day_like_any_other():
    times = axis(70, calendar="360_day")
    np.testing.assert_array_equal(within(times, Period("2001-02-30", "2001-03-01")), [59, 60])


@pytest.mark.parametrize("year", [-850, 0, 850, 9999, 10_000, 123_456])
@pytest.mark.parametrize("calendar", ["noleap", "360_day", "proleptic_gregorian"])
def test_years_that_are_long_past_or_far_ahead(year, calendar):
    """Seven days on both sides of a new year."""

    def day(number: int) -> cftime.datetime:
        return cftime.datetime(year, 1, 1, calendar=calendar, has_year_zero=True) + timedelta(days=number)

    times = xr.DataArray([day(number) for number in range(-7, 7)], dims="time", name="time")
    text = f"{'-' if year < 0 else ''}{abs(year):04d}"
    np.testing.assert_array_equal(within(times, Period(text, text)), np.arange(7, 14))
    np.testing.assert_array_equal(within(times, Period(f"{text}-01-02", f"{text}-01-03T23:59")), [8, 9])
    before = f"{'-' if year - 1 < 0 else ''}{abs(year - 1):04d}"
    np.testing.assert_array_equal(within(times, Period(f"{before}-12", f"{text}-01-01")), np.arange(8))


def test_fractions_in_order_of_time():
    parts = split_parts(axis(20), Split(0.5, 0.25, 0.25))
    np.testing.assert_array_equal(parts.train, np.arange(10))
    np.testing.assert_array_equal(parts.validation, np.arange(10, 15))
    np.testing.assert_array_equal(parts.test, np.arange(15, 20))


def test_the_reference_split():
    # 744 hours: 70 % are 520.8, 80 % are 595.2
    parts = split_parts(axis(744, frequency="h"), Split(0.7, 0.1, 0.2))
    assert (len(parts.train), parts.test[0], parts.test[-1]) == (521, 595, 743)


def test_a_gap_leaves_the_test_part_as_it_is():
    parts = split_parts(axis(20), Split(0.5, 0.25, 0.25, gap=2))
    np.testing.assert_array_equal(parts.train, np.arange(8))
    np.testing.assert_array_equal(parts.validation, np.arange(10, 13))
    np.testing.assert_array_equal(parts.test, np.arange(15, 20))


def by_dates(*parts: Period) -> Split:
    return Split(*((period,) for period in parts))


def test_dates_in_any_order_with_a_gap():
    split = by_dates(
        Period("2001-01-08", "2001-01-15"), Period("2001-01-01", "2001-01-07"), Period("2001-01-16", "2001")
    )
    parts = split_parts(axis(20), split)
    np.testing.assert_array_equal(parts.train, np.arange(7, 15))
    np.testing.assert_array_equal(parts.validation, np.arange(7))
    gapped = split_parts(axis(20), Split(split.train, split.validation, split.test, gap=1))
    np.testing.assert_array_equal(gapped.train, np.arange(8, 14))
    np.testing.assert_array_equal(gapped.validation, np.arange(7))


def test_dates_that_overlap():
    split = by_dates(
        Period("2001-01-01", "2001-01-10"), Period("2001-01-09", "2001-01-12"), Period("2001-01-13", "2001")
    )
    with pytest.raises(TimeError) as caught:
        split_parts(axis(20), split)
    assert str(caught.value) == (
        "data.split: train and validation share 2 steps, 2001-01-09T00:00 to 2001-01-10T00:00: expected dates that "
        "don't overlap"
    )


@pytest.mark.parametrize(
    "split",
    [
        by_dates(Period("2001-01-01", "2001-01-10"), Period("1999", "2000"), Period("2001-01-13", "2001")),
        Split(0.98, 0.01, 0.01),
        Split(0.5, 0.25, 0.25, gap=6),
    ],
)
def test_an_empty_part(split):
    with pytest.raises(
        TimeError, match=r"data.split leaves no step for (train|validation|test): the data have 20 steps"
    ):
        split_parts(axis(20), split)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_windows_stay_in_their_segment(calendar):
    times = axis(10, calendar=calendar)[[0, 1, 2, 5, 6, 7, 8]]
    segments = segment_numbers(times)
    np.testing.assert_array_equal(segments, [0, 0, 0, 1, 1, 1, 1])
    windows = window(np.array([0, 2, 3, 5]), 3, segments)
    np.testing.assert_array_equal(windows, [[0, 0, 1], [1, 2, 2], [3, 3, 4], [4, 5, 6]])


def test_months_of_unequal_length_are_one_segment():
    assert segment_numbers(axis(24, frequency="MS")).max() == 0


def test_time_features_by_hand():
    # 1 January 06:00 is a quarter of the day; 182.5 days into a year of 365 is half of the year.
    times = xr.DataArray(np.array(["2001-01-01T06:00", "2001-07-02T12:00"], "datetime64[ns]"), dims="time", name="time")
    np.testing.assert_allclose(time_features(times, "hour"), [[1, 0], [0, -1]], atol=1e-6)
    season = time_features(times, "season")
    np.testing.assert_allclose(season[1], [0, -1], atol=1e-6)
    assert season[0, 0] == pytest.approx(math.sin(2 * math.pi * 0.25 / 365), abs=1e-6)
    np.testing.assert_array_equal(time_features(times, "both"), np.hstack([time_features(times, "hour"), season]))
    assert time_features(times, "none").shape == (2, 0)


def test_the_year_of_360_days_turns_once():
    season = time_features(axis(360, calendar="360_day"), "season")
    np.testing.assert_allclose(season[90], [1, 0], atol=1e-6)
    np.testing.assert_allclose(season[180], [0, -1], atol=1e-6)


def test_span():
    assert span(axis(1)) == "1 step, 2001-01-01T00:00 to 2001-01-01T00:00"
    assert span(axis(2, calendar="360_day")) == "2 steps, 2001-01-01T00:00 to 2001-01-02T00:00"
