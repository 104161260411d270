"""Learning rates by hand."""

from __future__ import annotations

import pytest

from engine.spec import TrainingOptions
from engine.training.schedules import Schedule


def rates(steps: int, at: list[int], **options: object) -> list[float]:
    schedule = Schedule(TrainingOptions(**{"learning_rate": 0.8, "warm_up": 0.0, **options}), steps)
    return [float(schedule(step)) for step in at]


def test_constant():
    assert rates(100, [0, 50, 99], schedule="constant") == pytest.approx([0.8, 0.8, 0.8])


def test_constant_with_warm_up():
    # 20 of 100 steps: step 0 has a twentieth, step 19 all of it.
    at = [0, 4, 19, 20, 99]
    assert rates(100, at, schedule="constant", warm_up=0.2) == pytest.approx([0.04, 0.2, 0.8, 0.8, 0.8])


def test_cosine_falls_to_a_hundredth():
    # 0.01 + 0.99 (1 + cos(π t)) / 2 at t = 0, ¼, ½, 1: 1, 0.01 + 0.99 × 0.8535534, 0.505, 0.01
    expected = [0.8, 0.8 * 0.8550178, 0.8 * 0.505, 0.008]
    assert rates(100, [0, 25, 50, 100]) == pytest.approx(expected, rel=1e-6)
    assert rates(100, [150]) == pytest.approx([0.008])  # beyond its end it stays


def test_warm_up_and_cosine_together():
    # Step 4 of 100: half of the 10 warm-up steps, and 0.01 + 0.99 (1 + cos(0.04 π)) / 2 = 0.9960965
    assert rates(100, [4], warm_up=0.1) == pytest.approx([0.8 * 0.5 * 0.9960965], rel=1e-6)


def test_piecewise_falls_once():
    at = [0, 59, 60, 99, 120]
    falling = {"schedule": "piecewise", "decay_at": 0.6, "decay_factor": 0.25}
    assert rates(100, at, **falling) == pytest.approx([0.8, 0.8, 0.2, 0.2, 0.2])
    assert rates(100, [49, 50], schedule="piecewise") == pytest.approx([0.8, 0.08])  # by default to a tenth, half way


def test_warm_up_and_piecewise_together():
    # 20 steps of warm-up: a fifth of the rate after 4, a half after 10; a fall within it multiplies.
    falling = {"schedule": "piecewise", "warm_up": 0.2}
    assert rates(100, [3, 19, 49, 50], **falling) == pytest.approx([0.16, 0.8, 0.8, 0.08])
    assert rates(100, [9, 19], **{**falling, "decay_at": 0.1}) == pytest.approx([0.4, 0.08])


def test_piecewise_may_fall_at_once_or_never():
    assert rates(10, [0], schedule="piecewise", decay_at=0.0) == pytest.approx([0.08])
    assert rates(10, [9], schedule="piecewise", decay_at=1.0) == pytest.approx([0.8])


def test_the_first_step_is_never_without_effect():
    assert rates(3, [0], schedule="constant", warm_up=0.02) == pytest.approx([0.8])
    assert rates(100, [0], warm_up=0.5)[0] > 0


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1), ("linear", 9), ("sqrt", 3)])
def test_nine_processes_scale_the_whole_course(scaling, factor):
    options = TrainingOptions(learning_rate=0.01, learning_rate_scaling=scaling, warm_up=0.1)
    single, nine = Schedule(options, 100), Schedule(options, 100, processes=9)
    assert [float(nine(k)) for k in range(0, 120, 7)] == pytest.approx(
        [factor * float(single(k)) for k in range(0, 120, 7)]
    )
    plain = Schedule(options.replace(learning_rate_scaling="none"), 100)
    assert [float(single(k)) for k in range(100)] == [float(plain(k)) for k in range(100)]  # one process: no scaling


def test_its_config_makes_the_same_schedule():
    schedule = Schedule(TrainingOptions(learning_rate=0.5, learning_rate_scaling="linear"), 10, 2)
    again = Schedule(**schedule.get_config())
    assert [float(again(k)) for k in range(10)] == [float(schedule(k)) for k in range(10)]
