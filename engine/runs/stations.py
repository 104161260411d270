"""Verification of a run at stations, as the command line and the dashboard ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import xarray as xr

from engine.data.netcdf import open_netcdf
from engine.data.normalizer import load_hr_template
from engine.errors import RequestError
from engine.evaluation.products import open_products
from engine.evaluation.station_cells import elevations
from engine.evaluation.stations import verify_at_stations, write_stations
from engine.evaluation.withheld import withheld_beside
from engine.runs.folder import Run


def verify_run_at_stations(
    run: Run,
    measured: xr.DataArray,
    *,
    method: str = "nearest",
    lapse_rate: float | None = None,
    notes: Sequence[str] = (),
) -> xr.Dataset:
    """Score a run's test part as `verify_at_stations`, and write results/stations.nc; `notes` are added to its own."""
    heights = None
    if lapse_rate is not None:
        if not run.normalizer_file.is_file():
            raise RequestError(f"run {run.id} has no {run.normalizer_file.name}, which holds its static variables")
        data = run.spec.data
        heights = elevations(load_hr_template(run.normalizer_file), data.scale, data.interpolation)
    path = withheld_beside(run.results)
    with open_products(run.results) as results, open_netcdf(path) if path.is_file() else nullcontext() as withheld:
        verified = verify_at_stations(
            results, measured, method=method, lapse_rate=lapse_rate, heights=heights, withheld=withheld
        )
    verified.attrs["notes"] = "\n".join(note for note in (*notes, verified.attrs["notes"]) if note)
    write_stations(verified, run.stations)
    if run.done_file.exists():
        run.write_manifest(run.stations)
    return verified
