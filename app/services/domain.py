"""Grid, period, unit and gaps of each input of a design, and how they don't fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from app.services.preview import minute
from app.services.regions import cells_of, outline_of_cells
from engine.data.fields import open_field
from engine.data.grid_coordinates import grid_of
from engine.data.grids import Grid, edges, spacing
from engine.data.units import conversion
from engine.errors import MesoscopeError
from engine.spec import Region, Source, is_url

MOST_CELLS = 16_000_000  # of a step that is read for its gaps
MOST_COMPARED = 200  # rows, and columns, whose place is compared
SLACK = 1e-3  # of a cell: borders of grids in float32 are the same
Input = tuple[str, Source]  # role and source


@dataclass(frozen=True)
class Footprint:
    """One input of a design.

    role : "target", "LR", "predictor" or "static".
    period : its first and last time, 'YYYY-MM-DD HH:MM'; None without time.
    unit : "" where its file has none.
    missing : share of cells without a value in the middle step; None where that isn't read.
    """

    role: str
    name: str
    grid: Grid
    period: tuple[str, str] | None = None
    steps: int = 0
    unit: str = ""
    missing: float | None = None

    @classmethod
    def of(cls, role: str, field: xr.DataArray, *, with_gaps: bool = False) -> Footprint:
        """Describe an opened variable; nothing but its coordinates is read, and with its gaps one step."""
        times = field["time"].values if field.sizes.get("time") else np.empty(0)
        period = (minute(min(times)), minute(max(times))) if len(times) else None  # of forecasts they don't increase
        step = field.isel(time=len(times) // 2) if len(times) else field
        missing = float(np.isnan(step.values).mean()) if with_gaps and step.size <= MOST_CELLS else None
        unit = str(field.attrs.get("units", ""))
        return cls(role, str(field.name), grid_of(field), period, len(times), unit, missing)

    def outline(self) -> tuple[np.ndarray, np.ndarray]:
        """Longitudes and latitudes along the border of its cells, in degrees."""
        x, y = outline_of_cells(self.grid, self.grid)
        return self.grid.to_lonlat(x, y)


def footprints(inputs: Sequence[Input]) -> tuple[list[Footprint], list[str]]:
    """Open every input that can be opened here; and say why others can't."""
    found, faults = [], []
    for role, source in inputs:
        try:
            field = open_field(source, static=role == "static", undated=True)
            found.append(Footprint.of(role, field, with_gaps=not is_url(source.files()[0])))
        except MesoscopeError as error:
            faults.append(error.problem)
    return found, list(dict.fromkeys(faults))


def mismatches(inputs: Sequence[Footprint], region: Region | None) -> list[str]:
    """Say where inputs, the first being the target, don't fit: cells, times, unit of LR."""
    target, *others = inputs
    try:
        cells = cells_of(target.grid, region) if region else target.grid
    except MesoscopeError as error:
        return [str(error)]
    found = []
    for one in others:
        if (covered := _covered_share(cells, one.grid)) < 1:
            found.append(
                f"{one.role} {one.name} covers {max(0.1, 100 * covered):.3g} % of the target's cells"
                if covered
                else f"{one.role} {one.name} lies outside of the target's cells"
            )
        if one.period and target.period and overlap([target, one]) is None:
            found.append(f"{one.role} {one.name} has no time in common with the target")
        if one.role == "LR" and one.unit != target.unit:
            try:
                conversion(one.unit, target.unit, what="LR", reference="target")
            except MesoscopeError as error:
                found.append(str(error))
    return found


def _covered_share(cells: Grid, by: Grid) -> float:
    """Give the share of cells whose centres lie within those of another grid; some rows and columns are compared."""
    rows, columns = (np.unique(np.linspace(0, side - 1, MOST_COMPARED).round().astype(int)) for side in cells.shape)
    x, y = by.from_lonlat(*cells.select(rows, columns).lonlat())
    inside = np.isfinite(x) & np.isfinite(y)
    for at, centres in ((x, by.x), (y, by.y)):
        borders, slack = edges(centres), SLACK * spacing(centres)
        inside &= (at >= borders.min() - slack) & (at <= borders.max() + slack)
    return float(inside.mean())


def overlap(inputs: Sequence[Footprint]) -> tuple[str, str] | None:
    """Period that all inputs with time have in common; None if there is none."""
    periods = [one.period for one in inputs if one.period]
    if not periods:
        return None
    first, last = max(first for first, _ in periods), min(last for _, last in periods)
    return (first, last) if first[:10] <= last[:10] else None  # days are matched whatever their hour
