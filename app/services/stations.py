"""Scores at stations of compared runs, from their stations.nc; no widget, no plot."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from app.services.comparison import Comparison
from engine.data.netcdf import open_netcdf
from engine.data.stations import ID, open_stations
from engine.evaluation.stations import OBSERVED, SCORES
from engine.runs.stations import verify_run_at_stations

SIMPLE = ("lr", "interpolated", "hr")
WITHHELD = {
    "without_stations": "without stations",
    "kriging": "kriging",
    "downscaled_at_height": "at the station's height",
    "lr_at_height": "LR at the station's height",
}
PAIRS = "pairs"


@dataclass(frozen=True)
class StationScores:
    """Files of the runs that have one, by letter; the first gives LR, interpolated and HR.

    damaged : letters of runs whose file can't be read.
    """

    files: dict[str, xr.Dataset] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()

    @property
    def first(self) -> xr.Dataset:
        return next(iter(self.files.values()))

    @property
    def products(self) -> dict[str, tuple[xr.Dataset, str]]:
        """Product, or a run's letter → the file it is in, and its name there.

        A run that is given stations has more products: its letter stands before their name.
        """
        found = {name: (self.first, name) for name in SIMPLE}
        for letter, file in self.files.items():
            others = [name for name in WITHHELD if name in file["product"].values]
            found |= {letter: (file, "downscaled")} | {f"{letter}, {WITHHELD[name]}": (file, name) for name in others}
        return found

    def at(self, key: str, score: str) -> np.ndarray:
        """A score of `SCORES` at each station of the first file; NaN where a product hasn't got it."""
        file, name = self.products[key]
        by_id = dict(zip(file[ID].values.tolist(), file[score].sel(product=name).values, strict=True))
        return np.array([by_id.get(station, np.nan) for station in self.first[ID].values.tolist()])

    def scores(self, station: str = "") -> dict[str, dict[str, float]]:
        """Product → score → value over all pairs, or at a station by its id; products without it are left out."""
        found = {}
        for key, (file, name) in self.products.items():
            if station and station not in file[ID].values:
                continue
            numbers = file.isel(station=_number(file, station)) if station else file
            prefix = "" if station else "all_"
            values = {score: float(numbers[f"{prefix}{score}"].sel(product=name)) for score in SCORES}
            found[key] = values | {PAIRS: float(numbers[PAIRS].sum())}
        return found

    def series(self, station: str) -> tuple[dict[str, np.ndarray], pd.Index]:
        """Measured values, those of simple products and of runs at a station, and their times."""
        times, number = self.first.indexes["time"], _number(self.first, station)
        series = {name: self.first[name][number].values for name in (OBSERVED, *SIMPLE)}
        for letter, file in self.files.items():
            if station in file[ID].values and file.indexes["time"].equals(times):
                series[letter] = file["downscaled"][_number(file, station)].values
        return series, times


def station_scores(comparison: Comparison) -> StationScores:
    """Read the file of each run that has one; none for a vector's second component, which isn't held against any."""
    if any(result.is_second for result in comparison.results):
        return StationScores()
    files, damaged = {}, []
    for result in comparison.results:
        if result.run.stations.is_file():
            try:
                with open_netcdf(result.run.stations) as file:
                    files[result.letter] = file.load()
            except (OSError, ValueError, RuntimeError):
                damaged.append(result.letter)
    return StationScores(files, tuple(damaged))


def verify_at(comparison: Comparison, path: str) -> StationScores:
    """Verify the compared runs with a file of stations, as `engine verify --stations`; raises what that raises."""
    notes: list[str] = []
    measured = open_stations(path, "", notes)
    for result in comparison.results:
        verify_run_at_stations(result.run, measured, notes=notes)
    return station_scores(comparison)


def _number(file: xr.Dataset, station: str) -> int:
    return int(np.flatnonzero(file[ID].values == station)[0])
