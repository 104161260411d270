"""One network at many scales on ERA5: fields at scales that it learned and others, against those of interpolation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from engine.data.grid_coordinates import coordinates_of, grid_of
from engine.data.pairs import Pairs
from engine.data.regrid_weights import weights_between
from engine.data.resample import coarsen
from engine.downscale import downscale_to
from engine.evaluation.any_grid import Destination, refine
from engine.runs import Run, Store
from engine.spec import Spec
from tests.benchmarks.network_table import measure, train

IMPLICIT = ["model.upsampling=implicit", "model.localized=false"]
SCALES = [*IMPLICIT, "model.scales=[2, 6]"]
SPECS: dict[str, list[str]] = {
    "spc, 60 epochs": ["training.epochs=60"],
    "implicit, 30 epochs": ["model.upsampling=implicit", "training.epochs=30"],
    "spc without a localized block, 120 epochs": ["model.localized=false", "training.epochs=120"],
    "implicit, scales 2 to 6, 30 epochs": [*SCALES, "training.epochs=30"],
    "implicit, scales 2 to 6, 60 epochs": [*SCALES, "training.epochs=60"],
}


def measure_scales(spec: Spec, store: Store) -> dict[str, Any]:
    """Train a network; its RMSE and that of interpolation at its own scale, and, if it knows several, at others.

    At 2.5, LR is that of the data, and targets are area means of HR. At 5, 6 and 8, LR is HR coarsened by as much.
    """
    if not spec.model.scales:
        return measure(spec, store)
    run, pairs, _, samples, seconds = train(spec, store)
    hr = pairs.hr.isel(time=samples.steps).load()
    lr = coarsen(hr, pairs.scale)
    cells = refine(pairs.lr_grid, 2.5)
    means = weights_between(grid_of(hr), cells, "area").apply(hr.values)
    fine = xr.DataArray(means, {"time": hr["time"], **coordinates_of(cells)}, ("time", "y", "x"), hr.name, hr.attrs)
    cases = {2.5: (lr, fine), 4: (lr, hr)}
    for scale in (5, 6, 8):
        rows, columns = (cells - cells % scale for cells in hr.shape[1:])
        cropped = hr[:, :rows, :columns]
        cases[scale] = coarsen(cropped, scale), cropped
    at = {f"{scale:g}": _errors(run, pairs, *fields) for scale, fields in cases.items()}
    return {"at": at, "cpu_s": round(seconds, 1), "epochs": spec.training.epochs}


def _errors(run: Run, pairs: Pairs, lr: xr.DataArray, truth: xr.DataArray) -> dict[str, float]:
    """RMSE of `engine downscale` from LR to the grid of the truth."""
    with tempfile.TemporaryDirectory() as name:
        given, grid, out = (Path(name) / f"{part}.nc" for part in ("lr", "grid", "out"))
        for field, path in ((lr, given), (truth, grid)):
            field.rename(pairs.hr.name).to_netcdf(path)
        downscale_to(run, str(given), out, Destination(grid=grid))
        with xr.open_dataset(out) as made:
            differences = {product: made[product].values - truth.values for product in ("downscaled", "interpolated")}
    return {
        product: float(np.sqrt(np.nanmean(error.astype(np.float64) ** 2))) for product, error in differences.items()
    }
