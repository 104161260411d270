"""Scores by lead time, against loops over members, starts and cells with NumPy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr

from engine.cli import main
from engine.data.grids import LATITUDE, LONGITUDE
from engine.evaluation import lead_times, scores
from engine.evaluation.ensemble import fair_crps
from engine.evaluation.lead_times import Leads, climate_note, over_all_leads
from engine.evaluation.significance import errors_of
from engine.evaluation.verification import verify, write_verification
from engine.files import write_whole
from engine.runs import Store
from engine.spec import Spec

NAN = np.nan
PRODUCTS = ("interpolated", "downscaled")
SHAPE = (2, 3)


def forecast(starts: int = 2, members: int | None = 3, days: tuple[float, ...] = (44, 45), seed: int = 0) -> xr.Dataset:
    """What test.nc holds of a hindcast: starts, members and lead times along time, in this order."""
    rng = np.random.default_rng(seed)
    begins = np.datetime64("2000-10-18", "ns") + np.arange(starts) * np.timedelta64(365, "D")
    shape = (starts, members or 1, len(days))
    start, member, lead = (number.ravel() for number in np.indices(shape))
    valid = begins[start] + (np.array(days) * 86400).astype("timedelta64[s]")[lead]
    hr = 5 * rng.random((starts, 1, len(days), *SHAPE)).astype("f4")  # the same for all members
    fields = {"hr": np.broadcast_to(hr, (*shape, *SHAPE)).reshape(-1, *SHAPE).copy()}
    for product in PRODUCTS:
        fields[product] = fields["hr"] + rng.normal(size=fields["hr"].shape).astype("f4")
    coords: dict[str, Any] = {
        "time": valid,
        "y": ("y", [40.25, 60.25], LATITUDE),
        "x": ("x", [0.25, 0.75, 1.25], LONGITUDE),
        "forecast_reference_time": ("time", begins[start]),
        "forecast_period": ("time", np.array(days)[lead], {"units": "days"}),
    }
    if members:
        coords["realization"] = ("time", member)
    return xr.Dataset({k: (("time", "y", "x"), v, {"units": "mm day-1"}) for k, v in fields.items()}, coords)


def by_loops(results: xr.Dataset, product: str, day: float) -> dict[str, float]:
    """Each score as its definition reads, over forecasts, members and cells."""
    areas = np.repeat(np.abs(np.diff(np.sin(np.deg2rad([30.25, 50.25, 70.25]))))[:, None], 3, axis=1)
    errors, crps, variances, squares, weights, member_weights = [], [], [], [], [], []
    starts = results["forecast_reference_time"].values
    for start in np.unique(starts):
        rows = np.flatnonzero((starts == start) & (results["forecast_period"].values == day))
        valid = np.isfinite(results[["hr", *PRODUCTS]].to_array().values[:, rows]).all(0)
        known = rows[valid.any((1, 2))]
        for y, x in np.ndindex(SHAPE):
            for row, is_valid in zip(rows, valid[:, y, x], strict=True):
                if is_valid:
                    errors.append(float(results[product].values[row, y, x]) - float(results["hr"].values[row, y, x]))
                    weights.append(areas[y, x])
            members = results[product].values[known, y, x].astype(float)
            hr, many = float(results["hr"].values[rows[0], y, x]), len(known)
            if many > 1 and valid[valid.any((1, 2))][:, y, x].all():
                between = sum(abs(a - b) for a in members for b in members) / (2 * many * (many - 1))
                crps.append(np.abs(members - hr).mean() - between)
                variances.append(members.var(ddof=1) * (many + 1) / many)
                squares.append((members.mean() - hr) ** 2)
                member_weights.append(areas[y, x])
    found = {
        "rmse": np.sqrt(np.average(np.square(errors), weights=weights)),
        "mae": np.average(np.abs(errors), weights=weights),
        "bias": np.average(errors, weights=weights),
    }
    if crps:
        mean_square = np.average(squares, weights=member_weights)
        found["mean_rmse"] = np.sqrt(mean_square)
        found["crps"] = np.average(crps, weights=member_weights)
        found["spread_error"] = np.sqrt(np.average(variances, weights=member_weights) / mean_square)
    return found


def assert_as_by_loops(results: xr.Dataset, names: list[str]) -> None:
    found = verify(results)
    assert lead_times.names_of(found) == names
    for product in PRODUCTS:
        for day in np.unique(results["forecast_period"].values):
            expected = by_loops(results, product, day)
            for name in names:
                got = found[f"lead_{name}"].sel(product=product, lead=day).item()
                assert got == pytest.approx(expected[name], rel=1e-5), (product, day, name)


ALL = ["rmse", "mae", "bias", "mean_rmse", "crps", "spread_error"]


def test_scores_of_members_and_missing_values():
    results = forecast()
    results["hr"][:, 0, 0] = NAN  # sea
    results["downscaled"][2, 1, 2] = NAN  # one cell of a member: the cell doesn't count for the members together
    results["interpolated"][7] = NAN  # a whole step: the others go on without that member
    assert_as_by_loops(results, ALL)


@pytest.mark.parametrize("members", [None, 1])
def test_a_single_member_has_no_scores_of_members(members):
    assert_as_by_loops(forecast(members=members), ["rmse", "mae", "bias"])
    assert set(over_all_leads(verify(forecast(members=members)))["downscaled"]) == {"rmse", "mae", "bias"}


def test_a_single_lead_time_and_a_single_start():
    assert_as_by_loops(forecast(starts=1, days=(0.25,)), ALL)


def test_a_lead_time_without_values_has_none():
    results = forecast()
    results["hr"][results["forecast_period"].values == 44] = NAN
    found = verify(results)
    assert np.isnan(found["lead_rmse"].sel(lead=44)).all()
    assert np.isnan(found["lead_crps"].sel(lead=44)).all()
    assert np.isfinite(found["lead_spread_error"].sel(lead=45)).all()


def test_members_by_hand():
    # Members 1 and 3 around HR of 2: mean |f - o| = 1, less |1 - 3| / 2 = 1. Their mean has no error.
    assert fair_crps(np.array([[1.0], [3.0]]), np.array([2.0])) == 0
    results = forecast(starts=1, members=2, days=(50,))
    results["hr"][:] = 2
    results["interpolated"][0], results["interpolated"][1] = 1, 3
    # Members 4 and 6: mean |f - o| = 3, less 1. Spread √2 · √(3/2), error 3.
    results["downscaled"][0], results["downscaled"][1] = 4, 6
    found = verify(results).sel(lead=50)
    np.testing.assert_allclose(found["lead_crps"], [0, 2], atol=1e-6)
    np.testing.assert_allclose(found["lead_mean_rmse"], [0, 3], atol=1e-6)
    np.testing.assert_allclose(found["lead_spread_error"], [NAN, np.sqrt(3) / 3], rtol=1e-6)
    np.testing.assert_allclose(found["lead_rmse"], [1, np.sqrt(10)], rtol=1e-6)


def test_all_else_is_as_without_lead_times(monkeypatch):
    results = forecast(starts=3, members=4)
    plain = verify(results.reset_coords(["forecast_reference_time", "forecast_period", "realization"], drop=True))
    monkeypatch.setattr(scores, "CELLS_AT_ONCE", 1)  # one forecast in a block
    found = verify(results)
    assert not [name for name in plain if "lead" in name]
    for name in plain:
        np.testing.assert_allclose(
            found[name].values, plain[name].values, rtol=1e-5, atol=5e-4 * ("quantile" in str(name)), err_msg=name
        )


def test_blocks_hold_whole_forecasts_and_each_step_once():
    results = forecast(starts=3, members=4)
    leads = Leads.of(results["hr"]["time"])
    blocks = list(leads.blocks(SHAPE, 2 * 4 * 6))  # two forecasts of four members
    assert [len(rows) for rows in blocks] == [8, 8, 8]
    np.testing.assert_array_equal(np.sort(np.concatenate(blocks)), np.arange(24))
    np.testing.assert_array_equal(blocks[0], np.arange(8))  # of the first start, both lead times


def test_lead_times_in_hours_and_as_durations_are_days():
    results = forecast(days=(1, 2.5))
    for values, units in (([24, 60], "hours"), (np.array([24, 60], "timedelta64[h]").astype("timedelta64[ns]"), "")):
        values = np.asarray(values)[np.tile([0, 1], 6)]
        changed = results.assign_coords(forecast_period=("time", values, {"units": units} if units else {}))
        np.testing.assert_array_equal(Leads.of(changed["hr"]["time"]).days, [1, 2.5])


def test_members_are_no_independent_cases_in_intervals():
    verified = verify(forecast(starts=2, members=3))
    errors, _ = errors_of({"A": verified})
    times = verified.indexes["time"]
    assert len(errors.weight) == 4
    first = verified.isel(time=times == times.min())
    assert first.sizes["time"] == 3
    assert errors.squared[1, 0] == pytest.approx(first["step_mse"].sel(product="downscaled").mean().item())
    assert errors.weight[0] == pytest.approx(first["step_area"].sum().item())


def test_which_lead_times_are_climate():
    assert climate_note(np.array([1.0, 14.0])) == ""
    assert climate_note(np.arange(44.0, 134)).startswith("Lead times of 44 to 133 days are climate, not weather")
    assert climate_note(np.array([1.0, 30.0])).startswith("Lead times of 30 days are")


def test_the_command_prints_and_stores_them(tmp_path, capsys):
    plain = {"version": 1, "data": {"target": {"path": str(tmp_path / "hr.nc")}, "scale": 4}}
    run = Store(tmp_path / "runs").create(Spec.from_plain(plain), {})
    results = forecast(starts=2, members=3, days=(44, 45))
    results.to_netcdf(run.results)
    write_whole(run.done_file, "{}")
    main(["verify", run.id, "--store", str(tmp_path / "runs"), "--json"])
    found = json.loads(capsys.readouterr().out)[run.id]["lead_times"]
    assert found["days"] == [44, 45]
    assert found["products"]["downscaled"]["crps"] == pytest.approx(
        [by_loops(results, "downscaled", day)["crps"] for day in (44, 45)], rel=1e-5
    )
    assert "climate, not weather" in found["note"]
    # Both lead times have the same area, so that squares are averaged alike.
    rmse = [by_loops(results, "downscaled", day)["rmse"] for day in (44, 45)]
    assert found["all"]["downscaled"]["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(rmse))), rel=1e-5)
    main(["verify", run.id, "--store", str(tmp_path / "runs")])
    assert "Lead times of 44 to 45 days, all together" in capsys.readouterr().out
    main(["verify", run.id, "--store", str(tmp_path / "runs"), "--csv"])
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines() if ",lead times," in line]
    values = {(part, product, number): float(value) for _, _, part, product, number, value in rows}
    assert len(values) == len(rows)
    assert values["45", "downscaled", "crps"] == found["products"]["downscaled"]["crps"][1]
    assert values["all", "downscaled", "rmse"] == found["all"]["downscaled"]["rmse"]
    with xr.open_dataset(run.verification) as stored:
        assert stored["lead_crps"].attrs["units"] == "mm day-1"
        np.testing.assert_array_equal(stored["lead"], [44.0, 45.0])
    write_verification(run.results, run.verification)
