"""SAL: structure, amplitude and location of precipitation, as objects rather than cell by cell.

A shower at the wrong place is two errors cell by cell, where it is missing and where it is; here it is one of location.

Source: Wernli, Paulat, Hagen and Frei (2008), Mon. Wea. Rev. 136, 4470, eqs. 1 to 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

from engine.evaluation.moments import ratio

COMPONENTS = ("structure", "amplitude", "location")
THRESHOLD = 1 / 15  # of the largest value, from which on cells belong to an object; section 2b
TOUCHING = np.ones((3, 3), int)  # cells that share a side or a corner are of one object
WORDS = ("precipitation", "rainfall", "snowfall")


def is_precipitation(attrs: Mapping[str, object]) -> bool:
    """True if a field is one of precipitation by its standard name, or failing that its long name."""
    name = str(attrs.get("standard_name") or attrs.get("long_name") or "").lower()
    return any(word in name for word in WORDS)


@dataclass(frozen=True, eq=False)
class Places:
    """Places of cells, and their weights.

    y, x : (y, x) in km from the first cell; areas : (y, x) in km²; extent : largest distance between cells, in km.
    """

    y: np.ndarray
    x: np.ndarray
    areas: np.ndarray
    extent: float

    @classmethod
    def of(cls, areas: np.ndarray, sides_km: tuple[float, float]) -> Places:
        """Take cells of one size, (height, width) in km, as on a plane."""
        y, x = np.indices(areas.shape) * np.reshape(sides_km, (2, 1, 1))
        return cls(y, x, areas, max(float(np.hypot(y[-1, -1], x[-1, -1])), 1e-9))


def sal_of_steps(hr: np.ndarray, products: np.ndarray, places: Places) -> np.ndarray:
    """Compute S, A and L of products in each step: (3, product, time).

    Parameters
    ----------
    hr, products : (time, y, x) and (product, time, y, x), of one unit; compared where all have a value, and negative
        values are none.

    Returns
    -------
    S and A from -2 to 2, positive where objects are too large or too flat, and where there is too much; L from 0 to
    2. NaN where HR or the product has no precipitation at all.
    """
    fields = np.concatenate([hr[None], products]).astype(float)
    fields = np.where(np.isfinite(fields).all(axis=0), np.maximum(fields, 0), 0)
    found = [[_features(field, places) for field in of_product] for of_product in fields]
    of_hr, others = np.array(found[0]), np.array(found[1:])  # (time, feature), (product, time, feature)
    amount, volume = (2 * (others[..., k] - of_hr[..., k]) / (others[..., k] + of_hr[..., k]) for k in (0, 1))
    centres = np.hypot(*np.moveaxis(others[..., 2:4] - of_hr[..., 2:4], -1, 0))
    location = (centres + 2 * np.abs(others[..., 4] - of_hr[..., 4])) / places.extent
    return np.stack([volume, amount, location])


def mean_sal(of_product: xr.Dataset) -> dict[str, float]:
    """Average the size of each component over the steps that have it: `step_sal` (component, time) of a product."""
    sizes = np.abs(of_product["step_sal"].transpose("component", "time").values)
    means = ratio(np.nansum(sizes, axis=1), np.isfinite(sizes).sum(axis=1))
    return dict(zip(COMPONENTS, means.tolist(), strict=True))


def _features(field: np.ndarray, places: Places) -> tuple[float, ...]:
    """Amount, scaled volume of objects, y and x of the centre of mass, distance of objects from it; NaN without any."""
    total = field * places.areas
    if not (amount := total.sum()) > 0:
        return (np.nan,) * 5
    y, x = (float((total * side).sum() / amount) for side in (places.y, places.x))
    labels, n = ndimage.label(field >= THRESHOLD * field.max(), TOUCHING)
    numbers = np.arange(1, n + 1)
    mass = ndimage.sum_labels(total, labels, numbers)
    own_y, own_x = (ndimage.sum_labels(total * side, labels, numbers) / mass for side in (places.y, places.x))
    volume = (mass**2 / ndimage.maximum(field, labels, numbers)).sum() / mass.sum()
    distance = (mass * np.hypot(own_y - y, own_x - x)).sum() / mass.sum()
    return float(amount), float(volume), y, x, float(distance)
