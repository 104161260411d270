"""Sources, regions, periods and splits: what is refused, in which words, and what they mean."""

from __future__ import annotations

import datetime

import pytest

from engine.errors import SpecError
from engine.spec import DataOptions, Period, Region, Source, Split, load_yaml

TARGET = {"path": "hr.nc"}


def data_refusal(**given: object) -> str:
    with pytest.raises(SpecError) as caught:
        DataOptions(**{"target": TARGET, "scale": 4, **given})
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"pairing": "mos"}, "data.lr is missing: pairing mos needs the LR field"),
        ({"time_window": 4}, "data.time_window is 4: expected an odd number, centred on the time step"),
        ({"patch_size": 10}, "data.patch_size is 10: expected a multiple of scale 4, at least 8, or 0 for whole"),
        ({"patch_size": 4}, "data.patch_size is 4: expected a multiple of scale 4, at least 8, or 0 for whole"),
        ({"scale": 1}, "data.scale is 1: expected a whole number from 2 to 64 (HR cells per LR cell)"),
        ({"scale": 2.5}, "data.scale is 2.5: expected a whole number from 2 to 64 (HR cells per LR cell)"),
        ({"target": "hr.nc"}, "data.target is 'hr.nc': expected a mapping {path: file"),
        ({"target": {"path": ""}}, "data.target.path is '': expected a file name, a glob, or a list of file names"),
        ({"target": {"path": ["a", 3]}}, "data.target.path is ['a', 3]: expected a file name"),
        ({"target": {"path": []}}, "data.target.path is []: expected a file name"),
        ({"target": {"path": "a", "variable": 3}}, "data.target.variable is 3: expected the name of a variable"),
        ({"target": {"path": "a", "units": 1}}, "data.target.units is 1: expected a unit as text"),
        ({"target": {"path": "a", "select": 850}}, "data.target.select is 850: expected a mapping of dimensions to a"),
        (
            {"target": {"path": "a", "select": {"level": [1]}}},
            "data.target.select is {'level': [1]}: expected a mapping",
        ),
        ({"target": {"file": "a"}}, "data.target.file is not known: "),
        ({"static": [{"variable": "z"}]}, "data.static[0].path is missing: expected a mapping"),
        ({"region": {"lat": [1, 2]}}, "data.region.lon is missing"),
        ({"region": {"lat": [2, 1], "lon": [0, 1]}}, "data.region.lat is [2, 1]: expected the south edge first"),
        ({"region": {"lat": [1, True], "lon": [0, 1]}}, "data.region.lat is [1, True]: expected two numbers"),
        ({"region": {"lat": [1, 2], "lon": [0, 1, 2]}}, "data.region.lon is [0, 1, 2]: expected two numbers"),
        ({"period": ["2001-01-01"]}, "data.period is ['2001-01-01']: expected two dates [first, last]"),
        ({"period": ["2001-1-1", "2002"]}, "data.period is '2001-1-1': expected two dates [first, last]"),
        ({"period": ["2002", "2001"]}, "data.period is [2002, 2001]: the first date is after the last; swap them"),
        ({"split": {"train": 0.5, "test": 0.2}}, "data.split.validation is missing"),
        ({"split": {"train": 0.5, "validation": 0.5, "test": 0.2}}, "data.split sums to 1.2: expected fractions"),
        ({"split": {"train": 1, "validation": 0.5, "test": 0.2}}, "data.split.train is 1: expected a fraction"),
        ({"split": {"train": 0.5, "validation": 0, "test": 0.2}}, "data.split.validation is 0: expected a fraction"),
        (
            {"split": {"train": 0.5, "validation": ["2001", "2002"], "test": 0.2}},
            "data.split mixes fractions and dates: expected a mapping",
        ),
        (
            {"split": {"train": 0.5, "validation": 0.2, "test": 0.2, "gap": True}},
            "data.split.gap is True: expected a whole number from 0 on (time steps)",
        ),
    ],
    ids=str,
)
def test_data_options_are_checked(given, words):
    assert data_refusal(**given).startswith(words)


def test_fractions_that_sum_to_one_but_for_rounding_pass():
    split = Split.parse({"train": 0.7, "validation": 0.1, "test": 0.2}, "data.split")  # 0.7 + 0.1 + 0.2 > 1 in binary
    assert split == Split(0.7, 0.1, 0.2)
    assert split.plain() == {"train": 0.7, "validation": 0.1, "test": 0.2}


def test_dates_are_kept_as_text():
    spec = load_yaml("period: [2001-01-01, 2001-02-30]", "it")  # 30 February: a day of a 360-day calendar
    assert DataOptions(target=TARGET, scale=2, **spec).period == Period("2001-01-01", "2001-02-30")
    years = {"train": ["2001", "2001"], "validation": ["2002", "2002"], "test": ["2003", "2003-06"]}
    assert DataOptions(target=TARGET, scale=2, split=years).split.test == (Period("2003", "2003-06"),)
    several = {**years, "train": [["2001", "2001"], ["2004", "2005"]]}
    split = DataOptions(target=TARGET, scale=2, split=several).split
    assert split.train == (Period("2001", "2001"), Period("2004", "2005"))
    assert split.plain() == several
    refused = data_refusal(split={**years, "train": ["1-01-01", "2001"]})
    assert refused.startswith("data.split.train is '1-01-01': expected two dates")


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("9999-12-31", "10000-01-01"),  # the other way round as text
        ("0850", "1850"),
        ("-0850-01-01", "-0849-01-01"),  # as text too
        ("-0001", "0000"),
        ("2001-01-01T06:00", "2001-01-01 12:00"),
        ("2001-01-01T05:59:59", "2001-01-01 06:00"),
        (datetime.date(850, 1, 2), datetime.datetime(850, 1, 3, 6)),
    ],
)
def test_dates_in_order_are_taken_and_the_other_way_round_refused(first, last):
    texts = [date if isinstance(date, str) else date.isoformat() for date in (first, last)]
    assert Period.parse([first, last], "data.period").plain() == texts
    with pytest.raises(SpecError, match="the first date is after the last; swap them"):
        Period.parse([last, first], "data.period")


@pytest.mark.parametrize(
    ("first", "last"), [("2001-06", "2001"), ("2001-06-15", "2001-06"), ("2001-02-30", "2001-02-30")]
)
def test_a_last_date_means_all_that_it_leaves_open(first, last):
    assert Period.parse([first, last], "data.period") == Period(first, last)
    assert Period.parse([last, first], "data.period") == Period(last, first)


@pytest.mark.parametrize(
    "date",
    [
        "850-01-01",
        "2001-13-01",
        "2001-00-01",
        "2001-01-32",
        "2001-01-00",
        "2001-01-01T24:00",
        "2001-01-01T00:60",
        "2001-01-01T00:00:60",
        "2001-1-1",
        "2001-01-01T00:00Z",
        "2001-01-01\n",
        datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime(2001, 1, 1, 0, 0, 0, 5),
        20010101,
        None,
    ],
)
def test_what_is_no_date_in_any_calendar_is_refused(date):
    with pytest.raises(SpecError, match="expected two dates"):
        Period.parse([date, date], "data.period")


def test_files_of_a_source(tmp_path):
    for name in ("b.nc", "a.nc", "c.txt"):
        (tmp_path / name).touch()
    assert Source("*.nc").within(tmp_path).files() == [f"{tmp_path}/a.nc", f"{tmp_path}/b.nc"]
    listed = Source(("none.nc", "*.txt")).within(tmp_path)
    assert listed.files() == [f"{tmp_path}/none.nc", f"{tmp_path}/c.txt"]


def test_home_variables_and_folders_at_any_depth_in_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODEL", "era5")
    for folder in ("", "era5/", "era5/2001/01/"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "a.nc").touch()
    (tmp_path / "$MODEL.nc").touch()
    assert Source("~/a.nc").within(tmp_path / "era5").path == f"{tmp_path}/a.nc"
    assert Source(("$MODEL/a.nc", "${MODEL}/a.nc")).within(tmp_path).files() == [f"{tmp_path}/era5/a.nc"] * 2
    assert Source("~/**/a.nc").files() == [f"{tmp_path}/{at}a.nc" for at in ("", "era5/2001/01/", "era5/")]
    assert Source("$MODEL.nc").within(tmp_path).path == f"{tmp_path}/$MODEL.nc"  # a file that has this name
    assert Source("$NO_SUCH/a.nc").within(tmp_path).path == f"{tmp_path}/$NO_SUCH/a.nc"


@pytest.mark.parametrize("number", [10**400, float("inf"), float("nan")])
def test_numbers_that_no_float_holds_are_refused(number):
    assert data_refusal(region={"lat": [0, number], "lon": [0, 1]}).startswith("data.region.lat is [0, ")
    assert data_refusal(split={"train": number, "validation": 0.1, "test": 0.1}).startswith("data.split mixes")


def test_a_region_keeps_its_sides():
    region = Region.parse({"lat": [36, 44], "lon": [-10, 5]}, "data.region")
    assert region == Region((36.0, 44.0), (-10.0, 5.0))
    assert region.plain() == {"lat": [36.0, 44.0], "lon": [-10.0, 5.0]}
