"""The test part at the stations that a run is given, made without those of one fold after another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from engine.data.fields import COPIED_ATTRS
from engine.data.gaps import fill_missing
from engine.data.netcdf import write_netcdf
from engine.data.normalizer import MAX_SAMPLED_STEPS
from engine.data.samples import Samples
from engine.data.station_inputs import StationSeries
from engine.data.stations import ALT, ATTRS, ID, LAT, LON, NAME
from engine.data.times import spread_evenly
from engine.data.units import conversion
from engine.errors import UnitError
from engine.evaluation.kriging import Kriging
from engine.evaluation.predict import Downscaler, batches
from engine.evaluation.station_cells import Sampling, samplings
from engine.evaluation.withheld import AT_HEIGHT, METHODS, PRODUCTS, VALUES, folds_of, height_offsets
from engine.files import whole_file


def write_withheld(path: Path, downscaler: Downscaler, samples: Samples, title: str) -> None:
    """Write PRODUCTS at the stations that are input of a run, and of temperatures AT_HEIGHT, as CF NetCDF.

    Nothing that is measured in the test part at a station, or at another of its fold, enters what is written for it.
    """
    stations, scaling, target = samples.pairs.stations, samples.normalizer.stations, samples.normalizer.target
    assert stations is not None
    assert scaling is not None
    cells, folds = _cells(samples, stations), folds_of(stations.lon, stations.lat)
    train = replace(samples, steps=spread_evenly(samples.pairs.parts.train, MAX_SAMPLED_STEPS))
    hr_cells, lr_cells = ([each[name] for each in cells] for name in ("hr", "lr"))
    then, now = (_Values.of(each, stations, hr_cells, lr_cells) for each in (train, samples))
    means = scaling.means_of(stations.ids)
    from_hr, from_lr = (_means(then.measured - each) for each in (then.at_hr, then.at_lr))  # (method, station)
    without = _values(downscaler, samples, stations.only(np.zeros(len(folds), bool)), hr_cells)
    made = {name: np.full(without.shape, np.nan) for name in (*PRODUCTS, *AT_HEIGHT)} | {"without_stations": without}
    for fold in np.unique(folds):
        inside, others = folds == fold, folds != fold
        downscaled = _values(downscaler, samples, stations.only(others), hr_cells)[:, inside]
        made["downscaled"][:, inside] = downscaled
        places, wanted = stations.places[others], stations.places[inside]
        departures = [(each.measured - each.interpolated - means[:, None])[others].T for each in (then, now)]
        kriged = Kriging.fit(departures[0], places).predict(departures[1], places, wanted).T
        made["kriging"][:, inside] = target.inverse(now.interpolated[inside] + kriged)
        for number in range(len(METHODS)):
            offsets = (height_offsets(each[number], stations.alt, inside)[:, None] for each in (from_hr, from_lr))
            fields = target.forward(downscaled[number]), now.at_lr[number][inside]
            for name, field, offset in zip(AT_HEIGHT, fields, offsets, strict=True):
                made[name][number, inside] = target.inverse(field + offset)
    with whole_file(path) as sibling:
        write_netcdf(_dataset(made, samples, folds, title), sibling, format="NETCDF4")


@dataclass(frozen=True)
class _Values:
    """Normalized values at stations: measured, LR interpolated (station, time), LR and HR cells of each of METHODS."""

    measured: np.ndarray
    interpolated: np.ndarray
    at_lr: np.ndarray
    at_hr: np.ndarray

    @classmethod
    def of(
        cls, samples: Samples, stations: StationSeries, hr_cells: list[Sampling], lr_cells: list[Sampling]
    ) -> _Values:
        pairs, target = samples.pairs, samples.normalizer.target
        own = (slice(None), *map(slice, pairs.data_shape))
        parts = []
        for rows in batches(samples):
            block = pairs.read(samples.steps[rows])
            lr, hr = fill_missing(target.forward(block.lr), pairs.periodic), target.forward(block.hr)[own]
            at_cells = ([each.take(field).T for each in by] for field, by in ((lr, lr_cells), (hr, hr_cells)))
            parts.append((stations.interpolate(lr, pairs).T, *map(np.stack, at_cells)))
        measured = target.forward(stations.values[samples.steps]).T
        return cls(measured, *(np.concatenate(each, axis=-1) for each in zip(*parts, strict=True)))


def _means(differences: np.ndarray) -> np.ndarray:
    """Mean over time (…, time) of what there is; NaN of nothing."""
    present = np.isfinite(differences)
    counts = present.sum(axis=-1)
    return np.where(counts > 0, np.where(present, differences, 0).sum(axis=-1) / np.maximum(counts, 1), np.nan)


def _cells(samples: Samples, stations: StationSeries) -> list[dict[str, Sampling]]:
    """Cells of HR and LR for each station, by each of METHODS."""
    own = tuple(map(slice, samples.pairs.data_shape))
    hr, lr = samples.pairs.hr_grid.select(*own), samples.pairs.lr_grid
    valid, places = samples.normalizer.mask[own], (stations.lon, stations.lat)
    return [samplings(hr, valid, lr, np.ones(lr.shape, bool), *places, method) for method in METHODS]


def _values(downscaler: Downscaler, samples: Samples, given: StationSeries, cells: list[Sampling]) -> np.ndarray:
    """Downscale with some stations, and sample: (method, station, time)."""
    samples = replace(samples, pairs=replace(samples.pairs, stations=given))
    own = (slice(None), *map(slice, samples.pairs.data_shape))
    found = []
    for rows in batches(samples, downscaler.members):
        inputs, block = samples.read(rows)
        fields = downscaler(samples, inputs, block.base)[own]
        found.append([sampling.take(fields).T for sampling in cells])
    return np.concatenate(found, axis=-1)


def _dataset(made: dict[str, np.ndarray], samples: Samples, folds: np.ndarray, title: str) -> xr.Dataset:
    """Name and describe what was made (method, station, time), as in CF."""
    pairs, stations = samples.pairs, samples.pairs.stations
    assert stations is not None
    attrs = {word: str(pairs.hr.attrs[word]) for word in COPIED_ATTRS if word in pairs.hr.attrs}
    names = [*PRODUCTS, *(AT_HEIGHT if _is_temperature(attrs.get("units", "")) else ())]
    each = {ID: stations.ids, NAME: stations.names, LON: stations.lon, LAT: stations.lat, ALT: stations.alt}
    values = np.stack([made[name] for name in names]).astype(np.float32)
    return xr.Dataset(
        {
            VALUES: (("product", "method", "station", "time"), values, attrs),
            "fold": ("station", folds.astype(np.int32), {"long_name": "fold of the station"}),
        },
        {
            **{name: ("station", of_each, ATTRS[name]) for name, of_each in each.items()},
            "time": pairs.times.isel(time=samples.steps).variable,
            "product": names,
            "method": list(METHODS),
        },
        {"Conventions": "CF-1.11", "featureType": "timeSeries", "title": title},
    )


def _is_temperature(units: str) -> bool:
    try:
        conversion("K", units, what="it")
    except UnitError:
        return False
    return True
