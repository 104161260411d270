"""Batches: the same from memory and from the files; patches cut alike from all fields."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from engine.data import samples as samples_module
from engine.data.normalizer import fit_normalizer
from engine.data.samples import Samples, Shuffle
from engine.spec import DataOptions
from engine.training import feed as feed_module
from engine.training import memory_budget
from engine.training.feed import Feed
from engine.training.memory_budget import Pieces
from tests.engine.small_pairs import make_pairs, waves

OPTIONS = DataOptions(target={"path": "hr.nc"}, scale=2)
PLANS = [np.array([[3, 0, 1], [0, 2, 0], [3, 1, 2]], np.int32), np.array([[5, 1, 1]], np.int32)]


@pytest.fixture(scope="module")
def samples() -> Samples:
    hr = waves(16, 8, 10)
    hr[:, 2, 3] = np.nan
    pairs = make_pairs(hr, predictors=[waves(16, 4, 5, seed=1)], static=[hr[0], hr[1]])
    return Samples(pairs, fit_normalizer(pairs, "standard"), OPTIONS, pairs.parts.train)


def batches(samples: Samples, in_memory: bool, patch_lr: int = 0) -> list[list[np.ndarray]]:
    stream = Feed(samples, in_memory).stream(lambda: (plan[None] for plan in PLANS), patch_lr)
    return [[array.numpy() for array in batch] for batch in stream]


@pytest.mark.parametrize("in_memory", [True, False])
def test_whole_fields_in_the_order_of_the_plan(samples, in_memory):
    inputs, hr = samples.load_all()
    got = batches(samples, in_memory)
    assert len(got) == 2
    for (got_inputs, static, got_hr, weights), plan in zip(got, PLANS, strict=True):
        np.testing.assert_array_equal(got_inputs, inputs[plan[:, 0]])
        np.testing.assert_array_equal(got_hr, hr[plan[:, 0]])
        np.testing.assert_array_equal(static, samples.static[None])
        np.testing.assert_array_equal(weights, samples.areas[None, ..., None])


@pytest.mark.parametrize("in_memory", [True, False])
def test_patches_are_cut_from_all_fields_at_the_same_place(samples, in_memory):
    inputs, hr = samples.load_all()
    got_inputs, static, got_hr, weights = batches(samples, in_memory, patch_lr=2)[0]
    assert got_inputs.shape == (3, 2, 2, 2)
    assert got_hr.shape == weights.shape == (3, 4, 4, 1)
    assert static.shape == (3, 4, 4, 2)
    for number, (row, y, x) in enumerate(PLANS[0]):
        at_lr, at_hr = (slice(y, y + 2), slice(x, x + 2)), (slice(2 * y, 2 * y + 4), slice(2 * x, 2 * x + 4))
        np.testing.assert_array_equal(got_inputs[number], inputs[row][at_lr])
        np.testing.assert_array_equal(got_hr[number], hr[row][at_hr])
        np.testing.assert_array_equal(static[number], samples.static[at_hr])
        np.testing.assert_array_equal(weights[number, ..., 0], samples.areas[at_hr])


def test_a_patch_as_large_as_the_field_is_the_field():
    pairs = make_pairs(waves(8, 6, 6))
    square = Samples(pairs, fit_normalizer(pairs, "standard"), OPTIONS, np.arange(4))
    plan = Shuffle(4, (3, 3), 3, 4, 0).epoch(0)[0]
    inputs, _, hr, weights = next(iter(Feed(square, True).stream(lambda: iter([plan[None]]), 3)))
    np.testing.assert_array_equal(inputs, square.load(plan[:, 0])[0])
    np.testing.assert_array_equal(hr, square.load(plan[:, 0])[1])
    assert weights.shape == (4, 6, 6, 1)


def test_a_long_stream_keeps_its_order(samples):
    plans = [np.array([[[k % 8, 0, 0]] for k in range(first, first + 10)], np.int32) for first in range(0, 50, 10)]
    first = samples.load_all()[0][:, 0, 0, 0]
    for in_memory in (True, False):
        got = [batch[0].numpy()[0, 0, 0, 0] for batch in Feed(samples, in_memory).stream(lambda: iter(plans))]
        np.testing.assert_array_equal(got, [first[k % 8] for k in range(50)])


def test_no_more_is_read_ahead_than_a_few_batches(samples):
    taken: list[int] = []

    def plans() -> Iterator[np.ndarray]:
        for k in range(100):
            taken.append(k)
            yield np.array([[[k % 8, 0, 0]]], np.int32)

    next(iter(Feed(samples, False).stream(plans)))
    assert len(taken) <= memory_budget.READ_AHEAD + 2 * 2 + 3  # the buffer, two maps of two, one in each hand


def test_a_part_is_kept_in_memory_where_its_share_is_free(samples, monkeypatch):
    def kept(room: int, processes: int = 1, reserved: int = 0) -> bool:
        free = memory_budget.RUNTIME_BYTES + room
        monkeypatch.setattr(feed_module, "free_memory", lambda processes: free // processes)
        return Feed.of(samples, processes, reserved).in_memory

    enough = 4 * samples.bytes_in_memory + 4  # a quarter of it may be used
    assert kept(enough)
    assert not kept(enough, processes=2)
    assert not kept(enough - 8)
    assert kept(enough + 1000, reserved=1000)
    assert not kept(enough, reserved=1000)


def test_patches_are_read_of_large_fields_one_after_another(samples, monkeypatch):
    """Fields whose rows come again are read once; of more than CELLS_AT_ONCE no two together."""
    plan = PLANS[0]
    expected = samples.load_patches(plan, 2)
    asked: list[list[int]] = []
    load = Samples.load

    def noted(self: Samples, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(rows.tolist())
        return load(self, rows)

    monkeypatch.setattr(samples_module, "CELLS_AT_ONCE", 1)
    monkeypatch.setattr(Samples, "load", noted)
    for got, one in zip(samples.load_patches(plan, 2), expected, strict=True):
        np.testing.assert_array_equal(got, one)
    assert asked == [[0], [3]]  # of rows 3, 0, 3


def test_large_fields_are_validated_in_pieces_that_cover_them(samples):
    # 4 × 5 LR cells in squares of 3: from 0 and 1 along y, from 0 and 2 along x.
    pieces = Pieces(1, 3, ((0, 0), (0, 2), (1, 0), (1, 2)))
    feed = Feed(samples, True)
    stream = feed.cut(feed.stream(lambda: iter([np.array([[[5, 0, 0]], [[2, 0, 0]]], np.int32)])), pieces)
    inputs, hr = samples.load_all()
    got = list(stream)
    assert len(got) == pieces.steps(2) == 8
    for number, (got_inputs, static, got_hr, weights) in enumerate(got):
        row, (y, x) = (5, 2)[number // 4], pieces.corners[number % 4]
        at_hr = slice(2 * y, 2 * y + 6), slice(2 * x, 2 * x + 6)
        np.testing.assert_array_equal(got_inputs, inputs[row : row + 1, y : y + 3, x : x + 3])
        np.testing.assert_array_equal(got_hr, hr[row : row + 1, *at_hr])
        np.testing.assert_array_equal(static, samples.static[None, *at_hr])
        np.testing.assert_array_equal(weights, samples.areas[None, *at_hr, None])
