"""Samples: what stands in which channel; and the shuffle, the same for any number of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from engine.data.gaps import fill_missing
from engine.data.normalizer import fit_normalizer
from engine.data.pairs import Pairs
from engine.data.samples import Samples, Shuffle
from engine.data.times import time_features
from engine.spec import DataOptions, Spec
from tests.engine.small_pairs import make_pairs, waves


def samples_of(pairs: Pairs, steps: Any = None, **options: Any) -> Samples:
    chosen = DataOptions(target={"path": "hr.nc"}, scale=pairs.scale, **options)
    steps = pairs.parts.train if steps is None else np.array(steps)
    return Samples(pairs, fit_normalizer(pairs, chosen.scaling), chosen, steps)


def test_inputs_and_hr_are_the_scaled_fields():
    hr, predictor = waves(8, 4, 6), waves(8, 2, 3, seed=1)
    pairs = make_pairs(hr, predictors=[predictor])
    samples = samples_of(pairs, [5, 2])
    inputs, target = samples.load_all()
    normalizer = samples.normalizer
    assert (inputs.shape, inputs.dtype) == ((2, 2, 3, 2), np.float32)
    assert (target.shape, target.dtype) == ((2, 4, 6, 1), np.float32)
    np.testing.assert_array_equal(inputs[..., 0], normalizer.target.forward(pairs.lr.values[[5, 2]]))
    np.testing.assert_array_equal(inputs[..., 1], normalizer.predictors[0].forward(predictor[[5, 2]]))
    np.testing.assert_array_equal(target[..., 0], normalizer.target.forward(hr[[5, 2]]))
    assert samples.channels == 2
    assert samples.bytes_in_memory == inputs.nbytes + target.nbytes


def test_rows_are_loaded_as_the_whole_part_has_them():
    samples = samples_of(make_pairs(waves(12, 4, 4)), [3, 4, 6, 7, 9], time_window=3)
    inputs, hr = samples.load_all()
    some, some_hr = samples.load(np.array([4, 0, 4]))
    np.testing.assert_array_equal(some, inputs[[4, 0, 4]])
    np.testing.assert_array_equal(some_hr, hr[[4, 0, 4]])


def test_a_window_has_the_own_step_first_and_then_the_others_in_order():
    # LR is 10 × step and the predictor 10 × step + 1, unscaled, the same in all cells.
    step = 10.0 * np.arange(12)[:, None, None]
    hr = step + np.array([-1, 1] * 2)  # not constant
    lr = step + np.zeros((12, 2, 2))
    pairs = make_pairs(hr + np.zeros((12, 4, 4)), lr=lr, predictors=[lr + 1])
    samples = samples_of(pairs, [6, 0, 11], time_window=5, scaling="none")
    inputs, block = samples.read(np.arange(3))
    assert inputs.shape == (3, 2, 2, 10)
    assert inputs[0, 0, 0].tolist() == [60, 61, 40, 41, 50, 51, 70, 71, 80, 81]
    assert inputs[1, 1, 1].tolist() == [0, 1, 0, 1, 0, 1, 10, 11, 20, 21]  # before the first step: the first
    assert inputs[2, 0, 1].tolist() == [110, 111, 90, 91, 100, 101, 110, 111, 110, 111]
    assert block.lr[:, 0, 0].tolist() == [60, 0, 110]
    assert block.hr[:, 0, 0].tolist() == [59, -1, 109]
    assert block.predictors[:, 0, 0, 0].tolist() == [61, 1, 111]


def test_a_window_sees_no_step_beyond_a_gap():
    days = np.array([0, 1, 2, 3, 60, 61, 62, 63])
    times = np.datetime64("2001-01-01", "ns") + days.astype("timedelta64[D]")
    lr = days[:, None, None] + np.zeros((8, 2, 2))
    samples = samples_of(make_pairs(waves(8, 4, 4), lr=lr, times=times), [3, 4], time_window=3, scaling="none")
    inputs, _ = samples.load_all()
    assert inputs[0, 0, 0].tolist() == [3, 2, 3]
    assert inputs[1, 0, 0].tolist() == [60, 60, 61]


def test_a_window_may_look_into_another_part():
    lr = np.arange(8.0)[:, None, None] + np.zeros((8, 2, 2))
    samples = samples_of(make_pairs(waves(8, 4, 4), lr=lr), [4], time_window=3, scaling="none")
    assert samples.load_all()[0][0, 0, 0].tolist() == [4, 3, 5]


@pytest.mark.parametrize(("kind", "channels"), [("hour", 2), ("season", 2), ("both", 4)])
def test_time_features_are_those_of_the_own_step(kind, channels):
    times = np.datetime64("2001-01-01T03", "ns") + np.arange(8) * np.timedelta64(6, "h")
    samples = samples_of(make_pairs(waves(8, 4, 4), times=times), [6, 1], time_window=3, time_features=kind)
    inputs, _ = samples.load_all()
    assert samples.channels == inputs.shape[-1] == 3 + channels
    expected = time_features(xr.DataArray(times, dims="time"), kind)
    for row, step in enumerate((6, 1)):
        np.testing.assert_array_equal(
            inputs[row, ..., 3:], np.broadcast_to(expected[step], (2, 2, channels)), strict=True
        )


def test_time_of_day_by_hand():
    # 09:00 is 3/8 of a turn: sine √½, cosine -√½
    times = np.datetime64("2001-01-01T09", "ns") + np.arange(8) * np.timedelta64(24, "h")
    inputs, _ = samples_of(make_pairs(waves(8, 4, 4), times=times), time_features="hour").load_all()
    np.testing.assert_allclose(inputs[0, 0, 0, 1:], [0.5**0.5, -(0.5**0.5)], rtol=1e-6)


def test_missing_lr_takes_its_neighbours_value_and_a_channel_says_so():
    hr = waves(8, 6, 6)
    hr[1, :2, :2] = np.nan  # the whole LR cell (0, 0) of step 1
    hr[1, 5, 5] = np.nan  # a quarter of the LR cell (2, 2)
    hr[2] = np.nan
    pairs = make_pairs(hr)
    samples = samples_of(pairs, [1, 2, 3])
    inputs, target = samples.load_all()
    assert samples.channels == inputs.shape[-1] == 2
    assert np.isfinite(inputs).all()
    lr = pairs.lr.values
    np.testing.assert_array_equal(inputs[0, ..., 0], samples.normalizer.target.forward(fill_missing(lr[1:2]))[0])
    assert inputs[0, 0, 0, 0] in samples.normalizer.target.forward(lr[1, [0, 1], [1, 0]])
    assert (inputs[1, ..., 0] == 0).all()  # a step without any value: the mean
    expected = np.ones((3, 3, 3))
    expected[0, 0, 0] = expected[1] = 0
    np.testing.assert_array_equal(inputs[..., 1], expected)
    np.testing.assert_array_equal(np.isnan(target[..., 0]), np.isnan(hr[[1, 2, 3]]))


def test_static_variables_are_scaled_and_the_mean_where_missing():
    dem = np.arange(16.0).reshape(4, 4)
    dem[0, 0] = np.nan
    samples = samples_of(make_pairs(waves(8, 4, 4), static=[dem, dem / 10]))
    assert (samples.static.shape, samples.static.dtype) == ((4, 4, 2), np.float32)
    expected = np.nan_to_num((dem - 8) / np.arange(1.0, 16).std())  # the mean of 1 … 15 is 8
    np.testing.assert_allclose(samples.static[..., 0], expected, rtol=1e-6)
    np.testing.assert_allclose(samples.static[..., 1], expected, rtol=1e-5, atol=1e-6)
    assert samples_of(make_pairs(waves(8, 4, 4))).static.shape == (4, 4, 0)


def test_cells_weigh_by_their_area():
    areas = samples_of(make_pairs(waves(8, 4, 6))).areas
    assert areas.mean() == pytest.approx(1, rel=1e-6)
    # Rows of 1° from the equator on: a cell's area goes as sin(north) - sin(south).
    rows = np.diff(np.sin(np.radians(np.arange(5))))
    np.testing.assert_allclose(areas / areas[0, 0], np.broadcast_to((rows / rows[0])[:, None], (4, 6)), rtol=1e-4)


def test_every_sample_is_taken_once_an_epoch():
    shuffle = Shuffle(rows=24, lr_shape=(4, 5), patch_lr=0, batch_size=4, seed=0)
    plan = shuffle.epoch(0)
    assert (plan.shape, plan.dtype) == ((6, 4, 3), np.int32)
    assert sorted(plan[..., 0].ravel()) == list(range(24))
    assert (plan[..., 1:] == 0).all()


@pytest.mark.parametrize("rows", [37, 5])  # several batches, and less than one
@pytest.mark.parametrize("steps", [0, 5])
@pytest.mark.parametrize("patch_lr", [0, 2])
@pytest.mark.parametrize("size", [2, 3, 12])
def test_the_ranks_together_take_what_one_would(size, patch_lr, steps, rows):
    """A global batch of 12, in order, whether one rank takes it or several share it."""
    one = Shuffle(rows, (4, 5), patch_lr, batch_size=12, seed=3, steps_per_epoch=steps)
    ranks = [Shuffle(rows, (4, 5), patch_lr, 12 // size, 3, rank, size, steps) for rank in range(size)]
    for epoch in range(3):
        together = np.concatenate([rank.epoch(epoch) for rank in ranks], axis=1)
        np.testing.assert_array_equal(together, one.epoch(epoch))
    assert {rank.steps for rank in ranks} == {one.steps} == {steps or max(1, rows // 12)}


def test_epochs_and_seeds_differ_and_can_be_repeated():
    def plan(seed: int, epoch: int) -> list[int]:
        return Shuffle(32, (4, 4), 0, 8, seed).epoch(epoch)[..., 0].ravel().tolist()

    plans = [plan(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(p) for p in plans}) == 9
    assert plan(1, 2) == plan(1, 2)


def test_samples_left_over_come_in_another_epoch():
    shuffle = Shuffle(rows=10, lr_shape=(4, 4), patch_lr=0, batch_size=4, seed=0)
    samples_of_epochs = [set(shuffle.epoch(epoch)[..., 0].ravel()) for epoch in range(20)]
    assert shuffle.steps == 2
    assert {len(s) for s in samples_of_epochs} == {8}
    assert set.union(*samples_of_epochs) == set(range(10))


def test_a_part_smaller_than_a_batch_is_repeated():
    shuffle = Shuffle(rows=3, lr_shape=(4, 4), patch_lr=0, batch_size=8, seed=0)
    plan = shuffle.epoch(0)
    assert plan.shape == (1, 8, 3)
    assert np.bincount(plan[..., 0].ravel()).min() >= 2


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_epochs_of_so_many_steps_go_on_where_the_last_one_ended(steps):
    """Passes of 10 rows in batches of 4: row by row, every ten take each once."""
    shuffle = Shuffle(rows=10, lr_shape=(4, 4), patch_lr=0, batch_size=4, seed=0, steps_per_epoch=steps)
    plans = [shuffle.epoch(epoch) for epoch in range(30 // steps)]
    assert {plan.shape for plan in plans} == {(steps, 4, 3)}
    rows = np.concatenate(plans)[..., 0].ravel()  # 30 steps of 4: twelve passes
    passes = rows.reshape(12, 10)
    assert (np.sort(passes) == np.arange(10)).all()
    assert len({tuple(one) for one in passes}) == 12  # each in an order of its own
    whole = Shuffle(10, (4, 4), 0, 4, 0, steps_per_epoch=30).epoch(0)  # however epochs cut them
    np.testing.assert_array_equal(whole[..., 0].ravel(), rows)


def test_a_field_visited_several_times_in_an_epoch_is_cut_at_several_places():
    plan = Shuffle(rows=2, lr_shape=(9, 9), patch_lr=2, batch_size=4, seed=0, steps_per_epoch=10).epoch(0)
    assert (np.bincount(plan[..., 0].ravel()) == 20).all()
    assert len({tuple(place) for place in plan.reshape(-1, 3).tolist()}) > 25


def test_patches_lie_in_the_grid_and_reach_every_edge():
    shuffle = Shuffle(rows=64, lr_shape=(5, 9), patch_lr=3, batch_size=8, seed=0)
    plan = np.concatenate([shuffle.epoch(epoch) for epoch in range(5)]).reshape(-1, 3)
    assert set(plan[:, 1]) == {0, 1, 2}
    assert set(plan[:, 2]) == {0, 1, 2, 3, 4, 5, 6}
    whole = Shuffle(rows=8, lr_shape=(3, 3), patch_lr=3, batch_size=8, seed=0).epoch(0)
    assert (whole[..., 1:] == 0).all()


def test_a_shuffle_is_what_the_spec_says():
    plain = {
        "version": 1,
        "data": {"target": {"path": "hr.nc"}, "scale": 4, "patch_size": 32},
        "model": {"localized": False},
        "training": {"batch_size": 5, "seed": 7, "steps_per_epoch": 9},
    }
    shuffle = Shuffle.of(Spec.from_plain(plain), 100, (20, 30), rank=1, size=2)
    expected = Shuffle(rows=100, lr_shape=(20, 30), patch_lr=8, batch_size=5, seed=7, rank=1, size=2, steps_per_epoch=9)
    assert shuffle == expected
