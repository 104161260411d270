"""The file of baselines, results/baselines.nc: their fields of the test part, as those in results/test.nc."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.data.netcdf import netcdf_file
from engine.data.pairs import Pairs
from engine.data.samples import Samples
from engine.evaluation.baselines import Steps, fit_baselines
from engine.evaluation.predict import Downscaler, batches, create_results, enlarged, missing_input
from engine.evaluation.products import BASELINES, START_RUN
from engine.files import whole_file


def write_baselines(
    path: Path, pairs: Pairs, samples: Samples, bound: str, title: str, start: tuple[Downscaler, Samples] | None = None
) -> tuple[str, ...]:
    """Fit baselines to the training part of `pairs`, and write their fields of `samples` as CF NetCDF.

    Parameters
    ----------
    bound : as of the network (`engine.evaluation.predict.Downscaler`): nothing falls below zero unless it is linear.
    start : the run that training started from, with its samples of the same steps, to stand beside them as START_RUN.

    Returns
    -------
    Notes on what they were fitted on.
    """
    baselines, notes = fit_baselines(pairs, samples.normalizer)
    mask, scale, own = samples.normalizer.mask, pairs.scale, pairs.data_shape
    months = pairs.times.dt.month.values[samples.steps]
    names = (*baselines, *((START_RUN,) if start else ()))
    with whole_file(path) as sibling:
        create_results(sibling, samples, title, names)
        _label(sibling, names)
        for rows in batches(samples, start[0].members if start else 1):
            block = samples.pairs.read(samples.steps[rows])
            steps = Steps.of(block, months[rows], pairs, samples.normalizer)
            missing = enlarged(missing_input(samples, block), scale)
            fields = np.full((len(baselines), len(rows), *mask.shape), np.nan, np.float32)
            for field, baseline in zip(fields, baselines.values(), strict=True):
                values = baseline(steps)
                field[:, mask] = values if bound == "linear" else np.maximum(values, 0)
                field[missing] = np.nan
            with netcdf_file(sibling, "a") as file:
                for name, field in zip(baselines, fields, strict=True):
                    file[name][rows] = field[:, : own[0], : own[1]]
                if start:
                    downscaler, given = start
                    inputs, its_block = given.read(rows)
                    field = downscaler(given, inputs, its_block.base)
                    field = np.where(missing | ~mask, np.float32(np.nan), field)
                    file[START_RUN][rows] = field[:, : own[0], : own[1]]
    return notes


def _label(path: Path, names: Sequence[str]) -> None:
    with netcdf_file(path, "a") as file:
        for name in names:
            described = file[name].long_name.removeprefix(name.replace("_", " ")).strip()
            file[name].long_name = f"{BASELINES[name]}: {described}" if described else BASELINES[name]
