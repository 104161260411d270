"""Map projections: from the coordinates of a grid to those of a map and back, by cartopy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cartopy.crs as ccrs
import numpy as np

from engine.data.grids import Grid, edges

NATIVE = "native"
SLIMMEST, WIDEST = 0.62, 2.4  # width by height of a map; a region beyond that gets empty margins
OUTLINE = 33  # points along each side of a grid that say how far it reaches on the map

Points = tuple[np.ndarray, np.ndarray]  # x and y, of one shape


@dataclass(frozen=True)
class Box:
    """Part of a map, in the unit of its axes, and its width by height on the screen."""

    west: float
    east: float
    south: float
    north: float
    aspect: float


@dataclass(frozen=True)
class MapProjection:
    """Projection of a map whose middle is the middle of a grid.

    name : as in the session's `projection`; "native" keeps the coordinates of the grid, or their opposites (`signs`
        of x and y) where rows or columns are counted the other way.
    grid : the grid that "native" stands for.
    crs : cartopy's projection, in metres (PlateCarree: degrees); None for "native".
    """

    name: str
    grid: Grid
    crs: ccrs.Projection | None
    signs: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def of(cls, name: str, grid: Grid) -> MapProjection:
        """Choose the parameters of a projection for the region of a grid: centre and standard parallels."""
        if name == NATIVE:
            return cls(name, grid, None, grid.orientation)
        return cls(name, grid, _crs(name, *_region(grid)))

    def from_lonlat(self, lon: np.ndarray, lat: np.ndarray) -> Points:
        """Convert degrees to the map's coordinates; NaN where the projection has no place for them."""
        if self.crs is None:
            return _finite(*self._signed(*self.grid.from_lonlat(lon, lat)))
        points = self.crs.transform_points(self.crs.as_geodetic(), lon, lat)
        return _finite(points[..., 0], points[..., 1])

    def to_lonlat(self, x: np.ndarray, y: np.ndarray) -> Points:
        """Convert the map's coordinates to degrees; NaN outside of the projection."""
        if self.crs is None:
            return self.grid.to_lonlat(*self._signed(x, y))
        points = self.crs.as_geodetic().transform_points(self.crs, x, y)
        return _finite(points[..., 0], points[..., 1])

    def from_grid(self, grid: Grid, x: np.ndarray, y: np.ndarray) -> Points:
        """Convert coordinates of a grid to those of the map; grids that are compared share their projection."""
        return self._signed(x, y) if self.crs is None else self.from_lonlat(*grid.to_lonlat(x, y))

    def to_grid(self, grid: Grid, x: np.ndarray, y: np.ndarray) -> Points:
        """Convert coordinates of the map to those of a grid."""
        return self._signed(x, y) if self.crs is None else grid.from_lonlat(*self.to_lonlat(x, y))

    def box(self) -> Box:
        """Find the part of the map that the grid covers, widened where it is too slim or too wide for a map."""
        x_edges, y_edges = edges(self.grid.x), edges(self.grid.y)
        across = np.linspace(x_edges.min(), x_edges.max(), OUTLINE)
        along = np.linspace(y_edges.min(), y_edges.max(), OUTLINE)
        x, y = self.from_grid(self.grid, *np.meshgrid(across, along))
        west, east, south, north = (float(f(v)) for v in (x, y) for f in (np.nanmin, np.nanmax))
        in_degrees = self.grid.is_spherical if self.crs is None else isinstance(self.crs, ccrs.PlateCarree)
        shortening = max(float(np.cos(np.deg2rad((south + north) / 2))), 0.2) if in_degrees else 1.0
        width, height = (east - west) * shortening, north - south
        aspect = float(np.clip(width / height, SLIMMEST, WIDEST))
        half_width, half_height = max(width, height * aspect) / shortening / 2, max(height, width / aspect) / 2
        x_middle, y_middle = (west + east) / 2, (south + north) / 2
        return Box(x_middle - half_width, x_middle + half_width, y_middle - half_height, y_middle + half_height, aspect)

    def _signed(self, x: np.ndarray, y: np.ndarray) -> Points:
        return self.signs[0] * x, self.signs[1] * y


def _region(grid: Grid) -> tuple[float, float, float, float]:
    """Middle longitude and latitude, and the southern and northern end, in degrees (rounded: one set a region)."""
    lon, lat = grid.select(_outline_indices(len(grid.y)), _outline_indices(len(grid.x))).lonlat()
    turned = np.deg2rad(lon)
    middle = np.rad2deg(np.arctan2(np.sin(turned).mean(), np.cos(turned).mean()))
    south, north = float(lat.min()), float(lat.max())
    return round(float(middle), 3), round((south + north) / 2, 3), round(south, 3), round(north, 3)


def _outline_indices(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, OUTLINE).astype(int))


@lru_cache(maxsize=64)
def _crs(name: str, lon: float, lat: float, south: float, north: float) -> ccrs.Projection:
    if name == "PlateCarree":
        return ccrs.PlateCarree(central_longitude=0.0 if abs(lon) < 90 else lon)
    if name == "Mercator":
        return ccrs.Mercator(central_longitude=lon)
    if name == "Lambert conformal":
        sixth = (north - south) / 6
        parallels = (south + sixth, north - sixth)
        if abs(sum(parallels)) < 2:  # no cone touches both sides of the equator alike
            parallels = (lat + 10, lat + 20)
        return ccrs.LambertConformal(lon, lat, standard_parallels=parallels, cutoff=-80 if lat >= 0 else 80)
    if name == "stereographic":
        return ccrs.Stereographic(lat, lon)
    if name == "orthographic":
        return ccrs.Orthographic(lon, lat)
    raise ValueError(f"{name} is no projection")


def _finite(x: np.ndarray, y: np.ndarray) -> Points:
    is_finite = np.isfinite(x) & np.isfinite(y)
    return np.where(is_finite, x, np.nan), np.where(is_finite, y, np.nan)
