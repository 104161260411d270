"""Adversarial training: who learns from what, and that it stops, resumes and downscales as supervised training does."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from engine.data.samples import Samples, Shuffle
from engine.models.discriminator import build_discriminator
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training import assembly, checkpoints, loop
from engine.training.adversarial import AdversarialStep
from engine.training.checkpoints import BEST, LAST
from engine.training.losses import weighted_sum
from engine.training.supervised import Step
from engine.training.workers import Workers
from tests.engine.small_pairs import waves
from tests.engine.training.small_training import (
    PLAIN,
    SOLE_WORKER,
    Lab,
    StopAt,
    Undisturbed,
    assert_same,
    make_training,
    run_undisturbed,
    samples_of,
)

TRAINING = {
    **PLAIN["training"],
    "learning": "adversarial",
    "adversarial_weight": 0.3,
    "discriminator_learning_rate": 0.004,
    "label_smoothing": 0.2,
}
SPEC = Spec.from_plain({**PLAIN, "training": TRAINING})


@dataclass(frozen=True)
class Made:
    """What steps are made of."""

    train: Samples
    validation: Samples
    normalizer: Any

    @property
    def shape(self) -> Shape:
        return Shape(*self.train.pairs.lr_grid.shape, self.train.channels, 1, 2)

    @property
    def output(self) -> Output:
        return Output.of(SPEC.model, self.normalizer, "bicubic")

    def step(self, workers: Workers = SOLE_WORKER, **training: Any) -> AdversarialStep:
        """From the same first weights each time."""
        assembly.make_reproducible(SPEC)
        network = build(SPEC.model, self.shape, self.output)
        discriminator = build_discriminator(self.shape, self.output)
        options = SPEC.training.replace(**training)
        return AdversarialStep(network, discriminator, options, 16, workers, self.normalizer)

    def supervised(self) -> Step:
        assembly.make_reproducible(SPEC)
        return Step(build(SPEC.model, self.shape, self.output), SPEC.training, 16, SOLE_WORKER, self.normalizer)

    def batch(self, rows: int = 4) -> tuple[tf.Tensor, ...]:
        inputs, hr = self.train.load(np.arange(rows))
        batch = (inputs, self.train.static[None], hr, self.train.areas[None, ..., None])
        return tuple(tf.constant(array) for array in batch)


@pytest.fixture(scope="module")
def made() -> Made:
    hr = waves(32, 8, 8) + np.float32([1, -1] * 4)  # a pattern within LR cells, to be learned
    hr[::3, 1, 2] = np.nan
    hr[:, 5, 6] = np.nan
    return Made(*samples_of(hr))


def numpy_of(tensors: Any) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in tensors]


def shaken(step: AdversarialStep) -> AdversarialStep:
    """An output that is not the interpolation any more, so that gradients reach all weights."""
    rng = np.random.default_rng(1)
    for variable in step.network.trainable_variables:
        if not np.any(variable.numpy()):
            variable.assign(0.3 * rng.normal(size=variable.shape))
    return step


def test_each_side_learns_from_its_own_loss(made):
    """Both gradients apart from each other, with fields that are constants to the other side."""
    step, batch = shaken(made.step()), made.batch()
    inputs, static, hr, weights = batch
    seeds = [v for v in step.network.non_trainable_variables if v.dtype != "float32"]
    first = numpy_of(seeds)
    losses, gradients = step.gradients(batch)
    for seed, value in zip(seeds, first, strict=True):
        seed.assign(value)  # the same dropout once more
    mask = tf.constant(np.isfinite(hr).astype("f4"))
    with tf.GradientTape() as tape:
        field = step.network([inputs, static], training=True)
        total, weight = weighted_sum(step.loss, hr, field, weights)
        fake = step.discriminator([inputs, field, mask])
        shares = tf.nn.avg_pool2d(mask * weights, 2, 2, "VALID")
        generator_loss = tf.reduce_sum(shares * tf.nn.softplus(-fake)) / tf.reduce_sum(shares)
        loss = total / weight + 0.3 * generator_loss
    ours = tape.gradient(loss, step.network.trainable_variables)
    with tf.GradientTape() as tape:
        real = step.discriminator([inputs, tf.constant(np.nan_to_num(hr)), mask])
        fake = step.discriminator([inputs, tf.constant(field.numpy()), mask])
        # -0.8 log p(real) - 0.2 log (1 - p(real)), and -log (1 - p(fake))
        entropies = 0.8 * tf.nn.softplus(-real) + 0.2 * tf.nn.softplus(real) + tf.nn.softplus(fake)
        discriminator_loss = 0.5 * tf.reduce_sum(shares * entropies) / tf.reduce_sum(shares)
    theirs = tape.gradient(discriminator_loss, step.discriminator.trainable_variables)
    np.testing.assert_allclose(losses, [total / weight, generator_loss, discriminator_loss], rtol=1e-4)
    assert len(gradients) == len(ours) + len(theirs)
    for got, expected in zip(gradients, [*ours, *theirs], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)
        assert np.any(expected)


def test_a_step_moves_each_side_by_its_own_gradient_alone(made):
    step = made.step()
    ours, theirs = step.network.trainable_variables, step.discriminator.trainable_variables
    before = numpy_of([*ours, *theirs])
    ones, zeros = ([tf.fill(v.shape, value) for v in (*ours, *theirs)] for value in (1.0, 0.0))
    step.apply([*zeros[: len(ours)], *ones[len(ours) :]])
    decayed = 1 - 0.05 * 0.01  # weight decay is the network's own
    for number, (now, was) in enumerate(zip([*ours, *theirs], before, strict=True)):
        if number < len(ours):
            np.testing.assert_allclose(now, was * decayed, rtol=1e-4, atol=1e-7)
        else:
            np.testing.assert_allclose(now, was - 0.004, rtol=1e-3, atol=1e-6)  # Adam's first step is the rate
    step.apply([*ones[: len(ours)], *zeros[len(ours) :]])
    # Adam's second step after nothing in the first: (0.1 / 0.19) / √(0.01 / 0.0199) of a rate of 0.9905 × 0.05
    assert np.mean(ours[0].numpy() - before[0]) == pytest.approx(-0.0368, rel=0.02)


def test_both_learning_rates_follow_the_schedule(made):
    step = made.step(schedule="piecewise", warm_up=0.0)
    for optimizer, rate in ((step.optimizer, 0.05), (step.discriminator_optimizer, 0.004)):
        seen = []
        for number in (0, 7, 8, 15):
            optimizer.iterations.assign(number)
            seen.append(float(optimizer.learning_rate))
        assert seen == pytest.approx([rate, rate, rate / 10, rate / 10])


def test_both_learning_rates_are_scaled(made):
    step = made.step(schedule="constant", warm_up=0.0, learning_rate_scaling="linear", workers=Workers(0, 3))
    rates = [float(optimizer.learning_rate) for optimizer in (step.optimizer, step.discriminator_optimizer)]
    assert rates == pytest.approx([0.15, 0.012])


def test_without_weight_the_network_learns_as_in_supervised_training(made):
    adversarial, supervised = made.step(adversarial_weight=0.0), made.supervised()
    _, gradients = adversarial.gradients(made.batch())
    _, expected = supervised.gradients(made.batch())
    for got, other in zip(gradients[: len(expected)], expected, strict=True):
        np.testing.assert_allclose(got, other, rtol=1e-4, atol=1e-6)


def test_cells_without_a_value_tell_nothing_and_cost_nothing(made):
    step = made.step()
    inputs, static, hr, weights = made.batch()
    _, gradients = step.gradients((inputs, static, hr, weights))
    local = step.network.get_layer("localized").bias
    place = next(k for k, v in enumerate(step.network.trainable_variables) if v is local)
    gradient = gradients[place].numpy()[..., 0]
    never = np.isnan(hr).all(axis=(0, 3))
    assert never.sum() == 1  # row 5, column 6
    assert (gradient[never] == 0).all()
    assert (gradient[~never] != 0).all()


def test_a_batch_without_any_value_moves_nobody(made):
    step = made.step()
    inputs, static, hr, weights = made.batch()
    losses, gradients = step.gradients((inputs, static, tf.fill(hr.shape, np.float32(np.nan)), weights))
    assert losses.numpy().tolist() == [0, 0, 0]
    assert not any(np.any(gradient) for gradient in gradients)


def test_lr_cells_weigh_as_their_hr_cells_with_a_value(made):
    """HR with a value in one LR cell alone: the adversarial loss is what the discriminator says of that cell."""
    step = made.step()
    inputs, static, hr, weights = made.batch(1)
    one_cell = np.full(hr.shape, np.nan, "f4")
    one_cell[0, 2:4, 4:6] = 1.0
    losses, _ = step.gradients((inputs, static, tf.constant(one_cell), weights))
    mask = tf.constant(np.isfinite(one_cell).astype("f4"))
    field = step.network([inputs, static], training=False)  # residual: it begins as the interpolation, dropout or not
    logit = float(step.discriminator([inputs, field, mask])[0, 1, 2, 0])
    assert float(losses[1]) == pytest.approx(math.log1p(math.exp(-logit)), rel=1e-4)


@pytest.fixture(scope="module")
def lab(made) -> Lab:
    lab = Lab(made.train, made.validation, made.step(), [])
    lab.start = [variable.numpy() for variable in lab.variables()]
    return lab


@pytest.fixture(scope="module")
def undisturbed(lab, tmp_path_factory) -> Undisturbed:
    return run_undisturbed(lab, tmp_path_factory.mktemp("undisturbed"))


def test_progress_has_all_three_losses(undisturbed):
    for record in undisturbed.records:
        losses = (record.loss, record.loss_adversarial, record.loss_discriminator)
        assert all(math.isfinite(loss) for loss in losses)
    json.dumps([record.plain() for record in undisturbed.records], allow_nan=False)


def test_the_last_checkpoint_has_both_sides_and_the_best_the_network_alone(lab, undisturbed):
    last, best = (checkpoints.load(undisturbed.folder / name)[0] for name in (LAST, BEST))
    assert list(last) == ["weights", "optimizer", "averaged", "discriminator", "discriminator_optimizer", "best"]
    assert list(best) == ["weights"]
    assert list(best["weights"]) == list(checkpoints.arrays_of(lab.step.network.variables))


@pytest.mark.parametrize(("epoch", "step"), [(2, 0), (1, 3)])
def test_stopped_and_resumed_it_comes_to_the_same_weights(lab, undisturbed, tmp_path, monkeypatch, epoch, step):
    monkeypatch.setattr(loop, "FIRST_CHUNK", 1)
    monkeypatch.setattr(loop, "CHUNK_S", 0.0)  # look up after each step
    lab.reset()
    assert make_training(lab, tmp_path, stop=StopAt(epoch, step)).run() is False
    lab.scramble()
    resumed = make_training(lab, tmp_path)
    assert resumed.resume() is True
    assert resumed.run() is True
    assert_same(tmp_path, undisturbed)
    assert checkpoints.fingerprint(lab.step.network.trainable_variables) == undisturbed.at_end


def test_a_supervised_checkpoint_is_no_start_for_the_discriminator(made, lab, tmp_path):
    supervised = Lab(made.train, made.validation, made.supervised(), [])
    assert make_training(supervised, tmp_path, stop=StopAt(0, 0)).run() is False
    with pytest.raises(checkpoints.CheckpointError, match="holds 0 arrays that don't fit"):
        make_training(lab, tmp_path).resume()


def test_it_learns_to_downscale_better_than_interpolation(made, tmp_path: Path):
    step = made.step(learning_rate=0.01, adversarial_weight=0.01, ema=0.0, weight_decay=0.0)
    lab = Lab(made.train, made.validation, step, [])
    training = make_training(lab, tmp_path)
    training.options = step.options.replace(epochs=25)
    training.shuffle = Shuffle.of(SPEC, len(made.train), made.train.pairs.lr_grid.shape)
    interpolated = training.validation.measure()[1]  # a residual network begins as the interpolated field
    assert training.run() is True
    assert training.validation.measure()[1] < 0.7 * interpolated
    assert step.losses == tuple(training.losses)
