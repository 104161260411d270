"""One cell through time: gaps, stretches, spectra, histograms."""

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from app.plots.histogram import bin_edges, histogram
from app.plots.lines import line_figure
from app.plots.series import cell_series, cell_spectrum, longest_stretch, time_axis

HOURS = pd.date_range("2019-03-01", periods=240, freq="h")
KELVIN = {"units": "K", "long_name": "temperature"}


def test_a_gap_in_time_breaks_the_line():
    times = HOURS[:10].append(HOURS[50:60])
    line = cell_series({"hr": np.arange(20.0)}, times, KELVIN).values()[0]
    assert np.flatnonzero(np.isnan(line.dimension_values("value"))).tolist() == [10]


def test_an_interval_is_a_band_behind_the_lines():
    times, values = pd.date_range("2001-01-01", periods=20), np.arange(20.0)
    lines = cell_series({"A": values}, times, KELVIN, intervals={"A": (values - 1, values + 2)})
    band, _ = lines.values()
    np.testing.assert_array_equal(band.dimension_values(1), values - 1)
    np.testing.assert_array_equal(band.dimension_values(2), values + 2)
    figure = line_figure(lines, height=200)
    assert (figure.y_range.start, figure.y_range.end) == pytest.approx((-1, 21), abs=2.5)


def test_the_longest_stretch_has_neither_gaps_nor_missing_values():
    values = np.arange(30.0)
    values[12] = np.nan
    times = HOURS[:5].append(HOURS[50:75])  # steps 5 to 11 and 13 to 29 are left
    assert longest_stretch({"hr": values, "A": np.arange(30.0)}, times) == slice(13, 30)


def test_a_daily_cycle_shows_at_once_a_day():
    values = 3 * np.sin(2 * np.pi * np.arange(240) / 24)
    line = cell_spectrum({"hr": values}, HOURS, "K").values()[0]
    assert line.dimension_values("frequency")[line.dimension_values("power").argmax()] == pytest.approx(1.0)
    # Parseval: the power density (K² day) integrated over frequency (1/day) is the variance, 3² / 2.
    power = np.trapezoid(line.dimension_values("power"), line.dimension_values("frequency"))
    assert power == pytest.approx(4.5, rel=0.1)


def test_a_spectrum_needs_sixteen_steps():
    assert cell_spectrum({"hr": np.arange(15.0)}, HOURS[:15], "K") is None
    assert isinstance(cell_spectrum({"hr": np.arange(16.0) ** 2}, HOURS[:16], "K"), hv.Overlay)


def test_a_stretch_ends_where_the_next_member_of_a_forecast_begins():
    times = HOURS[:5].append(HOURS[:20]).append(HOURS[:5])
    assert longest_stretch({"hr": np.arange(30.0)}, times) == slice(5, 25)


def test_an_unworldly_calendar_counts_days_since_its_first_step():
    times = xr.date_range("2019-02-29", periods=3, freq="D", calendar="360_day", use_cftime=True)
    days, dimension = time_axis(times)
    assert days.tolist() == [0, 1, 2]
    assert "2019-02-29" in dimension.label


def test_histogram_shares_add_up_and_leave_out_gaps():
    overlay = histogram({"hr": np.array([1.0, 2.0, np.nan, 4.0]), "A": np.array([1.0, 1.0, 1.0, 4.0])}, KELVIN)
    for line in overlay.values():
        # Each share stands twice, at both edges of its bin.
        assert line.dimension_values("share").sum() / 2 == pytest.approx(100)


def test_bins_of_a_constant_cell_are_one_wide():
    assert bin_edges({"hr": np.full(5, 7.0)}).tolist() == [6.5, 7.5]
    assert bin_edges({"hr": np.array([])}).tolist() == [-0.5, 0.5]
