"""Verification at stations: how near products are to what was measured there, in `results/stations.nc`.

docs/verification.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from engine.data.forecasts import is_forecast, samples_of
from engine.data.grid_coordinates import grid_of, without_suffix
from engine.data.netcdf import write_netcdf
from engine.data.stations import ALT, ID, LAT, LON, NAME
from engine.data.times import elapsed_seconds, encode, match
from engine.data.units import conversion, convert
from engine.errors import DataError, RunError, TimeError, UnitError
from engine.evaluation.moments import CELL_SCORES, Moments, area_mean
from engine.evaluation.products import products_of
from engine.evaluation.scores import time_blocks
from engine.evaluation.station_cells import Sampling, samplings
from engine.evaluation.tables import aligned
from engine.evaluation.withheld import with_withheld
from engine.files import whole_file

SCORES = {
    "bias": "bias",
    "mae": "mean absolute error",
    "rmse": "root-mean-square error",
    "centred_rmse": "root-mean-square error without bias",
    "pearson": "Pearson correlation over time",
}
OBSERVED = "observed"
DAY_S = 86_400.0


def verify_at_stations(
    results: xr.Dataset,
    stations: xr.DataArray,
    *,
    method: str = "nearest",
    lapse_rate: float | None = None,
    heights: Mapping[str, xr.DataArray] | None = None,
    withheld: xr.Dataset | None = None,
) -> xr.Dataset:
    """Score products of a results file at stations.

    Parameters
    ----------
    results : as in results/test.nc, and baselines, if there are any.
    stations : as `engine.data.stations.open_stations` reads them, in a unit that converts to that of HR.
    method : nearest or bilinear, of cells with values.
    lapse_rate : K / km by which temperature falls with height, brought from the elevation of the grid to that of the
        station: T + lapse_rate (z_grid - z_station).
    heights : `elevations`, with `lapse_rate`.
    withheld : as results/withheld.nc of a run that is given stations.

    Returns
    -------
    `observed` and each product (station, time) in HR's unit, at the times that both have; scores `SCORES` (product,
    station), and over all pairs `all_…` (product); `pairs` (station); `distance` in km. Pairs are where the measurement
    and all products have a value. Attribute `notes` lists what was done, and which stations were left out.

    Raises
    ------
    TimeError, UnitError, DataError
        If steps or units can't be matched, or no station has anything to compare.
    """
    units = str(results["hr"].attrs.get("units", ""))
    what = f"the variable {stations.name} of the stations"
    measured = convert(stations, units, what=what, reference="the run", correction="give it the right unit").load()
    cells, notes = _samplings(results, measured, method), list[str]()
    sampled = _sample(results, cells)
    if withheld is not None:
        sampled, note = with_withheld(sampled, measured, withheld, method)
        notes.append(note)
    products, observed = _match_times(sampled, measured, notes)
    if lapse_rate is not None:
        factor, heights = _kelvins(units) * lapse_rate / 1000, heights or {}
        for name in products["product"].values:
            at = cells["lr" if name == "lr" else "hr"].take(heights[name if name in heights else "hr"].values)
            products.loc[name] += (factor * (at - measured[ALT].values))[:, None]
        notes.append(f"corrected for height by {lapse_rate:g} K / km; stations without an altitude are left out")
    fields = np.stack([observed.values, *products.values])  # (1 + product, station, time)
    moments = Moments.of(fields.transpose(0, 2, 1)[..., None])
    if not moments.count.any():
        raise DataError(
            "no station has a value to compare with",
            hint=f"the run covers {grid_of(results['hr']).extent()}; stations lie at lat "
            f"{measured[LAT].min():.4g} to {measured[LAT].max():.4g}, lon {measured[LON].min():.4g} to "
            f"{measured[LON].max():.4g}",
        )
    distance = cells["hr"].distance
    for number in np.flatnonzero(moments.count[:, 0] == 0):
        why = "has no value in common with the run" if np.isfinite(distance[number]) else "lies outside of its cells"
        notes.append(f"{measured[NAME].values[number]} ({measured[ID].values[number]}) is left out: it {why}")
    verified = _dataset(results, observed, products, moments, distance)
    chosen = {"method": method, **({} if lapse_rate is None else {"lapse_rate": lapse_rate})}
    return verified.assign_attrs(notes="\n".join(notes), **chosen)


def write_stations(verified: xr.Dataset, path: Path) -> None:
    """Write as CF NetCDF that appears whole, and replaces an earlier one; raises RunError or OSError if it can't."""
    try:
        with whole_file(path) as sibling:
            write_netcdf(verified, sibling, format="NETCDF4")
    except RuntimeError as error:
        raise RunError(f"{path} can't be written ({error})", action="see whether the disk is full") from error


def summary(verified: xr.Dataset) -> dict[str, object]:
    """Give scores over all pairs, and of each station: {product: {score: value}}, NaN where there is none."""
    products = [str(product) for product in verified["product"].values]

    def numbers(of: xr.Dataset, prefix: str = "") -> dict[str, dict[str, float]]:
        return {p: {s: float(of[f"{prefix}{s}"].sel(product=p)) for s in SCORES} for p in products}

    each = {
        str(one[ID].values): {
            "name": str(one[NAME].values),
            **{role: float(one[role]) for role in (LAT, LON, ALT)},
            "pairs": int(one["pairs"]),
            "distance_km": float(one["distance"]),
            "scores": numbers(one),
        }
        for one in (verified.isel(station=n) for n in range(verified.sizes["station"]))
    }
    notes = verified.attrs["notes"].splitlines()
    return {"pairs": int(verified["pairs"].sum()), "all": numbers(verified, "all_"), "each": each, "notes": notes}


def tables_of(verified: xr.Dataset) -> tuple[list[list[str]], list[list[str]]]:
    """Format scores over all pairs, and RMSE of each station: rows of texts, heads first."""
    products = [str(product) for product in verified["product"].values]
    over_all = [["product", *SCORES]]
    over_all += [[p, *(f"{float(verified[f'all_{s}'].sel(product=p)):.4g}" for s in SCORES)] for p in products]
    each = [["RMSE at", "altitude", "pairs", *products]]
    for n in range(verified.sizes["station"]):
        one = verified.isel(station=n)
        rmse = [f"{float(one['rmse'].sel(product=p)):.4g}" for p in products]
        each.append([str(one[NAME].values), f"{float(one[ALT]):.4g} m", str(int(one["pairs"])), *rmse])
    return over_all, each


def to_text(verified: xr.Dataset) -> str:
    """Format both tables, with a head and notes."""
    units, used = verified["rmse"].attrs.get("units", ""), int((verified["pairs"] > 0).sum())
    total = f"{int(verified['pairs'].sum())} pairs at {used} stations, {verified.attrs['method']} cells, in {units}:"
    notes = [f"note: {note}" for note in verified.attrs["notes"].splitlines()]
    return "\n".join([total, *map(aligned, tables_of(verified)), *notes])


def _samplings(results: xr.Dataset, measured: xr.DataArray, method: str) -> dict[str, Sampling]:
    lr = without_suffix(results["lr"])
    lr_valid = np.zeros(lr.shape[1:], bool)
    for block in time_blocks(results):
        lr_valid |= np.isfinite(block["lr"].values).any(axis=0)
    valid = np.isfinite(results["rmse_downscaled"].values)
    place = measured[LON].values, measured[LAT].values
    return samplings(grid_of(results["hr"]), valid, grid_of(lr), lr_valid, *place, method)


def _sample(results: xr.Dataset, cells: Mapping[str, Sampling]) -> xr.DataArray:
    """Read the products, some steps at a time: (product, station, time)."""
    names = ["lr", "interpolated", "hr", *products_of(results)[1:]]
    blocks = [
        [cells["lr" if name == "lr" else "hr"].take(block[name].values).T for name in names]
        for block in time_blocks(results)
    ]
    dims, times = ("product", "station", "time"), results["hr"]["time"]
    sampled = xr.DataArray(np.concatenate(blocks, axis=-1), {"product": names}, dims, attrs=results["hr"].attrs)
    return sampled.assign_coords({name: times[name] for name in ("time", *samples_of(times))})


def _match_times(products: xr.DataArray, measured: xr.DataArray, notes: list[str]) -> tuple[xr.DataArray, xr.DataArray]:
    """Bring products (product, station, time) and measurements (station, time) to the times that both have."""
    names, sides = ("the test part", "the stations"), [products, measured]
    steps = [_step_s(side["time"]) for side in sides]
    steps = [step or max(steps) for step in steps]  # a single step has no length
    fine, coarse = (0, 1) if steps[0] < steps[1] else (1, 0)
    if steps[fine] < 0.9 * steps[coarse] and steps[coarse] > 0.9 * DAY_S:
        if steps[coarse] > 1.1 * DAY_S or steps[fine] > DAY_S / 2 or is_forecast(sides[fine]["time"]):
            raise TimeError(
                f"{names[0]} has a step every {steps[0] / 3600:g} h, {names[1]} have one every {steps[1] / 3600:g} h",
                hint="expected the same, or days and parts of them",
                action=f"average {names[fine]} first",
            )
        _check_is_mean(products.attrs, measured.attrs)
        sides[fine] = _daily_means(sides[fine])
        notes.append(f"several steps a day in {names[fine]}: the mean of each complete day is compared")
    matched = match([side["time"] for side in sides], names)
    notes += matched.notes
    products, measured = (side.isel(time=at) for side, at in zip(sides, matched.steps, strict=True))
    return products, measured


def _step_s(times: xr.DataArray) -> float:
    """Give the usual time between two steps in s; 0 of a single step."""
    unique = times.isel(time=np.unique(encode(times), return_index=True)[1])
    return float(np.median(np.diff(elapsed_seconds(unique)))) if len(unique) > 1 else 0.0


def _check_is_mean(*attrs: Mapping[str, object]) -> None:
    for each in attrs:
        methods, units = str(each.get("cell_methods", "")), str(each.get("units", ""))
        is_amount = False
        for amount in ("m", "kg m-2"):
            try:
                conversion(units, amount, what="it")
                is_amount = True
            except UnitError:
                continue
        if is_amount or any(word in methods for word in ("sum", "maximum", "minimum")):
            raise TimeError(
                f"one of run and stations has days, the other several steps a day, and {methods or units!r} is no mean",
                action="give stations at the times of the run",
            )


def _daily_means(values: xr.DataArray) -> xr.DataArray:
    """Average (…, time) over the days that have all their steps; NaN where a step has no value."""
    _, first, counts = np.unique(encode(values["time"]) // 10**6, return_index=True, return_counts=True)
    means = np.add.reduceat(values.values, first, axis=-1) / counts
    complete = counts == np.bincount(counts).argmax()
    return values.isel(time=first[complete]).copy(data=means[..., complete])


def _kelvins(units: str) -> float:
    """Give the size of a kelvin in a unit of temperature."""
    try:
        return conversion("K", units, what="it")[0]
    except UnitError:
        raise UnitError(f"a height correction is for temperatures, but the run is in {units!r}") from None


def _dataset(
    results: xr.Dataset, observed: xr.DataArray, products: xr.DataArray, moments: Moments, distance: np.ndarray
) -> xr.Dataset:
    """Name and describe what was found, as in CF."""
    target, ones = results["hr"].attrs, np.ones(moments.count.shape)
    unit = {"units": str(target["units"])} if target.get("units") else {}
    is_temperature = str(target.get("standard_name", "")).endswith("temperature")
    difference = {"units_metadata": "temperature: difference"} if is_temperature else {}
    each: dict[str, tuple] = {}
    for score, label in SCORES.items():
        if score == "centred_rmse":
            squares = np.maximum(CELL_SCORES["rmse"](moments) ** 2 - CELL_SCORES["bias"](moments) ** 2, 0)
            mean = np.nansum(squares * moments.count, axis=(1, 2)) / moments.count.sum()
            of_stations, over_all = np.sqrt(squares), np.sqrt(mean)
        else:
            of_stations, over_all = CELL_SCORES[score](moments), area_mean(score, moments, ones)
        attrs = {"long_name": label, **({"units": "1"} if score == "pearson" else unit | difference)}
        each[score] = (("product", "station"), of_stations[..., 0], attrs)
        each[f"all_{score}"] = ("product", over_all, attrs | {"long_name": f"{label}, of all stations"})
    of_target = unit | {word: str(target[word]) for word in ("standard_name",) if word in target}
    for name, values in ((OBSERVED, observed.values), *zip(products["product"].values, products.values, strict=True)):
        each[str(name)] = (("station", "time"), values.astype(np.float32), of_target | {"long_name": str(name)})
    each["pairs"] = ("station", moments.count[:, 0].astype(np.int32), {"long_name": "compared times", "units": "1"})
    km = {"long_name": "distance to the nearest HR cell with values", "units": "km"}
    each["distance"] = ("station", np.where(np.isfinite(distance), distance, np.nan), km)
    places = {name: observed[name].variable for name in (ID, NAME, LAT, LON, ALT)}
    title = f"{results.attrs.get('title', 'a test part')}, at stations"
    return xr.Dataset(
        each,
        {**places, "time": products["time"].variable, "product": products["product"].values},
        {"Conventions": "CF-1.11", "featureType": "timeSeries", "title": title},
    )
