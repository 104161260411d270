"""Coasts, borders and waters of a map, and meridians and parallels with their labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.plots.projection import Box, MapProjection
from engine.data.grids import edges
from engine.data.surface import IS_LAND
from engine.evaluation.map_lines import LAYERS, map_line

N_LINES = 3  # meridians and parallels that a map should show, about
STEPS = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60])  # degrees between them
POINTS = 121  # along a meridian or a parallel
BEYOND = 1e-6  # of its extent that a line goes on outside of the map: one that ends on the edge may not cross it
EDGE = 0.06  # of the map's width and height: labels that would be cut off are left out


@dataclass(frozen=True)
class Graticule:
    """Meridians and parallels as one line with gaps, and their labels along the lower and the left edge.

    lines : columns x, y. labels : columns x, y, text, align, x_offset, y_offset (pixels).
    """

    lines: dict[str, np.ndarray]
    labels: dict[str, list[Any]]


def map_lines(
    projection: MapProjection, box: Box, read_land: Callable[[], np.ndarray | None] = lambda: None
) -> dict[str, np.ndarray]:
    """Coasts, borders, and lakes and rivers in a box of a map: (points, 2) each, with gaps.

    read_land : share of each cell (y, x) of the projection's grid that is land, if known. Where the Earth has no coast
        on that grid, as around an imaginary land, the borders between its land and sea are the coast.
    """
    bounds = (box.west, box.east, box.south, box.north)
    lines = {layer: map_line(layer, bounds, projection.from_lonlat, projection.to_lonlat) for layer in LAYERS}
    own, (x, y) = projection.box(), lines["coast"].T
    is_on_grid = (x > own.west) & (x < own.east) & (y > own.south) & (y < own.north)
    if not is_on_grid.any() and (land := read_land()) is not None:
        lines["coast"] = np.concatenate([lines["coast"], land_border(projection, land)])
    return lines


def land_border(projection: MapProjection, land: np.ndarray) -> np.ndarray:
    """Sides of cells between land and sea on a map: (points, 2), each side followed by NaN."""
    is_land, grid = land >= IS_LAND, projection.grid
    x, y = edges(grid.x), edges(grid.y)
    rows, columns = np.nonzero(is_land[:, 1:] != is_land[:, :-1])
    along = [[x[columns + 1], y[rows]], [x[columns + 1], y[rows + 1]]]
    rows, columns = np.nonzero(is_land[1:] != is_land[:-1])
    across = [[x[columns], y[rows + 1]], [x[columns + 1], y[rows + 1]]]
    ends = np.concatenate([along, across], axis=2)  # (end, x and y, side)
    sides = np.full((ends.shape[2], 3, 2), np.nan)
    sides[:, :2] = np.stack(projection.from_grid(grid, ends[:, 0], ends[:, 1])).T
    return sides.reshape(-1, 2)


def graticule(projection: MapProjection, box: Box) -> Graticule:
    """Draw meridians and parallels at round degrees over a box of a map."""
    x, y = np.meshgrid(np.linspace(box.west, box.east, 41), np.linspace(box.south, box.north, 41))
    lon, lat = projection.to_lonlat(x, y)
    seen = np.isfinite(lon) & np.isfinite(lat)
    if not seen.any():
        return Graticule({"x": np.empty(0), "y": np.empty(0)}, _labels([]))
    middle = float(lon[seen][seen.sum() // 2])
    east_of_middle = (lon[seen] - middle + 180) % 360 - 180
    beyond = BEYOND * float(np.ptp(east_of_middle)), BEYOND * float(np.ptp(lat[seen]))
    lon_ends = middle + float(east_of_middle.min()) - beyond[0], middle + float(east_of_middle.max()) + beyond[0]
    lat_ends = max(float(lat[seen].min()) - beyond[1], -90.0), min(float(lat[seen].max()) + beyond[1], 90.0)
    pieces, labels = [], []
    for longitude in _rounds(*lon_ends):
        along = np.linspace(*lat_ends, POINTS)
        line = np.column_stack(projection.from_lonlat(np.full(POINTS, longitude), along))
        pieces += [line, np.full((1, 2), np.nan)]
        if (at := _crossing(line[:, ::-1], line, box.south, box.west, box.east)) is not None:
            labels.append((at, box.south, _degrees((longitude + 180) % 360 - 180, "EW"), "center", 0, -10))
    for latitude in _rounds(*lat_ends):
        along = np.linspace(*lon_ends, POINTS)
        line = np.column_stack(projection.from_lonlat(along, np.full(POINTS, latitude)))
        pieces += [line, np.full((1, 2), np.nan)]
        if (at := _crossing(line, line[:, ::-1], box.west, box.south, box.north)) is not None:
            labels.append((box.west, at, _degrees(latitude, "NS"), "left", 4, 0))
    lines = np.concatenate(pieces) if pieces else np.empty((0, 2))
    jumps = np.abs(np.diff(lines[:, 0], prepend=np.nan)) > (box.east - box.west)
    lines[jumps] = np.nan
    return Graticule({"x": lines[:, 0], "y": lines[:, 1]}, _labels(labels))


def _rounds(low: float, high: float) -> np.ndarray:
    """Round degrees between two ends, N_LINES of them or a few more."""
    step = STEPS[np.argmin(np.abs(np.log((high - low) / N_LINES / STEPS)))] if high > low else 1.0
    first = np.ceil(low / step)
    return np.arange(first, np.floor(high / step) + 1) * step


def _crossing(line: np.ndarray, other: np.ndarray, edge: float, low: float, high: float) -> float | None:
    """First place where a line crosses an edge of the box, if its label has room there.

    line : (points, 2), the first column across the edge; other : the same points, the first column along it.
    """
    across, along = line[:, 0], other[:, 0]
    with np.errstate(invalid="ignore"):
        crossed = np.flatnonzero((across[:-1] - edge) * (across[1:] - edge) <= 0)
    for at in crossed:
        gap = across[at + 1] - across[at]
        share = (edge - across[at]) / gap if gap else 0.0
        place = float(along[at] + share * (along[at + 1] - along[at]))
        if low + EDGE * (high - low) < place < high - EDGE * (high - low):
            return place
    return None


def _degrees(value: float, sides: str) -> str:
    value = round(float(value), 6)
    return f"{abs(value):g}°{sides[value < 0] if value and abs(value) != 180 else ''}"


def _labels(labels: list[tuple[float, float, str, str, int, int]]) -> dict[str, list[Any]]:
    names = ("x", "y", "text", "align", "x_offset", "y_offset")
    return {name: [label[at] for label in labels] for at, name in enumerate(names)}
