"""Power spectra: waves of which the power is known, and NumPy's own transform."""

from __future__ import annotations

import numpy as np
import pytest

from engine.training.spectra import log_distance, radial_power


def wave(wavenumber: float, y: int = 32, x: int = 32) -> np.ndarray:
    """(1, y, x, 1), along x"""
    field = np.sin(2 * np.pi * wavenumber * np.arange(x) / x) * np.ones((y, 1))
    return field.astype("f4")[None, ..., None]


@pytest.mark.parametrize("wavenumber", [3, 7, 12])
def test_a_wave_has_its_power_at_its_wavenumber(wavenumber):
    power = radial_power(wave(wavenumber)).numpy()[0]
    assert power.shape == (16,)
    assert np.argmax(power) == wavenumber - 1  # the first is wavenumber 1


@pytest.mark.parametrize(("y", "x"), [(16, 16), (15, 17), (12, 20), (21, 14)])
def test_rings_are_means_over_the_whole_transform(y, x):
    """Written out with NumPy's full transform, for even and odd sides."""
    field = np.random.default_rng(0).normal(size=(y, x)).astype("f4")
    taper = np.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (y, x)))
    power = np.abs(np.fft.fft2(field * taper / np.sqrt(np.mean(taper**2)))) ** 2 / (y * x) ** 2
    radius = np.rint(min(y, x) * np.hypot(np.fft.fftfreq(y)[:, None], np.fft.fftfreq(x)[None, :]))
    expected = [power[radius == k].mean() for k in range(1, min(y, x) // 2 + 1)]
    np.testing.assert_allclose(radial_power(field[None, ..., None])[0], expected, rtol=1e-4)


def test_twice_the_amplitude_is_four_times_the_power_at_every_wavenumber():
    rng = np.random.default_rng(0)
    hr = rng.normal(size=(2, 24, 30, 1)).astype("f4")
    hr -= hr.mean(axis=(1, 2), keepdims=True)
    distance = log_distance(hr, 2 * hr, np.ones(hr.shape, bool)).numpy()
    assert distance.shape == (2, 1, 1, 1)
    np.testing.assert_allclose(distance, np.log(4), rtol=1e-3)


def test_a_field_too_smooth_is_far_and_a_field_moved_by_a_cell_is_not():
    """What the mean absolute error sees the other way round."""
    rng = np.random.default_rng(0)
    hr = rng.normal(size=(1, 32, 32, 1)).astype("f4")
    smooth = sum(np.roll(hr, (j, k), (1, 2)) for j in (-1, 0, 1) for k in (-1, 0, 1)) / 9
    moved = np.roll(hr, 1, axis=2)
    mask = np.ones(hr.shape, bool)
    to_smooth, to_moved = (float(log_distance(hr, field, mask)[0, 0, 0, 0]) for field in (smooth, moved))
    assert to_smooth > 4 * to_moved
    assert np.abs(smooth - hr).mean() < np.abs(moved - hr).mean()
