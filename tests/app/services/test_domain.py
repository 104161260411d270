"""Footprints of the inputs of a design, what their periods share, and their borders on the map."""

from __future__ import annotations

import re

import cartopy.crs as ccrs
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from app.components.domain_card import inputs_html
from app.plots.domain import domain_map
from app.services.domain import Footprint, footprints, mismatches, overlap
from engine.data.grids import Grid
from engine.spec import Region, Source

LATLON = {
    "lat": ("lat", [50.5, 51.5, 52.5], {"units": "degrees_north"}),
    "lon": ("lon", [0.5, 1.5, 2.5, 3.5], {"units": "degrees_east"}),
}


@pytest.fixture
def inputs(tmp_path):
    """HR of ten days and 4 × 3 degrees, LR that begins five days later, and a static field."""
    for name, first in (("hr", "2001-01-01"), ("lr", "2001-01-06")):
        field = xr.DataArray(
            np.zeros((10, 3, 4), "float32"),
            {**LATLON, "time": pd.date_range(first, periods=10)},
            ("time", "lat", "lon"),
            attrs={"units": "K"},
        )
        field[:, 0, :] = np.nan if name == "lr" else 0
        field.to_dataset(name=name).to_netcdf(tmp_path / f"{name}.nc")
    field.isel(time=0, drop=True).to_dataset(name="z").to_netcdf(tmp_path / "z.nc")
    files = [("target", "hr"), ("LR", "lr"), ("static", "z"), ("static", "absent")]
    return [(role, Source(str(tmp_path / f"{name}.nc"))) for role, name in files]


def test_each_input_that_can_be_opened_has_its_period_unit_and_gaps(inputs):
    found, faults = footprints(inputs)
    assert [(one.role, one.name, one.steps, one.unit, one.missing) for one in found] == [
        ("target", "hr", 10, "K", 0),
        ("LR", "lr", 10, "K", 1 / 3),  # one of three rows
        ("static", "z", 0, "K", 1 / 3),
    ]
    assert found[0].period == ("2001-01-01 00:00", "2001-01-10 00:00")
    assert overlap(found) == ("2001-01-06 00:00", "2001-01-10 00:00")
    assert overlap(found[2:]) is None
    (fault,) = faults
    assert fault.endswith("absent.nc doesn't exist")


def test_the_border_is_that_of_the_cells(inputs):
    lon, lat = footprints(inputs)[0][0].outline()
    assert (lon.min(), lon.max(), lat.min(), lat.max()) == pytest.approx((0, 4, 50, 53))


def test_inputs_that_don_t_fit_are_named():
    """Columns of 10° side by side: half of the target's cells lie in those of a grid 5° further east."""
    lat, days = np.arange(50.5, 60), ("2001-01-01 00:00", "2001-01-31 00:00")
    target = Footprint("target", "t2m", Grid(lat, np.arange(0.5, 10)), days, 31, "K")

    def found(west=0.0, period=days, unit="K", region=None):
        lr = Footprint("LR", "tas", Grid(lat[::5] + 2, np.arange(west + 2.5, west + 10, 5)), period, 31, unit)
        return "; ".join(mismatches([target, lr], region))

    assert found() == found(unit="degC") == found(west=360) == ""
    assert found(west=5) == "LR tas covers 50 % of the target's cells"
    assert found(west=5, region=Region((50, 60), (5, 10))) == ""  # all cells that are used
    assert found(west=20) == "LR tas lies outside of the target's cells"
    assert found(period=("2002-01-01 00:00", "2002-01-31 00:00")) == "LR tas has no time in common with the target"
    assert found(period=("2001-01-31 12:00", "2001-02-28 12:00")) == ""  # the same day, at another hour
    assert "can't be converted" in found(unit="m s-1")
    assert "data.region is lat 0 to 10" in found(region=Region((0, 10), (0, 10)))


def test_bars_show_the_part_of_all_times_that_each_input_has(inputs):
    """15 days from the first to the last; each has 9 days between its first and last, of 14 in all: 64.3 %."""
    found, _ = footprints(inputs)
    shown = re.findall(r"left:([\d.]+)%;width:max\(([\d.]+)%", inputs_html(found, None))
    assert shown == [("0.0", "64.3"), ("35.7", "64.3"), ("35.7", "28.6")]  # HR, LR, in common


def test_the_map_holds_borders_and_region_in_a_projection_about_the_target(inputs):
    figure = domain_map(footprints(inputs)[0][:1], Region((51, 52), (1, 3)))
    lines = [renderer.data_source.data for renderer in figure.renderers]
    target, region = ((np.nanmin(line["xs"][0]), np.nanmax(line["xs"][0])) for line in lines[1:])  # after the coast
    crs = ccrs.Stereographic(51.5, 2.0)
    west = crs.transform_point(0, 50, ccrs.Geodetic())[0]
    assert target == pytest.approx((west, -west), rel=1e-3)
    assert region[0] == pytest.approx(crs.transform_point(1, 51, ccrs.Geodetic())[0], rel=1e-3)


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        ((-88.75, 88.75, 72), (0, 357.5, 144)),  # the globe
        ((61, 89, 15), (0, 355, 72)),  # around a pole
        ((40, 49, 10), (-35, -26, 10)),  # no coast
        ((-20, -11, 10), (170, 189, 20)),  # across the 180th meridian
    ],
)
def test_every_region_of_the_globe_is_drawn(lat, lon):
    figure = domain_map([Footprint("target", "t2m", Grid(np.linspace(*lat), np.linspace(*lon)))], None)
    border = figure.renderers[-1].data_source.data
    x, y = (np.concatenate(border[side]) for side in ("xs", "ys"))
    inside = (x >= figure.x_range.start) & (x <= figure.x_range.end) & (y >= figure.y_range.start)
    assert inside[np.isfinite(x)].all()
    assert np.isfinite(x).sum() > 100


def test_names_from_files_stay_text(inputs):
    (one, *_), _ = footprints(inputs)
    shown = inputs_html([type(one)("target", "<b>hr", one.grid)], None)
    assert "&lt;b&gt;hr" in shown
    assert "<b>hr" not in shown
