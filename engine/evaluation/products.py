"""The products that are compared with HR: the interpolated and the downscaled field, and the baselines beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import xarray as xr

from engine.data.netcdf import open_netcdf

START_RUN = "start_run"
BASELINES = {  # as in results/baselines.nc → as read
    "nearest": "nearest LR cell",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "climatology": "climatology",
    "bias_corrected": "bias-corrected",
    "quantile_mapping": "quantile mapping",
    "pc_regression": "PC regression",
    START_RUN: "run it started from",
}


def products_of(results: xr.Dataset) -> tuple[str, ...]:
    """Name the products of a results file, those that every run has first."""
    return ("interpolated", "downscaled", *(name for name in BASELINES if name in results))


def baselines_beside(results_path: Path) -> Path:
    """Give the path of the baselines that belong to a results file; runs made before there were any lack it."""
    return results_path.with_name("baselines.nc")


@contextmanager
def open_products(results_path: Path) -> Iterator[xr.Dataset]:
    """Open a results file, with the fields of the baselines that stand beside it."""
    path = baselines_beside(results_path)
    with ExitStack() as stack:
        results = stack.enter_context(open_netcdf(results_path, decode_coords="all"))
        if path.is_file():
            baselines = stack.enter_context(open_netcdf(path, decode_coords="all"))
            results = results.assign({name: baselines[name] for name in BASELINES if name in baselines})
        yield results
