"""Indices of extremes against those of xclim 0.62; spells, gaps and short periods by hand.

xclim pulls in dask, numba, pyarrow and scikit-learn, so its values stand here, computed from the same series.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from engine.errors import DataError
from engine.evaluation.extremes import bias_of, extremes, kind_of, summary, table_of, to_text

# xclim.indices with freq="YS": tx_max, tn_min, tx_days_above(25 degC), frost_days; max_1day_precipitation_amount,
# max_n_day_precipitation_amount(window=5), wetdays(10 mm/day), maximum_consecutive_dry_days and _wet_days,
# daily_pr_intensity; precip_accumulation of days of at least 1 mm, and of those above numpy's 95 % quantile of them.
OF_XCLIM = {
    "txx": (34.2941, 34.2493),
    "tnn": (-14.3371, -14.6803),
    "su": (95, 98),
    "fd": (127, 124),
    "prcptot": (2560.95, 2333.04),
    "sdii": (13.4787, 12.8897),
    "rx1day": (39.4018, 39.6004),
    "rx5day": (93.7308, 93.6254),
    "r10mm": (96, 87),
    "cdd": (6, 6),
    "cwd": (6, 6),
    "r95ptot": (440.174, 258.838),
}
TWO_YEARS = xr.date_range("2001-01-01", "2002-12-31", freq="D")
NAN = np.nan


def results(hr: np.ndarray, times, name: str, units: str, **products: np.ndarray) -> xr.Dataset:
    """The same series (time,) in four cells of equal areas around the equator; products are HR otherwise."""
    fields = {"hr": hr, "interpolated": hr, "downscaled": hr} | products
    attrs = {"standard_name": name, "units": units}
    coords = {
        "time": times,
        "y": ("y", [0.5, -0.5], {"units": "degrees_north"}),
        "x": ("x", [0.0, 1.0], {"units": "degrees_east"}),
    }

    def at_cells(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values.reshape(len(times), -1, 1), (len(times), 2, 2)).astype(np.float32)

    return xr.Dataset({key: (("time", "y", "x"), at_cells(field), attrs) for key, field in fields.items()}, coords)


def precipitation(values, **products) -> xr.Dataset:
    times = xr.date_range("2001-01-01", periods=len(values), freq="D")
    arrays = {name: np.array(field, float) for name, field in products.items()}
    return results(np.array(values, float), times, "precipitation_flux", "mm day-1", **arrays)


def series() -> dict[str, np.ndarray]:
    n = np.arange(len(TWO_YEARS))
    highest = 16 + 14 * np.sin(2 * np.pi * (n - 100) / 365.25) + n * (n + 5) * 31 % 199 / 20 - 5
    return {
        "precipitation": 40 * (n * 7919 * (n + 13) % 997 / 997) ** 5,
        "highest": highest,
        "lowest": highest - 8 - n * 17 * (n + 3) % 101 / 20,
    }


def of_hr(found: xr.Dataset, name: str) -> list[float]:
    return found["area_value"].sel(index=name, product="hr").values.round(9).tolist()


def test_they_are_those_of_xclim_in_each_year():
    given = series()
    rain = extremes(results(given["precipitation"], TWO_YEARS, "precipitation_flux", "mm day-1"))
    # Two steps a day, the lower at night; K in the file, °C in the index.
    both = np.stack([given["lowest"], given["highest"]], axis=1).ravel() + 273.15
    halves = xr.date_range("2001-01-01", periods=len(both), freq="12h")
    heat = extremes(results(both, halves, "air_temperature", "K"))
    for name, expected in OF_XCLIM.items():
        assert of_hr(rain if name in rain["index"] else heat, name) == pytest.approx(expected, rel=2e-5, abs=1e-4)
    # Of 730 distinct days, those above the 90 % quantile at 0.9 × 729 = 656.1 are 73: on both years' average 10 %.
    assert np.mean(of_hr(heat, "tx90p")) == pytest.approx(10, abs=1e-4)
    assert np.mean(of_hr(heat, "tn10p")) == pytest.approx(10, abs=1e-4)
    assert heat.attrs["left_out"] == ""


def test_units_of_rates_and_of_sums_of_a_step_give_the_same():
    given = series()["precipitation"]
    hours = xr.date_range("2001-01-01", periods=4 * len(given), freq="6h")
    quarters = np.repeat(given / 4, 4)
    sums = extremes(results(quarters, hours, "precipitation_amount", "kg m-2"))
    rates = extremes(results(4 * quarters / 86400, hours, "precipitation_flux", "kg m-2 s-1"))
    for name in ("rx5day", "sdii", "cdd", "r95ptot"):
        assert of_hr(sums, name) == pytest.approx(OF_XCLIM[name], rel=2e-5)
        assert of_hr(rates, name) == pytest.approx(OF_XCLIM[name], rel=2e-5)


def test_spells_and_sums_of_five_days_end_where_a_day_is_missing():
    # Days 1 to 6 are wet, 7 is missing, 8 to 10 are wet: 6 in a row, and five of them have 5 × 2 mm; then 21 dry days.
    values = [2.0] * 6 + [NAN] + [3.0] * 3 + [0.0] * 21
    found = extremes(precipitation(values))
    assert (of_hr(found, "cwd"), of_hr(found, "cdd")) == ([6], [21])
    # Days 4 to 8 hold the missing one. The best five days without it are the first ones, or 9, 9 and three dry.
    assert of_hr(found, "rx5day") == [10]
    assert of_hr(found, "prcptot") == [21]
    assert of_hr(found, "sdii") == [pytest.approx(21 / 9)]
    # The same where the day isn't in the file.
    left = precipitation(values).isel(time=[n for n in range(31) if n != 6])
    assert [of_hr(extremes(left), name) for name in ("cwd", "cdd", "rx5day")] == [[6], [21], [10]]


def test_biases_are_of_days_that_all_products_have():
    hr, downscaled = [12.0] * 3 + [0.0] * 30, [12.0, 8.0, NAN] + [2.0] * 30
    found = extremes(precipitation(hr, downscaled=downscaled))
    assert summary(found)["r10mm"]["hr"] == 2  # the third day isn't compared
    assert summary(found)["r10mm"]["bias"] == {"interpolated": 0, "downscaled": -1}
    assert summary(found)["cdd"]["bias"]["downscaled"] == -30
    np.testing.assert_array_equal(bias_of(found, "prcptot").sel(product="downscaled"), np.full((2, 2), 80.0 - 24.0))
    row = table_of(found)[3]
    assert row[:2] == ["downscaled", "+56"]


def test_short_periods_say_which_indices_need_longer_ones():
    found = extremes(precipitation([5.0] * 4))
    assert list(found["index"].values) == ["prcptot", "sdii", "rx1day", "r10mm"]
    assert "Rx5day need 5 complete days, there are 4; CDD, CWD, R95pTOT need 30 complete days" in to_text(found)
    hours = xr.date_range("2001-01-01 01:00", periods=40, freq="h")
    with pytest.raises(DataError, match="none of the 22 time steps make a complete day"):
        extremes(results(np.ones(22), hours[:22], "air_temperature", "K"))
    # From 01:00 on, 40 hours hold no whole day but for the second, of which hours 0 to 16 are there.
    with pytest.raises(DataError, match="none of the 40"):
        extremes(results(np.ones(40), hours, "air_temperature", "K"))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (xr.date_range("2001-01-31", periods=3, freq="31D"), "31 days"),
        (xr.date_range("2001-01-01", periods=3, freq="7h"), "0 days 07:00:00 apart"),
        (xr.date_range("2001-01-01", periods=2).repeat(2), "occur twice"),
        (xr.date_range("2001-01-01", periods=1), "a single time step"),
    ],
)
def test_times_that_make_no_days_are_refused(times, message):
    with pytest.raises(DataError, match=message):
        extremes(results(np.ones(len(times)), times, "air_temperature", "K"))


def test_other_calendars_and_variables():
    days = xr.date_range("2001-02-25", periods=35, freq="D", calendar="360_day", use_cftime=True)
    found = extremes(results(np.arange(35.0), days, "air_temperature", "degC"))
    assert of_hr(found, "txx") == [34]
    assert of_hr(found, "su") == [9]  # 26 to 34
    assert not kind_of({"standard_name": "wind_speed"})
    with pytest.raises(DataError, match="temperature and precipitation"):
        extremes(results(np.ones(3), TWO_YEARS[:3], "wind_speed", "m s-1"))
