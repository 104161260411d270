"""Rectilinear grids: latitude and longitude, or the x and y of a map projection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import numpy as np
import pyproj
import xarray as xr

from engine.errors import GridError
from engine.spec import Region

EARTH_RADIUS_KM = 6_371.0088  # IUGG mean radius, Moritz (2000)
EDGE = 1e-6  # degrees: a centre this near a region's border is inside
JITTER = 0.01  # of a cell: coordinates kept in float32 or with few digits still count as equally spaced
METRES = {
    "m": 1.0,
    "metre": 1.0,
    "meter": 1.0,
    "metres": 1.0,
    "meters": 1.0,
    "km": 1000.0,
    "kilometre": 1000.0,
}
ROTATED_POLE = "rotated_latitude_longitude"
GRID_MAPPING = "crs"  # name of the CF grid-mapping variable in what the engine hands on
LATITUDE = {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north", "axis": "Y"}
LONGITUDE = {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east", "axis": "X"}


@dataclass(frozen=True, eq=False)
class Grid:
    """Cell centres of a rectilinear grid, in the order and convention of the file.

    y : (ny,) degrees north, or the unit named in `y_attrs`; north-first or south-first.
    x : (nx,) degrees east, or the unit named in `x_attrs`.
    crs : attributes of the CF grid mapping; empty for latitude and longitude.
    """

    y: np.ndarray
    x: np.ndarray
    crs: Mapping[str, Any] = field(default_factory=dict)
    y_attrs: Mapping[str, Any] = field(default_factory=lambda: dict(LATITUDE))
    x_attrs: Mapping[str, Any] = field(default_factory=lambda: dict(LONGITUDE))

    @classmethod
    def of(cls, field: xr.DataArray) -> Self:
        """The grid of a field with 1-D coordinates y and x; bounds, which stand in variables of their own, are left."""
        y, x = field["y"], field["x"]
        crs = dict(field[GRID_MAPPING].attrs) if GRID_MAPPING in field.coords else {}
        y_attrs, x_attrs = ({k: v for k, v in side.attrs.items() if k != "bounds"} for side in (y, x))
        return cls(y.values.astype(float), x.values.astype(float), crs, y_attrs, x_attrs)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.y), len(self.x)

    @property
    def is_spherical(self) -> bool:
        """Whether y and x are angles: latitude and longitude, of the globe or of a rotated pole."""
        return not self.crs or self.crs.get("grid_mapping_name") == ROTATED_POLE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.is_close_to(other, 0.0)

    def __hash__(self) -> int:
        return hash((self.y.tobytes(), self.x.tobytes()))

    def __str__(self) -> str:
        kind = "" if not self.crs else f", {str(self.crs['grid_mapping_name']).replace('_', ' ')}"
        return f"{len(self.y)} × {len(self.x)} cells, {self.extent()}{kind}"

    def extent(self) -> str:
        """The outermost centres as text, as in 'lat 50 to 58, lon -10 to 2'."""
        y, x = ("lat", "lon") if not self.crs else ("y", "x")
        return f"{y} {self.y.min():g} to {self.y.max():g}, {x} {self.x.min():g} to {self.x.max():g}"

    def _lonlat_extent(self) -> str:
        lon, lat = self.lonlat()
        return f"lat {lat.min():g} to {lat.max():g}, lon {lon.min():g} to {lon.max():g}"

    def is_close_to(self, other: Grid, tolerance: float = JITTER) -> bool:
        """Whether the centres are the same within a share `tolerance` of a cell; longitudes modulo 360°."""
        if self.shape != other.shape or not is_same_crs(self.crs, other.crs):
            return False
        off_y, off_x = np.abs(self.y - other.y), np.abs(self.x - other.x)
        if self.is_spherical:
            off_x = np.minimum(off_x % 360, 360 - off_x % 360)
        return bool((off_y <= tolerance * spacing(self.y)).all() and (off_x <= tolerance * spacing(self.x)).all())

    def crop(self, scale: int) -> Grid:
        """Without the last rows and columns that don't fill an LR cell."""
        rows, columns = (n - n % scale for n in self.shape)
        return self._with(self.y[:rows], self.x[:columns])

    def extend(self, scale: int) -> Grid:
        """With equally spaced cells at the end of each side, up to a multiple of `scale`."""
        return self._with(_extended(self.y, scale), _extended(self.x, scale))

    def coarsen(self, scale: int) -> Grid:
        """The LR grid that nests in this one: each LR centre is the mean of its HR centres.

        Raises
        ------
        GridError
            If a side is not a multiple of `scale`, or its cells are not equally wide (to 1 %).
        """
        for side, centres in (("y", self.y), ("x", self.x)):
            if len(centres) % scale:
                raise GridError(
                    f"{side} has {len(centres)} cells, but scale {scale} needs a multiple of {scale}: crop with "
                    "data.region, or choose another scale"
                )
            check_even(centres, side)
        return self._with(self.y.reshape(-1, scale).mean(1), self.x.reshape(-1, scale).mean(1))

    def select(self, rows: np.ndarray | slice, columns: np.ndarray | slice) -> Grid:
        return self._with(self.y[rows], self.x[columns])

    def within(self, region: Region) -> tuple[np.ndarray, np.ndarray, Grid]:
        """Cells whose centres lie in a region of latitudes and longitudes.

        Returns
        -------
        Rows and columns to take, in order, and the grid of these. Across the seam of the longitudes the columns
        come in a new order, and the grid counts longitudes on beyond it.

        Raises
        ------
        GridError
            If there are none, or the longitudes aren't next to each other.
        """
        rows, columns = _box(self, region) if self.crs else _lonlat_box(self, region)
        if not len(rows) or not len(columns):
            raise GridError(
                f"data.region is lat {region.lat[0]:g} to {region.lat[1]:g}, lon {region.lon[0]:g} to "
                f"{region.lon[1]:g}, but the data cover {self._lonlat_extent()}: choose a region within them"
            )
        x = self.x[columns]
        return rows, columns, self._with(self.y[rows], x if self.crs else _unrolled(x, self))

    def cell_areas(self) -> np.ndarray:
        """(ny, nx) float64, km²: between meridians and parallels on the sphere, else the plane rectangle."""
        heights, widths = self.cell_heights(), self.cell_widths()
        if self.is_spherical:
            return EARTH_RADIUS_KM**2 * np.outer(heights, np.deg2rad(widths))
        return np.outer(heights, widths) * self._metres("y") * self._metres("x") / 1e6

    def cell_heights(self) -> np.ndarray:
        """(ny,) extent of each row: difference of the sine of latitude, or length in the unit of y."""
        return np.abs(np.diff(self.edges_y()))

    def cell_widths(self) -> np.ndarray:
        """(nx,) extent of each column: degrees, or length in the unit of x."""
        return np.abs(np.diff(edges(self.x)))

    def edges_y(self) -> np.ndarray:
        """(ny + 1,) borders of the rows: sine of latitude, or the unit of y."""
        borders = edges(self.y)
        return np.sin(np.deg2rad(np.clip(borders, -90, 90))) if self.is_spherical else borders

    def cell_size_km(self) -> float:
        """Side of a square as large as the middle cell."""
        rows, columns = (n // 2 for n in self.shape)
        return float(np.sqrt(self.cell_areas()[rows, columns]))

    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude of each centre, two arrays (ny, nx) in degrees."""
        x, y = np.meshgrid(self.axis("x"), self.axis("y"))
        return to_lonlat(self.crs, x, y)

    def coords(self) -> dict[str, xr.Variable]:
        """Coordinates for xarray with CF attributes; with the grid-mapping variable when projected."""
        axes = {"y": xr.Variable("y", self.y, self.y_attrs), "x": xr.Variable("x", self.x, self.x_attrs)}
        return axes | ({GRID_MAPPING: xr.Variable((), np.int32(0), self.crs)} if self.crs else {})

    def _with(self, y: np.ndarray, x: np.ndarray) -> Grid:
        return Grid(y, x, self.crs, self.y_attrs, self.x_attrs)

    def axis(self, side: str) -> np.ndarray:
        """Centres along "y" or "x" in degrees or metres."""
        return (self.y if side == "y" else self.x) * self._metres(side)

    def _metres(self, side: str) -> float:
        """Metres per unit of a projected axis; 1 for angles, which stay as they are."""
        units = str((self.y_attrs if side == "y" else self.x_attrs).get("units", "m"))
        if self.is_spherical:
            return 1.0
        if units not in METRES:
            raise GridError(f"{side} is in {units!r}: expected m or km for a projected grid; set the attribute `units`")
        return METRES[units]


def is_same_crs(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two grid mappings name the same projection with the same numbers."""
    words = (set(one) | set(other)) - {"long_name", "crs_wkt", "spatial_ref", "units", "GeoTransform"}
    return all(word in one and word in other and np.array_equal(one[word], other[word]) for word in words)


def is_periodic(grid: Grid) -> bool:
    """Whether the longitudes go all around the globe."""
    return not grid.crs and abs(spacing(grid.x) * len(grid.x) - 360) < 0.1 * spacing(grid.x)


def mapping_from_wkt(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The CF grid mapping of attributes that give the projection as well-known text only; raises GridError."""
    try:
        return pyproj.CRS.from_wkt(str(attrs.get("crs_wkt") or attrs.get("spatial_ref") or "")).to_cf()
    except pyproj.exceptions.CRSError as error:
        raise GridError(
            f"the grid mapping has neither grid_mapping_name nor a crs_wkt that can be read ({error}): expected a CF "
            "grid mapping; mend its attributes, or remap the file to latitude and longitude first"
        ) from None


def to_lonlat(crs: Mapping[str, Any], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Metres (or rotated degrees) of a projection to longitude and latitude in degrees."""
    if not crs:
        return x, y
    lon, lat = _globe(crs).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


def from_lonlat(crs: Mapping[str, Any], lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude in degrees to metres (or rotated degrees) of a projection."""
    if not crs:
        return lon, lat
    x, y = _globe(crs).transform(lon, lat, direction="INVERSE")
    return np.asarray(x), np.asarray(y)


def _globe(crs: Mapping[str, Any]) -> pyproj.Transformer:
    """From the projection to the longitude and latitude it is made from."""
    return _transformer(json.dumps({word: np.asarray(value).tolist() for word, value in crs.items()}, sort_keys=True))


@lru_cache(maxsize=32)
def _transformer(mapping: str) -> pyproj.Transformer:
    """For a grid mapping as JSON: PROJ takes a tenth of a second to set one up."""
    crs = json.loads(mapping)
    try:
        projection = pyproj.CRS.from_cf(crs)
    except (pyproj.exceptions.CRSError, KeyError, ValueError) as error:
        name = crs.get("grid_mapping_name")
        raise GridError(
            f"the grid mapping {name!r} can't be read ({error}): expected a CF grid mapping with all its parameters; "
            "mend its attributes, or remap the file to latitude and longitude first"
        ) from None
    base = projection.geodetic_crs if projection.is_projected else projection.source_crs  # of a rotated pole
    return pyproj.Transformer.from_crs(projection, base, always_xy=True)


def _box(grid: Grid, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the smallest box of a projected grid with all centres that lie in the region."""
    lon, lat = grid.lonlat()
    (south, north), (west, east) = region.lat, region.lon
    inside = (lat >= south) & (lat <= north) & ((lon - west) % 360 <= _width(west, east))
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    return tuple(np.arange(n.min(), n.max() + 1) if len(n) else n for n in (rows, columns))  # type: ignore[return-value]


def _lonlat_box(grid: Grid, region: Region) -> tuple[np.ndarray, np.ndarray]:
    (south, north), (west, east) = region.lat, region.lon
    rows = np.flatnonzero((grid.y >= south - EDGE) & (grid.y <= north + EDGE))
    eastward = (grid.x - west + EDGE) % 360
    columns = np.flatnonzero(eastward <= _width(west, east) + 2 * EDGE)
    order = np.argsort(eastward[columns])
    return rows, columns[order if grid.x[-1] >= grid.x[0] else order[::-1]]


def _width(west: float, east: float) -> float:
    """Degrees eastward from west to east; a whole turn if both are the same meridian."""
    return (east - west) % 360 or 360.0


def _unrolled(x: np.ndarray, grid: Grid) -> np.ndarray:
    """Longitudes in steps of less than half a turn; raises GridError where a step is far wider than a cell."""
    whole = np.unwrap(x, period=360)
    if len(x) > 1 and np.abs(np.diff(whole)).max() > 2 * spacing(grid.x):
        raise GridError(
            f"data.region reaches across longitudes without data (the data cover {grid.extent()}): choose a region "
            "that doesn't cross their border"
        )
    return whole


def spacing(centres: np.ndarray) -> float:
    """Mean distance between neighbouring centres."""
    return abs(float(centres[-1] - centres[0])) / max(len(centres) - 1, 1)


def edges(centres: np.ndarray) -> np.ndarray:
    """(n + 1,) borders halfway between centres; the outer ones as far out as the next one is in."""
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    inner = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])


def check_even(centres: np.ndarray, side: str) -> None:
    """Raise GridError unless the centres are equally spaced to 1 % of a cell."""
    steps = np.diff(centres)
    if (np.abs(steps - steps.mean()) > JITTER * abs(steps.mean())).any():
        raise GridError(
            f"{side} of the HR grid has cells from {np.abs(steps).min():g} to {np.abs(steps).max():g} wide: expected "
            "equally spaced cells, so that LR cells nest in HR cells; remap the file first (CDO: cdo remapcon)"
        )


def _extended(centres: np.ndarray, scale: int) -> np.ndarray:
    missing = -len(centres) % scale
    step = (centres[-1] - centres[0]) / max(len(centres) - 1, 1)
    return np.concatenate([centres, centres[-1] + step * np.arange(1, missing + 1)])
