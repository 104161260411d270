"""Fields of other products, brought onto the LR grid."""

from __future__ import annotations

import xarray as xr

from engine.data.grid_coordinates import coordinates_of, grid_of
from engine.data.grids import Grid
from engine.data.hr_template import MIN_CELLS_FOR_MEAN, describe_shape
from engine.data.resample import regrid
from engine.spec import DataOptions


def note_scale(given: Grid, lr_grid: Grid, scale: int, notes: list[str]) -> None:
    """Add a note where the given LR field is far finer or coarser than the scale makes LR."""
    ratio = given.cell_size_km() / lr_grid.cell_size_km()
    if not 0.5 < ratio < 2:
        notes.append(
            f"data.lr has cells {given.cell_size_km():.3g} km wide, but scale {scale} makes LR cells "
            f"{lr_grid.cell_size_km():.3g} km wide: scale {max(2, round(scale * ratio))} would suit it"
        )


def regrid_to_lr(
    grid: Grid, needed: Grid, field: xr.DataArray, name: str, options: DataOptions, notes: list[str]
) -> xr.DataArray:
    """Bring a field onto the LR grid."""
    source = grid_of(field)
    if source.is_close_to(grid):
        return field.assign_coords(coordinates_of(grid))
    is_fine = source.cell_size_km() * MIN_CELLS_FOR_MEAN <= grid.cell_size_km()
    method = "area" if is_fine else options.interpolation
    notes.append(
        f"{name} ({describe_shape(source)} cells) regridded to the {describe_shape(grid)} LR cells by {method}"
    )
    return regrid(field.rename(name), grid, method, needed).rename(field.name)
