"""The average of the weights, by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.training.averaging import WeightAverage, statistics


def network() -> keras.Model:
    given = [keras.layers.Dense(1, use_bias=False), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((2,)), *given])


def after(decay: float, course: list[float]) -> float:
    """The average of a weight that takes these values after the first, the second, … step."""
    model = network()
    average = WeightAverage(model, decay)
    for number, value in enumerate(course):
        model.trainable_variables[0].assign([[value], [0.0]])
        average.update(tf.constant(number + 1))
    return float(average.variables[0][0, 0])


def test_the_first_step_is_its_own_average():
    assert after(0.9, [5.0]) == pytest.approx(5.0)
    assert after(0.9999, [5.0]) == pytest.approx(5.0, rel=1e-5)


def test_later_steps_count_more():
    # (0.5² × 1 + 0.5 × 2 + 1 × 4) / (0.25 + 0.5 + 1) = 5.25 / 1.75
    assert after(0.5, [1.0, 2.0, 4.0]) == pytest.approx(3.0)


def test_it_is_adams_corrected_mean():
    """Kingma and Ba (2015), algorithm 1, with weights in place of gradients."""
    course, decay, moment = np.random.default_rng(0).normal(size=50), 0.99, 0.0
    for value in course:
        moment = decay * moment + (1 - decay) * value
    assert after(decay, course.tolist()) == pytest.approx(moment / (1 - decay**50), rel=1e-4)


def test_running_statistics_are_averaged_as_weights_are():
    model = network()
    average = WeightAverage(model, 0.5)
    assert len(average.variables) == 5  # kernel, gain, shift, mean, variance; no seed
    for step, mean in enumerate([3.0, 6.0]):
        statistics(model)[0].assign([mean])
        average.update(tf.constant(step + 1))
    assert float(average.averaged_statistics[0][0]) == pytest.approx((0.5 * 3 + 6) / 1.5)


def test_within_the_network_has_the_averaged_weights_and_afterwards_its_own():
    model = network()
    average = WeightAverage(model, 0.5)
    average.update(tf.constant(1))
    before = [weights.copy() for weights in model.get_weights()]
    model.trainable_variables[0].assign([[7.0], [8.0]])
    with average.in_place():
        np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert model.get_weights()[0].ravel().tolist() == [7.0, 8.0]
    np.testing.assert_array_equal(average.variables[0], before[0])


def test_without_decay_there_is_nothing_to_average():
    model = network()
    average = WeightAverage(model, 0.0)
    average.update(tf.constant(1))
    assert average.variables == average.averaged_statistics == []
    with average.in_place():
        assert not any(np.isnan(weights).any() for weights in model.get_weights())
