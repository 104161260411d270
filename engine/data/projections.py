"""Map projections by their CF grid mapping (CF section 5.6 and appendix F)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj

from engine.errors import GridError

GridMapping = Mapping[str, Any]  # attributes of a CF grid-mapping variable

GEOSTATIONARY = "geostationary"
ROTATED_POLE = "rotated_latitude_longitude"


def is_same_crs(one: GridMapping, other: GridMapping) -> bool:
    """True if two grid mappings name the same projection with the same parameters."""
    names = (set(one) | set(other)) - {"long_name", "crs_wkt", "spatial_ref", "units", "GeoTransform"}
    return all(name in one and name in other and np.array_equal(one[name], other[name]) for name in names)


def mapping_from_wkt(attrs: Mapping[str, Any]) -> GridMapping:
    """Convert attributes that give the projection as well-known text only to a CF grid mapping; raises GridError.

    A projection that CF has no name for, as Web Mercator, keeps its own, with the rest in its text.
    """
    try:
        crs = pyproj.CRS.from_wkt(str(attrs.get("crs_wkt") or attrs.get("spatial_ref") or ""))
        method = crs.coordinate_operation.method_name if crs.coordinate_operation else crs.name
        return {"grid_mapping_name": method.lower().replace(" ", "_"), **crs.to_cf()}
    except pyproj.exceptions.CRSError as error:
        raise GridError(
            f"the grid mapping has neither grid_mapping_name nor a crs_wkt that can be read ({error})",
            hint="expected a CF grid mapping",
            action="fix its attributes, or remap the file to latitude and longitude first",
        ) from None


def to_lonlat(crs: GridMapping, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert metres (or rotated degrees) of a projection to longitude and latitude in degrees."""
    if not crs:
        return x, y
    lon, lat = _to_lonlat_transformer(crs).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


def from_lonlat(crs: GridMapping, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert longitude and latitude in degrees to metres (or rotated degrees) of a projection."""
    if not crs:
        return lon, lat
    x, y = _to_lonlat_transformer(crs).transform(lon, lat, direction="INVERSE")
    return np.asarray(x), np.asarray(y)


def _to_lonlat_transformer(crs: GridMapping) -> pyproj.Transformer:
    """Make the transformer from the projection to the longitude and latitude that it is defined by."""
    return _transformer(json.dumps({word: np.asarray(value).tolist() for word, value in crs.items()}, sort_keys=True))


@lru_cache(maxsize=32)
def _transformer(mapping: str) -> pyproj.Transformer:
    """Make the transformer for a grid mapping as JSON; cached, since PROJ takes a tenth of a second for one."""
    crs = json.loads(mapping)
    try:
        projection = pyproj.CRS.from_cf(crs)
    except (pyproj.exceptions.CRSError, KeyError, ValueError) as error:
        name = crs.get("grid_mapping_name")
        raise GridError(
            f"the grid mapping {name!r} can't be read ({error})",
            hint="expected a CF grid mapping with all its parameters",
            action="fix its attributes, or remap the file to latitude and longitude first",
        ) from None
    base = projection.geodetic_crs if projection.is_projected else projection.source_crs  # of a rotated pole
    return pyproj.Transformer.from_crs(projection, base, always_xy=True)
