"""Early stopping, by a step whose validation losses are given."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from engine.errors import DivergedError
from engine.training.averaging import WeightAverage
from engine.training.loop import Training
from engine.training.supervised import Step
from tests.engine.training.small_training import (
    SPEC,
    Lab,
    make_lab,
    make_training,
)


@pytest.fixture(scope="module")
def lab() -> Lab:
    return make_lab()


class Rehearsed(Step):
    """A step whose losses are given, to see what the loop makes of them."""

    def __init__(self, lab: Lab, val_losses: list[float]):
        self.network, self.optimizer = lab.step.network, lab.step.optimizer
        self.average = WeightAverage(self.network, 0.0)
        self.val_losses, self.seen = val_losses, 0

    def run(self, batches: Any, steps: tf.Tensor) -> tf.Tensor:
        return tf.constant([1.0])

    def validate(self, batches: Any, steps: tf.Tensor) -> tf.Tensor:
        self.network.get_layer("output").bias.assign([float(self.seen)])  # to know later which epoch's weights it has
        self.seen += 1
        return tf.constant([self.val_losses[self.seen - 1], 1.0, 4.0, 1.0], tf.float64)


def rehearse(lab: Lab, folder: Path, val_losses: list[float], **options: Any) -> tuple[Training, int]:
    """How many epochs were trained, given the course of the validation loss."""
    step = Rehearsed(lab, val_losses)
    training = make_training(Lab(lab.train, lab.validation, step, []), folder)
    training.options = SPEC.training.replace(epochs=len(val_losses), **options)
    assert training.run() is True
    return training, step.seen


def test_early_stopping_waits_for_its_patience(lab, tmp_path):
    losses = [5.0, 4.0, 4.5, 4.2, 4.0, 3.0, 2.0]
    training, seen = rehearse(lab, tmp_path, losses, patience=3)
    assert seen == 5  # three epochs without a fall after the second
    assert (training.position.best, training.position.best_epoch) == (4.0, 2)
    assert float(lab.step.network.get_layer("output").bias[0]) == 1.0  # of the second epoch


def test_a_fall_begins_the_patience_anew(lab, tmp_path):
    training, seen = rehearse(lab, tmp_path, [5.0, 6.0, 4.9, 6.0, 6.0, 1.0], patience=2)
    assert seen == 5
    assert training.position.best_epoch == 3


def test_only_a_fall_by_min_delta_counts(lab, tmp_path):
    losses = [5.0, 4.9, 4.8, 4.7]
    assert rehearse(lab, tmp_path, losses, patience=2, min_delta=0.5)[1] == 3
    assert rehearse(lab, tmp_path, losses, patience=2, min_delta=0.05)[1] == 4


def test_without_early_stopping_all_epochs_are_trained(lab, tmp_path):
    training, seen = rehearse(lab, tmp_path, [5.0, 6.0, 7.0, 8.0], patience=1, early_stopping=False)
    assert seen == 4
    assert training.position.best_epoch == 1


def test_a_stopped_training_that_has_lost_its_patience_ends_when_resumed(lab, tmp_path):
    rehearse(lab, tmp_path, [5.0, 6.0, 7.0, 8.0], patience=2)
    step = Rehearsed(lab, [])
    resumed = make_training(Lab(lab.train, lab.validation, step, []), tmp_path)
    resumed.options = SPEC.training.replace(epochs=4, patience=2)
    assert resumed.resume() is True
    assert resumed.run() is True
    assert step.seen == 0


def test_a_validation_that_is_no_number_is_reported_as_divergence(lab, tmp_path):
    with pytest.raises(DivergedError, match="the validation loss is nan in epoch 2: lower training.learning_rate"):
        rehearse(lab, tmp_path, [1.0, math.nan, 1.0])
