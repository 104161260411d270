"""Cells between centres on the sphere, whose rows and columns follow no parallels: areas, places, and faults.

Centres are unit vectors (ny, nx, 3), so that neither the dateline nor a pole is special.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from engine.errors import GridError

Corners = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # in this row and the next, (…, 3) each

ITERATIONS = 4  # of Newton's method, which begins within a cell
SAME_PLACE = 0.01  # of the distance to the next centre: closer ones are one cell that is given twice
MOST_REPEATED = 0.4  # of a line of cells, from which on it repeats another


def to_vectors(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Convert degrees (…,) to unit vectors (…, 3)."""
    east, north = np.deg2rad(lon), np.deg2rad(lat)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], -1)


def to_degrees(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert vectors (…, 3) of any length to longitude, -180 to 180, and latitude (…,)."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arctan2(z, np.hypot(x, y)))


def extrapolate(centres: np.ndarray, before: int, after: int, axis: int) -> np.ndarray:
    """Add centres before the first and after the last along an axis, as far apart as those are from the next ones."""
    lines = np.moveaxis(centres, axis, 0)
    first, last = lines[0] - lines[min(1, len(lines) - 1)], lines[-1] - lines[max(len(lines) - 2, 0)]
    head, tail = (np.arange(n)[:, None, None] for n in (before, after))
    more = [lines[0] + (before - head) * first, lines, lines[-1] + (1 + tail) * last]
    return np.moveaxis(_normalized(np.concatenate(more)), 0, axis)


def block_centres(centres: np.ndarray, scale: int) -> np.ndarray:
    """Average blocks of scale × scale centres: (ny / scale, nx / scale, 3)."""
    ny, nx, _ = centres.shape
    return _normalized(centres.reshape(ny // scale, scale, nx // scale, scale, 3).sum((1, 3)))


def cell_areas(centres: np.ndarray) -> np.ndarray:
    """Compute the solid angles (ny, nx) of the cells, in steradians, whose corners lie amid four centres.

    Source: Van Oosterom and Strackee (1983), IEEE Trans. Biomed. Eng. 30, 125, the solid angle of a triangle.
    """
    padded = extrapolate(extrapolate(centres, 1, 1, 0), 1, 1, 1)
    return np.abs(_quad_areas(_normalized(padded[:-1, :-1] + padded[:-1, 1:] + padded[1:, :-1] + padded[1:, 1:])))


def orientation(centres: np.ndarray) -> tuple[float, float]:
    """Find the signs of columns and rows with which a plane map isn't mirrored and has the north above."""
    down, right = np.diff(centres, axis=0)[:, :-1], np.diff(centres, axis=1)[:-1]
    along = 1.0 if down[..., 2].mean() >= 0 else -1.0
    is_mirrored = float((centres[:-1, :-1] * np.cross(right, down)).sum()) < 0
    return (-along if is_mirrored else along), along


def interpolate(centres: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Interpolate bilinearly at fractional rows and columns (…,), beyond the outer centres too: (…, 3)."""
    corners, s, t = _four_centres(centres, rows, columns)
    return _bilinear(corners, s, t)


def positions(centres: np.ndarray, tree: KDTree, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find fractional rows and columns of unit vectors (n, 3), by the inverse of bilinear interpolation.

    Far outside of the cells they are those of the nearest centre, a whole cell further out.
    """
    ny, nx, _ = centres.shape
    distance, nearest = tree.query(points)
    first_rows, first_columns = np.divmod(nearest, nx)
    rows, columns = first_rows.astype(float), first_columns.astype(float)
    for _ in range(ITERATIONS):
        corners, s, t = _four_centres(centres, rows, columns)
        a, b, c, d = corners
        gap = _tangential_part(points, _bilinear(corners, s, t))
        down = _tangential_part(points, (1 - t)[:, None] * (c - a) + t[:, None] * (d - b))
        right = _tangential_part(points, (1 - s)[:, None] * (b - a) + s[:, None] * (d - c))
        dd, rr, dr = (np.einsum("nk,nk->n", *pair) for pair in ((down, down), (right, right), (down, right)))
        gd, gr = (np.einsum("nk,nk->n", gap, side) for side in (down, right))
        determinant = np.maximum(dd * rr - dr**2, np.finfo(float).tiny)
        rows = np.clip(rows - np.clip((gd * rr - gr * dr) / determinant, -1, 1), -1, ny)
        columns = np.clip(columns - np.clip((gr * dd - gd * dr) / determinant, -1, 1), -1, nx)
    is_far = distance > _diagonals(centres).ravel()[nearest]
    outward = [np.where(f == 0, -1, np.where(f == n - 1, n, f)) for f, n in ((first_rows, ny), (first_columns, nx))]
    outward[0] = np.where((outward[0] == first_rows) & (outward[1] == first_columns), -1, outward[0])
    return np.where(is_far, outward[0], rows), np.where(is_far, outward[1], columns)


def nearest_cells(centres: np.ndarray, tree: KDTree, points: np.ndarray) -> np.ndarray:
    """Number the cells (ny, nx), one row after the other, whose centres are nearest to unit vectors (n, 3).

    -1 outside of the grid. In a tenth of the time that `positions` takes.
    """
    ny, nx, _ = centres.shape
    distance, nearest = tree.query(points, distance_upper_bound=_diagonals(centres).max())
    rows, columns = np.divmod(nearest, nx)
    is_outer = (rows == 0) | (rows == ny - 1) | (columns == 0) | (columns == nx - 1)
    is_outside = ~np.isfinite(distance)
    is_outer &= ~is_outside
    at_border = positions(centres, tree, points[is_outer])
    is_outside[is_outer] = np.any(
        [np.abs(at - (n - 1) / 2) > n / 2 for at, n in zip(at_border, (ny, nx), strict=True)], 0
    )
    return np.where(is_outside, -1, nearest)


def without_repeats(centres: np.ndarray, where: str) -> tuple[slice, slice]:
    """Find the rows and columns that are left without outer ones that repeat cells, as where a global grid closes.

    Raises
    ------
    GridError
        If cells repeat that don't fill outer rows or columns.
    """
    rows, columns = slice(0, centres.shape[0]), slice(0, centres.shape[1])
    while True:
        left = centres[rows, columns]
        distance, _ = KDTree(left.reshape(-1, 3)).query(left.reshape(-1, 3), k=2)
        is_repeat = (distance[:, 1] < SAME_PLACE * np.median(_diagonals(left))).reshape(left.shape[:2])
        if not is_repeat.any():
            return rows, columns
        lines = (is_repeat[:, -1], is_repeat[-1], is_repeat[:, 0], is_repeat[0])
        shares = [line.mean() for line in lines]
        outer = int(np.argmax(shares))
        if shares[outer] < MOST_REPEATED or min(is_repeat.shape) <= 2:
            row, column = (int(n[0]) for n in np.nonzero(is_repeat))
            raise GridError(
                f"{is_repeat.sum()} cells of {where} lie where others do, the first in row {row}, column {column}",
                hint="expected a place of its own for each cell",
                action="choose rows and columns without repeats first (Python: dataset.isel(…))",
            )
        if outer % 2:
            rows = slice(rows.start, rows.stop - 1) if outer == 1 else slice(rows.start + 1, rows.stop)
        else:
            columns = slice(columns.start, columns.stop - 1) if outer == 0 else slice(columns.start + 1, columns.stop)


def check_unfolded(centres: np.ndarray, where: str) -> None:
    """Raise GridError where the grid folds over: neighbours that go around in the other sense, or none."""
    areas = _quad_areas(centres)
    sense = np.sign(np.median(areas))
    if len(folded := np.argwhere(areas * sense <= 0)):
        row, column = map(int, folded[0])
        raise GridError(
            f"the grid of {where} folds over at {len(folded)} of {areas.size} places, as in row {row}, column {column}",
            hint="expected rows and columns that go on in one sense, as in a map",
            action="choose the part without the fold first (Python: dataset.isel(…))",
        )


def _diagonals(centres: np.ndarray) -> np.ndarray:
    """Measure from each centre to the furthest of those diagonally next to it, (ny, nx), on the unit sphere."""
    padded = extrapolate(extrapolate(centres, 1, 1, 0), 1, 1, 1)
    ny, nx, _ = centres.shape
    corners = [padded[i : i + ny, j : j + nx] for i in (0, 2) for j in (0, 2)]
    return np.max([np.linalg.norm(corner - centres, axis=-1) for corner in corners], axis=0)


def _quad_areas(corners: np.ndarray) -> np.ndarray:
    """Compute the solid angles between four neighbouring corners each, with the sign of their sense."""
    a, b, c, d = corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]
    return _triangle_areas(a, b, c) + _triangle_areas(a, c, d)


def _triangle_areas(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    ab, bc, ca = (np.einsum("...k,...k", *pair) for pair in ((a, b), (b, c), (c, a)))
    return 2 * np.arctan2(np.einsum("...k,...k", a, np.cross(b, c)), 1 + ab + bc + ca)


def _four_centres(centres: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[Corners, np.ndarray, np.ndarray]:
    """Give the four centres about each position, and how far it is from the first along both sides."""
    ny, nx, _ = centres.shape
    r, c = np.clip(np.floor(rows), 0, ny - 2).astype(int), np.clip(np.floor(columns), 0, nx - 2).astype(int)
    return (centres[r, c], centres[r, c + 1], centres[r + 1, c], centres[r + 1, c + 1]), rows - r, columns - c


def _bilinear(corners: Corners, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    a, b, c, d = corners
    s, t = s[..., None], t[..., None]
    return (1 - s) * ((1 - t) * a + t * b) + s * ((1 - t) * c + t * d)


def _tangential_part(points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Take from vectors (n, 3) their part along the points."""
    return vectors - np.einsum("nk,nk->n", vectors, points)[:, None] * points


def _normalized(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
