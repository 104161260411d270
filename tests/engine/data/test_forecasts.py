"""Forecasts: starts, members and lead times as samples, paired with HR by the time for which they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from engine.data.fields import open_field
from engine.data.pairs import pair
from engine.data.times import segment_numbers
from engine.errors import TimeError
from engine.spec import DataOptions, Source
from tests.engine.data.mock import make_field, steps, write_field

STARTS, LEADS = ["2001-01-01", "2001-01-03", "2001-01-08", "2001-01-11"], [0, 1, 2]


def write_forecast(path: Path, *, members: int = 2, names=("number", "start", "step"), has_valid=True, add=0.0) -> str:
    """100 * member + 10 * number of the start + lead time in each cell, on the LR cells of `hr`."""
    member, start, step = names
    values = 100 * np.arange(members)[:, None, None] + 10 * np.arange(4)[:, None] + np.array(LEADS) + add
    cells = make_field(ny=4, nx=4, south=40.5, west=0.5, dy=1, dx=1, times=0)["t2m"]
    field = (xr.DataArray(values, dims=names) + 0 * cells).astype("f4").assign_attrs(units="K")
    begins = np.array(STARTS, "datetime64[ns]")
    at = {start: (start, begins, {"standard_name": "forecast_reference_time"}), member: np.arange(members)}
    at[step] = (step, LEADS, {"units": "days"})
    if has_valid:
        valid = begins[:, None] + np.array(LEADS, "timedelta64[D]")
        at["valid_time"] = ((start, step), valid, {"standard_name": "time"})
    dataset = field.to_dataset(name="t2m").assign_coords(at)
    for axis, units in (("lat", "degrees_north"), ("lon", "degrees_east")):
        dataset[axis].attrs["units"] = units
    dataset.to_netcdf(path)
    return str(path)


@pytest.fixture
def hr(tmp_path) -> str:
    """Daily from 2 to 13 January, so that the first lead time of the first start has no partner."""
    return write_field(tmp_path / "hr.nc", ny=8, nx=8, south=40.25, west=0.25, times=steps(12, start="2001-01-02"))


def options(hr: str, lr: str, **given) -> DataOptions:
    split = {"train": 0.5, "validation": 0.25, "test": 0.25}
    return DataOptions(
        **{"target": {"path": hr}, "lr": {"path": lr}, "pairing": "mos", "scale": 2, "split": split, **given}
    )


@pytest.mark.parametrize(
    ("names", "has_valid"),
    [
        (("number", "forecast_reference_time", "step"), True),
        (("M", "S", "L"), False),
        (("realization", "time", "lead"), True),
    ],
)
def test_samples_are_starts_members_and_lead_times_in_this_order(tmp_path, names, has_valid):
    notes: list[str] = []
    path = write_forecast(tmp_path / "a.nc", names=names, has_valid=has_valid)
    field = open_field(Source(path), notes=notes)
    assert notes == [
        f"t2m in {path} is a forecast: 4 starts, 2 members, 3 lead times, each a sample; parts are split by start"
    ]
    assert field.dims == ("time", "y", "x")
    assert field[:8, 0, 0].values.tolist() == [0, 1, 2, 100, 101, 102, 10, 11]
    assert field["time"][6:9].values.astype("M8[D]").astype(str).tolist() == ["2001-01-03", "2001-01-04", "2001-01-05"]
    assert field["realization"][:7].values.tolist() == [0, 0, 0, 1, 1, 1, 0]
    assert field["forecast_period"][:4].values.tolist() == [0, 1, 2, 0]
    assert field[[7, 0, 7], 1, 2].values.tolist() == [11, 0, 11]
    assert float(field[4, 1, 2]) == 101


def test_each_sample_is_paired_with_hr_at_the_time_for_which_it_holds(tmp_path, hr):
    pairs = pair(options(hr, write_forecast(tmp_path / "lr.nc")))
    assert len(pairs.times) == 22  # of 24, since 1 January is in no HR file
    block = pairs.read(np.arange(22))
    known = make_field(ny=8, nx=8, south=40.25, west=0.25, times=steps(12, start="2001-01-02"))["t2m"]
    np.testing.assert_array_equal(block.hr, known.sel(time=pairs.times.values))
    expected = [100 * m + 10 * s + lead for s in range(4) for m in range(2) for lead in LEADS if (s, lead) != (0, 0)]
    assert block.lr[:, 1, 1].tolist() == expected
    np.testing.assert_array_equal(pairs.read(np.array([5, 2, 5])).hr, block.hr[[5, 2, 5]])
    # 2 January is HR of both members of the first start; 3 January also of both of the second.
    assert (pairs.times == np.datetime64("2001-01-03")).sum() == 4
    assert "data.lr: 2 of 24 time steps have no partner and are left out" in pairs.notes
    # A window around a sample stays within its start and member.
    assert np.bincount(segment_numbers(pairs.times)).tolist() == [2, 2, 3, 3, 3, 3, 3, 3]


@pytest.mark.parametrize(
    "split",
    [
        {"train": 0.5, "validation": 0.25, "test": 0.25},
        {
            "train": ["2001-01-01", "2001-01-05"],
            "validation": ["2001-01-06", "2001-01-09"],
            "test": ["2001-01-10", "2001"],
        },
    ],
)
def test_no_start_is_in_two_parts(tmp_path, hr, split):
    pairs = pair(options(hr, write_forecast(tmp_path / "lr.nc"), split=split))
    starts = pairs.times["forecast_reference_time"].values
    parts = [pairs.parts.train, pairs.parts.validation, pairs.parts.test]
    assert [np.unique(starts[p]).astype("M8[D]").astype(str).tolist() for p in parts] == [
        STARTS[:2],
        STARTS[2:3],
        STARTS[3:],
    ]
    assert sorted(np.concatenate(parts)) == list(range(22))


def test_other_predictors_are_matched_by_time_and_other_forecasts_must_have_the_same_samples(tmp_path, hr):
    daily = write_field(tmp_path / "p.nc", ny=4, nx=4, south=40.5, west=0.5, dy=1, dx=1, times=steps(20), name="psl")
    same = write_forecast(tmp_path / "same.nc", add=0.5)
    lr = write_forecast(tmp_path / "lr.nc")
    pairs = pair(options(hr, lr, predictors=[{"path": daily}, {"path": same}]))
    block = pairs.read(np.arange(22))
    psl = make_field(ny=4, nx=4, south=40.5, west=0.5, dy=1, dx=1, times=steps(20))["t2m"].sel(time=pairs.times.values)
    np.testing.assert_array_equal(block.predictors[..., 0], psl)
    np.testing.assert_array_equal(block.predictors[..., 1], block.lr + 0.5)
    fewer = write_forecast(tmp_path / "fewer.nc", members=1)
    with pytest.raises(TimeError, match="are forecasts of different starts, members or lead times"):
        pair(options(hr, lr, predictors=[{"path": fewer}]))


def test_one_member_can_be_chosen(tmp_path, hr):
    lr = write_forecast(tmp_path / "lr.nc")
    field = open_field(Source(lr, select=(("number", 1),)))
    assert field[:4, 0, 0].values.tolist() == [100, 101, 102, 110]
    assert "realization" not in field.coords


def test_lead_times_without_unit_are_refused(tmp_path):
    path = write_forecast(tmp_path / "a.nc", has_valid=False)
    with xr.open_dataset(path) as dataset:
        bare = dataset.load()
    del bare["step"].attrs["units"]
    bare.to_netcdf(tmp_path / "b.nc")
    with pytest.raises(TimeError, match=r"lacks the times for which it holds: expected a coordinate valid_time"):
        open_field(Source(str(tmp_path / "b.nc")))


def test_a_seasonal_hindcast_as_it_is(shared_data):
    region = {"lat": [35, 44.5], "lon": [-10, 4]}
    target = {"path": str(shared_data / "eobs_iberia_pr.nc")}
    pairs = pair(options("", str(shared_data / "cfs_iberia_pr.nc"), target=target, region=region))
    assert len(pairs.times) == 9 * 20 * 90
    with xr.open_dataset(shared_data / "eobs_iberia_pr.nc") as file:
        sample = 5000  # start 6, member 1, lead time 50: 6 * 810 + 1 * 90 + 50
        with xr.open_dataset(shared_data / "cfs_iberia_pr.nc") as forecast:
            valid = forecast["valid_time"][6, 50]
        np.testing.assert_array_equal(
            pairs.read(np.array([sample])).hr[0, :19], file["rr"].sel(time=valid)[:, :28].astype("f4")
        )
