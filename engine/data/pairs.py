"""Pairing: which HR field belongs to which LR field, on which grids, at which times.

`pair` decides and reads nothing but coordinates and static variables; `Pairs.read` does the reading.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from engine.data.fields import open_field
from engine.data.grids import Grid
from engine.data.lazy import changed
from engine.data.regions import cells_within
from engine.data.resample import coarsen, coarsening, regrid
from engine.data.times import Parts, match, span, split_parts, within
from engine.data.units import convert
from engine.errors import DataError, GridError, TimeError
from engine.spec import DataOptions, Source

FINER = 2  # cells of the source along a cell of the new grid from which its mean is taken, not a sample


@dataclass(frozen=True)
class FieldBlock:
    """What has been read: float32, NaN = missing."""

    hr: np.ndarray  # (n, y, x)
    lr: np.ndarray  # (n, y_lr, x_lr)
    predictors: np.ndarray  # (n, y_lr, x_lr, predictors)


@dataclass(frozen=True)
class Pairs:
    """HR and LR fields of the same times on nested grids, still in their files.

    hr : (time, y, x) on `hr_grid`, cropped (perfect-prog) or extended by missing cells (mos) at the end of each
        side to a multiple of `scale`.
    lr : (time, y_lr, x_lr) on `lr_grid`, in the target's unit: what the network learns from.
    given_lr : the same of `data.lr`, if there is one: what the network is applied to in the test part.
    predictors : (time, y_lr, x_lr) each, in units of their own.
    static : (y, x) each, in memory; they may have missing values.
    data_shape : rows and columns of `hr_grid` that hold data, before extension.
    notes : what was done to the data, in sentences for the user.
    derive_lr : makes LR (n, y_lr, x_lr) of HR (n, y, x), where that is how LR comes about: so that HR is read once.
    """

    hr: xr.DataArray
    lr: xr.DataArray
    given_lr: xr.DataArray | None
    predictors: tuple[xr.DataArray, ...]
    static: tuple[xr.DataArray, ...]
    hr_grid: Grid
    lr_grid: Grid
    data_shape: tuple[int, int]
    scale: int
    interpolation: str
    parts: Parts
    notes: tuple[str, ...]
    derive_lr: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def times(self) -> xr.DataArray:
        """(time,) of any CF calendar."""
        return self.hr["time"]

    def for_evaluation(self) -> Pairs:
        """With the LR field that the network is for: the given one, where there is one."""
        return self if self.given_lr is None else dataclasses.replace(self, lr=self.given_lr, derive_lr=None)

    def read(self, steps: np.ndarray) -> FieldBlock:
        """Read time steps, in the order given, and nothing else; a step may be given twice.

        Parameters
        ----------
        steps : (n,) numbers into `times`.

        Raises
        ------
        DataError
            If a file can no longer be read.
        """
        wanted, order = np.unique(np.asarray(steps, int), return_inverse=True)
        try:
            hr = self.hr.isel(time=wanted).values
            lr = self.derive_lr(hr) if self.derive_lr else self.lr.isel(time=wanted).values
            predictors = [field.isel(time=wanted).values for field in self.predictors]
        except (OSError, RuntimeError, EOFError) as error:
            raise DataError(
                f"{self.hr.name} and its partners can no longer be read ({error}): a file is damaged, cut off, or was "
                "moved meanwhile; copy or download it again"
            ) from error
        stacked = np.stack(predictors, -1) if predictors else np.zeros((*lr.shape, 0), np.float32)
        return FieldBlock(hr[order], lr[order], stacked[order])


@dataclass(frozen=True)
class HrTemplate:
    """What of its pairs a trained run keeps, so that new LR data can be downscaled without HR.

    hr : (y, x) on the HR grid, with the name and attributes of the target; its values don't matter.
    static : (y, x) each.
    data_shape : rows and columns of the HR grid that held data.
    """

    hr: xr.DataArray
    static: tuple[xr.DataArray, ...]
    data_shape: tuple[int, int]


def pair_for_downscaling(options: DataOptions, template: HrTemplate, path: str) -> Pairs:
    """New LR and predictor fields on the grids of a trained run; HR is missing, and every step is a test step.

    Parameters
    ----------
    path : file, glob or Zarr store that holds all of them, by the names that the spec gives.

    Raises
    ------
    DataError
        Or one of its kinds, if a variable is not there, or doesn't fit the run's grid, unit or times.
    """
    notes: list[str] = []
    hr_grid = Grid.of(template.hr)
    lr_grid = hr_grid.coarsen(options.scale)
    needed = _centres_within(lr_grid, hr_grid.select(slice(template.data_shape[0]), slice(template.data_shape[1])))
    source = options.lr or options.target
    lr = open_field(dataclasses.replace(source, path=path))
    named = {"LR": convert(lr, template.hr.attrs["units"], what="LR")}
    for number, predictor in enumerate(options.predictors):
        named[f"data.predictors[{number}]"] = open_field(dataclasses.replace(predictor, path=path))
    matched = match([field["time"] for field in named.values()], list(named))
    on_lr = [_onto(lr_grid, needed, field, name, options, notes) for name, field in named.items()]
    lr, *predictors = (field.isel(time=steps) for field, steps in zip(on_lr, matched.steps, strict=True))
    nowhere = np.arange(0)
    return Pairs(
        hr=_without_values(template.hr, lr["time"]),
        lr=lr,
        given_lr=None,
        predictors=tuple(field.assign_coords(time=lr["time"]) for field in predictors),
        static=template.static,
        hr_grid=hr_grid,
        lr_grid=lr_grid,
        data_shape=template.data_shape,
        scale=options.scale,
        interpolation=options.interpolation,
        parts=Parts(nowhere, nowhere, np.arange(len(lr["time"]))),
        notes=(*matched.notes, *notes),
    )


def pair(options: DataOptions) -> Pairs:
    """Open all fields of an experiment and bring them together; reads coordinates and static variables only.

    Raises
    ------
    DataError
        Or one of its kinds, GridError, TimeError, UnitError: for whatever in the files doesn't fit.
    """
    notes: list[str] = []
    target = _in_region(open_field(options.target), options, notes)
    hr = _nested(target, options, notes)
    hr_grid = Grid.of(hr)
    lr_grid = hr_grid.coarsen(options.scale)
    own = min(hr.sizes["y"], target.sizes["y"]), min(hr.sizes["x"], target.sizes["x"])
    needed = _centres_within(lr_grid, hr_grid.select(slice(own[0]), slice(own[1])))
    fields = {"data.target": hr}
    if options.lr is not None:
        lr = convert(open_field(options.lr), hr.attrs["units"], what="data.lr")
        _note_scale(Grid.of(lr), lr_grid, options.scale, notes)
        fields["data.lr"] = _onto(lr_grid, needed, lr, "data.lr", options, notes)
    for number, source in enumerate(options.predictors):
        name = f"data.predictors[{number}]"
        fields[name] = _onto(lr_grid, needed, open_field(source), name, options, notes)
    hr, *others = _common_times(fields, options, notes)
    given = others.pop(0) if options.lr is not None else None
    made = options.pairing == "perfect-prog"
    lr = coarsen(hr, options.scale, options.coarsening) if made else given
    if made and given is not None:
        notes.append("the network learns from coarsened HR, and is applied to data.lr in the test part")
    return Pairs(
        hr=hr,
        lr=lr,
        given_lr=given,
        predictors=tuple(others),
        static=tuple(_static(source, k, hr_grid, own, notes) for k, source in enumerate(options.static)),
        hr_grid=hr_grid,
        lr_grid=lr_grid,
        data_shape=own,
        scale=options.scale,
        interpolation=options.interpolation,
        parts=split_parts(hr["time"], options.split),
        notes=tuple(notes),
        derive_lr=coarsening(hr_grid, options.scale, options.coarsening) if made else None,
    )


def check_values(pairs: Pairs, scaling: str = "standard") -> tuple[str, ...]:
    """Read the first, middle and last step of the training part, and look whether there is anything to learn.

    Parameters
    ----------
    normalizer : as `data.scaling`.

    Returns
    -------
    Notes on fields that are the same everywhere.

    Raises
    ------
    DataError
        If a field has no value at all in these steps, or HR a negative one, for which log normalizer has no place.
    """
    train = pairs.parts.train
    arrays = pairs.read(train[[0, len(train) // 2, -1]])
    named = {"data.target": arrays.hr, "LR": arrays.lr}
    named |= {f"data.predictors[{k}]": arrays.predictors[..., k] for k in range(len(pairs.predictors))}
    named |= {f"data.static[{k}]": field.values for k, field in enumerate(pairs.static)}
    notes = []
    for name, values in named.items():
        if np.isnan(values).all():
            raise DataError(
                f"{name} has no value at all in the first, middle and last training step: expected numbers; check the "
                "variable, its fill value and data.region"
            )
        if np.isclose(np.nanmin(values), np.nanmax(values), rtol=1e-6, atol=0):
            notes.append(f"{name} is {np.nanmin(values):g} everywhere in the first, middle and last training step")
    if scaling == "log" and (lowest := np.nanmin(arrays.hr)) < 0:
        raise DataError(
            f"data.target falls to {lowest:g}, but data.scaling log needs values from 0 on: choose standard"
        )
    return tuple(notes)


def _without_values(hr: xr.DataArray, times: xr.DataArray) -> xr.DataArray:
    """(time, y, x), all missing and taking no memory."""
    values = np.broadcast_to(np.float32(np.nan), (len(times), *hr.shape))
    return xr.DataArray(
        values, dims=("time", "y", "x"), coords={"time": times, **hr.coords}, name=hr.name, attrs=hr.attrs
    )


def _in_region(target: xr.DataArray, options: DataOptions, notes: list[str]) -> xr.DataArray:
    if not options.region:
        return target
    rows, columns, grid = cells_within(Grid.of(target), options.region)
    notes.append(f"data.region: {grid} of {Grid.of(target)}")
    return target.isel(y=rows, x=columns).assign_coords(grid.coords())


def _nested(target: xr.DataArray, options: DataOptions, notes: list[str]) -> xr.DataArray:
    """HR with sides that are multiples of the scale: cropped (perfect-prog) or extended by missing cells (mos)."""
    grid = Grid.of(target)
    new = grid.crop(options.scale) if options.pairing == "perfect-prog" else grid.extend(options.scale)
    if min(new.shape) < 2 * options.scale:
        raise GridError(
            f"HR has {_cells(grid)} cells, which at scale {options.scale} gives fewer than 2 × 2 LR cells: expected at "
            f"least {2 * options.scale} cells a side; choose a smaller scale or a larger region"
        )
    if new.shape == grid.shape:
        return target
    done = "cropped" if new.shape < grid.shape else "extended by missing cells"
    notes.append(f"HR {done} from {_cells(grid)} to {_cells(new)} cells, multiples of scale {options.scale}")
    if options.pairing == "perfect-prog":
        return target.isel(y=slice(new.shape[0]), x=slice(new.shape[1]))
    added = [(0, new.shape[k] - grid.shape[k]) for k in range(2)]

    def extend(values: np.ndarray) -> np.ndarray:
        return np.pad(values, [(0, 0)] * (values.ndim - 2) + added, constant_values=np.nan)

    return changed(target, extend, new.coords())


def _note_scale(given: Grid, lr_grid: Grid, scale: int, notes: list[str]) -> None:
    """Say so where the given LR field is far finer or coarser than the scale makes LR."""
    ratio = given.cell_size_km() / lr_grid.cell_size_km()
    if not 0.5 < ratio < 2:
        notes.append(
            f"data.lr has cells {given.cell_size_km():.3g} km wide, but scale {scale} makes LR cells "
            f"{lr_grid.cell_size_km():.3g} km wide: scale {max(2, round(scale * ratio))} would suit it"
        )


def _cells(grid: Grid) -> str:
    return f"{grid.shape[0]} × {grid.shape[1]}"


def _centres_within(grid: Grid, own: Grid) -> Grid:
    """The centres of `grid`, those beyond the outermost of `own` moved onto it: what a source has to cover."""
    y, x = (np.clip(c, o.min(), o.max()) for c, o in ((grid.y, own.y), (grid.x, own.x)))
    return dataclasses.replace(grid, y=y, x=x)


def _onto(
    grid: Grid, needed: Grid, field: xr.DataArray, name: str, options: DataOptions, notes: list[str]
) -> xr.DataArray:
    """A field with a grid of its own, brought onto the LR grid."""
    source = Grid.of(field)
    if source.is_close_to(grid):
        return field.assign_coords(grid.coords())
    fine = source.cell_size_km() * FINER <= grid.cell_size_km()
    method = "area" if fine else options.interpolation
    notes.append(f"{name} ({_cells(source)} cells) regridded to the {_cells(grid)} LR cells by {method}")
    return regrid(field.rename(name), grid, method, needed).rename(field.name)


def _common_times(fields: dict[str, xr.DataArray], options: DataOptions, notes: list[str]) -> list[xr.DataArray]:
    """The fields at the steps they have in common, within the period, all with the target's times."""
    matched = match([field["time"] for field in fields.values()], list(fields))
    notes.extend(matched.notes)
    times = fields["data.target"]["time"][matched.steps[0]]
    kept = within(times, options.period) if options.period else np.arange(len(times))
    if not len(kept):
        period = f"{options.period.first} to {options.period.last}"
        raise TimeError(f"data.period is {period}, but the data have {span(times)}: choose a period within them")
    if len(kept) < 2:
        raise TimeError(f"there is {span(times[kept])}: expected enough to train, validate and test; add files")
    chosen = (field.isel(time=steps[kept]) for field, steps in zip(fields.values(), matched.steps, strict=True))
    return [field.assign_coords(time=times[kept]) for field in chosen]


def _static(source: Source, number: int, grid: Grid, own: tuple[int, int], notes: list[str]) -> xr.DataArray:
    """A static variable on the HR grid, in memory: mean over HR cells if finer, else bilinear, which keeps bounds."""
    field, name = open_field(source, static=True), f"data.static[{number}]"
    given = Grid.of(field)
    if given.is_close_to(grid):
        return field.compute().assign_coords(grid.coords())
    method = "area" if given.cell_size_km() * FINER <= grid.cell_size_km() else "bilinear"
    needed = grid.select(slice(own[0]), slice(own[1]))
    if not given.is_close_to(needed):
        notes.append(f"{name} ({_cells(given)} cells) regridded to the {_cells(grid)} HR cells by {method}")
    return regrid(field.rename(name), grid, method, needed).compute().rename(field.name)
