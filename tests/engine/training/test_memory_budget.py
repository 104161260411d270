"""What goes into memory at once, by hand."""

from __future__ import annotations

import pytest

from engine.models.shapes import Shape
from engine.training.memory_budget import RUNTIME_BYTES, Pieces, ahead_bytes, fits, needed, share


def test_a_part_may_take_a_quarter_of_what_training_leaves():
    free = RUNTIME_BYTES + 300 + 1000
    assert share(free, 300) == 250
    assert fits(249, free, 300)
    assert not fits(250, free, 300)
    assert not fits(1, RUNTIME_BYTES, 300)
    assert needed(250, 300) == free


def test_what_is_read_ahead_by_hand():
    # Two batches at a time: 3 whole fields of 24 × 16 HR and 6 × 4 LR cells, of LR and a predictor and as input, five
    # times each; and six batches of 3 samples as the network takes them, of 16 HR cells and 2 channels an LR cell.
    shape = Shape(6, 4, 2, 0, 4, fields=2)
    reading = 3 * (24 * 16 + 24 * 3) * 5
    assert ahead_bytes(shape, 3, 0) == 4 * (2 * reading + 6 * 3 * 24 * 18)
    assert ahead_bytes(shape, 3, 2) == 4 * (2 * reading + 6 * 3 * 4 * 18)
    large = Shape(1000, 1000, 1, 0, 4, window=3)  # of which one at a time is read, with those around it
    assert ahead_bytes(large, 16, 8) == 4 * (2 * 3 * (16_000_000 + 2_000_000) * 5 + 6 * 16 * 64 * 17)


@pytest.mark.parametrize(
    ("lr_shape", "scale", "patch_lr", "expected"),
    [
        ((1000, 1000), 4, 0, Pieces(16)),  # trained on whole fields, and so validated
        ((10, 10), 4, 4, Pieces(16)),
        ((100, 125), 4, 4, Pieces(2)),  # 200,000 HR cells each, of 500,000
        ((300, 200), 4, 4, Pieces(1, 176, ((0, 0), (0, 24), (124, 0), (124, 24)))),  # 4 × 176 is 704; 704² is 495,616
        ((400, 200), 4, 200, Pieces(1, 200, ((0, 0), (200, 0)))),  # pieces as large as patches
    ],
)
def test_fields_are_validated_whole_where_they_are_small(lr_shape, scale, patch_lr, expected):
    assert Pieces.of(lr_shape, scale, patch_lr, 16) == expected


def test_batches_of_a_validation():
    assert Pieces(16).steps(33) == 3
    assert Pieces(1, 2, ((0, 0), (0, 1))).steps(5) == 10
