"""The synthetic demonstration data set: surface NO2 over an imaginary land, as an HR and an LR product.

The land lies where the maps show open Atlantic, so that no one takes it for a real place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.assets import ASSETS
from engine.errors import DataError, GridError, TimeError
from engine.files import whole_file

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.random import Generator

    from engine.data.demo_land import Field, Land

SCALE = 8
EVERY_H = 3
SPIN_UP_H = 48
START = "2023-10-02T00"  # UTC, a Monday; the model's winter half year
SOUTH, WEST = 42.0, -34.0
LAND_CHOICE = 5  # mixed into the seed: with it, seed 0 has a coast, islands and mountains
SPECS = ASSETS / "specs"
COMMENT = (
    "Synthetic: nothing here was measured, and the land doesn't exist. Emissions of towns, roads and ships "
    "follow clock and weekday, are carried by a seeded synoptic wind bent by the terrain, diluted in a mixed "
    "layer that follows sun and wind, and removed by light, warmth and deposition."
)
README = """SYNTHETIC demonstration data: nothing here was measured.

Surface NO2 over an imaginary land in the open Atlantic, every {every} hours for {days} days, from a small
mixed-layer advection-emission-decay model (seed {seed}). The same seed gives the same values.

no2_regional.nc   HR: NO2 of the model, 0.1 degrees
no2_global.nc     LR: the same, {scale} times coarser, smoothed, biased and with an error that drifts
t2m.nc, wind.nc   predictors: 2 m temperature and 10 m wind speed on the LR grid
static.nc         static variables: topography, land-ocean mask, urban fraction on the HR grid

demo_perfect_prog.yaml   LR is made from HR by coarsening
demo_mos.yaml            LR is the global field
"""


@dataclass(frozen=True)
class Simulation:
    """Output of the model every three hours: NO2 in µg m-3 (time, y, x); K and m s-1 (time, y_lr, x_lr)."""

    time: np.ndarray
    no2: np.ndarray
    t2m: np.ndarray
    wind: np.ndarray


def write_demo(folder: Path, *, seed: int = 0, days: int = 180, size: tuple[int, int] = (96, 128)) -> list[Path]:
    """Write the demonstration data set, its two specs and a README.txt.

    Parameters
    ----------
    folder : made if it doesn't exist; files of the same names are replaced.
    seed : of the land, the weather and the LR field's errors; the same seed gives the same values.
    days : length of the record, from 2 October 2023 on, at least 1.
    size : cells of the HR grid (lat, lon), each 0.1° wide; multiples of 8, at least 32 and at most 256.

    Returns
    -------
    The paths written: no2_regional.nc, no2_global.nc, t2m.nc, wind.nc, static.nc, two specs, README.txt.

    Raises
    ------
    GridError, TimeError, DataError
        If `size`, `days` or `seed` can't be used; if the folder can't be written to.
    """
    _check(seed, days, size)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    datasets = synthesize(seed, days, size)
    paths = [_write_netcdf(dataset, folder / name) for name, dataset in datasets.items()]
    texts = {name: (SPECS / name).read_text(encoding="utf-8") for name in ("demo_perfect_prog.yaml", "demo_mos.yaml")}
    texts["README.txt"] = README.format(seed=seed, days=days, every=EVERY_H, scale=SCALE)
    for name, text in texts.items():
        with _writing(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    return [*paths, *(folder / name for name in texts)]


def synthesize(seed: int, days: int, size: tuple[int, int]) -> dict[str, xr.Dataset]:
    """Make the five data sets by file name, as `write_demo` writes them."""
    import numpy as np  # imported here, as below, so that the command line starts fast

    from engine.data.demo_land import build_land

    land_rng, weather_rng, error_rng = np.random.default_rng([seed, LAND_CHOICE]).spawn(3)
    land = build_land(land_rng, size, SOUTH, WEST)
    run = _simulate(weather_rng, land, days)
    lr = global_field(error_rng, area_mean(run.no2, land.lat))
    lat, lon = land.lat, land.lon
    lat_lr, lon_lr = (axis.reshape(-1, SCALE).mean(axis=1) for axis in (lat, lon))
    hr_fields, lr_fields = _fields("no2", run.no2, run.time), _fields("no2", lr, run.time)
    datasets = {
        "no2_regional.nc": (hr_fields, lat, lon, "HR surface NO2, as of a regional model"),
        "no2_global.nc": (lr_fields, lat_lr, lon_lr, "LR surface NO2, as of a biased global model"),
        "t2m.nc": (_fields("t2m", run.t2m, run.time), lat_lr, lon_lr, "2 m temperature"),
        "wind.nc": (_fields("wind_speed", run.wind, run.time), lat_lr, lon_lr, "10 m wind speed"),
        "static.nc": (_static(land), lat, lon, "topography, land-ocean mask and urban fraction"),
    }
    return {name: _dataset(*parts, seed=seed) for name, parts in datasets.items()}


def area_mean(field: np.ndarray, lat: Field) -> np.ndarray:
    """Average blocks of 8 by 8 cells by cell area: (…, y, x) to (…, y // 8, x // 8)."""
    import numpy as np

    weight = np.cos(np.deg2rad(lat)).reshape(-1, SCALE, 1, 1)
    blocks = field.reshape(*field.shape[:-2], len(lat) // SCALE, SCALE, -1, SCALE)
    return (blocks * weight).sum(axis=(-3, -1)) / (weight.sum(axis=1)[..., 0] * SCALE)


def global_field(rng: Generator, truth: np.ndarray) -> np.ndarray:
    """Imitate a coarse model of `truth` (time, y, x) in µg m-3, never negative.

    Smeared over neighbours in space and time, 25 % too weak above an offset of 1 µg m-3, and with a
    relative error of about 18 % that drifts smoothly in space and time.
    """
    import numpy as np
    from scipy import ndimage

    smeared = ndimage.gaussian_filter(truth, (0.4, 0.5, 0.5), mode="nearest")
    error = ndimage.gaussian_filter(rng.standard_normal(truth.shape), (1.5, 1.5, 1.5), mode="wrap")
    return (0.75 * smeared + 1.0) * np.exp(0.18 * error / error.std())


def _check(seed: int, days: int, size: tuple[int, int]) -> None:
    if any(side % SCALE or not 32 <= side <= 256 for side in size):
        given = f"{size[0]} x {size[1]} cells"
        raise GridError(f"the demonstration's size is {given}", hint="expected multiples of 8 from 32 to 256")
    if days < 1:
        raise TimeError(f"the demonstration's length is {days} days", hint="expected 1 or more")
    if seed < 0:
        raise DataError(f"the demonstration's seed is {seed}", hint="expected 0 or a positive whole number")


def _simulate(rng: Generator, land: Land, days: int) -> Simulation:
    """Run the model hourly and keep every third hour after the spin-up."""
    import numpy as np

    from engine.data.demo_physics import Atmosphere, simulate

    hours = SPIN_UP_H + 24 * days
    first = np.datetime64(START) - np.timedelta64(SPIN_UP_H, "h")
    no2, t2m, wind = [], [], []
    for hour, (field, weather) in enumerate(simulate(land, Atmosphere(rng, land), first, hours)):
        if hour >= SPIN_UP_H and hour % EVERY_H == 0:
            no2.append(field.astype("float32"))
            t2m.append(area_mean(weather.temperature, land.lat))
            wind.append(area_mean(weather.speed, land.lat))
    time = np.datetime64(START) + EVERY_H * np.arange(len(no2)) * np.timedelta64(1, "h")
    return Simulation(time.astype("datetime64[ns]"), np.stack(no2), np.stack(t2m), np.stack(wind))


FIELD_ATTRS = {
    "no2": {
        "standard_name": "mass_concentration_of_nitrogen_dioxide_in_air",
        "long_name": "surface NO2 (synthetic)",
        "units": "µg m-3",
    },
    "t2m": {
        "standard_name": "air_temperature",
        "long_name": "2 m temperature (synthetic)",
        "units": "K",
        "units_metadata": "temperature: on_scale",
    },
    "wind_speed": {
        "standard_name": "wind_speed",
        "long_name": "10 m wind speed (synthetic)",
        "units": "m s-1",
    },
}
AXES = (("lat", "latitude", "degrees_north", "Y"), ("lon", "longitude", "degrees_east", "X"))
HEIGHT_M = {"t2m": 2.0, "wind_speed": 10.0}


def _fields(name: str, values: np.ndarray, time: np.ndarray) -> xr.Dataset:
    import xarray as xr

    attrs = {**FIELD_ATTRS[name], "cell_methods": "area: mean time: point"}
    dataset = xr.Dataset({name: (("time", "lat", "lon"), values.astype("float32"), attrs)}, {"time": time})
    attrs = {"standard_name": "time", "long_name": "time (UTC)", "axis": "T"}
    dataset.time.attrs = {**attrs, "units_metadata": "leap_seconds: none"}
    if name not in HEIGHT_M:
        return dataset
    height = {"standard_name": "height", "long_name": "height above the ground", "units": "m"}
    return dataset.assign_coords(height=((), HEIGHT_M[name], {**height, "positive": "up", "axis": "Z"}))


def _static(land: Land) -> xr.Dataset:
    import numpy as np
    import xarray as xr

    topography = {"standard_name": "surface_altitude", "long_name": "topography (synthetic)", "units": "m"}
    urban = {"long_name": "urban fraction of the cell (synthetic)", "units": "1"}
    mask = {"standard_name": "land_binary_mask", "long_name": "land-ocean mask (synthetic)", "units": "1"}
    flags = {"flag_values": np.array([0, 1], "int8"), "flag_meanings": "sea land"}
    on_grid = ("lat", "lon")
    return xr.Dataset(
        {
            "topography": (on_grid, land.topography.astype("float32"), topography),
            "land_mask": (on_grid, land.land_mask.astype("int8"), {**mask, **flags}),
            "urban_fraction": (on_grid, land.urban_fraction.astype("float32"), urban),
        }
    )


def _dataset(fields: xr.Dataset, lat: Field, lon: Field, subject: str, seed: int) -> xr.Dataset:
    """Put the fields on their grid, with bounds, and say everywhere that they are synthetic."""
    dataset = fields.assign_coords(lat=lat.round(6), lon=lon.round(6))
    for name, word, unit, axis in AXES:
        attrs = {"standard_name": word, "long_name": word, "units": unit, "axis": axis}
        dataset[name].attrs = {**attrs, "bounds": f"{name}_bnds"}
        dataset = dataset.assign({f"{name}_bnds": ((name, "nv"), _bounds(dataset[name].values))})
    dataset.attrs = {
        "Conventions": "CF-1.11",
        "title": f"SYNTHETIC demonstration data: {subject}",
        "source": f"mixed-layer advection-emission-decay model over an imaginary land, seed {seed}",
        "comment": COMMENT,
        "history": f"made by engine.data.demo with seed {seed}",
    }
    return dataset


def _bounds(centres: np.ndarray) -> np.ndarray:
    import numpy as np

    half = (centres[1] - centres[0]) / 2
    return np.stack([centres - half, centres + half], axis=1).round(6)


def _write_netcdf(dataset: xr.Dataset, path: Path) -> Path:
    """Write whole or not at all, compressed, in chunks of some days."""
    from engine.data.netcdf import write_netcdf

    encoding = {str(name): _encoding(variable) for name, variable in dataset.variables.items()}
    if path.name == "no2_regional.nc":  # 11 bits keep 0.03 %, and a third less to store
        encoding["no2"] |= {"quantize_mode": "BitRound", "significant_digits": 11}
    with _writing(path) as part:
        write_netcdf(dataset, part, encoding=encoding)
    return path


def _encoding(variable: xr.Variable) -> dict[str, object]:
    if variable.dims == ("time",):
        days = f"hours since {START[:10]} 00:00:00"
        return {"_FillValue": None, "units": days, "calendar": "standard", "dtype": "int32"}
    if variable.dims[-2:] != ("lat", "lon"):
        return {"_FillValue": None}
    chunks = (*(min(48, steps) for steps in variable.shape[:-2]), *variable.shape[-2:])
    return {"_FillValue": None, "zlib": True, "complevel": 1, "shuffle": True, "chunksizes": chunks}


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Yield a sibling to write to, which takes the place of `path`; raises DataError if it can't be written."""
    try:
        with whole_file(path) as part:
            yield part
    except (OSError, RuntimeError) as error:  # netCDF4 raises RuntimeError when the disk is full
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or error
    expected = "a folder that you may write to, with 40 MB free"
    return DataError(f"{path} can't be written ({reason})", hint=f"expected {expected}")
