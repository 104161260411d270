"""Where and when the inputs of a design lie: the grid and the period of each, read from the headers of its files."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import xarray as xr

from app.services.preview import minute
from app.services.regions import outline_of_cells
from engine.data.fields import open_field
from engine.data.grids import Grid
from engine.errors import MesoscopeError
from engine.spec import Spec

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Footprint:
    """One input of a design.

    role : "target", "LR", "predictor" or "static".
    period : its first and last time, 'YYYY-MM-DD HH:MM'; None without time.
    """

    role: str
    name: str
    grid: Grid
    period: tuple[str, str] | None = None
    steps: int = 0

    @classmethod
    def of(cls, role: str, field: xr.DataArray) -> Footprint:
        """Describe an opened variable; nothing but its coordinates is read."""
        grid, name = Grid.of(field), str(field.name)
        if "time" not in field.dims or not field.sizes["time"]:
            return cls(role, name, grid)
        times = field["time"].values
        return cls(role, name, grid, (minute(times[0]), minute(times[-1])), len(times))

    def outline(self) -> tuple[np.ndarray, np.ndarray]:
        """Longitudes and latitudes along the border of its cells, in degrees."""
        x, y = outline_of_cells(self.grid, self.grid)
        return self.grid.to_lonlat(x, y)


def footprints(spec: Spec) -> list[Footprint]:
    """Open every input that can be opened here, the target first; the check says what is wrong with the others."""
    data, found = spec.data, []
    inputs = [("target", data.target), *([("LR", data.lr)] if data.lr else [])]
    inputs += [("predictor", one) for one in data.predictors] + [("static", one) for one in data.static]
    for role, source in inputs:
        try:
            found.append(Footprint.of(role, open_field(source, static=role == "static", undated=True)))
        except MesoscopeError as error:
            LOG.debug("no footprint of %s: %s", source.path, error)
    return found


def overlap(inputs: list[Footprint]) -> tuple[str, str] | None:
    """Period that all inputs with time have in common; None if there is none."""
    periods = [one.period for one in inputs if one.period]
    if not periods:
        return None
    first, last = max(first for first, _ in periods), min(last for _, last in periods)
    return (first, last) if first <= last else None
