"""Footprints of the inputs of a design, what their periods share, and their borders on the map."""

from __future__ import annotations

import cartopy.crs as ccrs
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from app.components.domain_card import inputs_html
from app.plots.domain import domain_map
from app.services.domain import Footprint, footprints, overlap
from engine.data.grids import Grid
from engine.spec import Region, Spec

LATLON = {
    "lat": ("lat", [50.5, 51.5, 52.5], {"units": "degrees_north"}),
    "lon": ("lon", [0.5, 1.5, 2.5, 3.5], {"units": "degrees_east"}),
}


@pytest.fixture
def spec(tmp_path):
    """HR of ten days and 4 × 3 degrees, LR that begins five days later, and a static field."""
    for name, first in (("hr", "2001-01-01"), ("lr", "2001-01-06")):
        field = xr.DataArray(
            np.zeros((10, 3, 4), "float32"),
            {**LATLON, "time": pd.date_range(first, periods=10)},
            ("time", "lat", "lon"),
        )
        field.to_dataset(name=name).to_netcdf(tmp_path / f"{name}.nc")
    field.isel(time=0, drop=True).to_dataset(name="z").to_netcdf(tmp_path / "z.nc")
    data = {"target": {"path": str(tmp_path / "hr.nc")}, "lr": {"path": str(tmp_path / "lr.nc")}, "scale": 2}
    static = [{"path": str(tmp_path / "z.nc")}, {"path": str(tmp_path / "absent.nc")}]
    return Spec.from_plain({"version": 1, "data": {**data, "pairing": "mos", "static": static}})


def test_each_input_that_can_be_opened_has_its_period(spec):
    found = footprints(spec)
    assert [(one.role, one.name, one.steps) for one in found] == [
        ("target", "hr", 10),
        ("LR", "lr", 10),
        ("static", "z", 0),
    ]
    assert found[0].period == ("2001-01-01 00:00", "2001-01-10 00:00")
    assert overlap(found) == ("2001-01-06 00:00", "2001-01-10 00:00")
    assert overlap(found[2:]) is None


def test_the_border_is_that_of_the_cells(spec):
    lon, lat = footprints(spec)[0].outline()
    assert (lon.min(), lon.max(), lat.min(), lat.max()) == pytest.approx((0, 4, 50, 53))


def test_the_map_holds_borders_and_region_in_a_projection_about_the_target(spec):
    figure = domain_map(footprints(spec)[:1], Region((51, 52), (1, 3)))
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


def test_names_from_files_stay_text(spec):
    (one, *_) = footprints(spec)
    shown = inputs_html([type(one)("target", "<b>hr", one.grid)], None)
    assert "&lt;b&gt;hr" in shown
    assert "<b>hr" not in shown
