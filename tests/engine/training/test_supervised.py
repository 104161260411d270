"""The loop of training: to the same weights, to the last bit, whether or not it was stopped and resumed."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.data.normalizer import Normalizer, ValueTransform, fit_normalizer
from engine.data.samples import Samples, Shuffle
from engine.errors import DivergedError
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.run import _set_up
from engine.spec import Spec
from engine.training import checkpoints, loop, supervised
from engine.training.averaging import WeightAverage
from engine.training.feed import Feed
from engine.training.loop import BEST, LAST, Pace, Training
from engine.training.supervised import Step
from engine.training.workers import Workers
from tests.engine.small_pairs import make_pairs, waves

ALONE = Workers(0, 1)
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
    return Step(network, spec.training, 4 * spec.training.epochs, ALONE, normalizer)


def make_lab() -> Lab:
    _set_up(SPEC)
    hr = waves(32, 8, 8) + np.float32([1, -1] * 4)  # a pattern within LR cells, to be learned
    hr[::3, 1, 2] = np.nan
    train, validation, normalizer = samples_of(hr)
    step = make_step(train, normalizer)
    lab = Lab(train, validation, step, [])
    lab.start = [variable.numpy() for variable in lab.variables()]
    return lab


@pytest.fixture(scope="module")
def lab() -> Lab:
    return make_lab()


def make_training(
    lab: Lab, folder: Path, *, stop: StopAt | None = None, report: Callable[[Any], None] | None = None, **given: Any
) -> Training:
    train, validation = (Feed(samples, True) for samples in (lab.train, lab.validation))
    folder.mkdir(exist_ok=True)
    stop = stop or StopAt()
    stop.training = Training(
        step=lab.step,
        train=train,
        validation=validation,
        shuffle=Shuffle.of(SPEC, len(lab.train), lab.train.pairs.lr_grid.shape),
        options=SPEC.training,
        workers=ALONE,
        folder=folder,
        report=report or (lambda record: None),
        stop=stop,
        **given,
    )
    return stop.training


@dataclass
class Undisturbed:
    folder: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    at_end: str = ""


def run_undisturbed(lab: Lab, folder: Path) -> Undisturbed:
    """From the first weights to the end, at one go."""
    run = Undisturbed(folder)
    lab.reset()
    assert make_training(lab, run.folder, report=run.records.append).run() is True
    run.at_end = checkpoints.fingerprint(lab.step.network.trainable_variables)
    return run


@pytest.fixture(scope="module")
def undisturbed(lab, tmp_path_factory) -> Undisturbed:
    return run_undisturbed(lab, tmp_path_factory.mktemp("undisturbed"))


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


def test_training_lowers_the_loss(undisturbed):
    ends = [record for record in undisturbed.records if "val_loss" in record]
    assert [record["epoch"] for record in ends] == [1, 2, 3, 4]
    assert ends[-1]["loss"] < 0.8 * ends[0]["loss"]
    assert all(math.isfinite(record["val_rmse"]) for record in ends)


def test_progress_is_told_in_full(undisturbed):
    records = undisturbed.records
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    last = records[-1]
    assert (last["epoch"], last["epochs"], last["step"], last["steps"]) == (4, 4, 4, 4)
    assert last["eta_s"] == 0
    assert last["elapsed_s"] > records[0]["elapsed_s"] >= 0
    # 16 of 16 steps of a cosine are done; 0.02 × 16 rounds to no warm-up at all.
    assert last["learning_rate"] == pytest.approx(0.05 * 0.01)
    json.dumps(records, allow_nan=False)


def test_at_the_end_the_network_has_its_best_weights(lab, undisturbed):
    groups, state = checkpoints.load(undisturbed.folder / BEST)
    ends = [record["val_loss"] for record in undisturbed.records if "val_loss" in record]
    assert state["best"] == min(ends)
    assert state["best_epoch"] == 1 + ends.index(min(ends))
    checkpoints.restore(lab.step.network.variables, groups["weights"], undisturbed.folder)
    assert checkpoints.fingerprint(lab.step.network.trainable_variables) == undisturbed.at_end


@pytest.mark.parametrize(("epoch", "step"), [(2, 0), (1, 3), (0, 1), (0, 0), (3, 3)])
def test_stopped_and_resumed_it_comes_to_the_same_weights(lab, undisturbed, tmp_path, monkeypatch, epoch, step):
    monkeypatch.setattr(loop, "FIRST_CHUNK", 1)
    monkeypatch.setattr(loop, "CHUNK_S", 0.0)  # look up after each step
    lab.reset()
    stopped = make_training(lab, tmp_path, stop=StopAt(epoch, step))
    assert stopped.run() is False
    assert stopped.stop.reason == "asked"
    assert (stopped.position.epoch, stopped.position.step) == (epoch, step)
    lab.scramble()
    records: list[dict[str, Any]] = []
    resumed = make_training(lab, tmp_path, report=records.append)
    assert resumed.resume() is True
    assert (resumed.position.epoch, resumed.position.step) == (epoch, step)
    assert resumed.run() is True
    assert_same(tmp_path, undisturbed)
    assert records[0]["seq"] == stopped.position.seq + 1
    assert checkpoints.fingerprint(lab.step.network.trainable_variables) == undisturbed.at_end


def test_a_killed_training_resumes_from_its_last_checkpoint(lab, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_S", 0.0)  # a checkpoint each epoch

    class KilledError(Exception):
        pass

    def die(record: dict[str, Any]) -> None:
        if record["epoch"] == 3:
            raise KilledError

    lab.reset()
    with pytest.raises(KilledError):
        make_training(lab, tmp_path, report=die).run()
    lab.scramble()
    resumed = make_training(lab, tmp_path)
    assert resumed.resume() is True
    assert resumed.position.epoch == 2
    assert resumed.run() is True
    assert_same(tmp_path, undisturbed)


def test_a_new_process_finds_the_same(undisturbed, tmp_path):
    """Everything anew, graphs and all."""
    lab = make_lab()
    assert make_training(lab, tmp_path).run() is True
    assert_same(tmp_path, undisturbed)


def test_a_finished_training_has_nothing_left_to_do(lab, undisturbed, tmp_path):
    shutil.copytree(undisturbed.folder, tmp_path, dirs_exist_ok=True)
    records: list[dict[str, Any]] = []
    again = make_training(lab, tmp_path, report=records.append)
    assert again.resume() is True
    assert again.run() is True
    assert records == []
    assert checkpoints.fingerprint(lab.step.network.trainable_variables) == undisturbed.at_end


@pytest.mark.parametrize(("size", "step"), [(2, 1), (3, 0), (1, 3)])
def test_with_more_or_fewer_ranks_it_goes_on_at_the_same_part_of_the_epoch(lab, tmp_path, monkeypatch, size, step):
    # Batches of 4: one rank stopped before the last of the 4 steps that 16 samples make. Two ranks have 2 steps, of
    # which the second begins after 8 samples; three have 1.
    monkeypatch.setattr(loop, "FIRST_CHUNK", 1)
    monkeypatch.setattr(loop, "CHUNK_S", 0.0)
    lab.reset()
    assert make_training(lab, tmp_path, stop=StopAt(1, 3)).run() is False
    resumed = make_training(lab, tmp_path)
    steps = resumed.shuffle.steps
    resumed.shuffle = dataclasses.replace(resumed.shuffle, size=size)
    assert resumed.resume() is True
    assert (resumed.position.epoch, resumed.position.step) == (1, step)
    assert lab.step.optimizer.iterations.numpy() == 1 * (steps // size) + step


def test_without_a_checkpoint_there_is_nothing_to_resume(lab, tmp_path):
    assert make_training(lab, tmp_path).resume() is False


def test_another_seed_gives_another_network(lab, undisturbed):
    keras.utils.set_random_seed(4)
    other = build(SPEC.model, Shape(4, 4, 1, 1, 2), Output("bicubic", 1.0, 0.0, "linear"))
    first = next(value for value in lab.start if value.shape == (3, 3, 2, 4))  # the entry's kernel
    assert not np.array_equal(other.get_layer("entry").get_weights()[0], first)
    keras.utils.set_random_seed(3)
    same = build(SPEC.model, Shape(4, 4, 1, 1, 2), Output("bicubic", 1.0, 0.0, "linear"))
    np.testing.assert_array_equal(same.get_layer("entry").get_weights()[0], first)


def test_values_that_cannot_be_are_told_as_divergence(lab, tmp_path):
    hr = waves(32, 8, 8)
    train, _, normalizer = samples_of(hr)
    lr = train.pairs.lr.values.copy()
    lr[5, 2, 2] = np.inf
    pairs = dataclasses.replace(train.pairs, lr=train.pairs.lr.copy(data=lr), derive_lr=None)
    broken = Lab(Samples(pairs, normalizer, SPEC.data, pairs.parts.train), lab.validation, lab.step, lab.start)
    lab.reset()
    training = make_training(broken, tmp_path)
    with pytest.raises(DivergedError) as caught:
        training.run()
    assert re.fullmatch(
        r"the loss is (inf|nan) in epoch 1: lower training.learning_rate \(now 0.05\), or look for values in the data "
        "that can't be",
        str(caught.value),
    )
    assert not (tmp_path / LAST).exists()  # nothing broken is saved


def test_the_loss_is_the_weighted_mean_over_cells_with_a_value(lab):
    lab.reset()
    rows = np.arange(4)
    inputs, hr = lab.train.load(rows)
    weights = lab.train.areas[None, ..., None]
    loss, gradients = lab.step.gradients((inputs, lab.train.static[None], hr, weights))
    # A residual network starts as the interpolation, whatever dropout does.
    there = np.isfinite(hr)
    base = lab.step.network([inputs, lab.train.static[None]], training=False).numpy()
    cells = np.broadcast_to(weights, hr.shape)[there]
    assert float(loss) == pytest.approx((cells * np.abs(hr - base)[there]).sum() / cells.sum(), rel=1e-5)
    assert not there.all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_validation_gives_loss_and_rmse_in_the_unit(lab, tmp_path):
    lab.reset()
    val_loss, val_rmse = make_training(lab, tmp_path)._validate()
    inputs, hr = lab.validation.load_all()
    target = lab.validation.normalizer.target
    downscaled = lab.step.network([inputs, lab.validation.static[None]], training=False).numpy()
    there = np.isfinite(hr)
    cells = np.broadcast_to(lab.validation.areas[None, ..., None], hr.shape)[there]
    assert val_loss == pytest.approx((cells * np.abs(hr - downscaled)[there]).sum() / cells.sum(), rel=1e-5)
    error = (target.inverse(hr) - target.inverse(downscaled))[there]
    assert val_rmse == pytest.approx(np.sqrt((error.astype(float) ** 2).mean()), rel=1e-4)


@pytest.mark.parametrize("size", [2, 3, 16])  # of 8 samples: with 16 ranks, half of them have none
def test_ranks_validate_each_sample_once(lab, tmp_path, size):
    def share(rank: int, size: int) -> tuple[list[int], np.ndarray]:
        training = make_training(lab, tmp_path)
        training.workers = Workers(rank, size)
        rows, stream = training._validation_rows, training._validation_stream
        steps = math.ceil(len(rows) / training.options.batch_size)
        return rows.tolist(), lab.step.validate(iter(stream), tf.constant(steps)).numpy()

    rows, sums = zip(*(share(rank, size) for rank in range(size)), strict=True)
    assert sorted(row for some in rows for row in some) == list(range(8))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    np.testing.assert_allclose(np.sum(sums, axis=0), share(0, 1)[1], rtol=1e-6)


def test_validation_differences_in_the_unit_under_log():
    scale = ValueTransform(offset=0.7, divisor=1.3, reference=2.5)
    one, other = np.float32([-0.5, 0.1, 1.2]), np.float32([0.0, 0.3, 1.1])
    found = supervised._in_unit(tf.constant(one), scale) - supervised._in_unit(tf.constant(other), scale)
    np.testing.assert_allclose(found, scale.inverse(one) - scale.inverse(other), rtol=1e-5)


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


def test_validation_and_the_best_checkpoint_have_the_averaged_weights(lab, tmp_path):
    lab.reset()
    training = make_training(lab, tmp_path, stop=StopAt(1, 0))
    assert training.run() is False
    groups, _ = checkpoints.load(tmp_path / LAST)
    averaged, best, live = (
        {array.tobytes() for array in groups[name].values() if array.dtype == np.float32}
        for name in ("averaged", "best", "weights")
    )
    assert best == averaged
    assert not live & averaged
    checkpoints.restore(lab.step.network.variables, groups["best"], tmp_path)
    assert training._validate()[0] == pytest.approx(training.position.best, rel=1e-6)


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


def test_a_validation_that_is_no_number_is_told_as_divergence(lab, tmp_path):
    with pytest.raises(DivergedError, match="the validation loss is nan in epoch 2: lower training.learning_rate"):
        rehearse(lab, tmp_path, [1.0, math.nan, 1.0])


def test_pace_aims_at_a_second_and_leaves_out_the_first_chunk():
    pace = Pace()
    assert pace.chunk() == loop.FIRST_CHUNK
    pace.took(4.0, 8)  # with building the graph: 0.5 s a step
    assert (pace.s_per_step, pace.chunk()) == (None, 2)
    pace.took(0.1, 10)
    assert (pace.s_per_step, pace.chunk()) == (0.01, 100)
    pace.took(30.0, 10)
    assert pace.chunk() == 1
