"""How soon training with default settings reaches DL4DS's error on ERA5-UK, graph compilation included.

DL4DS 1.8.0 took 215 s to a test RMSE of 0.432 K on this split (resnet, spc, 60 epochs, two cores). The clock is the
training's own; predicting the test part in between doesn't count.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from engine.data.pairs import pair
from engine.data.samples import Samples, Shuffle
from engine.data.scaling import fit_scaling
from engine.evaluation.predict import Downscaler
from engine.models.network import Output, bound_of, build
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training.feed import Feed
from engine.training.loop import Training
from engine.training.supervised import Step
from engine.training.workers import Workers
from tests.benchmarks.record import record

MARKS_K = (0.432, 0.40, 0.38, 0.36, 0.35, 0.34, 0.33)


@pytest.mark.slow
def test_time_to_dl4ds_error(shared_data: Path, tmp_path: Path) -> None:
    spec = Spec.from_plain(
        {
            "version": 1,
            "data": {
                "target": {"path": str(shared_data / "era5_uk_t2m.grib"), "variable": "t2m"},
                "scale": 4,
                "split": {"train": 0.7, "validation": 0.1, "test": 0.2},
            },
        }
    )
    pairs = pair(spec.data)
    scaling = fit_scaling(pairs, spec.data.scaling)
    parts = (pairs.parts.train, pairs.parts.validation, pairs.parts.test)
    train, validation, test = (Samples(pairs, scaling, spec.data, part) for part in parts)
    shape = Shape(*pairs.lr_grid.shape, train.channels, len(pairs.static), pairs.scale)
    network = build(spec.model, shape, Output.of(spec.model, scaling, pairs.interpolation))
    shuffle = Shuffle.of(spec, len(train), pairs.lr_grid.shape)
    downscaler = Downscaler(network, bound_of(spec.model, scaling))
    inputs, arrays = test.read(np.arange(len(test)))
    records, aside = [], 0.0

    def report(progress: dict) -> None:
        nonlocal aside
        began = time.monotonic()
        error = downscaler(test, inputs) - arrays.hr
        rmse = float(np.sqrt(np.mean(error.astype(np.float64) ** 2)))
        records.append((progress["elapsed_s"] - aside, rmse, progress.get("val_rmse")))
        aside += time.monotonic() - began

    class Never:
        reason = ""

        def __call__(self) -> bool:
            return False

    step = Step(network, spec.training, shuffle.steps * spec.training.epochs, Workers(0, 1), scaling)
    feeds = (Feed(part, in_memory=True) for part in (train, validation))
    tf.keras.utils.set_random_seed(0)
    Training(step, *feeds, shuffle, spec.training, Workers(0, 1), tmp_path, report, Never()).run()
    reached = {str(mark): next((round(s, 1) for s, rmse, _ in records if rmse <= mark), None) for mark in MARKS_K}
    final = downscaler(test, inputs) - arrays.hr
    figures = {
        "seconds_to_rmse_k": reached,
        "final_rmse_k": round(float(np.sqrt(np.mean(final.astype(np.float64) ** 2))), 4),
        "training_s": round(records[-1][0], 1),
    }
    record("time to accuracy, ERA5-UK", figures)
    assert reached["0.432"] is not None
