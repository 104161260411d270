"""Opening one variable of one file or many as a lazy field (time, y, x), whatever its dimensions are called."""

from __future__ import annotations

import numpy as np
import xarray as xr

from engine.data.axes import NUMERIC_KINDS, choose_variable, find_axes, has_axes, take_axes
from engine.data.cell_numbers import Places, number_cells, without_repeats
from engine.data.dates import DECODED_FROM, UNDATED, UNKNOWN, date_in_name
from engine.data.forecasts import is_forecast, stack_forecast
from engine.data.formats import open_dataset
from engine.data.grid_coordinates import GRID_MAPPING, grid_of
from engine.data.grids import LATITUDE, LONGITUDE, Grid
from engine.data.lazy import as_float32, first_valid, join_times
from engine.data.projections import GEOSTATIONARY, GridMapping, mapping_from_wkt
from engine.data.selection import example, select_values
from engine.data.times import first_and_last
from engine.data.units import IN_THE_FILE, IN_THE_SPEC, LONGEST_UNIT, convert
from engine.data.valid_values import mask_invalid
from engine.errors import DataError, GridError, TimeError, UnitError
from engine.spec import Source

COPIED_ATTRS = ("units", "long_name", "standard_name", "cell_methods")


def open_field(
    source: Source, *, static: bool = False, undated: bool = False, notes: list[str] | None = None
) -> xr.DataArray:
    """Open one variable lazily.

    Parameters
    ----------
    source : file, glob, list of files or Zarr store, the variable, its unit if the file doesn't say it, and the level,
        member or the like to select.
    static : expect a field without time.
    undated : take one file without time and without a date in its name for a single step, at UNDATED.
    notes : gets sentences on what was done to the coordinates.

    Returns
    -------
    (time, y, x), or (y, x) if static; float32, missing values are NaN. y and x are the cell centres as in
    the file, with CF attributes; the scalar coordinate `crs` holds the grid mapping of a projected grid, and `lat`
    and `lon` (y, x) the places of a curvilinear one, whose y and x count its rows and columns.
    `units` is always among the attributes, empty when unknown.

    Raises
    ------
    DataError
        If a file can't be read, or has no such variable.
    GridError
        If there are no coordinates of the cells, they can't be used, or files have different grids.
    TimeError
        If there is no time (or a static field has one), or it doesn't increase.
    """
    files = source.files()
    notes = [] if notes is None else notes
    if static and len(files) > 1:
        raise DataError(
            f"a static variable is given by {len(files)} files ({_name_of(files)})", hint="expected one file"
        )
    names: dict[str, str] = {}
    undated = undated and len(files) == 1
    fields = [_standard_field(source, path, static, undated, names, notes) for path in files]
    field = fields[0] if len(fields) == 1 else _join(fields, files, notes)
    field = without_repeats(field, f"{field.name} in {_name_of(files)}", notes)
    if not static:
        if field["time"].dtype.kind in "MO":
            # Times that are stored as a fraction of a day or an hour come back a millisecond off.
            field = field.assign_coords(time=field["time"].variable.copy(data=field["time"].dt.round("s").values))
        if not is_forecast(field["time"]):
            _check_times(field, _name_of(files))
    field.attrs["units"] = source.units or str(field.attrs.get("units", ""))
    if (length := len(field.attrs["units"])) > LONGEST_UNIT:
        raise UnitError(
            f"{field.name} in {_name_of(files)} has units of {length:,} characters",
            hint=f"expected at most {LONGEST_UNIT}, as in 'K' or 'mm day-1'",
            action=IN_THE_SPEC,
        )
    return field


def open_either(source: Source) -> xr.DataArray:
    """Open a variable with times or, if it has none, static; raises as `open_field` does."""
    try:
        return open_field(source)
    except TimeError as error:
        try:
            return open_field(source, static=True)
        except DataError:
            raise error from None


def steps_per_chunk(source: Source) -> int:
    """Count the time steps of a chunk in the first file: these are read and decompressed together."""
    path = source.files()[0]
    dataset = open_dataset(path, source.variable)
    field = dataset[choose_variable(dataset, source.variable, path)]
    chunks, dims = field.encoding.get("chunksizes") or field.encoding.get("chunks"), field.dims
    if stack_forecast(field := select_values(field, dict(source.select), path, []), path, [])[1]:
        return 1
    field, names, _ = _with_axes(dataset, field, bool(_read_grid_mapping(dataset, field, path)), path, [])
    time = take_axes(field, names, path).get("time")
    if not chunks or time is None or not time.dims:  # contiguous storage, or GRIB with a message for each step
        return 1
    return int(chunks[dims.index(time.dims[0])])


def _standard_field(
    source: Source, path: str, static: bool, undated: bool, names: dict[str, str], notes: list[str]
) -> xr.DataArray:
    """Turn the variable of one file into a lazy float32 field with dimensions (time,) y, x.

    `names` of coordinates are found in the first file, and taken for those of the others where these have them.
    """
    dataset, is_first = open_dataset(path, source.variable), not names
    field = dataset[choose_variable(dataset, source.variable, path)]
    _check_packing(field, path)
    if field.dtype.kind not in NUMERIC_KINDS:
        raise DataError(f"{field.name} in {path} holds {field.dtype}, no numbers", action="choose another variable")
    field = select_values(field, dict(source.select), path, notes if is_first else [])
    field, samples = stack_forecast(field, path, notes if is_first else [])
    mapping, places = _read_grid_mapping(dataset, field, path), Places()
    if is_first or not has_axes(field, names):
        field, found, places = _with_axes(dataset, field, bool(mapping), path, notes if is_first else [])
        names.update(found)
    axes = take_axes(field, names, path)
    field = _with_time_axis(field, axes, path, static, undated, notes if is_first else [])
    field = _drop_extra_dims(field, axes, path, notes if is_first else [])
    attrs = {word: field.attrs[word] for word in COPIED_ATTRS if word in field.attrs}
    axes = {role: axes[role] for role in ("time", "y", "x") if role in axes}
    is_single_step = len(axes) > field.ndim
    values = field.transpose(*(axis.dims[0] for axis in list(axes.values())[is_single_step:]))
    coords = {role: xr.Variable(role, axis.values, axis.attrs) for role, axis in axes.items()}
    for coord in coords.values():
        coord.attrs.pop(DECODED_FROM, None)
    standard = as_float32(values, coords, is_single_step).rename(str(field.name).rpartition("/")[2])
    standard = standard.assign_attrs(attrs)
    standard = standard.assign_coords(samples)
    if is_first and (units := axes["time"].attrs.get(DECODED_FROM) if "time" in axes else None):
        notes.append(f"time in {path} is {units!r}, read as dates from {first_and_last(standard['time'])[0]} on")
    masked = mask_invalid(standard, field)
    return masked.assign_coords(places) if places else _describe_grid(masked, mapping, path, notes if is_first else [])


def _with_axes(
    dataset: xr.Dataset, field: xr.DataArray, is_projected: bool, path: str, notes: list[str]
) -> tuple[xr.DataArray, dict[str, str], Places]:
    """Find the names of the coordinates; rows and columns are numbered where latitude and longitude have two dims."""
    try:
        return field, find_axes(field, is_projected, path, notes), Places()
    except GridError:
        numbered = number_cells(dataset, field, path, notes)
        if numbered is None:
            raise
        return numbered[0], find_axes(numbered[0], True, path, notes), numbered[1]


def _check_packing(field: xr.DataArray, path: str) -> None:
    for name in ("scale_factor", "add_offset"):
        if isinstance(value := field.encoding.get(name), str):
            raise DataError(
                f"{name} of {field.name} in {path} is the text {value!r}",
                hint="expected a number",
                action=f"fix it (NCO: ncatted -a {name},{field.name},o,d,NUMBER)",
            )


def _with_time_axis(
    field: xr.DataArray, axes: dict[str, xr.Variable], path: str, static: bool, undated: bool, notes: list[str]
) -> xr.DataArray:
    """Check the time axis, and drop it from a static field; `axes` follows, also where a single step lacks one."""
    time = axes.get("time")
    if static and time is not None:
        if time.size > 1:
            raise TimeError(
                f"{field.name} in {path} changes with time ({time.size} steps), but static variables don't",
                action="list it under data.predictors",
            )
        del axes["time"]
        return field.isel(dict.fromkeys(time.dims, 0))
    if static:
        return field
    if time is None and (date := date_in_name(path)) is not None:
        notes.append(f"{field.name} in {path} has no time: {date} is taken from its name")
        axes["time"] = xr.Variable("time", [date])
        return field
    if time is None and undated:
        notes.append(f"{field.name} in {path} has no time and no date in its name: {UNDATED} stands in its place")
        axes["time"] = xr.Variable("time", [UNDATED], UNKNOWN)
        return field
    if time is None:
        raise TimeError(
            f"{field.name} in {path} has no time dimension, only ({', '.join(map(str, field.dims))})",
            hint="expected time, y and x, or one date in the name of the file, as in 2020-01-31 or 20200131",
            action="list a field without time under data.static",
        )
    if time.ndim == 0:  # a file of one step, as in a folder with a file for each
        axes["time"] = xr.Variable("time", time.values[None], time.attrs)
        return field.reset_coords(drop=True)
    return field


def _drop_extra_dims(field: xr.DataArray, axes: dict[str, xr.Variable], path: str, notes: list[str]) -> xr.DataArray:
    """Drop other dimensions of size 1, merge the versions of ERA5, and refuse other dimensions."""
    if field.sizes.get("expver", 1) > 1:
        field = field.sortby("expver") if "expver" in field.coords else field
        merged = first_valid(mask_invalid(field, field), "expver")
        merged.encoding = field.encoding
        field = merged
        notes.append(
            f"{field.name} in {path} has several expver: each value is of the first that has one (ERA5, then ERA5T)"
        )
    extras = set(field.dims) - {axis.dims[0] for axis in axes.values()}
    for dim in extras:
        if field.sizes[dim] > 1:
            raise DataError(
                f"{field.name} in {path} has {field.sizes[dim]} values along {dim}",
                hint="expected a field over time, y and x",
                action=f"choose one with select: {example(field, str(dim))}",
            )
    return field.isel(dict.fromkeys(extras, 0), drop=True)


def _read_grid_mapping(dataset: xr.Dataset, field: xr.DataArray, path: str) -> GridMapping:
    """Read the attributes of the CF grid mapping (CF section 5.6); empty for latitude and longitude."""
    name = str(field.attrs.get("grid_mapping", field.encoding.get("grid_mapping", ""))).split(":")[0].strip()
    if not name:
        return {}
    if name not in dataset.variables:
        raise GridError(
            f"{field.name} in {path} names the grid mapping {name!r}, which isn't in the file",
            action="add that variable, or remap the file to latitude and longitude first",
        )
    attrs: GridMapping = dataset[name].attrs
    if "grid_mapping_name" not in attrs:
        attrs = mapping_from_wkt(attrs)
    return {} if attrs.get("grid_mapping_name") == "latitude_longitude" else dict(attrs)


def _describe_grid(field: xr.DataArray, mapping: GridMapping, path: str, notes: list[str]) -> xr.DataArray:
    """Check the coordinates, complete their attributes, and add the grid mapping as scalar coordinate."""
    if not mapping:
        field = _unbroken(field, path, notes)
    for side in ("y", "x"):
        _check_monotonic(field[side].values, side, path)
    if mapping.get("grid_mapping_name") == GEOSTATIONARY:
        field = _in_metres(field, float(mapping.get("perspective_point_height", np.nan)))
    if mapping:
        return field.assign_coords({GRID_MAPPING: ((), np.int32(0), mapping)})
    for side, attrs in (("y", LATITUDE), ("x", LONGITUDE)):
        if _is_in_radians(field[side]):
            field = field.assign_coords({side: field[side].copy(data=np.rad2deg(field[side].values))})
        field[side].attrs = {**field[side].attrs, **attrs}
    _check_degrees(field, path)
    return field


def _is_in_radians(axis: xr.DataArray) -> bool:
    return str(axis.attrs.get("units", "")).strip().lower() in ("rad", "radian", "radians")


def _unbroken(field: xr.DataArray, path: str, notes: list[str]) -> xr.DataArray:
    """Count longitudes on that start again within the field, as from 359.5 to 0 or from 179.5 to -180."""
    x = field["x"].values.astype(float)
    unwrapped = np.unwrap(x, period=360) if np.isfinite(x).all() else x
    steps = np.diff(unwrapped)
    if np.array_equal(x, unwrapped) or np.ptp(unwrapped) > 360 or not ((steps > 0).all() or (steps < 0).all()):
        return field
    if unwrapped.max() > 360:
        unwrapped -= 360
    notes.append(f"longitudes of {field.name} in {path} are counted on from {unwrapped[0]:g} to {unwrapped[-1]:g}")
    return field.assign_coords(x=xr.Variable("x", unwrapped, field["x"].attrs))


def _in_metres(field: xr.DataArray, height: float) -> xr.DataArray:
    """Convert x and y of a geostationary projection from the angle seen by the satellite, in radians.

    Source: CF-1.11, appendix F, Geostationary projection: the product of the angle and `perspective_point_height`.
    """
    angles = [side for side in ("y", "x") if _is_in_radians(field[side])]
    metres = {
        side: xr.Variable(side, field[side].values * height, field[side].attrs | {"units": "m"}) for side in angles
    }
    return field.assign_coords(metres)


def _check_degrees(field: xr.DataArray, path: str) -> None:
    for side, limit in (("y", 90.0), ("x", 540.0)):
        if (far := np.abs(field[side].values).max()) > limit + 1e-3:
            raise GridError(
                f"{field[side].attrs['standard_name']} in {path} reaches {far:g}",
                hint="expected degrees",
                action="for a projected grid name its CF grid mapping (attribute grid_mapping), or remap the "
                "file first",
            )


def _check_monotonic(centres: np.ndarray, side: str, path: str) -> None:
    steps = np.diff(centres)
    if not np.isfinite(centres).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise GridError(
            f"{side} in {path} is not monotonic",
            hint="expected coordinates that only increase or only decrease",
            action="sort them first (Python: dataset.sortby(…))",
        )


def _join(fields: list[xr.DataArray], files: list[str], notes: list[str]) -> xr.DataArray:
    """Join files, in order of time, as one field in the unit of the first file and with its order of y and x."""
    units, grid = str(fields[0].attrs.get("units", "")), grid_of(fields[0])
    converted, turned = [], []
    for given, path in zip(fields, files, strict=True):
        field = _orient_like(given, grid)
        if field is not given:
            turned.append(path)
        if not grid_of(field).is_close_to(grid):
            raise GridError(
                f"{path} has another grid ({grid_of(field)}) than {files[0]} ({grid})",
                hint="expected one grid in all files",
            )
        if _calendar_of(field) != _calendar_of(fields[0]):
            raise TimeError(f"{path} has another calendar than {files[0]}", hint="expected one calendar in all files")
        converted.append(convert(field, units, what=path, reference=files[0], correction=IN_THE_FILE))
    if turned:
        notes.append(
            f"{len(turned)} of {len(files)} files have y or x in the other order than {files[0]}, and are turned: the "
            f"first is {turned[0]}"
        )
    ordered = sorted(converted, key=lambda field: field["time"].values[0])
    return join_times(ordered)


def _orient_like(field: xr.DataArray, grid: Grid) -> xr.DataArray:
    """Reverse the sides that run the other way than those of the grid."""
    turned = {}
    for side, expected in (("y", grid.y), ("x", grid.x)):
        given = field[side].values
        if (given[0] < given[-1]) != (expected[0] < expected[-1]) and len(given) == len(expected):
            turned[side] = slice(None, None, -1)
    return field.isel(turned) if turned else field


def _calendar_of(field: xr.DataArray) -> tuple[str, str]:
    """Give the type of the times and their calendar; NumPy's and plain numbers have just one."""
    times = field["time"].values
    return times.dtype.kind, times[0].calendar if times.dtype.kind == "O" else ""


def _name_of(files: list[str]) -> str:
    return files[0] if len(files) == 1 else f"{len(files)} files from {files[0]} to {files[-1]}"


def _check_times(field: xr.DataArray, path: str) -> None:
    times = field["time"].values
    if times.dtype.kind not in "MO":
        raise TimeError(
            f"time in {path} is plain numbers",
            hint="expected the attribute units, such as 'days since 2000-01-01'",
            action="add it (NCO: ncatted)",
        )
    for number in np.flatnonzero(~(times[1:] > times[:-1]))[:1]:
        problem = "comes twice" if times[number + 1] == times[number] else f"comes after {times[number]}"
        raise TimeError(
            f"time in {path} doesn't increase: {times[number + 1]} {problem}; sort the steps and drop duplicates first "
            "(Python: dataset.sortby('time').drop_duplicates('time'))"
        )
