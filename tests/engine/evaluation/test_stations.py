"""Scores at stations, worked out by hand on a grid of 3 × 3 cells of 1°, of which LR is one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from engine.cli import main
from engine.data.grids import LATITUDE, LONGITUDE
from engine.data.hr_template import HrTemplate
from engine.data.netcdf import open_netcdf
from engine.data.stations import open_stations
from engine.errors import DataError, TimeError, UnitError
from engine.evaluation.station_cells import elevations
from engine.evaluation.stations import SCORES, verify_at_stations
from engine.files import read_json
from tests.app.fake import write_run

NAN = np.nan
DAYS = pd.date_range("2001-01-01", periods=3)
K = {"units": "K", "standard_name": "air_temperature"}


def make_results(times=DAYS, *, curvilinear: bool = False, units: str = "K") -> xr.Dataset:
    """HR is 10 row + column + t at latitudes and longitudes 0, 1, 2; downscaled is 1 more, interpolated 2 less.

    LR is HR's mean, 11 + t. curvilinear : rows climb by 0.1° a column, columns move west by 0.1° a row.
    """
    row, column = np.mgrid[:3, :3].astype(float)
    hr = 10 * row + column + np.arange(len(times))[:, None, None]
    attrs = K | {"units": units}
    fields = {"hr": hr, "interpolated": hr - 2, "downscaled": hr + 1}
    data = {name: (("time", "y", "x"), values.astype("f4"), attrs) for name, values in fields.items()}
    data["lr"] = (("time", "y_lr", "x_lr"), hr.mean((1, 2), keepdims=True).astype("f4"), attrs)
    data["rmse_downscaled"] = (("y", "x"), np.ones((3, 3)))
    coords = {"time": times, "y": ("y", np.arange(3.0), LATITUDE), "x": ("x", np.arange(3.0), LONGITUDE)}
    coords |= {"y_lr": ("y_lr", [1.0], LATITUDE), "x_lr": ("x_lr", [1.0], LONGITUDE)}
    if curvilinear:  # LR is HR
        coords |= {"y_lr": ("y_lr", np.arange(3.0)), "x_lr": ("x_lr", np.arange(3.0))}
        data["lr"] = (("time", "y_lr", "x_lr"), hr.astype("f4"), attrs)
        for end in ("", "_lr"):
            dims = f"y{end}", f"x{end}"
            coords |= {f"lat{end}": (dims, row + 0.1 * column), f"lon{end}": (dims, column - 0.1 * row)}
    return xr.Dataset(data, coords)


def make_stations(places: dict[str, tuple[float, float]], values, times=DAYS, *, alt=None, units="K") -> xr.DataArray:
    """Stations by id at latitude and longitude."""
    lat, lon = np.array(list(places.values())).T
    each = {"station_id": list(places), "station_name": list(places), "lat": lat, "lon": lon}
    coords = {name: ("station", value) for name, value in {**each, "alt": alt or [NAN] * len(lat)}.items()}
    return xr.DataArray(values, {**coords, "time": times}, ("station", "time"), "tas", K | {"units": units})


def test_scores_by_hand_with_missing_values_a_masked_cell_and_a_station_outside():
    results = make_results()
    for name in ("hr", "interpolated", "downscaled"):
        results[name][:, 2, 2] = NAN  # the sea
    results["rmse_downscaled"][2, 2] = NAN
    places = {"a": (0.1, 0.2), "b": (2.0, 1.9), "far": (9.0, 9.0)}
    got = verify_at_stations(results, make_stations(places, [[1, 3, NAN], [20, 21, 22], [0, 0, 0]]))
    # a lies in the first cell, where HR is 0, 1, 2, and has two values: errors of HR -1 and -2, of downscaled 0 and -1,
    # of interpolated -3 and -4, of LR (11 + t) 10 and 9. b lies in the sea, 0.9° from cell (2, 1) and 1.005° from
    # (1, 2): HR is 21 + t there, its error always 1, of downscaled 2, interpolated -1, LR -9.
    assert got["pairs"].values.tolist() == [2, 3, 0]
    by_hand = {
        "hr": {"bias": [-1.5, 1], "mae": [1.5, 1], "rmse": [2.5**0.5, 1], "centred_rmse": [0.5, 0], "pearson": [1, 1]},
        "downscaled": {"bias": [-0.5, 2], "rmse": [0.5**0.5, 2]},
        "interpolated": {"bias": [-3.5, -1], "mae": [3.5, 1]},
        "lr": {"bias": [9.5, -9], "mae": [9.5, 9], "pearson": [1, 1]},
    }
    for product, scores in by_hand.items():
        for score, values in scores.items():
            np.testing.assert_allclose(got[score].sel(product=product), [*values, NAN], rtol=1e-6, atol=1e-6)
    # Of all five pairs, HR has the errors -1, -2, 1, 1, 1; without bias ±0.5 at a, and 0 at b.
    of_all = {"bias": 0, "mae": 6 / 5, "rmse": (8 / 5) ** 0.5, "centred_rmse": (2 * 0.25 / 5) ** 0.5, "pearson": 1}
    for score, value in of_all.items():
        assert got[f"all_{score}"].sel(product="hr").item() == pytest.approx(value, abs=1e-6)
    # One degree on the sphere of 6371.0088 km is 111.195 km; b is 0.9° × cos 2° away.
    np.testing.assert_allclose(got["distance"], [111.195 * np.hypot(0.1, 0.2), 100.0, NAN], rtol=1e-3)
    assert got.attrs["notes"] == "far (far) is left out: it lies outside of its cells"


def test_bilinear_is_exact_where_hr_is_linear_and_leaves_missing_corners_out():
    results = make_results()
    results["hr"][0, 0, 0] = NAN
    got = verify_at_stations(results, make_stations({"a": (0.5, 0.25)}, [[6, 6, 6]]), method="bilinear")
    # 10 latitude + longitude + t = 5.25 + t; the weights of 0, 1, 10, 11 are 3/8, 1/8, 3/8, 1/8: at t = 0 the first is
    # missing.
    np.testing.assert_allclose(got["hr"], [[(1 + 30 + 11) / 5, 6.25, 7.25]], rtol=1e-6)
    np.testing.assert_allclose(got["downscaled"], [[6.25, 7.25, 8.25]], rtol=1e-6)


@pytest.mark.parametrize(
    ("method", "place", "expected"), [("nearest", (2.12, 0.78), 21), ("bilinear", (1.55, 0.35), 15.5)]
)
def test_a_curvilinear_grid(method, place, expected):
    """Cell (2, 1) lies at 2.1° N, 0.8° E; 1.55° N, 0.35° E is amid (1, 0), (1, 1), (2, 0), (2, 1): 10, 11, 20, 21."""
    results = make_results(curvilinear=True)
    got = verify_at_stations(results, make_stations({"a": place}, [[0, 0, 0]]), method=method)
    np.testing.assert_allclose(got["hr"], [expected + np.arange(3)], atol=0.02)


def test_heights_are_those_that_each_product_stands_for():
    static = xr.DataArray([[0.0, 100], [200, 300]], dims=("y", "x"), name="static_0", attrs={"units": "m"})
    hr = xr.DataArray(
        np.zeros((2, 2)), {"y": ("y", [-0.5, 0.5], LATITUDE), "x": ("x", [0.0, 1], LONGITUDE)}, ("y", "x")
    )
    template = HrTemplate(hr, (static.assign_attrs(source_name="orography"),), (2, 2))
    heights = elevations(template, 2, "nearest")
    assert {name: field.values.tolist() for name, field in heights.items() if name in ("lr", "interpolated", "hr")} == {
        "lr": [[150]], "interpolated": [[150, 150], [150, 150]], "hr": [[0, 100], [200, 300]],
    }  # fmt: skip
    results = make_results().isel(y=[0, 1], x=[0, 1]).assign_coords(hr.coords)
    stations = make_stations({"a": (-0.5, 0.0), "b": (0.5, 1.0)}, np.zeros((2, 3)), alt=[1000.0, NAN])
    got = verify_at_stations(results, stations, lapse_rate=6.5, heights=heights)
    # a lies 1000 m above its HR cell and 850 m above the mean of LR: 6.5 and 5.525 K colder. b has no altitude.
    np.testing.assert_allclose(got["hr"][0], np.arange(3) - 6.5, rtol=1e-6)
    np.testing.assert_allclose(got["downscaled"][0], 1 + np.arange(3) - 6.5, rtol=1e-6)
    np.testing.assert_allclose(got["lr"][0], 11 + np.arange(3) - 5.525, rtol=1e-6)
    np.testing.assert_allclose(got["interpolated"][0], np.arange(3) - 2 - 5.525, rtol=1e-6)
    assert got["pairs"].values.tolist() == [3, 0]
    with pytest.raises(DataError, match="needs an elevation, but the run's static variables are: land mask"):
        elevations(HrTemplate(hr, (static.assign_attrs(source_name="land mask"),), (2, 2)), 2, "nearest")
    pressure = make_stations({"a": (0.0, 0.0)}, np.zeros((1, 3)), units="Pa")
    with pytest.raises(UnitError, match="a height correction is for temperatures, but the run is in 'Pa'"):
        verify_at_stations(make_results(units="Pa"), pressure, lapse_rate=6.5, heights=heights)


def test_units_are_converted_and_calendars_matched_by_date():
    times = xr.date_range("2004-02-27", periods=3, freq="D", calendar="noleap", use_cftime=True)  # 27, 28 Feb, 1 March
    days = pd.date_range("2004-02-28", periods=3)  # 28, 29 Feb, 1 March
    got = verify_at_stations(make_results(times), make_stations({"a": (0, 0)}, [[1, 99, 2]], days, units="degC"))
    np.testing.assert_allclose(got["observed"], [[274.15, 275.15]])
    np.testing.assert_allclose(got["hr"], [[1, 2]])  # the second and the third step
    assert "matched by date" in got.attrs["notes"]
    with pytest.raises(UnitError, match="the variable tas of the stations is in 'mm', which can't be converted to 'K'"):
        verify_at_stations(make_results(), make_stations({"a": (0, 0)}, [[1, 2, 3]], units="mm"))


def test_days_meet_the_mean_of_each_complete_day_of_finer_steps():
    hours = pd.date_range("2001-01-01", periods=10, freq="6h")  # two days, and half of a third
    daily = make_stations({"a": (0, 0)}, [[1, 2, 3]])
    got = verify_at_stations(make_results(hours), daily)
    np.testing.assert_allclose(got["hr"], [[1.5, 5.5]])  # of 0 to 3 and 4 to 7
    assert "several steps a day in the test part: the mean of each complete day is compared" in got.attrs["notes"]
    finer = make_stations({"a": (0, 0)}, [[0, 2, 0, 2, 5, NAN, 5, 5, 1, 1]], hours)
    got = verify_at_stations(make_results(), finer)
    np.testing.assert_array_equal(got["observed"], [[1, NAN]])
    amounts = make_stations({"a": (0, 0)}, [[1, 2, 3]], units="mm")
    with pytest.raises(TimeError, match="'mm' is no mean"):
        verify_at_stations(make_results(hours, units="mm"), amounts)
    with pytest.raises(TimeError, match="a step every 744 h, the stations have one every 24 h"):
        verify_at_stations(make_results(pd.to_datetime(["2001-01-01", "2001-02-01", "2001-03-04"])), daily)
    with pytest.raises(TimeError, match="no time step is in all fields"):
        verify_at_stations(make_results(pd.date_range("2011-01-01", periods=3)), daily)
    with pytest.raises(DataError, match="no station has a value to compare with: the run covers lat 0 to 2"):
        verify_at_stations(make_results(), make_stations({"far": (50, 50)}, [[1, 2, 3]]))


@pytest.fixture
def run(tmp_path):
    """Hourly temperature over the British Isles, from 58° N and 10° W on by 0.25°."""
    return write_run(tmp_path / "runs", "at stations", ny=16, nx=24, n_times=48, baselines=True)


def write_table(path: Path, run, offset_degc: float = 0.0) -> Path:
    """Stations on two cells that measured HR, in °C; one more in France."""
    with xr.open_dataset(run.results) as results:
        lines = ["id,lat,lon,alt_m,time,t2m_degC"]
        for name, y, x in (("north", 1, 2), ("south", 12, 20)):
            cell = results["hr"][:, y, x]
            lines += [
                f"{name},{cell.y.item()},{cell.x.item()},9,{time},{value - 273.15 + offset_degc:.6f}"
                for time, value in zip(cell["time"].dt.strftime("%Y-%m-%dT%H:%M").values, cell.values, strict=True)
            ]
    path.write_text("\n".join([*lines, "Paris,48.8,2.3,35,2019-03-01T00:00,9"]) + "\n")
    return path


def test_the_command_writes_a_file_of_time_series_and_replaces_it(run, tmp_path, capsys):
    table = write_table(tmp_path / "stations.csv", run, offset_degc=2.0)
    command = ["verify", run.id, "--store", str(run.folder.parent), "--stations", str(table)]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "96 pairs at 2 stations, nearest cells, in K:" in text
    assert "Paris (Paris) is left out: it lies outside of its cells" in text
    write_table(table, run)
    assert main([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)[run.id]["stations"]
    assert main([*command, "--csv"]) == 0
    rows = [row for row in csv.DictReader(capsys.readouterr().out.splitlines()) if row["table"] == "stations"]
    values = {(row["of"], row["product"], row["number"]): float(row["value"]) for row in rows}
    assert len(values) == len(rows) == 4 * 6 * len(SCORES)  # all and three stations, six products
    assert values["all", "lr", "centred_rmse"] == facts["all"]["lr"]["centred_rmse"]
    assert values["north", "downscaled", "rmse"] == facts["each"]["north"]["scores"]["downscaled"]["rmse"]
    assert main([*command, "--latex"]) == 0
    assert "RMSE at stations" in capsys.readouterr().out
    with open_netcdf(run.stations) as got:
        assert got.attrs["featureType"] == "timeSeries"
        assert (got["hr"].dims, got["rmse"].dims) == (("station", "time"), ("product", "station"))
        assert got["product"].values.tolist() == ["lr", "interpolated", "hr", "downscaled", "nearest", "pc_regression"]
        for score in set(SCORES) - {"pearson"}:  # what was measured is HR itself, to float32 of K
            np.testing.assert_allclose(got[score].sel(product="hr")[:2], 0, atol=1e-4)
        assert (got["rmse"].sel(product="downscaled")[:2] > 0.01).all()
    assert "stations.nc" in read_json(run.results.with_name("manifest.json"))
    assert not list(run.results.parent.glob(".*"))
    again = open_stations(str(run.stations), "observed")  # it can be read as measurements
    assert again["station_id"].values.tolist() == ["north", "south", "Paris"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--at", "bilinear"], "--at and --height-correction are for stations: give --stations FILE"),
        (["--stations", "nowhere.csv"], "nowhere.csv doesn't exist"),
        (["--stations", "{table}", "--height-correction", "6.5"], "which holds its static variables"),
        (["--stations", "{table}", "--station-variable", "rain"], "has no variable 'rain'"),
    ],
)  # fmt: skip
def test_wrong_requests_are_refused_before_anything_is_written(run, tmp_path, capsys, words, message):
    table = write_table(tmp_path / "stations.csv", run)
    before = run.verification.stat().st_mtime_ns
    asked = [word.format(table=table) for word in words]
    assert main(["verify", run.id, "--store", str(run.folder.parent), *asked]) == 2
    assert message in capsys.readouterr().err
    assert run.verification.stat().st_mtime_ns == before
    assert not run.stations.exists()


def test_each_sample_of_a_forecast_is_a_pair_of_its_own():
    times = pd.to_datetime(["2001-01-01", "2001-01-02", "2001-01-02", "2001-01-03"])
    starts = {"forecast_reference_time": ("time", pd.to_datetime(["2000-12-01"] * 2 + ["2000-12-02"] * 2))}
    results = make_results(times).assign_coords(starts)
    got = verify_at_stations(results, make_stations({"a": (0, 0)}, [[0, 2, 4]]))
    # HR is 0, 1, 2, 3 at the first cell; the second day is forecast twice: errors 0, -1, 0, -1.
    assert got["pairs"].values.tolist() == [4]
    np.testing.assert_array_equal(got["observed"], [[0, 2, 2, 4]])
    assert got["all_bias"].sel(product="hr").item() == pytest.approx(-0.5)
