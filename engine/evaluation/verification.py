"""Verification of a run's test part: where, when and at which scales products are near HR.

One pass over results/test.nc, some time steps at a time, makes results/verification.nc; docs/verification.md has the
formulas. Beside a block of steps, some 0.3 kB a cell and product are held.
"""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import numpy as np
import xarray as xr

from engine.data.grid_coordinates import GRID_MAPPING, coordinates_of, grid_of
from engine.data.grids import Grid
from engine.data.netcdf import write_netcdf
from engine.data.times import in_blocks
from engine.errors import DataError, GridError, RunError
from engine.evaluation import lead_times, scores
from engine.evaluation.conditions import SEASONS
from engine.evaluation.lead_times import Leads, LeadSums, lead_variables
from engine.evaluation.moments import CELL_SCORES, Moments, area_mean, domain_moments, ratio
from engine.evaluation.products import SECOND, open_products, products_of, second_beside
from engine.evaluation.quantiles import Histogram, quantiles
from engine.evaluation.radial_spectra import (
    RadialSpectra,
    coherence,
    effective_resolution,
    power_ratio,
)
from engine.evaluation.sal import COMPONENTS, Places, is_precipitation, mean_sal, sal_of_steps
from engine.evaluation.scores import scores_of_steps
from engine.evaluation.tables import aligned
from engine.files import whole_file

ALL = "all"  # of the values of `season`, the one for all time steps
LEVELS = (0.01, 0.05, 0.5, 0.95, 0.99)
IN_UNIT = ("mae", "rmse", "bias")
LABELS = {
    "mae": "mean absolute error",
    "rmse": "root-mean-square error",
    "bias": "bias",
    "pearson": "Pearson correlation over time",
    "std_ratio": "ratio of standard deviations over time",
    "kling_gupta": "Kling-Gupta efficiency",
}
STEP_ERRORS = ("mae", "mse", "bias")
SAL_DIMS = ("component", "product", "time")
SAL_ATTRS = {"long_name": "SAL of precipitation of each step", "units": "1"}
NAN32 = np.float32(np.nan)
RASTER = ("season", "product", "y", "x")


def write_verification(results_path: Path, path: Path, steps: xr.DataArray | None = None) -> None:
    """Verify a results file and write the outcome as CF NetCDF that appears whole.

    steps : its `scores_of_steps`, if they are known already. Of a vector, the second component goes into a file beside.

    Raises
    ------
    RunError
        If the NetCDF library can't read or write; OSError, and what `verify` raises, too.
    """
    try:
        if _write(results_path, path, steps):
            _write(results_path, second_beside(path), None, second=True)
    except RuntimeError as error:
        raise RunError(f"{path} can't be written ({error})", action="see whether the disk is full") from error


def _write(results_path: Path, path: Path, steps: xr.DataArray | None, second: bool = False) -> bool:
    """Write the verification of one component; True if there is another."""
    with open_products(results_path, second) as results:
        verification, is_vector = verify(results, steps), f"hr{SECOND}" in results
    maps = {"zlib": True, "complevel": 1, "dtype": "float32"}
    large = (*CELL_SCORES, "step_hr_power", "step_power", "step_cospectrum")
    encoding = {name: maps for name in large if name in verification}
    with whole_file(path) as sibling:
        write_netcdf(verification, sibling, format="NETCDF4", encoding=encoding)
    return is_vector


def verify(results: xr.Dataset, steps: xr.DataArray | None = None) -> xr.Dataset:
    """Compute all of verification.nc.

    Parameters
    ----------
    results : hr, interpolated, downscaled (time, y, x), as in results/test.nc, and baselines, if there are any. Values
        are compared where all are there, and weighted by the area of their cells.
    steps : `scores_of_steps` of the results, if they are known already.

    Returns
    -------
    Per cell, scores (season, product, y, x) and `compared_steps` (season, y, x); of each step, `step_…` (product, time)
    and `step_area`, spectra `step_…` (product, time, wavenumber), and `step_scores` (metric, product, time) as
    scores.json summarises them; of precipitation, `step_sal` (component, product, time); over the domain, `area_…`,
    `domain_std`, `domain_correlation` (season, product), `hr_domain_std`, `quantile_bias` (season, product, quantile)
    and `hr_quantile`; of a forecast, `lead_…` (product, lead), those of members only where it has some; spectra along
    `wavenumber`, with `effective_resolution` (product, criterion) in km. Where the grid allows no spectra,
    `spectra_left_out` gives the reason.

    Raises
    ------
    DataError
        If a field is missing.
    """
    products = products_of(results)
    names = ("hr", *products)
    if absent := [name for name in names if name not in results]:
        raise DataError(f"the results have no {', '.join(absent)}", action="evaluate the run again")
    grid = grid_of(results["hr"])
    areas = grid.cell_areas()
    nothing = Moments.of(np.zeros((len(names), 0, *grid.shape)))
    moments = dict.fromkeys(SEASONS, nothing)
    histogram: Histogram | None = None
    spectra: RadialSpectra | None = None
    spectra_left_out = ""
    leads = Leads.of(results["hr"]["time"])
    lead_sums = LeadSums(leads, len(products)) if leads else None
    step_areas = np.zeros(len(results["time"]))
    step_errors = np.full((len(STEP_ERRORS), len(products), len(step_areas)), np.nan)
    places = Places.of(areas, grid.cell_sides_km()) if is_precipitation(results["hr"].attrs) else None
    step_sal = np.full((len(COMPONENTS), len(products), len(step_areas)), np.nan)
    size = grid.shape, scores.CELLS_AT_ONCE
    blocks = leads.blocks(*size) if leads else in_blocks(np.arange(len(step_areas)), *size)
    for rows in blocks:  # in which the members of a forecast are together
        block = results.isel(time=slice(rows[0], rows[-1] + 1) if len(rows) == rows[-1] + 1 - rows[0] else rows)
        fields = np.stack([block[name].values for name in names])
        seasons = block["time"].dt.season.values
        valid = np.isfinite(fields).all(axis=0)
        compared = np.where(valid, areas, 0)
        step_areas[rows] = compared.sum(axis=(1, 2))
        step_errors[..., rows] = _step_errors(fields, compared)
        if lead_sums:
            lead_sums.add(rows, fields, compared)
        if places:
            step_sal[..., rows] = sal_of_steps(fields[0], fields[1:], places)
        for season in np.unique(seasons):
            moments[season] = moments[season].merge(Moments.of(fields[:, seasons == season]))
        if not valid.any():
            continue
        histogram = _count_values(histogram, fields, valid, seasons, areas)
        if not (spectra or spectra_left_out):
            spectra, spectra_left_out = _empty_spectra(grid, valid, len(products))
            if spectra:
                of_each = np.full((2 * len(names) - 1, len(step_areas), len(spectra.wavenumber)), NAN32)
        if spectra:
            of_each[:, rows] = of_steps = spectra.of_steps(fields)
            spectra = spectra.add(of_steps)
    by_season = {ALL: reduce(Moments.merge, moments.values()), **moments}
    coords = {"season": list(by_season), "product": list(products), "quantile": list(LEVELS), **coordinates_of(grid)}
    coords["time"] = results["time"]
    if leads:
        coords["lead"] = leads.coordinate
    verification = xr.Dataset(
        {
            **_score_variables(by_season, areas),
            **_domain_variables(by_season, areas),
            **_step_variables(step_errors, step_areas),
            **(lead_variables(lead_sums, step_errors, step_areas) if lead_sums else {}),
            "step_scores": scores_of_steps(results) if steps is None else steps,
            **({"step_sal": (SAL_DIMS, step_sal, SAL_ATTRS), "component": list(COMPONENTS)} if places else {}),
            **(_quantile_variables(histogram) if histogram else {}),
            **(_spectral_variables(spectra) | _step_spectra(of_each) if spectra else {}),
        },
        coords,
        {"Conventions": "CF-1.11", "title": f"verification of {results.attrs.get('title', 'a test part')}"},
    )
    if spectra_left_out:
        verification.attrs["spectra_left_out"] = spectra_left_out
    return _described(verification, results["hr"].attrs, GRID_MAPPING if grid.crs else "")


def summary(verification: xr.Dataset) -> dict[str, dict[str, dict[str, float]]]:
    """Give the numbers over the domain: {season: {product: {score: value}}}, NaN where there is none."""
    return {
        str(season): {
            str(product): _numbers(verification.sel(season=season, product=product))
            for product in verification["product"].values
        }
        for season in verification["season"].values
    }


def table_of(verification: xr.Dataset) -> list[list[str]]:
    """Rows of texts of the numbers over the domain, heads first, for all time steps and each season there is."""
    rows: list[list[str]] = []
    for season, products in summary(verification).items():
        for product, numbers in products.items():
            rows = rows or [["season", "product", *numbers]]
            if np.isfinite(numbers["mae"]):
                rows.append([season, product, *(f"{number:.4g}" for number in numbers.values())])
    return rows


def to_text(verification: xr.Dataset) -> str:
    """Format a short table of the numbers over the domain."""
    rows, unit = table_of(verification), verification["area_rmse"].attrs.get("units", "")
    notes = [f"mae, rmse, bias, q…_bias (bias of quantiles) in {unit}"] if unit else []
    if "step_sal" in verification:
        notes.append("sal_… (structure, amplitude, location) is the mean size over time steps")
    if "effective_resolution" in verification:
        notes.append("resolution (effective, of all time steps) in km")
    else:
        notes.append(f"no spectra: {verification.attrs.get('spectra_left_out', 'no values to compare')}")
    return "\n".join([aligned(rows), "; ".join(notes)])


def _numbers(of_product: xr.Dataset) -> dict[str, float]:
    numbers = {score: float(of_product[f"area_{score}"]) for score in CELL_SCORES}
    if "quantile_bias" in of_product:
        values = zip(LEVELS, of_product["quantile_bias"].values, strict=True)
        numbers |= {f"q{round(100 * level)}_bias": float(value) for level, value in values}
    if "step_sal" in of_product and of_product["season"] == ALL:
        numbers |= {f"sal_{name}": value for name, value in mean_sal(of_product).items()}
    if "effective_resolution" in of_product and of_product["season"] == ALL:
        numbers["resolution"] = float(of_product["effective_resolution"].sel(criterion="both"))
    return numbers


def _count_values(
    histogram: Histogram | None, fields: np.ndarray, valid: np.ndarray, seasons: np.ndarray, areas: np.ndarray
) -> Histogram:
    """Count the valid values of a block, by season and field, with the areas of their cells."""
    low, high = float(fields[:, valid].min()), float(fields[:, valid].max())
    counted = (histogram or Histogram.between(low, high, (len(SEASONS), len(fields)))).cover(low, high)
    for number, season in enumerate(SEASONS):
        chosen = valid & (seasons == season)[:, None, None]
        weights = np.broadcast_to(areas, chosen.shape)[chosen]
        for field, values in enumerate(fields):
            counted.add((number, field), values[chosen], weights)
    return counted


def _empty_spectra(grid: Grid, valid: np.ndarray, products: int) -> tuple[RadialSpectra | None, str]:
    """Choose cells by a first block of steps (time, y, x); else give the reason why there are no spectra."""
    try:
        return RadialSpectra.empty(grid, np.logical_and.reduce(valid[valid.any(axis=(1, 2))]), products), ""
    except GridError as error:
        return None, str(error)


def _score_variables(by_season: dict[str, Moments], areas: np.ndarray) -> dict[str, tuple]:
    counts = np.stack([moments.count for moments in by_season.values()]).astype(np.int32)
    variables: dict[str, tuple] = {"compared_steps": (("season", "y", "x"), counts)}
    for name, score in CELL_SCORES.items():
        maps = np.stack([score(moments).astype(np.float32) for moments in by_season.values()])
        means = np.stack([area_mean(name, moments, areas) for moments in by_season.values()])
        variables |= {name: (RASTER, maps), f"area_{name}": (RASTER[:2], means)}
    return variables


def _domain_variables(by_season: dict[str, Moments], areas: np.ndarray) -> dict[str, tuple]:
    found = [domain_moments(moments, areas) for moments in by_season.values()]
    std, correlation = (np.stack(parts) for parts in zip(*found, strict=True))
    return {
        "hr_domain_std": (RASTER[:1], std[:, 0]),
        "domain_std": (RASTER[:2], std[:, 1:]),
        "domain_correlation": (RASTER[:2], correlation, {"long_name": "correlation of all values", "units": "1"}),
    }


def _step_errors(fields: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Average |f - o|, (f - o)² and f - o of each step by `areas` (time, y, x), 0 where not compared.

    Returns (3, product, time), NaN where nothing is compared.
    """
    error = np.where(areas > 0, fields[1:] - fields[0], 0).astype(np.float64)
    total = areas.sum(axis=(1, 2))
    return np.stack([ratio(np.einsum("ptyx,tyx->pt", e, areas), total) for e in (np.abs(error), error**2, error)])


def _step_variables(errors: np.ndarray, areas: np.ndarray) -> dict[str, tuple]:
    attrs = {"long_name": "area of the cells that are compared in each step", "units": "km2"}
    variables: dict[str, tuple] = {"step_area": ("time", areas, attrs)}
    return variables | {
        f"step_{name}": (("product", "time"), values) for name, values in zip(STEP_ERRORS, errors, strict=True)
    }


def _quantile_variables(histogram: Histogram) -> dict[str, tuple]:
    whole = Histogram(histogram.start, histogram.width, histogram.weights.sum(axis=0, keepdims=True))
    values = np.concatenate([quantiles(each, np.array(LEVELS)) for each in (whole, histogram)])
    return {
        "hr_quantile": (("season", "quantile"), values[:, 0]),
        "quantile_bias": (("season", "product", "quantile"), values[:, 1:] - values[:, :1]),
    }


def _spectral_variables(spectra: RadialSpectra) -> dict[str, tuple]:
    ratio, shared = power_ratio(spectra), coherence(spectra)
    resolutions = np.array(
        [[effective_resolution(spectra.wavenumber, share[k]) for share in (ratio, shared)] for k in range(len(ratio))]
    )
    power = spectra.power / max(spectra.steps, 1)
    km = {"units": "km"}
    box = np.array([edge for side in spectra.box for edge in (side.start, side.stop)], np.int32)
    return {
        "spectra_box": ("edge", box, {"long_name": "rows and columns of the spectra: first, one after the last"}),
        "spectra_steps": ((), spectra.steps, {"long_name": "time steps of the spectra, complete in their box"}),
        "wavenumber": ("wavenumber", spectra.wavenumber, {"units": "km-1", "long_name": "wavenumber, cycles per km"}),
        "wavelength": ("wavenumber", 1 / spectra.wavenumber, {**km, "long_name": "wavelength"}),
        "hr_power": ("wavenumber", power[0]),
        "power": (("product", "wavenumber"), power[1:]),
        "power_ratio": (("product", "wavenumber"), ratio, {"long_name": "power over that of HR", "units": "1"}),
        "coherence": (("product", "wavenumber"), shared, {"long_name": "squared coherence with HR", "units": "1"}),
        "criterion": ("criterion", ["power", "coherence", "both"]),
        "effective_resolution": (
            ("product", "criterion"),
            np.column_stack([resolutions, resolutions.max(axis=1)]),
            {**km, "long_name": "effective resolution: wavelength where power ratio or coherence falls below 0.5"},
        ),
    }


def _step_spectra(of_each: np.ndarray) -> dict[str, tuple]:
    """Spectra of each step as `RadialSpectra.of_steps`."""
    power, cospectrum = np.split(of_each, [len(of_each) // 2 + 1])
    dims = ("product", "time", "wavenumber")
    return {
        "step_hr_power": (dims[1:], power[0], {"long_name": "power of HR of each step"}),
        "step_power": (dims, power[1:], {"long_name": "power of each step"}),
        "step_cospectrum": (dims, cospectrum, {"long_name": "cospectrum with HR of each step"}),
    }


def _described(verification: xr.Dataset, target: dict[str, object], mapping: str) -> xr.Dataset:
    """Add names, units and grid mapping as in CF."""
    unit = str(target.get("units", ""))
    is_temperature = str(target.get("standard_name", "")).endswith("temperature")
    difference = {"units_metadata": "temperature: difference"} if is_temperature else {}  # CF-1.11, section 3.1.2
    for name in CELL_SCORES:
        in_unit = ({"units": unit} if unit else {}) | difference if name in IN_UNIT else {"units": "1"}
        verification[name].attrs |= {"long_name": LABELS[name], **in_unit}
        verification[f"area_{name}"].attrs |= {"long_name": f"{LABELS[name]}, of the domain", **in_unit}
    for name, label in zip(STEP_ERRORS, ("mean absolute error", "mean square error", "mean error"), strict=True):
        in_unit = {} if not unit else {"units": f"({unit})2"} if name == "mse" else {"units": unit} | difference
        verification[f"step_{name}"].attrs |= {"long_name": f"{label} of each step", **in_unit}
    for name in ("hr_domain_std", "domain_std"):
        of_values = ({"units": unit} if unit else {}) | difference
        verification[name].attrs |= {"long_name": "standard deviation of all values", **of_values}
    verification["step_scores"].attrs["long_name"] = "scores of each step, as scores.json summarises them"
    for name in lead_times.names_of(verification):
        in_unit = {"units": "1"} if name == "spread_error" else ({"units": unit} if unit else {}) | difference
        verification[f"lead_{name}"].attrs |= {"long_name": f"{lead_times.LABELS[name]}, by lead time", **in_unit}
    verification["compared_steps"].attrs |= {"long_name": "time steps that are compared", "units": "1"}
    labels = {"hr_quantile": "quantile of HR", "quantile_bias": "bias of the quantile", "power": "power by wavenumber"}
    for name, label in (labels | {"hr_power": "power of HR by wavenumber"}).items():
        if name in verification:
            units = {"units": f"({unit})2" if name.endswith("power") else unit} if unit else {}
            verification[name].attrs |= {"long_name": label, **units}
            if name == "quantile_bias":
                verification[name].attrs |= difference
    for name in ("step_hr_power", "step_power", "step_cospectrum"):
        if name in verification and unit:
            verification[name].attrs["units"] = f"({unit})2"
    if mapping:
        for name in (*CELL_SCORES, "compared_steps"):
            verification[name].attrs["grid_mapping"] = mapping
    return verification
