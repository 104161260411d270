"""Land, sea and height of the cells of a run, from its static variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from engine.data.normalizer import load_hr_template
from engine.data.units import convert
from engine.errors import MesoscopeError

GRAVITY = 9.80665  # m s-2, standard acceleration, 3rd General Conference on Weights and Measures (1901)
IS_LAND = 0.5  # share of a cell from which on it is land
_KINDS = {  # unit, factor and offset of a kind → names: of CF, and usual ones of CMIP, ECMWF, NCEP, WRF, ICON
    ("land", "1", 1.0, 0.0): (
        "land_binary_mask", "land_area_fraction", "land_mask", "land_sea_mask", "lsm", "lsmask", "sftlf", "landmask",
    ),
    ("land", "1", -1.0, 1.0): ("sea_binary_mask", "sea_area_fraction", "sea_mask", "ocean_mask", "sftof"),
    ("elevation", "m", 1.0, 0.0): (
        "surface_altitude", "altitude", "elevation", "topography", "orography", "orog", "topo", "dem", "hgt", "hsurf",
    ),
    ("elevation", "m2 s-2", 1 / GRAVITY, 0.0): ("surface_geopotential", "geopotential", "z"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Surface:
    """Kind and height of cells, as far as known.

    land : (y, x) share of a cell that is land, 0 to 1; elevation : (y, x) in m.
    """

    land: np.ndarray | None = None
    elevation: np.ndarray | None = None

    @classmethod
    def of(cls, static: Sequence[xr.DataArray]) -> Surface:
        """Find them among static variables (y, x), which are known by standard name or by name, and by unit."""
        known: dict[str, np.ndarray] = {}
        for field in static:
            names = {str(field.attrs.get(word, "")).lower() for word in ("standard_name", "source_name")}
            for (kind, units, factor, offset), usual in _KINDS.items():
                if not names.isdisjoint(usual) and (values := _in_unit(field, units)) is not None:
                    known[kind] = factor * values + offset
        return cls(**known)

    @classmethod
    def read(cls, path: Path) -> Surface:
        """Read them from the scaling.nc of a run, for the cells of its results; runs made before have no units."""
        if not path.is_file():
            return cls()
        template = load_hr_template(path)
        rows, columns = template.data_shape
        return cls.of([field[:rows, :columns] for field in template.static])


def _in_unit(field: xr.DataArray, units: str) -> np.ndarray | None:
    """Convert values (y, x) to a unit, shares being 0 to 1; None if their own is unknown or of another kind."""
    try:
        values = np.asarray(convert(field, units, what=str(field.name)).values, dtype=float)
    except MesoscopeError:
        return None
    known = values[np.isfinite(values)]
    is_share = known.size and known.min() >= 0 and known.max() <= 1
    return values if known.size and (units != "1" or is_share) else None
