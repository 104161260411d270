"""The cell that holds a place of the world is drawn where cartopy puts that place, in every projection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bokeh.models as bm
import cartopy.crs as ccrs
import numpy as np
import pytest
import xarray as xr

from app.plots.live import MapSet, SharedView
from app.session import PROJECTIONS
from engine.data.fields import open_field
from engine.data.grid_coordinates import grid_of
from engine.data.grids import Grid
from engine.spec import Source

DEGREES = ccrs.PlateCarree()
EARTH_KM = 6371.0
POLE = {"pole_longitude": -162.0, "pole_latitude": 39.25}
CONE = ccrs.LambertConformal(10.0, 50.0, standard_parallels=(45.0, 55.0))
RADAR = (153.24, -27.7178)  # Mt Stapylton, degrees east and north: the origin of its axes
ST_VINCENT = (-8.997, 37.023)  # Cape St. Vincent, the south-western corner of Europe
KINDS = ["rotated pole", "Lambert", "Lambert, north first", "Lambert, east first", "radar", "regional model"]
MARKED, SHAPE = 254, (41, 49)  # number of the last colour; cells of the grids that are made here


@dataclass(frozen=True)
class Case:
    """Field (y, x) as the dashboard opens it, and the degrees of its cells (y, x) as cartopy or the file has them.

    own : the file's projection and metres or degrees per unit of its axes; None for one with 2-D coordinates.
    """

    field: xr.DataArray
    lon: np.ndarray
    lat: np.ndarray
    own: tuple[ccrs.Projection, float] | None = None


def case(kind: str, folder: Path, shared_data: Path) -> Case:
    if kind == "regional model":
        path = shared_data / "cordex_iberia_pr.nc"
        with xr.open_dataset(path) as file:
            return Case(opened(path, "pr"), file["lon"].values, file["lat"].values)
    if kind == "radar":
        path = shared_data / "bom_radar_precipitation.nc"
        with xr.open_dataset(path) as file:
            words, x, y = file["proj"].attrs, file["x"].values, file["y"].values
        globe = ccrs.Globe(
            semimajor_axis=words["semi_major_axis"], semiminor_axis=words["semi_minor_axis"], ellipse=None
        )
        albers = ccrs.AlbersEqualArea(*RADAR, standard_parallels=tuple(words["standard_parallel"]), globe=globe)
        return Case(opened(path, "precipitation"), *degrees(albers, x * 1000, y * 1000), (albers, 1000.0))
    path = folder / "field.nc"
    x, y = np.linspace(-6, 6, SHAPE[1]), np.linspace(-5, 5, SHAPE[0])
    if kind == "rotated pole":
        names = {"grid_north_pole_longitude": POLE["pole_longitude"], "grid_north_pole_latitude": POLE["pole_latitude"]}
        mapping = {"grid_mapping_name": "rotated_latitude_longitude", **names}
        axes = {
            name: (name, values, {"standard_name": f"grid_{long_name}", "units": "degrees"})
            for name, values, long_name in (("rlat", y, "latitude"), ("rlon", x, "longitude"))
        }
        write(path, ("rlat", "rlon"), {**axes, "crs": ((), 0, mapping)}, grid_mapping="crs")
        rotated = ccrs.RotatedPole(**POLE)
        return Case(opened(path, "t"), *degrees(rotated, x, y), (rotated, 1.0))
    x, y = x[:: -1 if "east first" in kind else 1], y[:: -1 if "north first" in kind else 1]
    lon, lat = degrees(CONE, x * 1e5, y * 1e5)
    places = {
        name: (("j", "i"), values, {"units": f"degrees_{towards}"})
        for name, values, towards in (("lon", lon, "east"), ("lat", lat, "north"))
    }
    write(path, ("j", "i"), places)
    return Case(opened(path, "t"), lon, lat)


def opened(path: Path, variable: str) -> xr.DataArray:
    field = open_field(Source(str(path), variable)).isel(time=0)
    return field.copy(data=np.zeros(field.shape))


def write(path: Path, dims: tuple[str, str], coords: dict[str, Any], **attrs: str) -> None:
    data = xr.DataArray(np.zeros((1, *SHAPE)), dims=("time", *dims), attrs={"units": "K", **attrs})
    data.to_dataset(name="t").assign_coords(time=[np.datetime64("2001-01-01", "ns")], **coords).to_netcdf(path)


def degrees(crs: ccrs.Projection, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = DEGREES.transform_points(crs, *np.meshgrid(x, y))
    return points[..., 0], points[..., 1]


def view_of(one: Case, projection: str) -> SharedView:
    view = SharedView(grid_of(one.field), lambda y, x: None, projection)
    view.pixels = max(view.pixels, 2 * one.field.shape[1])  # a map so wide that each cell has some in every projection
    return view


def drawn(view: SharedView, one: Case, cell: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image of a field that is 1 in one cell alone: colours (rows, columns), and x and y of its pixels on the map."""
    values = np.zeros(one.field.shape)
    values[cell] = 1.0
    source = MapSet({"hr": one.field.copy(data=values)}, view, clim=(0.0, 1.0), cmap="viridis").source.data
    image = source["hr"][0]
    left, bottom, width, height = (source[f"hr {side}"][0] for side in ("left", "bottom", "width", "height"))
    x = left + (np.arange(image.shape[1]) + 0.5) * width / image.shape[1]
    y = bottom + (np.arange(image.shape[0]) + 0.5) * height / image.shape[0]
    return image, x, y


def away_km(lon: np.ndarray, lat: np.ndarray, place: tuple[float, float]) -> np.ndarray:
    """Great-circle distance by the haversine formula."""
    north, there = np.deg2rad(lat), np.deg2rad(place[1])
    half = np.sin((north - there) / 2) ** 2
    half += np.cos(north) * np.cos(there) * np.sin(np.deg2rad(np.asarray(lon) - place[0]) / 2) ** 2
    return 2 * EARTH_KM * np.arcsin(np.sqrt(half))


@pytest.fixture(scope="module", params=KINDS)
def one(request, tmp_path_factory, shared_data):
    return case(request.param, tmp_path_factory.mktemp("places"), shared_data)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_cell_is_drawn_where_it_lies(projection, one):
    ny, nx = one.lon.shape
    assert one.field.shape == (ny, nx)
    view = view_of(one, projection)
    for cell in ((ny // 2, nx // 2), (2, 3), (ny - 3, 4), (5, nx - 6)):
        place = float(one.lon[cell]), float(one.lat[cell])
        image, x, y = drawn(view, one, cell)
        marked = np.argwhere(image == MARKED)
        if projection == "native" and one.own is None:  # cells as squares, the north above and the east on the right
            row = cell[0] if one.lat[-1].mean() > one.lat[0].mean() else ny - 1 - cell[0]
            column = cell[1] if one.lon[:, -1].mean() > one.lon[:, 0].mean() else nx - 1 - cell[1]
            assert marked.tolist() == [[row, column]]
            continue
        crs, unit = one.own if projection == "native" else (view.projection.crs, 1.0)
        at = np.array(crs.transform_point(*place, DEGREES)) / unit
        assert image[np.abs(y - at[1]).argmin(), np.abs(x - at[0]).argmin()] == MARKED
        lon, lat, _ = DEGREES.transform_points(crs, unit * x[marked[:, 1]], unit * y[marked[:, 0]]).T
        neighbours = [(cell[0] + down, cell[1] + right) for down, right in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
        diagonal = max(away_km(one.lon[other], one.lat[other], place) for other in neighbours)
        assert away_km(lon, lat, place).max() < 0.6 * diagonal


@pytest.mark.parametrize("one", ["radar"], indirect=True)
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_the_radar_stands_in_the_middle_of_its_picture(projection, one):
    away = away_km(one.lon, one.lat, RADAR)
    assert away.min() < 0.4  # between four cells of 0.5 km
    image, _, _ = drawn(view_of(one, projection), one, np.unravel_index(away.argmin(), away.shape))
    middle = np.argwhere(image == MARKED).mean(axis=0)
    assert middle == pytest.approx(np.array(image.shape) / 2, abs=0.003 * len(image))


@pytest.mark.parametrize("one", ["regional model"], indirect=True)
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_the_coast_runs_through_the_cell_of_a_cape(projection, one):
    away, view = away_km(one.lon, one.lat, ST_VINCENT), view_of(one, projection)
    image, x, y = drawn(view, one, np.unravel_index(away.argmin(), away.shape))
    row, column = np.argwhere(image == MARKED).mean(axis=0)
    at = np.interp(column, np.arange(len(x)), x), np.interp(row, np.arange(len(y)), y)
    coast = np.column_stack([view.lines.data[axis][1] for axis in "xy"])
    assert np.nanmin(np.hypot(*(coast - at).T)) < (view.box.east - view.box.west) / 30  # the width of a cell


def test_nothing_covers_a_map_until_an_area_is_drawn():
    view = SharedView(Grid(np.linspace(58, 50, 33), np.linspace(-10, 2, 49)), lambda y, x: None)
    overlays = [tool.overlay for tool in view.toolbar.tools if isinstance(tool, bm.BoxSelectTool | bm.LassoSelectTool)]
    assert [overlay.visible for overlay in overlays] == [False, False]
