"""Structural similarity, against scikit-image, TensorFlow, and windows written out with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from engine.training.similarity import POWERS, multi_scale_ssim, scale_powers, ssim

EVERYWHERE = np.ones((1, 1, 1, 1), bool)


def fields(y: int, x: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """HR and a field that is somewhat like it, (1, y, x, 1), from 0 to 1."""
    rng = np.random.default_rng(seed)
    hr, other = gaussian_filter(rng.normal(size=(2, y, x)), (0, 2, 2))
    near = hr + 0.5 * other
    return tuple(((f - f.min()) / np.ptp(f)).astype("f4")[None, ..., None] for f in (hr, near))


def test_ssim_is_that_of_scikit_image_inside_the_field():
    hr, field = fields(40, 33)
    found = ssim(hr, field, np.ones(hr.shape, bool)).numpy()[0, 5:-5, 5:-5, 0]
    _, expected = structural_similarity(
        hr[0, ..., 0].astype(float),
        field[0, ..., 0].astype(float),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    assert expected.min() < 0.5
    np.testing.assert_allclose(found, expected[5:-5, 5:-5], atol=2e-5)


@pytest.mark.parametrize("with_gaps", [False, True])
def test_windows_leave_out_missing_cells_and_cells_beyond_the_edge(with_gaps):
    """Weighted means, variances and covariance of one window at a time."""
    hr, field = fields(14, 12)
    mask = np.random.default_rng(1).uniform(size=hr.shape) > (0.4 if with_gaps else -1)
    found = ssim(hr, field, mask).numpy()[0, ..., 0]
    for y, x in ((0, 0), (3, 11), (7, 6)):
        rows, columns = np.mgrid[:14, :12]
        inside = mask[0, ..., 0] & (abs(rows - y) <= 5) & (abs(columns - x) <= 5)
        weight = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 1.5**2))[inside]
        a, b = (f[0, ..., 0][inside].astype(float) for f in (hr, field))
        covariance = np.cov(a, b, ddof=0, aweights=weight)
        ma, mb = (np.average(f, weights=weight) for f in (a, b))
        luminance = (2 * ma * mb + 1e-4) / (ma**2 + mb**2 + 1e-4)
        structure = (2 * covariance[0, 1] + 9e-4) / (covariance[0, 0] + covariance[1, 1] + 9e-4)
        assert found[y, x] == pytest.approx(luminance * structure, abs=2e-5)


def test_equal_fields_are_as_similar_as_can_be_and_opposite_ones_are_not():
    hr, _ = fields(30, 30)
    mask = np.ones(hr.shape, bool)
    np.testing.assert_allclose(ssim(hr, hr, mask), 1, atol=1.3e-4)  # float32 rounding over C2: 1.2e-7 / 9e-4
    assert float(tf.reduce_min(ssim(hr, 1 - hr, mask))) < -0.5


def smoothed(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weight = gaussian_filter(mask.astype(float), 1.5, mode="constant", radius=5)
    return gaussian_filter(np.where(mask, values, 0.0), 1.5, mode="constant", radius=5) / weight


def test_multi_scale_ssim_written_out_with_scipy():
    """Three scales of 44 cells: 44, 22, 11. Contrast and structure at each, luminance at the last."""
    hr, field = (f.astype(float) for f in fields(44, 48))
    expected, powers = 1.0, np.array(POWERS[:3]) / sum(POWERS[:3])
    a, b = hr[0, ..., 0], field[0, ..., 0]
    for number, power in enumerate(powers):
        mask = np.ones(a.shape, bool)
        ma, mb, aa, bb, ab = (smoothed(f, mask) for f in (a, b, a * a, b * b, a * b))
        structure = (2 * (ab - ma * mb) + 9e-4) / (aa - ma**2 + bb - mb**2 + 9e-4)
        luminance = (2 * ma * mb + 1e-4) / (ma**2 + mb**2 + 1e-4) if number == 2 else 1.0
        expected *= np.mean(structure * luminance) ** power
        a, b = (f[: f.shape[0] // 2 * 2, : f.shape[1] // 2 * 2] for f in (a, b))
        a, b = (f.reshape(f.shape[0] // 2, 2, f.shape[1] // 2, 2).mean((1, 3)) for f in (a, b))
    found = multi_scale_ssim(hr.astype("f4"), field.astype("f4"), np.ones(hr.shape, "f4"))
    assert found.shape == (1, 1, 1, 1)
    assert float(found[0, 0, 0, 0]) == pytest.approx(expected, abs=2e-4)


def test_multi_scale_ssim_is_near_that_of_tensorflow():
    """Which leaves out the windows at the edge; on a large field that is a small difference."""
    hr, field = fields(352, 368)
    expected = float(tf.image.ssim_multiscale(hr, field, 1.0)[0])
    found = float(multi_scale_ssim(hr, field, np.ones(hr.shape, "f4"))[0, 0, 0, 0])
    assert expected < 0.9
    assert found == pytest.approx(expected, abs=0.01)


def test_multi_scale_means_over_cells_with_gaps_stay_in_the_gaps_shadow():
    """A field that is wrong only where HR is missing is as similar as can be, at every scale."""
    hr, _ = fields(48, 48)
    weights = np.ones(hr.shape, "f4")
    weights[:, 10:21, 13:30] = 0
    wrong = np.where(weights > 0, hr, 5).astype("f4")
    assert float(multi_scale_ssim(hr, wrong, weights)[0, 0, 0, 0]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("side", "scales"), [(4, 1), (11, 1), (21, 1), (22, 2), (44, 3), (175, 4), (176, 5), (999, 5)])
def test_as_many_scales_as_have_room_for_a_window(side, scales):
    powers = scale_powers(side)
    assert len(powers) == scales
    assert powers.sum() == pytest.approx(1)
    np.testing.assert_allclose(powers / powers[0], np.array(POWERS[:scales]) / POWERS[0])
