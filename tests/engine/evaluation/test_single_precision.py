"""Moments in single precision against those in double, of fields far from zero and with gaps."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evaluation.moments import CELL_SCORES, Moments
from engine.evaluation.single_precision import moments32


@pytest.mark.parametrize("gaps", ["none", "some", "first step", "all"])
@pytest.mark.parametrize("axis", [0, 1])
def test_scores_are_those_of_double_precision(axis, gaps):
    random = np.random.default_rng(0)
    pressure = 1e5 - 3000 * random.random((1, 300))  # of hills, in Pa; from step to step it varies by 3 hPa
    hr = (pressure + 300 * random.standard_normal((5000, 300))).astype(np.float32)
    products = [(hr + size * random.standard_normal(hr.shape) + 5).astype(np.float32) for size in (100, 5)]
    if gaps == "some":
        hr[random.random(hr.shape) < 0.3] = products[0][random.random(hr.shape) < 0.3] = np.nan
    elif gaps == "first step":
        hr[0] = np.nan
    elif gaps == "all":
        products[1][:] = np.nan
    got = moments32(hr, products, axis)
    fields = np.stack([hr, *products])
    expected = Moments.of(fields[:, :, None] if axis == 0 else fields.transpose(0, 2, 1)[:, :, None])
    np.testing.assert_array_equal(got.count, expected.count)
    for name, score in CELL_SCORES.items():
        np.testing.assert_allclose(score(got), score(expected), rtol=1e-5, atol=1e-6, err_msg=name)
    if axis == 0:
        halves = [moments32(hr[part], [each[part] for each in products], 0) for part in (slice(777), slice(777, None))]
        np.testing.assert_allclose(halves[0].merge(halves[1]).squares, expected.squares, rtol=2e-5, atol=1e-3)


def test_no_steps_are_no_values():
    nothing = np.zeros((0, 4), np.float32)
    assert moments32(nothing, [nothing], 0).count.tolist() == [[0] * 4]
    assert moments32(nothing, [nothing], 1).mean.shape == (2, 1, 0)
