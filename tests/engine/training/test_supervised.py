"""The loop of training: to the same weights, to the last bit, whether or not it was stopped and resumed."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.data.normalizer import ValueTransform
from engine.data.samples import Samples
from engine.errors import DivergedError, RequestError
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.runs.records import Progress
from engine.training import checkpoints, loop, supervised
from engine.training.checkpoints import BEST, LAST
from engine.training.loop import Pace
from engine.training.progress import ProgressRecord
from engine.training.workers import Workers
from tests.engine.small_pairs import waves
from tests.engine.training.small_training import (
    SPEC,
    Lab,
    StopAt,
    Undisturbed,
    assert_same,
    make_lab,
    make_training,
    run_undisturbed,
    samples_of,
)


@pytest.fixture(scope="module")
def lab() -> Lab:
    return make_lab()


@pytest.fixture(scope="module")
def undisturbed(lab, tmp_path_factory) -> Undisturbed:
    return run_undisturbed(lab, tmp_path_factory.mktemp("undisturbed"))


def test_training_lowers_the_loss(undisturbed):
    ends = [record for record in undisturbed.records if record.val_loss is not None]
    assert [record.epoch for record in ends] == [1, 2, 3, 4]
    assert ends[-1].loss < 0.8 * ends[0].loss
    assert all(math.isfinite(record.val_rmse) for record in ends)


def test_progress_is_reported_in_full(undisturbed):
    records = [record.plain() for record in undisturbed.records]
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
    ends = [record.val_loss for record in undisturbed.records if record.val_loss is not None]
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
    records: list[ProgressRecord] = []
    resumed = make_training(lab, tmp_path, report=records.append)
    assert resumed.resume() is True
    assert (resumed.position.epoch, resumed.position.step) == (epoch, step)
    assert resumed.run() is True
    assert_same(tmp_path, undisturbed)
    assert records[0].seq == stopped.position.seq + 1
    assert checkpoints.fingerprint(lab.step.network.trainable_variables) == undisturbed.at_end


def test_members_from_noise_go_on_with_the_same_numbers(tmp_path):
    lab = make_lab(SPEC.replace(model={"noise": 2}, training={"loss": "crps", "members": 3}))
    undisturbed = run_undisturbed(lab, tmp_path / "undisturbed")
    lab.reset()
    assert make_training(lab, tmp_path / "stopped", stop=StopAt(2, 0)).run() is False
    lab.scramble()
    resumed = make_training(lab, tmp_path / "stopped")
    assert resumed.resume() is True
    assert resumed.run() is True
    assert_same(tmp_path / "stopped", undisturbed)
    ends = [record for record in undisturbed.records if record.val_loss is not None]
    assert ends[-1].loss < 0.9 * ends[0].loss
    batch = next(iter(resumed.train.stream(lambda: iter([resumed.shuffle.epoch(0)]))))
    for variable in lab.step.network.trainable_variables:  # also those that begin at zero
        variable.assign_add(0.1 * tf.ones_like(variable))
    _, gradients = lab.step.gradients(batch)
    for gradient, variable in zip(gradients, lab.step.network.trainable_variables, strict=True):
        assert np.isfinite(gradient).all(), variable.path
        assert np.any(gradient), variable.path


def test_a_killed_training_resumes_from_its_last_checkpoint(lab, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_S", 0.0)  # a checkpoint each epoch

    class KilledError(Exception):
        pass

    def die(record: ProgressRecord) -> None:
        if record.epoch == 3:
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
    records: list[ProgressRecord] = []
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


def test_values_that_cannot_be_are_reported_as_divergence(lab, tmp_path):
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
    mask = np.isfinite(hr)
    base = lab.step.network([inputs, lab.train.static[None]], training=False).numpy()
    cells = np.broadcast_to(weights, hr.shape)[mask]
    assert float(loss) == pytest.approx((cells * np.abs(hr - base)[mask]).sum() / cells.sum(), rel=1e-5)
    assert not mask.all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_validation_gives_loss_and_rmse_in_the_unit(lab, tmp_path):
    lab.reset()
    val_loss, val_rmse = make_training(lab, tmp_path).validation.measure()
    inputs, hr = lab.validation.load_all()
    target = lab.validation.normalizer.target
    downscaled = lab.step.network([inputs, lab.validation.static[None]], training=False).numpy()
    mask = np.isfinite(hr)
    cells = np.broadcast_to(lab.validation.areas[None, ..., None], hr.shape)[mask]
    assert val_loss == pytest.approx((cells * np.abs(hr - downscaled)[mask]).sum() / cells.sum(), rel=1e-5)
    error = (target.inverse(hr) - target.inverse(downscaled))[mask]
    assert val_rmse == pytest.approx(np.sqrt((error.astype(float) ** 2).mean()), rel=1e-4)


@pytest.mark.parametrize("size", [2, 3, 16])  # of 8 samples: with 16 ranks, half of them have none
def test_ranks_validate_each_sample_once(lab, tmp_path, size):
    whole = make_training(lab, tmp_path).validation
    of_ranks = [dataclasses.replace(whole, workers=Workers(rank, size)) for rank in range(size)]
    rows = [validation.rows.tolist() for validation in of_ranks]
    sums = [validation.sums() for validation in of_ranks]
    assert sorted(row for some in rows for row in some) == list(range(8))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    np.testing.assert_allclose(np.sum(sums, axis=0), whole.sums(), rtol=1e-6)


def test_validation_differences_in_the_unit_under_log():
    scale = ValueTransform(offset=0.7, divisor=1.3, reference=2.5)
    one, other = np.float32([-0.5, 0.1, 1.2]), np.float32([0.0, 0.3, 1.1])
    found = supervised._in_unit(tf.constant(one), scale) - supervised._in_unit(tf.constant(other), scale)
    np.testing.assert_allclose(found, scale.inverse(one) - scale.inverse(other), rtol=1e-5)


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
    assert training.validation.measure()[0] == pytest.approx(training.position.best, rel=1e-6)


def test_pace_aims_at_a_second_and_leaves_out_the_first_chunk():
    pace = Pace()
    assert pace.chunk() == loop.FIRST_CHUNK
    pace.record(4.0, 8)  # with building the graph: 0.5 s a step
    assert (pace.s_per_step, pace.chunk()) == (None, 2)
    pace.record(0.1, 10)
    assert (pace.s_per_step, pace.chunk()) == (0.01, 100)
    pace.record(30.0, 10)
    assert pace.chunk() == 1


def test_the_time_between_checkpoints_is_that_of_the_environment(monkeypatch):
    monkeypatch.delenv("MESOSCOPE_CHECKPOINT_S", raising=False)
    assert checkpoints.checkpoint_interval_s() == checkpoints.CHECKPOINT_S
    monkeypatch.setenv("MESOSCOPE_CHECKPOINT_S", "0.5")
    assert checkpoints.checkpoint_interval_s() == 0.5
    monkeypatch.setenv("MESOSCOPE_CHECKPOINT_S", "often")
    with pytest.raises(RequestError, match="MESOSCOPE_CHECKPOINT_S is 'often': expected seconds, as 60"):
        checkpoints.checkpoint_interval_s()


def test_readers_of_progress_know_what_a_training_reports():
    assert list(Progress.__annotations__) == [field.name for field in dataclasses.fields(ProgressRecord)]
