"""A network of a few weights that trains in seconds, and what its trainings leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from engine.data.normalizer import Normalizer, fit_normalizer
from engine.data.samples import Samples, Shuffle
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training import assembly, checkpoints
from engine.training.checkpoints import BEST, LAST
from engine.training.feed import Feed
from engine.training.loop import Training
from engine.training.progress import ProgressRecord
from engine.training.supervised import Step
from engine.training.validation import Validation
from engine.training.workers import Workers
from tests.engine.small_pairs import make_pairs, waves

SOLE_WORKER = Workers(0, 1)
PLAIN = {
    "version": 1,
    "data": {"target": {"path": "hr.nc"}, "scale": 2},
    # all that keeps a state of its own: running statistics, random numbers, moments, averages
    "model": {"n_filters": 4, "n_blocks": 1, "normalization": "batch", "dropout_rate": 0.2, "localized": True},
    "training": {"epochs": 4, "batch_size": 4, "learning_rate": 0.05, "weight_decay": 0.01, "seed": 3, "ema": 0.9},
}
SPEC = Spec.from_plain(PLAIN)


@dataclass
class StopAt:
    """Asks to stop before a step of an epoch, both counted from 0."""

    epoch: int = -1
    step: int = 0
    training: Training | None = None
    reason: str = ""

    def __call__(self) -> bool:
        position = self.training.position
        self.reason = "asked" if (position.epoch, position.step) == (self.epoch, self.step) else ""
        return bool(self.reason)


@dataclass
class Lab:
    """One network and its step, traced once and used by all trainings: each begins from the same numbers."""

    train: Samples
    validation: Samples
    step: Step
    start: list[np.ndarray]
    spec: Spec = SPEC

    def variables(self) -> list[Any]:
        return [variable for group in self.step.groups.values() for variable in group]

    def reset(self) -> None:
        for variable, value in zip(self.variables(), self.start, strict=True):
            variable.assign(value)

    def scramble(self) -> None:
        """What a new process would have instead: other numbers everywhere."""
        for variable in self.variables():
            variable.assign(variable + tf.ones_like(variable))


def samples_of(hr: np.ndarray) -> tuple[Samples, Samples, Normalizer]:
    pairs = make_pairs(hr, static=[hr[0]])
    normalizer = fit_normalizer(pairs, "standard")
    train, validation = (
        Samples(pairs, normalizer, SPEC.data, part) for part in (pairs.parts.train, pairs.parts.validation)
    )
    return train, validation, normalizer


def make_step(train: Samples, normalizer: Normalizer, spec: Spec = SPEC) -> Step:
    shape = Shape(*train.pairs.lr_grid.shape, train.channels, 1, 2)
    network = build(spec.model, shape, Output.of(spec.model, normalizer, "bicubic"))
    return Step(network, spec.training, 4 * spec.training.epochs, SOLE_WORKER, normalizer)


def make_lab(spec: Spec = SPEC) -> Lab:
    assembly.make_reproducible(spec)
    hr = waves(32, 8, 8) + np.float32([1, -1] * 4)  # a pattern within LR cells, to be learned
    hr[::3, 1, 2] = np.nan
    train, validation, normalizer = samples_of(hr)
    step = make_step(train, normalizer, spec)
    lab = Lab(train, validation, step, [], spec)
    lab.start = [variable.numpy() for variable in lab.variables()]
    return lab


def make_training(
    lab: Lab,
    folder: Path,
    *,
    stop: StopAt | None = None,
    report: Callable[[ProgressRecord], None] | None = None,
    **given: Any,
) -> Training:
    shuffle = Shuffle.of(lab.spec, len(lab.train), lab.train.pairs.lr_grid.shape)
    folder.mkdir(exist_ok=True)
    stop = stop or StopAt()
    stop.training = Training(
        step=lab.step,
        train=Feed(lab.train, in_memory=True),
        validation=Validation(lab.step, Feed(lab.validation, in_memory=True), shuffle, SOLE_WORKER),
        shuffle=shuffle,
        options=lab.spec.training,
        workers=SOLE_WORKER,
        checkpoints=checkpoints.TrainingCheckpoints(folder),
        report=report or (lambda record: None),
        stop=stop,
        **given,
    )
    return stop.training


@dataclass
class Undisturbed:
    folder: Path
    records: list[ProgressRecord] = field(default_factory=list)
    at_end: str = ""


def run_undisturbed(lab: Lab, folder: Path) -> Undisturbed:
    """From the first weights to the end, at one go."""
    run = Undisturbed(folder)
    lab.reset()
    assert make_training(lab, run.folder, report=run.records.append).run() is True
    run.at_end = checkpoints.fingerprint(lab.step.network.trainable_variables)
    return run


def assert_same(folder: Path, undisturbed: Undisturbed) -> None:
    """The last checkpoints are the same to the last bit, but for the time that passed."""
    for name in (LAST, BEST):
        (groups, state), (expected, expected_state) = (checkpoints.load(f / name) for f in (folder, undisturbed.folder))
        assert list(groups) == list(expected)
        for group in expected:
            for (key, array), other in zip(expected[group].items(), groups[group].values(), strict=True):
                np.testing.assert_array_equal(other, array, err_msg=f"{name} {group} {key}", strict=True)
        untimed = [{k: v for k, v in s.items() if k not in ("elapsed_s", "seq")} for s in (state, expected_state)]
        assert untimed[0] == untimed[1]
