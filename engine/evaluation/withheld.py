"""Folds of stations, and values at stations that were made without those of their own fold.

`results/withheld.nc` of a run with `data.stations` holds them; docs/verification.md has the formulas.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial import KDTree

from engine.data.lengths import EARTH_RADIUS_KM
from engine.data.spherical_cells import to_vectors
from engine.data.stations import LAT, LON

FOLDS = 5
PRODUCTS = ("downscaled", "without_stations", "kriging")
AT_HEIGHT = ("downscaled_at_height", "lr_at_height")
VALUES = "values"
METHODS = ("nearest", "bilinear")
SAME_PLACE_KM = 1.0
MIN_HEIGHTS = 3


def withheld_beside(results_path: Path) -> Path:
    """Give the path of the file of withheld stations that belongs to a results file."""
    return results_path.with_name("withheld.nc")


def folds_of(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Number compact groups of stations (station,) from 1, at most FOLDS, so that those of a group lie together.

    Source: Ward (1963), J. Am. Stat. Assoc. 58, 236, on the sphere.
    """
    if len(lon) < 2:
        return np.ones(len(lon), int)
    return fcluster(linkage(to_vectors(lon, lat), "ward"), FOLDS, "maxclust")


def height_offsets(differences: np.ndarray, alt: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Expect by how much stations of a fold differ from a field, by a line over altitude fitted at all others.

    differences : (station,) mean of measured less field over the training part. alt : (station,) in m.
    inside : (station,) those of the fold. Where its altitude isn't known, one is expected to differ as the others do
        on average.
    """
    known = ~inside & np.isfinite(differences)
    if not known.any():
        return np.zeros(int(inside.sum()))
    expected = np.full(int(inside.sum()), differences[known].mean())
    high = known & np.isfinite(alt)
    if len(np.unique(alt[high])) >= MIN_HEIGHTS:
        line = np.polynomial.Polynomial.fit(alt[high], differences[high], 1)
        expected = np.where(np.isfinite(alt[inside]), line(np.nan_to_num(alt[inside])), expected)
    return expected


def with_withheld(
    products: xr.DataArray, measured: xr.DataArray, withheld: xr.Dataset, method: str
) -> tuple[xr.DataArray, str]:
    """Put what was made without a station's fold in the place of `downscaled`, and add the others of the file.

    Parameters
    ----------
    products : (product, station, time) at the stations that are measured.

    Returns
    -------
    The same, NaN at stations that aren't input of the run, and a note; as given where none of them is.
    """
    given = to_vectors(withheld[LON].values, withheld[LAT].values)
    chord, nearest = KDTree(given).query(to_vectors(measured[LON].values, measured[LAT].values))
    is_input = chord * EARTH_RADIUS_KM < SAME_PLACE_KM
    if not is_input.any():
        return products, "none of these stations is input of the run"
    of_each = withheld[VALUES].sel({"method": method}).isel(station=nearest).transpose("product", "station", "time")
    made = np.where(is_input[:, None], of_each.values, np.nan)
    names = [str(name) for name in of_each["product"].values]
    others = [name for name in names if name != "downscaled"]
    added = products.isel(product=[0] * len(others)).assign_coords(product=others)
    together = xr.concat([products, added], "product")
    together.loc[names] = made
    note = f"stations are input of the run: what is downscaled at one is made without those of its fold, of {FOLDS}"
    left = f"; {(~is_input).sum()} that are no input are left out" if not is_input.all() else ""
    return together, note + left
