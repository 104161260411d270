"""The products that are compared with HR: the interpolated and the downscaled field, and the baselines beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import xarray as xr

from engine.data.netcdf import open_netcdf

START_RUN = "start_run"
SECOND = "_v"  # ends the names of variables of the second component of a vector
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


def second_beside(path: Path) -> Path:
    """Give the path of the file that holds for the second component of a vector what `path` does for the first."""
    return path.with_name(f"{path.stem}{SECOND}{path.suffix}")


def second_component(results: xr.Dataset) -> xr.Dataset:
    """Give the fields of the second component of a vector the names of those of the first."""
    named = {str(name): str(name).removesuffix(SECOND) for name in results.data_vars if str(name).endswith(SECOND)}
    return results.drop_vars(list(named.values())).rename(named)


@contextmanager
def open_products(results_path: Path, second: bool = False) -> Iterator[xr.Dataset]:
    """Open a results file, with the fields of the baselines that stand beside it.

    second : the second component of a vector takes the place of the first.
    """
    path = baselines_beside(results_path)
    path = second_beside(path) if second else path
    with ExitStack() as stack:
        results = stack.enter_context(open_netcdf(results_path, decode_coords="all"))
        results = second_component(results) if second else results
        if path.is_file():
            baselines = stack.enter_context(open_netcdf(path, decode_coords="all"))
            results = results.assign({name: baselines[name] for name in BASELINES if name in baselines})
        yield results
