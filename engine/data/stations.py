"""Time series measured at stations: a CSV table with a row for each value, or CF discrete sampling geometries.

Source: CF-1.11, chapter 9 and appendix H.2, time series: orthogonal and incomplete multidimensional arrays, a single
station, contiguous and indexed ragged arrays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from engine.data.axes import NUMERIC_KINDS
from engine.data.fields import COPIED_ATTRS
from engine.data.formats import open_dataset
from engine.data.grids import LATITUDE, LONGITUDE
from engine.data.units import IN_THE_FILE, conversion
from engine.data.valid_values import mask_invalid
from engine.errors import DataError, GridError, TimeError, UnitError
from engine.options import did_you_mean

ID, NAME, LAT, LON, ALT, TIME = "station_id", "station_name", "lat", "lon", "alt", "time"
CF_WORDS = {  # standard_name, cf_role or units that mark a variable
    ID: ("timeseries_id", "platform_id"),
    NAME: ("platform_name",),
    LAT: ("latitude", "degrees_north", "degree_north"),
    LON: ("longitude", "degrees_east", "degree_east"),
    ALT: ("altitude", "surface_altitude"),
    TIME: ("time",),
}
USUAL_NAMES = {
    ID: ("station_id", "station", "id", "staid", "site_id", "site", "code"),
    NAME: ("station_name", "name", "staname"),
    LAT: ("lat", "latitude"),
    LON: ("lon", "long", "longitude"),
    ALT: ("alt", "altitude", "elevation", "elev", "height"),
    TIME: ("time", "date", "datetime"),
}
ATTRS = {
    ID: {"cf_role": "timeseries_id", "long_name": "station identifier"},
    NAME: {"standard_name": "platform_name", "long_name": "station name"},
    LAT: {word: text for word, text in LATITUDE.items() if word != "axis"},
    LON: {word: text for word, text in LONGITUDE.items() if word != "axis"},
    ALT: {"standard_name": "altitude", "long_name": "altitude", "units": "m", "positive": "up"},
}
IN_BRACKETS = re.compile(r"(.+?)\s*[\[(](.+)[\])]")  # tas [degC], tas (degC)
MISSING = (-9999.0, -999.0)  # in tables; in NetCDF the attributes define what is missing


def open_stations(path: str, variable: str = "", notes: list[str] | None = None) -> xr.DataArray:
    """Read the measurements of one variable at all stations of a file.

    Parameters
    ----------
    variable : may be empty where the file has just one.
    notes : gets sentences on what was assumed.

    Returns
    -------
    (station, time), NaN where nothing was measured, with `units`, increasing times, and coordinates of the station:
    station_id, station_name, lat, lon, and alt in m, NaN where unknown.

    Raises
    ------
    DataError
        If the file can't be read, or lacks the variable, or the place or id of a station; GridError where it is a grid.
    TimeError
        If a time can't be read, or a station has two values at one time.
    UnitError
        If the unit isn't known.
    """
    notes = [] if notes is None else notes
    measured = _from_table(path, variable, notes) if is_text(path) else _from_netcdf(path, variable)
    if not measured.attrs.get("units"):
        raise UnitError(
            f"{measured.name} in {path} has no unit",
            action="write it into the heading of the column, as in tas_degC or 'tas (degC)'"
            if is_text(path)
            else IN_THE_FILE,
        )
    _check_places(measured, path)
    return measured


def is_text(path: str) -> bool:
    """True if a file holds text, as a table does, and no format of arrays."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        start = file.read(4096)
    return bool(start) and b"\0" not in start and not start.startswith((b"{", b"CDF", b"GRIB"))


def _from_table(path: str, variable: str, notes: list[str]) -> xr.DataArray:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        heading = file.readline()
    separator = max(",;\t", key=heading.count)
    try:
        table = pd.read_csv(
            path, sep=separator, dtype=str, skipinitialspace=True, encoding="utf-8-sig", encoding_errors="replace"
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is no table ({error})", hint="expected CSV with one row for each value") from None
    table.columns = table.columns.str.strip()
    split = {column: _split_unit(column) for column in table.columns}
    roles = {role: _by_name(role, split) for role in USUAL_NAMES}
    _require(roles, path, table.columns)
    if (id_column := roles[ID] or roles[NAME]) is None:
        raise DataError(f"{path} has no station id", hint=f"its columns are {', '.join(table.columns)}")
    column = _choose(variable, [c for c in split if not _has_usual_name(split[c][0], c)], split, path)
    number, known = pd.factorize(table[id_column].fillna("").str.strip())
    ids = np.asarray(known, str)
    if "" in ids:
        row = int(np.flatnonzero(ids[number] == "")[0]) + 2
        raise DataError(f"{path} has no station id in line {row}")
    places: dict[str, np.ndarray] = {ID: ids}
    for role in (LAT, LON, ALT):
        if (name := roles[role]) is None:
            continue
        of_each = pd.Series(_numbers(table, name, path, separator)).groupby(number)
        if (several := of_each.nunique().to_numpy() > 1).any():
            raise DataError(
                f"station {ids[several][0]} in {path} has several values of {name}", hint="expected one place an id"
            )
        places[role] = of_each.first().to_numpy()
    if roles[ALT] and not split[roles[ALT]][1]:
        notes.append(f"{roles[ALT]} in {path} has no unit: metres are assumed")
    if roles[ALT]:
        places[ALT] = _in_metres(places[ALT], split[roles[ALT]][1] or "m", path)
    places[NAME] = table.groupby(number)[roles[NAME]].first().to_numpy() if roles[NAME] else ids
    values = _numbers(table, column, path, separator)
    if (marks := np.isin(values, MISSING)).any():
        notes.append(f"{marks.sum()} values of {column} in {path} are -9999 or -999, and taken as missing")
        values[marks] = np.nan
    name, unit = split[column]
    return _arrange(path, name, {"units": unit}, places, number, _dates(table, str(roles[TIME]), path), values)


def _from_netcdf(path: str, variable: str) -> xr.DataArray:
    dataset = open_dataset(path, variable)
    kind = str(dataset.attrs.get("featureType", "timeSeries"))
    roles = {role: _by_attributes(role, dataset) for role in USUAL_NAMES}
    _require(roles, path, dataset.variables)
    lat, lon, time = (dataset[roles[role]] for role in (LAT, LON, TIME))
    if lat.dims != lon.dims or lat.ndim > 1:
        raise GridError(f"{path} holds a grid", hint="expected stations, with one latitude and longitude each")
    if kind.lower() != "timeseries" or (lat.ndim and lat.dims == time.dims):
        raise DataError(f"{path} holds {kind}, or stations that move", hint="expected featureType timeSeries")
    station = str(lat.dims[0]) if lat.ndim else ""
    index, count = (_name_with_attribute(dataset, word) for word in ("instance_dimension", "sample_dimension"))
    samples = set(time.dims) - {station}
    known = {name for name in roles.values() if name} | {index, count}
    fields = [
        str(name)
        for name, field in dataset.data_vars.items()
        if field.dtype.kind in NUMERIC_KINDS and samples & set(field.dims) and name not in known
        and not str(name).endswith(("_bnds", "_bounds"))
    ]  # fmt: skip
    field = dataset[_choose(variable, fields, {name: (name, "") for name in fields}, path)].reset_coords(drop=True)
    field = field.squeeze([dim for dim in field.dims if field.sizes[dim] == 1 and dim not in {station, *samples}])
    if extra := set(field.dims) - {station, *samples}:
        raise DataError(f"{field.name} in {path} has values along {', '.join(map(str, extra))}", hint="expected one")
    wanted = [dim for dim in (station, *map(str, time.dims)) if dim in field.dims]
    values = mask_invalid(field.astype(np.float32), field).transpose(*dict.fromkeys(wanted)).values.astype(float)
    n = lat.size
    places = {
        role: np.atleast_1d(dataset[name].values)
        for role, name in roles.items()
        if name and role != TIME and dataset[name].dims == lat.dims
    }
    if ID not in places and NAME not in places and n > 1:
        raise DataError(f"{path} has no station id", hint="expected a variable with cf_role timeseries_id")
    for role in {ID, NAME} & set(places):
        places[role] = np.array([str(v.decode() if isinstance(v, bytes) else v).strip() for v in places[role]])
    places[ID] = places.get(ID, places.get(NAME, np.array([Path(path).stem])))
    if ALT in places:
        places[ALT] = _in_metres(places[ALT], str(dataset[roles[ALT]].attrs.get("units", "m")), path)
    attrs = {word: str(field.attrs[word]) for word in COPIED_ATTRS if word in field.attrs}
    if index:
        number = dataset[index].values.astype(int)
    elif count:
        number = np.repeat(np.arange(n), dataset[count].values.astype(int))
    else:
        values = np.atleast_2d(values)
        number = np.indices(values.shape)[0]
    times = np.broadcast_to(time.transpose(*[d for d in (station, *samples) if d in time.dims]).values, number.shape)
    return _arrange(path, str(field.name), attrs, places, number.ravel(), times.ravel(), values.ravel())


def _arrange(
    path: str,
    name: str,
    attrs: Mapping[str, str],
    places: Mapping[str, np.ndarray],
    number: np.ndarray,
    times: np.ndarray,
    values: np.ndarray,
) -> xr.DataArray:
    """Put samples, each of a station by its number and of a time, into (station, time); without time they are none."""
    known = ~pd.isnull(times)
    number, times, values = number[known], times[known], values[known]
    axis, step = np.unique(times, return_inverse=True)
    order = np.sort(number.astype(np.int64) * len(axis) + step)
    if len(twice := order[1:][order[1:] == order[:-1]]):
        station, at = places[ID][twice[0] // len(axis)], str(axis[twice[0] % len(axis)])[:16]
        raise TimeError(f"station {station} in {path} has two values at {at}", hint="expected one a time")
    if not len(axis):
        raise TimeError(f"{name} in {path} has no time step", hint="expected at least one")
    filled = np.full((len(places[ID]), len(axis)), np.nan)
    filled[number, step] = values
    given = {NAME: places[ID], ALT: np.full(len(places[ID]), np.nan), **places}
    coords = {role: xr.Variable("station", given[role], attrs) for role, attrs in ATTRS.items()}
    coords[TIME] = xr.Variable("time", axis, {"standard_name": "time"})
    return xr.DataArray(filled, coords, ("station", "time"), name, dict(attrs))


def _check_places(measured: xr.DataArray, path: str) -> None:
    ids = measured[ID].values
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{path} has several stations with the id {names[counts > 1][0]}", hint="expected one each")
    for role, limit in ((LAT, 90.0), (LON, 360.0)):
        wrong = ~(np.abs(measured[role].values) <= limit)
        if wrong.any():
            raise GridError(
                f"{role} of station {ids[wrong][0]} in {path} is {measured[role].values[wrong][0]:g}",
                hint=f"expected degrees from -{limit:g} to {limit:g}",
            )


def _split_unit(column: str) -> tuple[str, str]:
    """Split a heading such as 'tas_degC' or 'tas (degC)' into name and unit; the unit is empty where there is none."""
    if found := IN_BRACKETS.fullmatch(column):
        return found[1], found[2]
    name, _, unit = column.rpartition("_")
    try:
        conversion(unit, unit, what=column)
    except UnitError:
        return column, ""
    return (name, unit) if name else (column, "")


def _has_usual_name(name: str, column: str) -> bool:
    return any({name.lower(), column.lower()} & set(names) for names in USUAL_NAMES.values())


def _by_name(role: str, columns: Mapping[str, tuple[str, str]]) -> str | None:
    for name in USUAL_NAMES[role]:
        for column, (plain, _) in columns.items():
            if name in (column.lower(), plain.lower()):
                return column
    return None


def _by_attributes(role: str, dataset: xr.Dataset) -> str | None:
    """Find a variable by its CF attributes, else by the usual names."""
    for word in CF_WORDS[role]:
        for name, variable in dataset.variables.items():
            if word in (variable.attrs.get(key) for key in ("cf_role", "standard_name", "units")):
                return str(name)
    return next((str(name) for name in dataset.variables if str(name).lower() in USUAL_NAMES[role]), None)


def _name_with_attribute(dataset: xr.Dataset, word: str) -> str:
    return next((str(name) for name, variable in dataset.variables.items() if word in variable.attrs), "")


def _require(roles: Mapping[str, str | None], path: str, known: object) -> None:
    for role, word in ((LAT, "latitude"), (LON, "longitude"), (TIME, "time")):
        if roles[role] is None:
            has = ", ".join(map(str, known))  # type: ignore[call-overload]
            raise DataError(
                f"{path} has no {word}",
                hint=f"expected stations with id, latitude, longitude and time; found {has or 'nothing'}",
            )


def _choose(variable: str, fields: Sequence[str], names: Mapping[str, tuple[str, str]], path: str) -> str:
    found = [field for field in fields if variable in (field, names[field][0])] if variable else list(fields)
    if len(found) == 1:
        return found[0]
    if variable:
        raise DataError(f"{path} has no variable {variable!r}", hint=did_you_mean(variable, fields))
    if not fields:
        raise DataError(f"{path} has no measured variable", hint="expected a column, or a variable over time")
    command = "python -m engine verify RUN --stations FILE --station-variable NAME"
    raise DataError(f"{path} has several variables ({', '.join(fields)})", action=f"name one: {command}")


def _numbers(table: pd.DataFrame, column: str, path: str, separator: str) -> np.ndarray:
    """Read a column as numbers, with decimal commas where columns are separated otherwise; empty fields are NaN."""
    texts = table[column] if separator == "," else table[column].str.replace(",", ".")
    numbers = pd.to_numeric(texts, errors="coerce")
    if (wrong := numbers.isna() & table[column].notna()).any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"{column} in line {row + 2} of {path} is {table[column][row]!r}", hint="expected a number")
    return np.array(numbers, float)


def _dates(table: pd.DataFrame, column: str, path: str) -> np.ndarray:
    dates = pd.to_datetime(table[column], format="ISO8601", errors="coerce", utc=True)
    if dates.isna().any():
        row = int(np.flatnonzero(dates.isna())[0])
        raise TimeError(
            f"{column} in line {row + 2} of {path} is {table[column][row]!r}",
            hint="expected a date as 2001-12-31, 20011231 or 2001-12-31T06:00",
        )
    return dates.dt.tz_localize(None).to_numpy("datetime64[ns]")


def _in_metres(values: np.ndarray, unit: str, path: str) -> np.ndarray:
    factor, offset = conversion(unit, "m", what=f"altitude in {path}", reference="it", correction=IN_THE_FILE)
    return np.asarray(values, float) * factor + offset
