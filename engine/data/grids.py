"""Grids: latitude and longitude, the x and y of a map projection, or rows and columns that follow neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from engine.data import spherical_cells
from engine.data.lengths import EARTH_RADIUS_KM, METRES_PER_DEGREE, metres_per_unit
from engine.data.projections import ROTATED_POLE, from_lonlat, is_same_crs, to_lonlat
from engine.errors import GridError

SPACING_TOLERANCE = 0.01  # of a cell: coordinates kept in float32 or with few digits still count as equally spaced
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

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.y), len(self.x)

    @property
    def is_lonlat(self) -> bool:
        """True if y is latitude and x longitude."""
        return not self.crs

    @property
    def is_spherical(self) -> bool:
        """True if y and x are angles: latitude and longitude, of the globe or of a rotated pole."""
        return self.is_lonlat or self.crs.get("grid_mapping_name") == ROTATED_POLE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.is_close_to(other, 0.0)

    def __hash__(self) -> int:
        return hash((self.y.tobytes(), self.x.tobytes()))

    def __str__(self) -> str:
        projection = "" if not self.crs else f", {str(self.crs['grid_mapping_name']).replace('_', ' ')}"
        return f"{len(self.y)} × {len(self.x)} cells, {self.extent()}{projection}"

    def extent(self) -> str:
        """Describe the outermost centres, as in 'lat 50 to 58, lon -10 to 2'."""
        y, x = ("lat", "lon") if self.is_lonlat else ("y", "x")
        return f"{y} {self.y.min():g} to {self.y.max():g}, {x} {self.x.min():g} to {self.x.max():g}"

    def is_close_to(self, other: Grid, tolerance: float = SPACING_TOLERANCE) -> bool:
        """Compare centres, to a fraction `tolerance` of a cell; longitudes modulo 360°."""
        if self.shape != other.shape or not self.shares_axes(other):
            return False
        off_y, off_x = np.abs(self.y - other.y), np.abs(self.x - other.x)
        if self.is_spherical:
            off_x = np.minimum(off_x % 360, 360 - off_x % 360)
        return bool((off_y <= tolerance * spacing(self.y)).all() and (off_x <= tolerance * spacing(self.x)).all())

    def shares_axes(self, other: Grid) -> bool:
        """True if y and x mean the same place on both grids."""
        return not isinstance(other, CurvilinearGrid) and is_same_crs(self.crs, other.crs)

    @property
    def orientation(self) -> tuple[float, float]:
        """Signs that x and y have on a map in the grid's own coordinates, so that the north is above."""
        return 1.0, 1.0

    def crop(self, scale: int) -> Grid:
        """Drop the last rows and columns that don't fill an LR cell."""
        rows, columns = (n - n % scale for n in self.shape)
        return self.select(slice(rows), slice(columns))

    def clamp_to(self, inner: Grid) -> Grid:
        """Move centres beyond the outermost of `inner`, which shares the axes, onto these."""
        y, x = (np.clip(c, i.min(), i.max()) for c, i in ((self.y, inner.y), (self.x, inner.x)))
        return replace(self, y=y, x=x)

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
        return self._block_means(scale)

    def _block_means(self, scale: int) -> Grid:
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

    def cell_sides_km(self) -> tuple[float, float]:
        """Compute the sides of a cell along y and x, of latitude and longitude those of the middle row."""
        dy, dx = spacing(self.axis("y")), spacing(self.axis("x"))
        if not self.is_spherical:
            return dy / 1000, dx / 1000
        dy, dx = dy * METRES_PER_DEGREE / 1000, dx * METRES_PER_DEGREE / 1000
        return dy, dx * float(np.cos(np.deg2rad(self.y.mean())))

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

    def axis(self, side: str) -> np.ndarray:
        """Give centres along "y" or "x" in degrees or metres."""
        return (self.y if side == "y" else self.x) * self.metres_per_unit(side)

    def metres_per_unit(self, side: str) -> float:
        """Give the length of the unit of a projected axis, "y" or "x"; 1 for angles, which stay as they are."""
        units = str((self.y_attrs if side == "y" else self.x_attrs).get("units", "m"))
        return 1.0 if self.is_spherical else metres_per_unit(units, side)


@dataclass(frozen=True, eq=False)
class CurvilinearGrid(Grid):
    """Grid whose rows and columns follow neither parallels nor a known projection.

    y, x : (ny,) and (nx,) numbers of rows and columns, as in the file; fractions between them.
    lat, lon : (ny, nx) degrees of the cell centres. Corners of cells lie amid four centres.
    """

    lat: np.ndarray = field(kw_only=True)
    lon: np.ndarray = field(kw_only=True)

    @property
    def is_lonlat(self) -> bool:
        return False

    @property
    def orientation(self) -> tuple[float, float]:
        """Signs of columns and rows: files number them from any corner."""
        return spherical_cells.orientation(self._centres)

    def __str__(self) -> str:
        return f"{len(self.y)} × {len(self.x)} cells, {self.extent()}, curvilinear"

    def extent(self) -> str:
        """Describe the range of the centres; of longitudes from west to east."""
        middle = self.lon[len(self.y) // 2, len(self.x) // 2]
        lon = (self.lon - middle + 180) % 360 - 180 + middle
        return f"lat {self.lat.min():.4g} to {self.lat.max():.4g}, lon {lon.min():.4g} to {lon.max():.4g}"

    def is_close_to(self, other: Grid, tolerance: float = SPACING_TOLERANCE) -> bool:
        """Compare centres, to a fraction `tolerance` of a cell."""
        if not isinstance(other, CurvilinearGrid) or self.shape != other.shape:
            return False
        if np.array_equal(self.lat, other.lat) and np.array_equal(self.lon, other.lon):
            return True
        off = np.linalg.norm(self._centres - other._centres, axis=-1)
        return bool((off <= tolerance * self.cell_size_km() / EARTH_RADIUS_KM).all())

    def shares_axes(self, other: Grid) -> bool:
        """True if rows and columns of the same numbers lie in the same places on both, and there are such."""
        if not isinstance(other, CurvilinearGrid):
            return False
        (_, *rows), (_, *columns) = (
            np.intersect1d(*pair, return_indices=True) for pair in ((self.y, other.y), (self.x, other.x))
        )
        mine, others = (grid.select(r, c) for grid, r, c in zip((self, other), rows, columns, strict=True))
        return bool(mine.y.size and mine.x.size) and mine.is_close_to(others)

    def clamp_to(self, inner: Grid) -> Grid:
        """Move centres beyond the outermost of `inner`, which counts the same rows and columns, onto these."""
        y, x = (np.clip(c, i.min(), i.max()) for c, i in ((self.y, inner.y), (self.x, inner.x)))
        lon, lat = inner.to_lonlat(*np.meshgrid(x, y))
        return replace(self, y=y, x=x, lon=lon, lat=lat)

    def extend(self, scale: int) -> Grid:
        """Add cells at the end of each side, up to a multiple of `scale`, as far apart as the last ones."""
        rows, columns = (-n % scale for n in self.shape)
        more = spherical_cells.extrapolate(self._centres, 0, rows, 0)
        return self._with_centres(super().extend(scale), spherical_cells.extrapolate(more, 0, columns, 1))

    def select(self, rows: np.ndarray | slice, columns: np.ndarray | slice) -> Grid:
        """Take some rows and columns."""
        lat, lon = (side[rows][:, columns] for side in (self.lat, self.lon))
        return replace(self, y=self.y[rows], x=self.x[columns], lat=lat, lon=lon)

    def cell_areas(self) -> np.ndarray:
        """Compute areas (ny, nx) in km² on the sphere."""
        return EARTH_RADIUS_KM**2 * spherical_cells.cell_areas(self._centres)

    def cell_sides_km(self) -> tuple[float, float]:
        """Average the distances between neighbours along y and x."""
        steps = (np.linalg.norm(np.diff(self._centres, axis=axis), axis=-1).mean() for axis in (0, 1))
        dy, dx = (EARTH_RADIUS_KM * float(step) for step in steps)
        return dy, dx

    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        """Give longitude and latitude of each centre, two arrays (ny, nx) in degrees."""
        return self.lon, self.lat

    def to_lonlat(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert fractions of columns and rows to longitude and latitude in degrees; NaN outside of the cells."""
        x, y = (np.asarray(side, float) for side in (x, y))
        inside = self._is_inside(x, y)
        rows, columns = ((np.where(inside, at, c[0]) - c[0]) / _step(c) for at, c in ((y, self.y), (x, self.x)))
        lon, lat = spherical_cells.to_degrees(spherical_cells.interpolate(self._centres, rows, columns))
        return np.where(inside, lon, np.nan), np.where(inside, lat, np.nan)

    def from_lonlat(self, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert degrees to fractions of columns and rows; NaN outside of the cells."""
        x, y = self.nearest_place(lon, lat)
        inside = self._is_inside(x, y)
        return np.where(inside, x, np.nan), np.where(inside, y, np.nan)

    def nearest_place(self, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert degrees to fractions of columns and rows; outside of the cells a place beyond the nearest one."""
        lon, lat = np.broadcast_arrays(np.asarray(lon, float), np.asarray(lat, float))
        known = np.isfinite(lon) & np.isfinite(lat)
        points = spherical_cells.to_vectors(lon[known], lat[known])
        rows, columns = np.full((2, *known.shape), np.nan)[..., None]  # a last dimension, so that one place will do
        rows[known, 0], columns[known, 0] = spherical_cells.positions(self._centres, self._tree, points)
        return self.x[0] + columns[..., 0] * _step(self.x), self.y[0] + rows[..., 0] * _step(self.y)

    def cells_at(self, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        """Number the cells, one row after the other, that degrees lie in; -1 outside of all and for NaN."""
        cells = np.full(lon.shape, -1)
        known = np.isfinite(lon) & np.isfinite(lat)
        points = spherical_cells.to_vectors(lon[known], lat[known])
        cells[known] = spherical_cells.nearest_cells(self._centres, self._tree, points)
        return cells

    def metres_per_unit(self, side: str) -> float:
        """Give 1: rows and columns are counted."""
        return 1.0

    @cached_property
    def _centres(self) -> np.ndarray:
        return spherical_cells.to_vectors(self.lon, self.lat)

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self._centres.reshape(-1, 3))

    def _block_means(self, scale: int) -> Grid:
        return self._with_centres(super()._block_means(scale), spherical_cells.block_centres(self._centres, scale))

    def _with_centres(self, numbered: Grid, centres: np.ndarray) -> Grid:
        lon, lat = spherical_cells.to_degrees(centres)
        return replace(self, y=numbered.y, x=numbered.x, lat=lat, lon=lon)

    def _is_inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside = np.ones(np.broadcast_shapes(x.shape, y.shape), bool)
        for at, centres in ((x, self.x), (y, self.y)):
            borders = edges(centres)
            slack = 1e-6 * abs(_step(centres))
            inside &= (at >= borders.min() - slack) & (at <= borders.max() + slack)
        return inside


def is_periodic(grid: Grid) -> bool:
    """True if the longitudes go all around the globe."""
    return grid.is_lonlat and abs(spacing(grid.x) * len(grid.x) - 360) < 0.1 * spacing(grid.x)


def spacing(centres: np.ndarray) -> float:
    """Average the distance between neighbouring centres."""
    return abs(_step(centres))


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
    return np.concatenate([centres, centres[-1] + _step(centres) * np.arange(1, missing + 1)])


def _step(centres: np.ndarray) -> float:
    return float(centres[-1] - centres[0]) / max(len(centres) - 1, 1)
