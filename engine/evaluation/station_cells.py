"""Cells of a grid that belong to stations, and the elevation that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.spatial import KDTree

from engine.data.gaps import fill_missing
from engine.data.grid_coordinates import grid_of
from engine.data.grids import Grid, edges, is_periodic
from engine.data.hr_template import HrTemplate
from engine.data.kernels import cell_positions, kernel_taps
from engine.data.lengths import EARTH_RADIUS_KM
from engine.data.resample import coarsen, interpolate
from engine.data.spherical_cells import to_vectors
from engine.data.surface import Surface
from engine.errors import DataError
from engine.evaluation.moments import ratio

KERNELS_OF_LR = ("nearest", "bilinear", "bicubic")  # products that don't use the HR elevation


@dataclass(frozen=True)
class Sampling:
    """Cells of a grid for each station, with their weights: (station, cell) each; weight 0 where there is none.

    distance : (station,) km to the nearest cell with values; infinite where it is too far.
    """

    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    distance: np.ndarray

    @classmethod
    def of(
        cls, grid: Grid, valid: np.ndarray, lon: np.ndarray, lat: np.ndarray, limit_km: float, inside: np.ndarray | None
    ) -> Sampling:
        """Choose cells of a grid among the `valid` (y, x).

        limit_km : how far the nearest cell may be.
        inside : (station,) whether it lies in the grid, to weight the four cells around it bilinearly along y and x of
            the grid, rows and columns of a curvilinear one; None for the nearest cell alone.
        """
        rows, columns = np.nonzero(valid)
        if not rows.size:
            none = np.zeros((len(lon), 1), int)
            return cls(none, none, none.astype(float), np.full(len(lon), np.inf))
        centres = to_vectors(*(side[rows, columns] for side in grid.lonlat()))
        chord, nearest = KDTree(centres).query(to_vectors(lon, lat))
        km = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1))
        if inside is None:
            km = np.where(km <= limit_km, km, np.inf)
            return cls(rows[nearest][:, None], columns[nearest][:, None], np.isfinite(km)[:, None].astype(float), km)
        x, y = grid.from_lonlat(lon, lat)
        known = inside & np.isfinite(x) & np.isfinite(y)
        sides = ((y, grid.y, False), (x, grid.x, is_periodic(grid)))
        (row, row_weight), (column, column_weight) = (
            kernel_taps(cell_positions(np.where(known, at, c[0]), c), len(c), "bilinear", wraps)
            for at, c, wraps in sides
        )
        four = np.repeat(row, 2, axis=1), np.tile(column, (1, 2))
        weights = (row_weight[:, :, None] * column_weight[:, None, :]).reshape(len(lon), 4)
        weights = np.where(valid[four] & known[:, None], weights, 0)
        return cls(*four, weights, np.where(weights.any(axis=1), km, np.inf))

    def take(self, field: np.ndarray) -> np.ndarray:
        """Sample (…, y, x): (…, station), without the cells that have no value; NaN where none has one."""
        values = field[..., self.rows, self.columns].astype(float)
        weights = np.where(np.isfinite(values), self.weights, 0)
        return ratio((np.nan_to_num(values) * weights).sum(-1), weights.sum(-1))


def samplings(
    hr: Grid, hr_valid: np.ndarray, lr: Grid, lr_valid: np.ndarray, lon: np.ndarray, lat: np.ndarray, method: str
) -> dict[str, Sampling]:
    """Choose the cells of HR and of LR by a method, nearest or bilinear: {hr or lr: Sampling}.

    The nearest cell is at most one diagonal of a cell away, so that a station on the coast may take the land cell
    beside its own.
    """
    limit, inside = float(np.hypot(*hr.cell_sides_km())), None
    scale = max(-(-fine // coarse) for fine, coarse in zip(hr.shape, lr.shape, strict=True))
    if method == "bilinear":
        x, y = hr.from_lonlat(lon, lat)
        inside = np.ones(len(lon), bool)
        for at, centres in ((y, hr.y), (x, hr.x)):
            borders = edges(centres)
            inside &= (at >= borders.min()) & (at <= borders.max())
    return {
        "hr": Sampling.of(hr, hr_valid, lon, lat, limit, inside),
        "lr": Sampling.of(lr, lr_valid, lon, lat, limit * scale, inside),
    }


def elevations(template: HrTemplate, scale: int, interpolation: str) -> dict[str, xr.DataArray]:
    """Give the elevation in m (y, x) that each product stands for, from a static variable of the run.

    That of HR and of what is fitted to HR is the variable itself, that of LR its mean over LR cells, and that of
    interpolated fields this mean, interpolated alike.

    Raises
    ------
    DataError
        If the run has no elevation among its static variables.
    """
    known = Surface.of(template.static).elevation
    if known is None:
        has = ", ".join(str(field.attrs.get("source_name", field.name)) for field in template.static)
        raise DataError(
            f"a height correction needs an elevation, but the run's static variables are: {has or 'none'}",
            hint="expected one among data.static, in metres and called orography, elevation or the like",
            action="train with it, or leave --height-correction out",
        )
    hr = template.hr.copy(data=known)
    lr = coarsen(hr, scale).compute()
    filled = fill_missing(lr.values[None], is_periodic(grid_of(hr)))
    smooth = {
        product: hr.copy(data=interpolate(filled, scale, kernel, is_periodic(grid_of(hr)))[0])
        for product, kernel in {"interpolated": interpolation, **{k: k for k in KERNELS_OF_LR}}.items()
    }
    rows, columns = template.data_shape
    return {"lr": lr} | {k: field[:rows, :columns] for k, field in {**smooth, "hr": hr}.items()}
