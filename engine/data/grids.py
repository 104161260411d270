"""Rectilinear grids: latitude and longitude, or the x and y of a map projection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import xarray as xr

from engine.data.lengths import EARTH_RADIUS_KM, METRES_PER_UNIT
from engine.data.projections import ROTATED_POLE, from_lonlat, is_same_crs, to_lonlat
from engine.errors import GridError

SPACING_TOLERANCE = 0.01  # of a cell: coordinates kept in float32 or with few digits still count as equally spaced
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
        """Take the grid of a field with 1-D coordinates y and x, without references to their bounds."""
        y, x = field["y"], field["x"]
        crs = dict(field[GRID_MAPPING].attrs) if GRID_MAPPING in field.coords else {}
        y_attrs, x_attrs = ({k: v for k, v in side.attrs.items() if k != "bounds"} for side in (y, x))
        return cls(y.values.astype(float), x.values.astype(float), crs, y_attrs, x_attrs)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.y), len(self.x)

    @property
    def is_spherical(self) -> bool:
        """True if y and x are angles: latitude and longitude, of the globe or of a rotated pole."""
        return not self.crs or self.crs.get("grid_mapping_name") == ROTATED_POLE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.is_close_to(other, 0.0)

    def __hash__(self) -> int:
        return hash((self.y.tobytes(), self.x.tobytes()))

    def __str__(self) -> str:
        projection = "" if not self.crs else f", {str(self.crs['grid_mapping_name']).replace('_', ' ')}"
        return f"{len(self.y)} × {len(self.x)} cells, {self.extent()}{projection}"

    def extent(self) -> str:
        """Describe the outermost centres, as in 'lat 50 to 58, lon -10 to 2'."""
        y, x = ("lat", "lon") if not self.crs else ("y", "x")
        return f"{y} {self.y.min():g} to {self.y.max():g}, {x} {self.x.min():g} to {self.x.max():g}"

    def is_close_to(self, other: Grid, tolerance: float = SPACING_TOLERANCE) -> bool:
        """Compare centres, to a fraction `tolerance` of a cell; longitudes modulo 360°."""
        if self.shape != other.shape or not is_same_crs(self.crs, other.crs):
            return False
        off_y, off_x = np.abs(self.y - other.y), np.abs(self.x - other.x)
        if self.is_spherical:
            off_x = np.minimum(off_x % 360, 360 - off_x % 360)
        return bool((off_y <= tolerance * spacing(self.y)).all() and (off_x <= tolerance * spacing(self.x)).all())

    def crop(self, scale: int) -> Grid:
        """Drop the last rows and columns that don't fill an LR cell."""
        rows, columns = (n - n % scale for n in self.shape)
        return replace(self, y=self.y[:rows], x=self.x[:columns])

    def extend(self, scale: int) -> Grid:
        """Add equally spaced cells at the end of each side, up to a multiple of `scale`."""
        return replace(self, y=_extended(self.y, scale), x=_extended(self.x, scale))

    def coarsen(self, scale: int) -> Grid:
        """Make the LR grid that nests in this one: each LR centre is the mean of its HR centres.

        Raises
        ------
        GridError
            If a side is not a multiple of `scale`, or its cells are not equally wide (to 1 %).
        """
        for side, centres in (("y", self.y), ("x", self.x)):
            if len(centres) % scale:
                raise GridError(
                    f"{side} has {len(centres)} cells, but scale {scale} needs a multiple of {scale}",
                    action="crop with data.region, or choose another scale",
                )
            check_equal_spacing(centres, side)
        return replace(self, y=self.y.reshape(-1, scale).mean(1), x=self.x.reshape(-1, scale).mean(1))

    def select(self, rows: np.ndarray | slice, columns: np.ndarray | slice) -> Grid:
        """Take some rows and columns."""
        return replace(self, y=self.y[rows], x=self.x[columns])

    def cell_areas(self) -> np.ndarray:
        """Compute areas (ny, nx) in km²: between meridians and parallels on the sphere, else the plane rectangle."""
        y, x = edges(self.y), edges(self.x)
        if self.is_spherical:
            heights = np.abs(np.diff(np.sin(np.deg2rad(np.clip(y, -90, 90)))))
            return EARTH_RADIUS_KM**2 * np.outer(heights, np.deg2rad(np.abs(np.diff(x))))
        areas = np.outer(np.abs(np.diff(y)), np.abs(np.diff(x)))
        return areas * self.metres_per_unit("y") * self.metres_per_unit("x") / 1e6

    def cell_size_km(self) -> float:
        """Compute the side of a square as large as the middle cell."""
        rows, columns = (n // 2 for n in self.shape)
        return float(np.sqrt(self.cell_areas()[rows, columns]))

    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute longitude and latitude of each centre, two arrays (ny, nx) in degrees."""
        return self.to_lonlat(*np.meshgrid(self.x, self.y))

    def to_lonlat(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert coordinates in the grid's own unit to longitude and latitude in degrees."""
        return to_lonlat(self.crs, x * self.metres_per_unit("x"), y * self.metres_per_unit("y"))

    def from_lonlat(self, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert degrees to the grid's own unit; angles of x come within half a turn of the grid's middle."""
        x, y = from_lonlat(self.crs, lon, lat)
        if not self.is_spherical:
            return x / self.metres_per_unit("x"), y / self.metres_per_unit("y")
        middle = (float(self.x.min()) + float(self.x.max())) / 2
        return (x - middle + 180) % 360 - 180 + middle, y

    def coords(self) -> dict[str, xr.Variable]:
        """Make coordinates for xarray with CF attributes; with the grid-mapping variable when projected."""
        axes = {"y": xr.Variable("y", self.y, self.y_attrs), "x": xr.Variable("x", self.x, self.x_attrs)}
        return axes | ({GRID_MAPPING: xr.Variable((), np.int32(0), self.crs)} if self.crs else {})

    def axis(self, side: str) -> np.ndarray:
        """Give centres along "y" or "x" in degrees or metres."""
        return (self.y if side == "y" else self.x) * self.metres_per_unit(side)

    def metres_per_unit(self, side: str) -> float:
        """Give the length of the unit of a projected axis, "y" or "x"; 1 for angles, which stay as they are."""
        units = str((self.y_attrs if side == "y" else self.x_attrs).get("units", "m"))
        if self.is_spherical:
            return 1.0
        if units not in METRES_PER_UNIT:
            raise GridError(
                f"{side} is in {units!r}",
                hint="expected m or km for a projected grid",
                action="set the attribute `units`",
            )
        return METRES_PER_UNIT[units]


def is_periodic(grid: Grid) -> bool:
    """Tell whether the longitudes go all around the globe."""
    return not grid.crs and abs(spacing(grid.x) * len(grid.x) - 360) < 0.1 * spacing(grid.x)


def spacing(centres: np.ndarray) -> float:
    """Average the distance between neighbouring centres."""
    return abs(float(centres[-1] - centres[0])) / max(len(centres) - 1, 1)


def edges(centres: np.ndarray) -> np.ndarray:
    """Compute borders (n + 1,) halfway between centres; the outer ones as far out as the next one is in."""
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    inner = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])


def check_equal_spacing(centres: np.ndarray, side: str) -> None:
    """Raise GridError unless the centres are equally spaced to 1 % of a cell."""
    steps = np.diff(centres)
    if (np.abs(steps - steps.mean()) > SPACING_TOLERANCE * abs(steps.mean())).any():
        raise GridError(
            f"{side} of the HR grid has cells from {np.abs(steps).min():g} to {np.abs(steps).max():g} wide",
            hint="expected equally spaced cells, so that LR cells nest in HR cells",
            action="remap the file first (CDO: cdo remapcon)",
        )


def _extended(centres: np.ndarray, scale: int) -> np.ndarray:
    missing = -len(centres) % scale
    step = (centres[-1] - centres[0]) / max(len(centres) - 1, 1)
    return np.concatenate([centres, centres[-1] + step * np.arange(1, missing + 1)])
