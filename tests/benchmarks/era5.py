"""One training on ERA5-UK with its test error after each epoch; the split is the one that DL4DS was measured on.

The clock is the training's own, graph compilation included; predicting the test part in between doesn't count.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from engine.data.normalizer import fit_normalizer
from engine.data.pairs import pair
from engine.data.samples import Samples, Shuffle
from engine.evaluation.predict import Downscaler
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training.checkpoints import TrainingCheckpoints
from engine.training.feed import Feed
from engine.training.loop import Training
from engine.training.progress import ProgressRecord
from engine.training.supervised import Step
from engine.training.validation import Validation
from engine.training.workers import Workers

BICUBIC_K = 0.6818  # test RMSE of the interpolated field


@dataclass
class Course:
    """(seconds of training, test RMSE in K, validation RMSE in K) after each epoch, and of the best weights."""

    records: list[tuple[float, float, float]] = field(default_factory=list)

    def reached(self, mark: float) -> float | None:
        """Seconds until the test RMSE was at most `mark`."""
        return next((round(s, 1) for s, rmse, _ in self.records if rmse <= mark), None)

    @property
    def best(self) -> tuple[float, float, float]:
        """The epoch that validation chooses."""
        return min(self.records, key=lambda record: record[2])


class Limit:
    """Stops a training after so many seconds."""

    def __init__(self, seconds: float):
        self.end, self.reason = time.monotonic() + seconds, "time is up"

    def __call__(self) -> bool:
        return time.monotonic() > self.end


def train(shared_data: Path, folder: Path, *, seconds: float = math.inf, **sections: Any) -> Course:
    """Train a network on ERA5-UK with default settings but for `sections` (model={…}), at most so many seconds."""
    plain = {
        "version": 1,
        "data": {
            "target": {"path": str(shared_data / "era5_uk_t2m.grib"), "variable": "t2m"},
            "scale": 4,
            "split": {"train": 0.7, "validation": 0.1, "test": 0.2},
        },
    }
    spec = Spec.from_plain({**plain, **sections})
    tf.keras.utils.set_random_seed(spec.training.seed)
    pairs = pair(spec.data)
    normalizer = fit_normalizer(pairs, spec.data.scaling)
    parts = (pairs.parts.train, pairs.parts.validation, pairs.parts.test)
    learn, validation, test = (Samples.of(spec, pairs, normalizer, part) for part in parts)
    shape = Shape.of(learn)
    network = build(spec.model, shape, Output.of(spec.model, normalizer, pairs.interpolation))
    shuffle = Shuffle.of(spec, len(learn), pairs.lr_grid.shape)
    downscaler = Downscaler.of([network], spec, test)
    inputs, arrays = test.read(np.arange(len(test)))
    course, limit, aside = Course(), Limit(seconds), 0.0

    def report(progress: ProgressRecord) -> None:
        nonlocal aside
        if progress.val_rmse is None:
            return
        began = time.monotonic()
        error = downscaler(test, inputs) - arrays.hr
        rmse = float(np.sqrt(np.mean(error.astype(np.float64) ** 2)))
        course.records.append((progress.elapsed_s - aside, rmse, progress.val_rmse))
        took = time.monotonic() - began
        aside, limit.end = aside + took, limit.end + took

    workers = Workers(0, 1)
    step = Step(network, spec.training, shuffle.steps * spec.training.epochs, workers, normalizer)
    learn_feed, validation_feed = (Feed(part, in_memory=True) for part in (learn, validation))
    validator = Validation(step, validation_feed, shuffle, workers)
    Training(
        step, learn_feed, validator, shuffle, spec.training, workers, TrainingCheckpoints(folder), report, limit
    ).run()
    return course
