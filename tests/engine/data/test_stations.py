"""Station files: a table and each layout of CF hold the same, and wrong files are refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from engine.data.fields import open_field
from engine.data.stations import open_stations
from engine.errors import DataError, GridError, TimeError, UnitError
from engine.spec import Source

NAN = np.nan
DAYS = pd.date_range("2001-01-01", periods=3)
VALUES = np.array([[1.0, NAN, 3.0], [4.0, 5.0, NAN]])  # station 007, then 012
HEAD = "station_id,name,latitude,longitude,altitude_ft,date,tas_degC\n"
TABLE = HEAD + (
    "012,Höhe,47,11,1000,2001-01-01,4\n007,Tal,46.5,10.5,0,2001-01-01,1\n007,Tal,46.5,10.5,0,20010103,3\n"
    "012,Höhe,47,11,1000,2001-01-02T00:00Z,5\n007,Tal,46.5,10.5,0,2001-01-02,\n012,Höhe,47,11,1000,2001-01-03,-9999\n"
)


def places(dim: str = "station") -> dict[str, tuple]:
    return {
        "lat": (dim, [46.5, 47.0], {"units": "degrees_north"}),
        "lon": (dim, [10.5, 11.0], {"units": "degrees_east"}),
        "z": (dim, [0.0, 304.8], {"units": "m", "standard_name": "surface_altitude"}),
        "wmo": (dim, ["007", "012"], {"cf_role": "timeseries_id"}),
    }


def layout(kind: str) -> xr.Dataset:
    """The table's values as CF stores them (appendix H.2)."""
    units = {"units": "degC"}
    number, step = np.nonzero(np.isfinite(VALUES))
    if kind == "transposed":
        return xr.Dataset({"tas": (("time", "station"), VALUES.T, units)}, {**places(), "time": DAYS})
    if kind == "incomplete":  # each station has times of its own
        each, times = [[1.0, 3.0], [4.0, 5.0]], [[DAYS[0], DAYS[2]], [DAYS[0], DAYS[1]]]
        fields = {"tas": (("station", "obs"), each, units), "time": (("station", "obs"), times)}
        return xr.Dataset(fields, places())
    samples = {"tas": ("obs", VALUES[number, step], units), "time": ("obs", DAYS[step])}
    if kind == "contiguous":
        return xr.Dataset({**samples, "n": ("station", [2, 2], {"sample_dimension": "obs"})}, places())
    order = np.argsort(step, kind="stable")
    index = ("obs", number, {"instance_dimension": "station"})
    return xr.Dataset({**samples, "which": index}, places()).isel(obs=order)


@pytest.mark.parametrize("kind", ["table", "semicolons", "transposed", "incomplete", "contiguous", "indexed"])
def test_a_table_and_each_layout_of_cf_hold_the_same(tmp_path, kind):
    notes: list[str] = []
    path = tmp_path / f"{kind}.csv"
    if kind == "table":
        path.write_text(TABLE, encoding="utf-8")
    elif kind == "semicolons":  # with decimal commas, as spreadsheets of half of Europe write them
        path.write_text(TABLE.replace(",", ";").replace("46.5", "46,5").replace("10.5", "10,5"), encoding="utf-8-sig")
    else:
        path = tmp_path / f"{kind}.nc"
        layout(kind).assign_attrs(featureType="timeSeries").to_netcdf(path)
    got = open_stations(str(path), notes=notes).sortby("station_id")
    np.testing.assert_array_equal(got.transpose("station", "time"), VALUES)
    np.testing.assert_array_equal(got["time"], DAYS)
    assert got["station_id"].values.tolist() == ["007", "012"]
    np.testing.assert_allclose([got["lat"], got["lon"], got["alt"]], [[46.5, 47], [10.5, 11], [0, 304.8]])
    assert got.attrs["units"] == "degC"
    if path.suffix == ".csv":
        assert got["station_name"].values.tolist() == ["Tal", "Höhe"]
        assert notes == [f"1 values of tas_degC in {path} are -9999 or -999, and taken as missing"]


def test_a_single_station_has_no_dimension(tmp_path):
    dataset = xr.Dataset(
        {"tas": ("time", [1.0, 2.0, 3.0], {"units": "K"}), "lat": ((), 46.5), "lon": ((), 10.5)}, {"time": DAYS}
    )
    dataset.to_netcdf(tmp_path / "sonnblick.nc")
    got = open_stations(str(tmp_path / "sonnblick.nc"))
    assert got["station_id"].values.tolist() == ["sonnblick"]
    np.testing.assert_array_equal(got, [[1, 2, 3]])
    assert np.isnan(got["alt"]).all()


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        ("latitude", "place", DataError, "has no latitude: expected stations with id, latitude"),
        ("2001-01-02,", "02/01/2001,", TimeError, "line 6 of .* is '02/01/2001': expected a date as 2001-12-31"),
        ("tas_degC", "tas", UnitError, "tas in .* has no unit: write it into the heading of the column"),
        (",20010103,3", ",2001-01-01,3", TimeError, "station 007 in .* has two values at 2001-01-01"),
        ("46.5,10.5,0,20010103", "46.6,10.5,0,20010103", DataError, "station 007 in .* has several values of latitude"),
        ("46.5", "146.5", GridError, "lat of station 007 in .* is 146.5: expected degrees from -90 to 90"),
        (",4\n", ",four\n", DataError, "tas_degC in line 2 of .* is 'four': expected a number"),
        ("altitude_ft", "rain_mm", DataError, "several variables .rain_mm, tas_degC.: name one: .*--station-var"),
        ("station_id,name", "x,y", DataError, "has no station id"),
        ("007", "", DataError, "has no station id in line 3"),
    ],
)  # fmt: skip
def test_wrong_tables_are_refused_in_words(tmp_path, old, new, kind, message):
    path = tmp_path / "stations.csv"
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(kind, match=message):
        open_stations(str(path))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda d: d.assign_coords(wmo=("station", ["a", "a"], {"cf_role": "timeseries_id"})), DataError, "the id a"),
        (lambda d: d.drop_vars("lat"), DataError, "has no latitude"),
        (lambda d: d.drop_vars("wmo"), DataError, "expected a variable with cf_role timeseries_id"),
        (lambda d: d.assign(tas=d["tas"].drop_attrs()), UnitError, "tas in .* has no unit: correct the attribute"),
        (lambda d: d.assign_attrs(featureType="trajectory"), DataError, "holds trajectory"),
        (lambda d: d.assign(dew=d["tas"]), DataError, "several variables"),
    ],
)
def test_wrong_netcdf_is_refused_in_words(tmp_path, change, kind, message):
    change(layout("transposed")).to_netcdf(tmp_path / "stations.nc")
    with pytest.raises(kind, match=message):
        open_stations(str(tmp_path / "stations.nc"))


def test_a_grid_is_no_station_file_and_the_reverse(shared_data, tmp_path):
    with pytest.raises(GridError, match="holds a grid: expected stations"):
        open_stations(str(shared_data / "eobs_iberia_tas.nc"))
    for path in ("value_iberia_tas.nc", "value_iberia_tas.csv"):
        with pytest.raises(DataError, match="python -m engine verify RUN --stations FILE"):
            open_field(Source(str(shared_data / path)))


def test_the_real_table_and_the_real_file_hold_the_same(shared_data: Path):
    table, file = (open_stations(str(shared_data / f"value_iberia_tas.{end}")) for end in ("csv", "nc"))
    xr.testing.assert_allclose(table.reset_coords(drop=True), file.reset_coords(drop=True), atol=1e-5)
    assert int(np.isnan(file).sum()) == 24
    np.testing.assert_array_equal(table["alt"], file["alt"])
    assert table["station_name"].values.tolist() == file["station_name"].values.tolist()
