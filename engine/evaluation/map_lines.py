"""Coasts, borders, lakes and rivers in the coordinates of a map: one line with gaps for each layer."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from engine.assets import ASSETS
from engine.data.grids import Grid, edges

Points = tuple[np.ndarray, np.ndarray]  # x and y, or longitude and latitude, of one shape
Bounds = tuple[float, float, float, float]  # west, east, south, north

LAYERS = ("coast", "borders", "water")
DETAIL = (("10m", 12.0), ("50m", 90.0), ("110m", np.inf))  # scale of Natural Earth, for regions up to so many degrees
FINEST = {"water": "50m"}
SURROUNDINGS = 0.5  # of the region's width and height on each side, so that zooming out still shows land
SAMPLES = 33  # points along each side of a region that say which degrees it spans
THINNEST = 2000  # a line's points are at least this share of the region apart: less can't be seen


def coast_line(grid: Grid) -> np.ndarray:
    """Clip the coast line to a grid and its surroundings: (points, 2) x and y in the grid's own unit.

    A row of NaN ends each piece. Empty far from any coast.
    """
    (west, east), (south, north) = _wider_range(grid.x), _wider_range(grid.y)
    return map_line("coast", (west, east, south, north), grid.from_lonlat, grid.to_lonlat)


def map_line(
    layer: str,
    box: Bounds,
    from_degrees: Callable[[np.ndarray, np.ndarray], Points],
    to_degrees: Callable[[np.ndarray, np.ndarray], Points],
) -> np.ndarray:
    """Clip a layer to a box of a map, in the detail that fits it.

    Parameters
    ----------
    layer : one of LAYERS.
    box : west, east, south, north in the map's coordinates.
    from_degrees, to_degrees : longitude and latitude to x and y of the map, and back; not finite where undefined.

    Returns
    -------
    (points, 2) x and y; a row of NaN ends each piece.
    """
    west, east, south, north = box
    lon, lat = to_degrees(*np.meshgrid(np.linspace(west, east, SAMPLES), np.linspace(south, north, SAMPLES)))
    on_globe = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90)
    if not on_globe.any():
        return np.empty((0, 2))
    turned = np.deg2rad(lon[on_globe])
    middle = np.rad2deg(np.arctan2(np.sin(turned).mean(), np.cos(turned).mean()))
    reach = np.abs((lon[on_globe] - middle + 180) % 360 - 180).max() * (1 + 2 / SAMPLES)
    low, high = lat[on_globe].min(), lat[on_globe].max()
    margin = (high - low) * 2 / SAMPLES
    if max(high, -low) > 80:
        reach = 180.0  # around a pole, all meridians are near
    degrees = min(2 * reach, high - low) if reach < 180 else high - low
    scale = next(scale for scale, widest in DETAIL if degrees <= widest)
    line = _natural_earth(f"{layer}_{FINEST.get(layer, scale) if scale == '10m' else scale}")
    near = np.abs((line[:, 0] - middle + 180) % 360 - 180) <= reach
    near &= (line[:, 1] >= low - margin) & (line[:, 1] <= high + margin)
    line = _without_gaps(line, near)
    x, y = (np.asarray(side, dtype=float) for side in from_degrees(line[:, 0].astype(float), line[:, 1].astype(float)))
    line = np.column_stack([x, y])
    line[~np.isfinite(line).all(axis=1)] = np.nan  # where it leaves the projection
    jumps = np.flatnonzero(np.abs(np.diff(line[:, 0])) > (east - west) / 2) + 1  # from one edge of the map to the other
    line = np.insert(line, jumps, np.nan, axis=0)
    return _simplify(_clip(line, box), (east - west) / THINNEST)


def _wider_range(centres: np.ndarray) -> tuple[float, float]:
    borders = edges(centres)
    low, high = float(borders.min()), float(borders.max())
    margin = SURROUNDINGS * (high - low)
    return low - margin, high + margin


def _clip(line: np.ndarray, box: Bounds) -> np.ndarray:
    """Keep the points inside and their neighbours."""
    west, east, south, north = box
    with np.errstate(invalid="ignore"):
        inside = (line[:, 0] > west) & (line[:, 0] < east) & (line[:, 1] > south) & (line[:, 1] < north)
    return _without_gaps(line, inside)


def _without_gaps(line: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Keep the wanted points and their neighbours; one NaN stands where a piece was left out."""
    kept = wanted.copy()
    kept[1:] |= wanted[:-1]
    kept[:-1] |= wanted[1:]
    dropped = ~kept | np.isnan(line[:, 0])
    first_dropped = dropped & ~np.concatenate([[True], dropped[:-1]])
    cut = np.where(dropped[:, None], np.nan, line)
    return cut[~dropped | first_dropped]


def _simplify(line: np.ndarray, step: float) -> np.ndarray:
    """Leave out points in the same square of side `step` as the one before; ends of pieces stay."""
    if len(line) < 3:
        return line
    squares = np.floor(line / step)
    is_end = np.isnan(line[:, 0]) | np.isnan(np.append(line[1:, 0], np.nan))
    moved = np.concatenate([[True], (squares[1:] != squares[:-1]).any(axis=1)])
    return line[moved | is_end]


@functools.lru_cache(maxsize=8)
def _natural_earth(name: str) -> np.ndarray:
    """(points, 2) float32 degrees east and north."""
    with np.load(ASSETS / "natural_earth.npz") as arrays:
        return arrays[name]
