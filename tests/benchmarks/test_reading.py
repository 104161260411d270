"""Reading keeps the step busy: the share of the time that training doesn't wait for data from disk."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import xarray as xr

from engine.data.netcdf import write_netcdf
from engine.data.normalizer import fit_normalizer
from engine.data.pairs import pair
from engine.data.samples import Samples, Shuffle
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training.feed import Feed
from engine.training.supervised import Step
from engine.training.workers import Workers
from tests.benchmarks.record import record

FIELDS, SIDE = 2000, 128
SETTLED, STEPS = 5, 60

LR = {"path": "lr.nc"}
CASES: dict[str, dict[str, Any]] = {
    "whole fields": {},
    "patches": {"data": {"patch_size": 64}, "model": {"localized": False}},
    "time window of three, two predictors": {
        "data": {"pairing": "mos", "lr": LR, "predictors": [LR, LR], "time_window": 3}
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HR of 128 MB, compressed, a chunk for each step, and an LR field on a grid of its own."""
    folder = tmp_path_factory.mktemp("data")
    for name, side, cell in (("hr.nc", SIDE, 0.1), ("lr.nc", SIDE // 4, 0.45)):
        values = 280 + np.random.default_rng(0).normal(size=(FIELDS, side, side)).astype(np.float32).round(2)
        axis = cell * (np.arange(side) - side / 2)
        coords = {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(FIELDS) * np.timedelta64(1, "D"),
            "lat": ("lat", 45 + axis, {"units": "degrees_north"}),
            "lon": ("lon", axis, {"units": "degrees_east"}),
        }
        field = xr.DataArray(values, coords, ("time", "lat", "lon"), "t2m", {"units": "K"})
        packed = {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": (1, side, side)}
        write_netcdf(field.to_dataset(), folder / name, encoding={"t2m": packed})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_step_is_busy_while_data_are_read(case: str, data: Path) -> None:
    given = CASES[case]
    plain = {"data": {"target": {"path": "hr.nc"}, "scale": 4, **given.get("data", {})}}
    plain |= {"model": {"n_filters": 16, **given.get("model", {})}}
    spec = Spec.from_plain({"version": 1, **plain}, data)
    pairs = pair(spec.data)
    normalizer = fit_normalizer(pairs, spec.data.scaling)
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.train)
    shape = Shape(*pairs.lr_grid.shape, samples.channels, 0, pairs.scale, spec.data.time_window, samples.inputs.fields)
    network = build(spec.model, shape, Output.of(spec.model, normalizer, pairs.interpolation))
    step = Step(network, spec.training, 10_000, Workers(0, 1), normalizer)
    shuffle = Shuffle.of(spec, len(samples), pairs.lr_grid.shape)
    forget_pages(data)
    batches = iter(Feed(samples, in_memory=False).stream(lambda: map(shuffle.epoch, range(9)), shuffle.patch_lr))
    waited, worked = spent(step, batches)
    busy = worked / (waited + worked)
    rate = round(STEPS * spec.training.batch_size / (waited + worked))
    record(f"reading, {case}", {"busy": round(busy, 3), "samples_per_s": rate})
    assert busy >= 0.9


def spent(step: Step, batches: Any) -> tuple[float, float]:
    """Seconds of waiting for batches, and of steps, without the first, which build the graph."""

    @tf.function
    def one(*batch: tf.Tensor) -> tf.Tensor:
        losses, gradients = step.gradients(batch)
        step.apply(gradients)
        return losses

    waited = worked = 0.0
    for number in range(SETTLED + STEPS):
        began = time.perf_counter()
        batch = next(batches)
        got = time.perf_counter()
        one(*batch).numpy()
        if number >= SETTLED:
            waited, worked = waited + got - began, worked + time.perf_counter() - got
    return waited, worked


def forget_pages(folder: Path) -> None:
    """Have the system forget what it keeps of the files, so that they come from disk."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
