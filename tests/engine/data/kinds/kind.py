"""A kind of file: how its tool writes it, and whether it is taken or refused.

All kinds hold the same field, which depends on place and date alone: each value that is read is compared with it, at
the place and date that were read, so that turned rows, wrong units, shifted times and mirrored grids all show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import xarray as xr

from engine.data.fields import open_field
from engine.data.grid_coordinates import grid_of
from engine.data.netcdf import write_netcdf
from engine.data.times import first_and_last
from engine.data.units import convert, describe_conversion
from engine.errors import DataError
from engine.spec import Source

LAT, LON = 50 + 0.5 * np.arange(4), 10 + 0.5 * np.arange(6)
NORTH = LAT[::-1]
EPOCH = "days since 2001-01-01"
DEGREES_NORTH = {"units": "degrees_north", "standard_name": "latitude"}
DEGREES_EAST = {"units": "degrees_east", "standard_name": "longitude"}


@dataclass(frozen=True)
class Kind:
    """What writes the file into a folder, and what comes of it.

    variable, select, units, static : as in a spec. to : unit of `truth`. within : of a value, because of packing.
    missing : values that the file marks as missing. refused : words of the error, empty if the file is taken.
    """

    tool: str
    what: str
    write: Callable[[Path], Any]
    refused: str = ""
    variable: str = ""
    select: Mapping[str, Any] | None = None
    units: str = ""
    to: str = "K"
    static: bool = False
    within: float = 2e-3
    missing: int = 0

    def outcome(self, folder: Path) -> str:
        """Write and read the file; the line of the table, after each value was compared."""
        path = str(self.write(folder))
        try:
            row = self._read(path)
        except DataError as error:
            if not self.refused or self.refused not in str(error):
                raise
            row = f"refused: {error}"
        else:
            assert not self.refused, row
        return row.replace(f"{folder}/", "").replace("|", "/").replace("\n", " ")

    def _read(self, path: str) -> str:
        notes: list[str] = []
        source = Source(path, self.variable, self.units, tuple((self.select or {}).items()))
        field = open_field(source, static=self.static, notes=notes)
        given = field.attrs["units"]
        values = convert(field, self.to, what=path).values.astype(float)
        lon, lat = grid_of(field).lonlat()
        days = 0.0 if self.static else days_of(field["time"].values)[:, None, None]
        expected = truth(days, lat, lon)
        valid = np.isfinite(values)
        assert (~valid).sum() == self.missing, f"{(~valid).sum()} values are missing"
        np.testing.assert_allclose(values[valid], expected[valid], rtol=0, atol=self.within, err_msg=path)
        unit = describe_conversion(given, self.to) or (repr(given) if given else "no unit")
        facts = [str(grid_of(field)), "" if self.static else _times(field), unit]
        missing = f"{self.missing} missing" if self.missing else ""
        return "; ".join(fact for fact in (*facts, missing, *notes) if fact)


def truth(days: Any, lat: Any, lon: Any) -> np.ndarray:
    """The value at a place and date, in degrees and days since 2001-01-01."""
    return 280.0 + days + np.asarray(lat) / 10 + ((np.asarray(lon) + 180) % 360 - 180) / 100


def days_of(times: np.ndarray) -> np.ndarray:
    """Days since 2001-01-01 in the calendar of the times."""
    if times.dtype.kind == "M":
        return (times - np.datetime64("2001-01-01")) / np.timedelta64(1, "D")
    return np.asarray(cftime.date2num(times, EPOCH, times[0].calendar), float)


def _times(field: xr.DataArray) -> str:
    times = field["time"].values
    first, last = first_and_last(field["time"])
    calendar = f", {times[0].calendar}" if times.dtype.kind == "O" else ""
    first, last = (time.removesuffix("T00:00") for time in (first, last))
    return f"{len(times)} steps, {first} to {last}{calendar}" if len(times) > 1 else f"{first}{calendar}"


def made(
    *,
    lat: Any = LAT,
    lon: Any = LON,
    days: Any = (0, 1, 2),
    name: str = "t2m",
    units: str | None = "K",
    factor: float = 1.0,
    offset: float = 0.0,
    names: tuple[str, str, str] = ("time", "lat", "lon"),
    since: str = EPOCH,
    calendar: str = "standard",
    count: Callable[[np.ndarray], Any] = lambda days: days,
    dtype: str = "f4",
    static: bool = False,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """The field on latitudes and longitudes, undecoded: truth = value × factor + offset; `count` numbers the days."""
    lat, lon, days = np.asarray(lat, float), np.asarray(lon, float), np.asarray(days, float)
    time, y, x = names
    where = (lat, lon) if lat.ndim == 2 else np.meshgrid(lat, lon, indexing="ij")
    values = (truth(days[:, None, None], *where) - offset) / factor
    about = {**({"units": units} if units is not None else {}), **(attrs or {})}
    data = xr.Variable(names, values.astype(dtype), about)
    over = (("row", "column"), ("row", "column")) if lat.ndim == 2 else ((y,), (x,))
    sides = {y: (over[0], lat, DEGREES_NORTH), x: (over[1], lon, DEGREES_EAST)}
    if lat.ndim == 2:
        data = xr.Variable((time, "row", "column"), data.values, about)
    when = {} if static else {time: (time, count(days), {"units": since, "calendar": calendar})}
    return xr.Dataset({name: data.isel({time: 0}) if static else data}, {**sides, **when})


def packed(dataset: xr.Dataset, scale: float = 0.01, dtype: str = "i2", **about: Any) -> xr.Dataset:
    """Pack the fields as integers with scale_factor and add_offset, and mark values by `about`."""
    data = {
        name: (field.dims, np.rint((field.values - 280.0) / scale).astype(dtype), {**field.attrs, **about})
        for name, field in dataset.data_vars.items()
    }
    for _, _, attrs in data.values():
        attrs |= {"scale_factor": scale, "add_offset": 280.0}
    return dataset.assign(data)


def gap(dataset: xr.Dataset, value: float, name: str = "t2m", **about: Any) -> xr.Dataset:
    """Set the first value to one that marks missing values, with these attributes."""
    values = dataset[name].values.copy()
    values[(0,) * values.ndim] = value
    return dataset.assign({name: (dataset[name].dims, values, {**dataset[name].attrs, **about})})


def saved(dataset: xr.Dataset, at: Path, name: str = "file.nc", **how: Any) -> Path:
    """Write what is undecoded as NetCDF, with no fill values of xarray's own."""
    numbers = [one for one, data in dataset.variables.items() if data.dtype.kind in "fiu"]
    encoding = {one: {"_FillValue": None} for one in numbers if "_FillValue" not in dataset[one].attrs}
    for one, more in how.pop("encoding", {}).items():
        encoding.setdefault(one, {}).update(more)
    write_netcdf(dataset, at / name, encoding, **how)  # which stores text so that HDF5 doesn't crash
    return at / name


def netcdf(**what: Any) -> Callable[[Path], Path]:
    """A writer of `made(**what)` as NetCDF."""
    return lambda at: saved(made(**what), at)


def on_levels(dataset: xr.Dataset, name: str, values: Any, *, at: int = 1, **attrs: Any) -> xr.Dataset:
    """Put copies along a dimension; only that of number `at` is `truth`."""
    field = next(iter(dataset))
    wrong = [dataset[field].variable + (0.0 if n == at else 100.0) for n in range(len(values))]
    data = xr.Variable.concat(wrong, name).transpose(dataset[field].dims[0], name, ...)
    data.attrs = dataset[field].attrs
    return dataset.assign({field: data}).assign_coords({name: (name, values, attrs)})


def zarr(dataset: xr.Dataset, at: Path, version: int, name: str = "store.zarr", **how: Any) -> Path:
    dataset.to_zarr(at / name, zarr_format=version, consolidated=version == 2, **how)
    return at / name


def content(at: Path, data: bytes, name: str = "file.nc") -> Path:
    (at / name).write_bytes(data)
    return at / name
