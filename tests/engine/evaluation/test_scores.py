"""Scores against scikit-image and SciPy, and by hand."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
import xarray as xr
from scipy.stats import pearsonr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from engine.evaluation import scores
from engine.evaluation.score_records import MetricScore
from engine.evaluation.scores import METRICS, pixel_rmse, score, step_scores, value_range

NAN = np.nan


def fields(n: int = 3, ny: int = 20, nx: int = 30, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """HR and a field near it: waves with noise, in kelvin."""
    rng = np.random.default_rng(seed)
    time, y, x = np.ogrid[:n, :ny, :nx]
    hr = 280 + 5 * np.sin(y / 4 + time) + 3 * np.cos(x / 5) + rng.normal(size=(n, ny, nx))
    return hr.astype("f4"), (hr + 0.4 + rng.normal(size=hr.shape)).astype("f4")


def results(hr: np.ndarray, downscaled: np.ndarray, interpolated: np.ndarray | None = None) -> xr.Dataset:
    interpolated = downscaled if interpolated is None else interpolated
    named = {"hr": hr, "downscaled": downscaled, "interpolated": interpolated}
    return xr.Dataset({name: (("time", "y", "x"), values) for name, values in named.items()})


def test_by_hand():
    hr = np.float32([[[1, 2], [3, 4]], [[0, 0], [0, 2]]])
    field = np.float32([[[2, 2], [3, 2]], [[0, 0], [2, 0]]])
    got = step_scores(hr, field, span=4.0)
    assert got["mae"].tolist() == [0.75, 1.0]
    np.testing.assert_allclose(got["rmse"], [math.sqrt(5 / 4), math.sqrt(2)])
    assert got["bias"].tolist() == [-0.25, 0.0]
    np.testing.assert_allclose(got["psnr"], [10 * math.log10(16 / 1.25), 10 * math.log10(16 / 2)])
    # deviations (-1.5 -.5 .5 1.5) and (-.25 -.25 .75 -.25): 0.5 / √(5 × 0.75); the second: -1/3
    np.testing.assert_allclose(got["pearson"], [0.5 / math.sqrt(5 * 0.75), -1 / 3])


def test_pearson_is_scipys():
    hr, field = fields()
    expected = [
        pearsonr(a.ravel().astype(float), b.ravel().astype(float)).statistic for a, b in zip(hr, field, strict=True)
    ]
    np.testing.assert_allclose(step_scores(hr, field, 1.0)["pearson"], expected, rtol=1e-10)


def test_psnr_is_scikit_images():
    hr, field = fields()
    span = float(hr.max() - hr.min())
    expected = [
        peak_signal_noise_ratio(a.astype(float), b.astype(float), data_range=span)
        for a, b in zip(hr, field, strict=True)
    ]
    np.testing.assert_allclose(step_scores(hr, field, span)["psnr"], expected, rtol=1e-10)


def test_ssim_is_scikit_images():
    hr, field = fields()
    span = float(hr.max() - hr.min())
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": span}
    expected = [
        structural_similarity(a.astype(float), b.astype(float), **settings) for a, b in zip(hr, field, strict=True)
    ]
    assert 0.2 < min(expected) < max(expected) < 0.98
    np.testing.assert_allclose(step_scores(hr, field, span)["ssim"], expected, rtol=1e-9)


def test_ssim_leaves_missing_cells_out():
    hr, field = fields(1, 40, 40)
    span = float(hr.max() - hr.min())
    hr[0, :20, 20:], field[0, 20:, :20] = NAN, NAN  # in either field
    both = np.isfinite(hr) & np.isfinite(field)
    poisoned = np.where(both, field, 1e6).astype("f4")
    got = step_scores(hr, field, span)["ssim"]
    np.testing.assert_array_equal(got, step_scores(np.where(both, hr, NAN), poisoned, span)["ssim"])
    # Cells 5 and more away from the missing quarters see a whole window: as scikit-image has it there.
    settings = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": span,
        "full": True,
    }
    _, inner_first = structural_similarity(hr[0, :20, :20].astype(float), field[0, :20, :20].astype(float), **settings)
    _, inner_second = structural_similarity(hr[0, 20:, 20:].astype(float), field[0, 20:, 20:].astype(float), **settings)
    corners = step_scores(hr[:, :20, :20], field[:, :20, :20], span)["ssim"]
    np.testing.assert_allclose(corners, inner_first[5:-5, 5:-5].mean(), rtol=1e-9)
    assert min(inner_first[5:-5, 5:-5].mean(), inner_second[5:-5, 5:-5].mean()) - 0.1 < got[0] < 1


def test_ssim_of_fields_smaller_than_a_window():
    hr, field = fields(2, 6, 8)
    got = step_scores(hr, field, 10.0)["ssim"]
    assert np.isfinite(got).all()
    assert (np.abs(got) <= 1).all()
    np.testing.assert_allclose(step_scores(hr, hr, 10.0)["ssim"], 1)


def test_missing_cells_are_left_out_of_every_score():
    hr, field = fields()
    hr[0, 3, 4], field[0, 7, 8], hr[1, :, 5] = NAN, NAN, NAN
    got = step_scores(hr, field, 20.0)
    for step in range(2):
        valid = np.isfinite(hr[step]) & np.isfinite(field[step])
        a, b = hr[step][valid].astype(float), field[step][valid].astype(float)
        assert got["mae"][step] == pytest.approx(np.abs(b - a).mean())
        assert got["rmse"][step] == pytest.approx(np.sqrt(((b - a) ** 2).mean()))
        assert got["bias"][step] == pytest.approx((b - a).mean())
        assert got["pearson"][step] == pytest.approx(pearsonr(a, b).statistic)
        assert got["psnr"][step] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=20.0))


def test_infinite_values_count_as_missing():
    hr, field = fields(1)
    field[0, 0, 0] = np.inf
    hr[0, 1, 1] = -np.inf
    assert all(np.isfinite(values).all() for values in step_scores(hr, field, 20.0).values())


def test_a_step_without_values_has_no_scores():
    hr, field = fields(2)
    hr[1] = NAN
    got = step_scores(hr, field, 20.0)
    assert all(np.isfinite(values[0]) and np.isnan(values[1]) for values in got.values())


def test_a_perfect_field():
    hr, _ = fields()
    got = step_scores(hr, hr.copy(), 20.0)
    assert (got["mae"] == 0).all()
    np.testing.assert_allclose(got["pearson"], 1)
    np.testing.assert_allclose(got["ssim"], 1)
    assert np.isnan(got["psnr"]).all()  # without error there is no ratio to it


@pytest.mark.parametrize("constant", [0.0, 7.0, 280.1, 1e-7, -273.15, 101325.3])
def test_a_constant_field_has_no_correlation(constant):
    hr, _ = fields(1, 19, 23)
    flat = np.full_like(hr, constant)
    assert np.isnan(step_scores(hr, flat, 20.0)["pearson"]).all()
    assert np.isnan(step_scores(flat, hr, 20.0)["pearson"]).all()


def test_a_faint_pattern_on_a_large_mean_is_no_constant():
    pattern = np.random.default_rng(0).normal(size=(1, 19, 23))
    hr = (101325 + pattern).astype("f4")
    assert step_scores(hr, hr, 20.0)["pearson"][0] == pytest.approx(1)


def test_the_summary_is_mean_and_standard_deviation_over_steps():
    hr = np.zeros((4, 2, 2), np.float32)
    hr[:, 0, 0] = 1
    downscaled = hr + np.float32([1, 2, 3, 6])[:, None, None]
    got = score(results(hr, downscaled, hr + 1))
    assert got.downscaled["mae"] == MetricScore(3.0, pytest.approx(math.sqrt((4 + 1 + 0 + 9) / 4)))
    assert got.downscaled["bias"].mean == 3.0
    assert got.interpolated["mae"] == MetricScore(1.0, 0.0)
    assert {name: tuple(metrics) for name, metrics in got.to_plain().items()} == {
        "downscaled": METRICS,
        "interpolated": METRICS,
    }


def test_steps_without_a_score_are_left_out_of_the_summary():
    hr, field = fields()
    complete = score(results(hr[:2], field[:2])).downscaled
    hr[2] = NAN
    with_gap = score(results(hr, field)).downscaled
    assert with_gap == complete
    nothing = score(results(np.full_like(hr, NAN), field)).downscaled
    assert all(value == MetricScore(None, None) for value in nothing.values())


def test_a_constant_hr_has_nothing_to_measure_by():
    hr = np.full((2, 12, 12), 5, np.float32)
    got = score(results(hr, hr + 1)).downscaled
    assert got["mae"].mean == 1.0
    for metric in ("pearson", "psnr", "ssim"):
        assert got[metric] == MetricScore(None, None)


def test_blocks_change_nothing(monkeypatch):
    hr, field = fields(7)
    hr[2, 3, 4] = NAN
    whole, maps = score(results(hr, field)), pixel_rmse(results(hr, field), "downscaled")
    monkeypatch.setattr(scores, "CELLS_AT_ONCE", 2 * 20 * 30)
    in_blocks = score(results(hr, field))
    for metric in METRICS:
        assert asdict(in_blocks.downscaled[metric]) == pytest.approx(asdict(whole.downscaled[metric]))
    np.testing.assert_allclose(pixel_rmse(results(hr, field), "downscaled"), maps)


def test_the_range_is_that_of_the_whole_period():
    hr, field = fields()
    hr[0, 0, 0] = NAN
    assert value_range(results(hr, field)) == pytest.approx(np.nanmax(hr) - np.nanmin(hr))
    hr[1] = NAN
    assert value_range(results(hr, field)) == pytest.approx(np.nanmax(hr) - np.nanmin(hr))
    assert value_range(results(np.full_like(hr, NAN), field)) == 0.0


def test_pixel_rmse_by_hand():
    hr = np.zeros((2, 2, 2), np.float32)
    field = np.float32([[[3, 1], [NAN, NAN]], [[4, 1], [5, NAN]]])
    expected = [[math.sqrt((9 + 16) / 2), 1], [5, NAN]]
    np.testing.assert_allclose(pixel_rmse(results(hr, field), "downscaled"), expected)


def test_pixel_rmse_and_rmse_tell_the_same_in_sum():
    hr, field = fields()
    squares = (pixel_rmse(results(hr, field), "downscaled") ** 2).mean()
    assert squares == pytest.approx((step_scores(hr, field, 1.0)["rmse"] ** 2).mean())
