"""Pairing: which HR field belongs to which LR field, on which grids, at which times.

`pair` decides and reads nothing but coordinates and static variables; `Pairs.read` does the reading.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import xarray as xr

from engine.data.dates import UNKNOWN
from engine.data.fields import open_field
from engine.data.forecasts import samples_of
from engine.data.grid_coordinates import coordinates_of, grid_of
from engine.data.grids import Grid, is_periodic
from engine.data.hr_template import HrTemplate, regrid_to_hr
from engine.data.lazy import apply_lazily, join_times, take_steps
from engine.data.lr_fields import note_scale, regrid_to_lr
from engine.data.regions import fit_to_scale, in_region
from engine.data.resample import coarsen, coarsening
from engine.data.station_inputs import StationSeries, open_series
from engine.data.times import PARTS, Parts, match, span, split_parts, split_rows, within
from engine.data.units import IN_THE_FILE, convert, describe_conversion
from engine.data.vectors import check_components, where_both
from engine.errors import DataError, TimeError
from engine.spec import DataOptions, Source


@dataclass(frozen=True)
class FieldBlock:
    """Fields of some time steps, in memory: float32, NaN = missing."""

    hr: np.ndarray  # (n, y, x)
    lr: np.ndarray  # (n, y_lr, x_lr)
    predictors: np.ndarray  # (n, y_lr, x_lr, predictors)
    partner: FieldBlock | None = None  # the second component of a vector
    base: np.ndarray | None = None  # (n, y, x), to which the network's field is added (`engine.data.anomalies`)

    @property
    def components(self) -> tuple[FieldBlock, ...]:
        """Itself; of a vector, the block of each component."""
        return (self,) if self.partner is None else (self, self.partner)

    def take(self, rows: np.ndarray) -> FieldBlock:
        """Select steps of the block, by their number in it or by a mask."""
        partner, base = self.partner and self.partner.take(rows), None if self.base is None else self.base[rows]
        return FieldBlock(self.hr[rows], self.lr[rows], self.predictors[rows], partner, base)


@dataclass(frozen=True)
class Pairs:
    """HR and LR fields of the same times on nested grids, read when needed.

    hr : (time, y, x) on `hr_grid`, cropped (perfect-prog) or extended by missing cells (mos) at the end of each
        side to a multiple of `scale`.
    lr : (time, y_lr, x_lr) on `lr_grid`, in the target's unit: what the network learns from.
    given_lr : the same of `data.lr`, if there is one: what the network is applied to in the test part.
    predictors : (time, y_lr, x_lr) each, in units of their own.
    static : (y, x) each, in memory; they may have missing values.
    data_shape : rows and columns of `hr_grid` that hold data, before extension.
    notes : sentences for the user on what was done to the data.
    derive_lr : coarsens HR (n, y, x) to LR (n, y_lr, x_lr), in perfect-prog, so that HR is read once; else None.
    is_split_by_rows : there is a single time step. It stands three times: in the step of each part, HR has values in
        the rows of that part alone, and all else is the same.
    partner : the second component of a vector, in the unit of the first, on the same grids and at the same times, with
        the same predictors and static variables. HR, and LR, are missing where either component is.
    stations : measurements that are input of the network, if there are any.
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
    is_split_by_rows: bool = False
    partner: Pairs | None = None
    stations: StationSeries | None = None

    @property
    def swapped(self) -> Pairs:
        """The same vector with its components exchanged."""
        assert self.partner
        return dataclasses.replace(self.partner, partner=dataclasses.replace(self, partner=None))

    @property
    def times(self) -> xr.DataArray:
        """(time,) of any CF calendar."""
        return self.hr["time"]

    @property
    def periodic(self) -> bool:
        """True if the last column of LR, and of HR, lies beside the first one."""
        return is_periodic(self.hr_grid)

    def for_evaluation(self) -> Pairs:
        """Replace the LR field that the network learns from by `given_lr`, where there is one."""
        if self.given_lr is None:
            return self
        partner = self.partner and self.partner.for_evaluation()
        return dataclasses.replace(self, lr=self.given_lr, derive_lr=None, partner=partner)

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
        with _readable(f"{self.hr.name} and its predictors"):
            each = (self, self.partner) if self.partner else (self,)
            hr = where_both([pairs.hr.isel(time=wanted).values for pairs in each])
            lr = where_both(
                [
                    pairs.derive_lr(field) if pairs.derive_lr else pairs.lr.isel(time=wanted).values
                    for pairs, field in zip(each, hr, strict=True)
                ]
            )
            predictors = [field.isel(time=wanted).values for field in self.predictors]
        stacked = np.stack(predictors, -1) if predictors else np.zeros((*lr[0].shape, 0), np.float32)
        blocks = [FieldBlock(*fields, stacked) for fields in zip(hr, lr, strict=True)]
        return dataclasses.replace(blocks[0], partner=blocks[1] if self.partner else None).take(order)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Turn errors of reading values into a DataError."""
    try:
        yield
    except (OSError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{what} can no longer be read ({error})",
            hint="a file is damaged, cut off, or was moved meanwhile, or a server fails",
            action="copy or download it again, or wait for the server",
        ) from error


def pair_for_downscaling(
    options: DataOptions, template: HrTemplate, path: str, variable: str = "", as_given: bool = False
) -> Pairs:
    """Bring new LR and predictor fields onto the grids of a trained run; HR is missing, every step is a test step.

    Parameters
    ----------
    path : file, glob or Zarr store that holds all of them, by the names that the spec gives.
    variable : name of the LR field there, if it isn't that of the spec; of a vector two, with a comma between them.
    as_given : LR stays on its own grid, which is that of HR and static variables too, at scale 1.

    Raises
    ------
    DataError
        Or one of its kinds, if a variable is not there, or doesn't fit the run's grid, unit or times.
    """
    notes: list[str] = []
    undated = options.time_features == "none" and not options.scaling.startswith("season")
    in_spec, lr_units = options.lr or options.target, template.hr.attrs["units"]
    variable, *others = variable.split(",") if options.target_v else [variable]
    lr_source = dataclasses.replace(in_spec, variable=variable or in_spec.variable)
    named = {"LR": _open_as_trained(lr_source, path, lr_units, undated, "LR", notes)}
    if (in_spec_v := options.lr_v or options.target_v) is not None:
        lr_source = dataclasses.replace(in_spec_v, variable=others[0] if others else in_spec_v.variable)
        named["LR of target_v"] = _open_as_trained(lr_source, path, lr_units, undated, "LR of target_v", notes)
    if as_given:
        template = template.onto(grid_of(named["LR"]))
    hr_grid = grid_of(template.hr)
    lr_grid = hr_grid if as_given else hr_grid.coarsen(options.scale)
    needed = lr_grid.clamp_to(hr_grid.select(slice(template.data_shape[0]), slice(template.data_shape[1])))
    units = template.predictor_units or (None,) * len(options.predictors)
    for number, (predictor, unit) in enumerate(zip(options.predictors, units, strict=True)):
        name = f"data.predictors[{number}]"
        named[name] = _open_as_trained(predictor, path, unit, undated, name, notes)
    matched = match([field["time"] for field in named.values()], list(named))
    on_lr = [regrid_to_lr(lr_grid, needed, field, name, options, notes) for name, field in named.items()]
    lr, *rest = (take_steps(field, steps) for field, steps in zip(on_lr, matched.steps, strict=True))
    lr_v = rest.pop(0).assign_coords(time=lr["time"]) if options.target_v else None
    no_steps = np.arange(0)
    pairs = Pairs(
        hr=_without_values(template.hr, lr["time"]),
        lr=lr,
        given_lr=None,
        predictors=tuple(field.assign_coords(time=lr["time"]) for field in rest),
        static=template.static,
        hr_grid=hr_grid,
        lr_grid=lr_grid,
        data_shape=template.data_shape,
        scale=1 if as_given else options.scale,
        interpolation=options.interpolation,
        parts=Parts(no_steps, no_steps, np.arange(len(lr["time"]))),
        notes=(*matched.notes, *notes),
    )
    if lr_v is None or template.partner is None:
        return pairs
    hr_v = _without_values(template.partner, lr["time"])
    return dataclasses.replace(pairs, partner=dataclasses.replace(pairs, hr=hr_v, lr=lr_v))


def pair(options: DataOptions) -> Pairs:
    """Open all fields of an experiment and bring them together; reads coordinates and static variables only.

    Raises
    ------
    DataError
        Or one of its kinds, GridError, TimeError, UnitError: for whatever in the files doesn't fit.
    """
    notes: list[str] = []
    target = in_region(open_field(options.target, undated=True, notes=notes), options, notes)
    open_other = functools.partial(open_field, undated=target["time"].attrs == UNKNOWN, notes=notes)
    hr = fit_to_scale(target, options, notes)
    hr_grid = grid_of(hr)
    lr_grid = hr_grid.coarsen(options.scale)
    data_shape = min(hr.sizes["y"], target.sizes["y"]), min(hr.sizes["x"], target.sizes["x"])
    needed = lr_grid.clamp_to(hr_grid.select(slice(data_shape[0]), slice(data_shape[1])))
    fields = {"data.target": hr}
    if options.lr is not None:
        lr = _in_unit_of(hr, open_other(options.lr), "data.lr", notes)
        note_scale(grid_of(lr), lr_grid, options.scale, notes)
        fields["data.lr"] = regrid_to_lr(lr_grid, needed, lr, "data.lr", options, notes)
    for number, source in enumerate(options.predictors):
        name = f"data.predictors[{number}]"
        fields[name] = regrid_to_lr(lr_grid, needed, open_other(source), name, options, notes)
    if options.target_v is not None:
        second = in_region(open_other(options.target_v), options, [])
        check_components(target, second)
        fields["data.target_v"] = _in_unit_of(hr, fit_to_scale(second, options, []), "data.target_v", notes)
    if options.lr_v is not None:
        lr = _in_unit_of(hr, open_other(options.lr_v), "data.lr_v", notes)
        fields["data.lr_v"] = regrid_to_lr(lr_grid, needed, lr, "data.lr_v", options, notes)
    at_times = dict(zip(fields, _common_times(fields, options, notes), strict=True))
    hr = at_times.pop("data.target")
    hr_v, given, given_v = (at_times.pop(f"data.{name}", None) for name in ("target_v", "lr", "lr_v"))
    is_perfect_prog = options.pairing == "perfect-prog"
    lr = coarsen(hr, options.scale, options.coarsening) if is_perfect_prog or given is None else given
    if is_perfect_prog and given is not None:
        notes.append("the network learns from coarsened HR, and is applied to data.lr in the test part")
    single_step, no_steps = len(hr["time"]) == 1, np.arange(0)
    stations = options.stations and open_series(options.stations, hr, notes)
    pairs = Pairs(
        hr=hr,
        lr=lr,
        given_lr=given,
        predictors=tuple(at_times.values()),
        static=tuple(_open_static(source, k, hr_grid, data_shape, notes) for k, source in enumerate(options.static)),
        hr_grid=hr_grid,
        lr_grid=lr_grid,
        data_shape=data_shape,
        scale=options.scale,
        interpolation=options.interpolation,
        parts=Parts(no_steps, no_steps, no_steps) if single_step else split_parts(hr["time"], options.split),
        notes=tuple(notes),
        derive_lr=coarsening(hr_grid, options.scale, options.coarsening) if is_perfect_prog else None,
        stations=stations,
    )
    if hr_v is not None:
        lr_v = given_v
        if is_perfect_prog or lr_v is None:
            lr_v = coarsen(hr_v, options.scale, options.coarsening)
        pairs = dataclasses.replace(pairs, partner=dataclasses.replace(pairs, hr=hr_v, lr=lr_v, given_lr=given_v))
    return _split_by_rows(pairs, options) if single_step else pairs


def _split_by_rows(pairs: Pairs, options: DataOptions) -> Pairs:
    """Split a single time step by rows into training, validation and test part."""
    wrong = f"{options.time_window}" if options.time_window > 1 else ""
    for option, value in (("time_window", wrong), ("stations", "given" if options.stations else "")):
        if value:
            raise TimeError(
                f"data.{option} is {value}, but there is a single time step", action=f"leave out data.{option}"
            )
    rows = split_rows(pairs.lr_grid.shape[0], options.split)
    row_of_cell, y = np.arange(pairs.hr_grid.shape[0]) // pairs.scale, pairs.hr_grid.y
    strips, spans = [], []
    for name in PARTS:
        inside = np.isin(row_of_cell, getattr(rows, name))
        strips.append(apply_lazily(pairs.hr, functools.partial(_only_rows, inside), coordinates_of(pairs.hr_grid)))
        first, last = np.flatnonzero(inside)[[0, -1]]
        spans.append(f"{name} rows {first + 1} to {last + 1} of HR (y {y[first]:.9g} to {y[last]:.9g})")
    thrice = np.zeros(3, int)
    return dataclasses.replace(
        pairs,
        hr=join_times(strips),
        lr=take_steps(pairs.lr, thrice),
        given_lr=None if pairs.given_lr is None else take_steps(pairs.given_lr, thrice),
        predictors=tuple(take_steps(field, thrice) for field in pairs.predictors),
        parts=Parts(*np.arange(3)[:, None]),
        notes=(*pairs.notes, f"there is a single time step, so data.split is by rows: {', '.join(spans)}"),
        derive_lr=None,
        is_split_by_rows=True,
        partner=pairs.partner and _split_by_rows(pairs.partner, options),
    )


def _only_rows(inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(inside[:, None], values, np.float32(np.nan))


def _open_as_trained(
    source: Source, path: str, units: str | None, undated: bool, name: str, notes: list[str]
) -> xr.DataArray:
    """Open a variable of new data in the units that the network learned from; None if these aren't known."""
    in_file = open_field(dataclasses.replace(source, path=path, units=""), undated=undated, notes=notes)
    given = source.units or in_file.attrs["units"]
    if source.units and in_file.attrs["units"] not in ("", source.units):
        notes.append(f"{name} is in {in_file.attrs['units']!r} by its file, but in {given!r} by the run's spec")
    field = in_file.assign_attrs(units=given)
    if units is None or (given and not units):
        notes.append(f"{name} is in {given or 'no unit'!r}: the run recorded no unit that it could be compared with")
        return field
    converted = convert(field, units, what=name, reference="the run", correction=IN_THE_FILE)
    _note_conversion(given, units, name, notes)
    return converted


def _in_unit_of(hr: xr.DataArray, field: xr.DataArray, name: str, notes: list[str]) -> xr.DataArray:
    units = hr.attrs["units"]
    converted = convert(field, units, what=name)
    _note_conversion(field.attrs["units"], units, name, notes)
    return converted


def _note_conversion(given: str, units: str, name: str, notes: list[str]) -> None:
    if conversion := describe_conversion(given, units):
        notes.append(f"{name} is converted {conversion}")


def _without_values(hr: xr.DataArray, times: xr.DataArray) -> xr.DataArray:
    """Make a field (time, y, x) of missing values that takes no memory."""
    values = np.broadcast_to(np.float32(np.nan), (len(times), *hr.shape))
    return xr.DataArray(
        values, dims=("time", "y", "x"), coords={**times.coords, **hr.coords}, name=hr.name, attrs=hr.attrs
    )


def _common_times(fields: dict[str, xr.DataArray], options: DataOptions, notes: list[str]) -> list[xr.DataArray]:
    """Select the steps that all fields have in common, within the period; all get the target's times."""
    matched = match([field["time"] for field in fields.values()], list(fields))
    notes.extend(matched.notes)
    times = fields["data.target"]["time"][matched.steps[0]]
    chosen = within(times, options.period) if options.period else np.arange(len(times))
    if not len(chosen):
        period = f"{options.period.first} to {options.period.last}"
        raise TimeError(
            f"data.period is {period}, but the data have {span(times)}", action="choose a period within them"
        )
    if len(chosen) < 2 and fields["data.target"].sizes["time"] > 1:
        raise TimeError(
            f"there is {span(times[chosen])}", hint="expected enough to train, validate and test", action="add files"
        )
    samples = [samples_of(field["time"][steps]) for field, steps in zip(fields.values(), matched.steps, strict=True)]
    of_each = {name: coord[chosen] for name, coord in next(filter(None, samples), {}).items()}
    axis = {"time": times[chosen].variable, **of_each}
    return [
        take_steps(field, steps[chosen]).assign_coords(axis)
        for field, steps in zip(fields.values(), matched.steps, strict=True)
    ]


def _open_static(
    source: Source, number: int, grid: Grid, data_shape: tuple[int, int], notes: list[str]
) -> xr.DataArray:
    """Load a static variable onto the HR grid: mean over HR cells if finer, else bilinear, which keeps its range."""
    field, name = open_field(source, static=True, notes=notes), f"data.static[{number}]"
    on_grid = regrid_to_hr(field.rename(name), grid, grid.select(*map(slice, data_shape)), notes)
    with _readable(name):
        return on_grid.compute().rename(field.name)
