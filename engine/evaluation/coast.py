"""Coast lines in the coordinates of a grid: one line with gaps, cut to the grid's surroundings."""

from __future__ import annotations

import functools

import numpy as np

from engine.assets import ASSETS
from engine.data.grids import Grid, edges

COASTLINES = ASSETS / "coastlines.npz"
COARSE_DEGREES = 90.0  # regions wider than this get the 1:110 million coast
SURROUNDINGS = 0.5  # of the region's width and height on each side, so that zooming out still shows land


def coast_line(grid: Grid) -> np.ndarray:
    """Clip the coast line to a grid and its surroundings.

    Returns
    -------
    (points, 2) x and y in the grid's own unit; a row of NaN ends each piece. Empty far from any coast.
    """
    west, east = _wider_range(grid.x)
    south, north = _wider_range(grid.y)
    if grid.crs:
        return _projected(grid, (west, east, south, north))
    is_wide = east - west > 2 * COARSE_DEGREES
    turns = range(int((west - 180) // 360) + 1, int((east + 180) // 360) + 1)
    line = _land("110m" if is_wide else "50m")
    pieces = [line + np.array([360.0 * turn, 0.0]) for turn in turns]
    return np.concatenate([_clip(piece, west, east, south, north) for piece in pieces])


def _wider_range(centres: np.ndarray) -> tuple[float, float]:
    borders = edges(centres)
    low, high = float(borders.min()), float(borders.max())
    margin = SURROUNDINGS * (high - low)
    return low - margin, high + margin


def _projected(grid: Grid, box: tuple[float, float, float, float]) -> np.ndarray:
    """Take the coast near the grid, project it, and clip it."""
    import pyproj

    lon, lat = grid.lonlat()
    middle = float(np.median(lon))
    line = _land("50m").astype(float)
    eastward = (line[:, 0] - middle + 180) % 360 - 180
    max_lon = min(180.0, 2 * float(np.ptp((lon - middle + 180) % 360)) + 1)
    max_lat = float(np.ptp(lat)) + 1
    near = (np.abs(eastward) < max_lon) & (np.abs(line[:, 1] - float(lat.mean())) < max_lat)
    line = np.where(near[:, None], np.column_stack([middle + eastward, line[:, 1]]), np.nan)
    crs = pyproj.CRS.from_cf(dict(grid.crs))
    forward = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    x, y = forward.transform(line[:, 0], line[:, 1])
    metres = np.array([grid.metres_per_unit("x"), grid.metres_per_unit("y")])
    projected = np.column_stack([x, y]) / metres
    return _clip(np.where(np.isfinite(projected), projected, np.nan), *box)


def _clip(line: np.ndarray, west: float, east: float, south: float, north: float) -> np.ndarray:
    """Keep the points inside and their neighbours; one NaN stands where a piece was left out."""
    inside = (line[:, 0] > west) & (line[:, 0] < east) & (line[:, 1] > south) & (line[:, 1] < north)
    kept = inside.copy()
    kept[1:] |= inside[:-1]
    kept[:-1] |= inside[1:]
    dropped = ~kept | np.isnan(line[:, 0])
    first_dropped = dropped & ~np.concatenate([[True], dropped[:-1]])
    cut = np.where(dropped[:, None], np.nan, line)
    return cut[~dropped | first_dropped]


@functools.lru_cache(maxsize=2)
def _land(scale: str) -> np.ndarray:
    with np.load(COASTLINES) as arrays:
        return arrays[f"land_{scale}"]
