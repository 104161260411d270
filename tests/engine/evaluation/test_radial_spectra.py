"""Spectra against NumPy's whole transform mode by mode, and against theory."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from engine.data.grids import LATITUDE, LONGITUDE, Grid
from engine.errors import GridError
from engine.evaluation.radial_spectra import (
    RadialSpectra,
    cell_sides_km,
    coherence,
    effective_resolution,
    largest_box,
    power_ratio,
)


def plane(y: int, x: int, dy_km: float = 5.0, dx_km: float = 5.0) -> Grid:
    crs = {"grid_mapping_name": "lambert_conformal_conic"}
    return Grid(dy_km * np.arange(y), dx_km * np.arange(x), crs, {"units": "km"}, {"units": "km"})


def spectra_of(grid: Grid, *fields: np.ndarray) -> RadialSpectra:
    valid = np.isfinite(fields).all(axis=(0, 1))
    empty = RadialSpectra.empty(grid, valid, len(fields) - 1)
    return empty.add(empty.of_steps(np.stack(fields)))


def noise(y: int, x: int, slope: float = 0.0, steps: int = 12, seed: int = 0) -> np.ndarray:
    """Periodic noise whose amplitude falls with wavenumber to the power of -slope."""
    wavenumber = np.hypot(np.fft.fftfreq(y)[:, None], np.fft.rfftfreq(x))
    wavenumber[0, 0] = 1
    white = np.fft.rfft2(np.random.default_rng(seed).normal(size=(steps, y, x)))
    return np.fft.irfft2(white * wavenumber**-slope, s=(y, x))


@pytest.mark.parametrize(("y", "x"), [(12, 16), (15, 11)])
def test_rings_are_means_over_the_modes_of_the_whole_transform(y, x):
    hr, product = noise(y, x), noise(y, x, seed=1) + 0.5 * noise(y, x)
    got = spectra_of(plane(y, x, 4.0, 3.0), hr, product)
    taper = np.outer(np.sin(np.pi * (np.arange(y) + 0.5) / y) ** 2, np.sin(np.pi * (np.arange(x) + 0.5) / x) ** 2)
    taper /= np.sqrt((taper**2).mean())
    a, b = (np.fft.fft2((f - f.mean(axis=(1, 2), keepdims=True)) * taper) / (x * y) for f in (hr, product))
    wavenumber = np.hypot(np.fft.fftfreq(y, 4.0)[:, None], np.fft.fftfreq(x, 3.0))
    width = 1 / min(4.0 * y, 3.0 * x)
    assert len(got.wavenumber) == math.floor(1 / 8 / width)
    for ring in range(len(got.wavenumber)):
        inside = np.rint(wavenumber / width) == ring + 1
        p, q, cross = (np.abs(a) ** 2)[:, inside], (np.abs(b) ** 2)[:, inside], (a * b.conj())[:, inside]
        assert got.wavenumber[ring] == pytest.approx(wavenumber[inside].mean())
        assert got.power[:, ring] == pytest.approx([p.sum() / inside.sum(), q.sum() / inside.sum()])
        assert power_ratio(got)[0, ring] == pytest.approx(q.sum() / p.sum())
        assert coherence(got)[0, ring] == pytest.approx(abs(cross.sum()) ** 2 / (p.sum() * q.sum()))


def test_a_wave_is_found_at_its_length():
    wave = np.sin(2 * np.pi * np.arange(60) / 12)[None, None] * np.ones((1, 40, 1))  # 12 cells of 3 km
    got = spectra_of(plane(40, 60, 3.0, 3.0), wave, wave)
    assert 1 / got.wavenumber[got.power[0].argmax()] == pytest.approx(36, rel=0.1)


@pytest.mark.parametrize("sigma", [1.5, 2, 3])
@pytest.mark.parametrize("slope", [0, 1, 1.5])
def test_a_gaussian_blur_is_recovered(sigma, slope):
    # The transfer function exp(-2π²σ²k²), squared, is 0.5 at the wavelength 2πσ / √ln 2: 7.5 σ.
    hr = noise(128, 160, slope)
    got = spectra_of(plane(128, 160), hr, gaussian_filter(hr, (0, sigma, sigma), mode="wrap"))
    resolution = effective_resolution(got.wavenumber, power_ratio(got)[0])
    assert resolution == pytest.approx(2 * math.pi * 5 * sigma / math.sqrt(math.log(2)), rel=0.1)


def test_a_gaussian_blur_is_recovered_beside_missing_cells():
    hr = noise(128, 160, 1.0)
    blurred = gaussian_filter(hr, (0, 2, 2), mode="wrap")
    hr[:, :40, 80:] = np.nan
    got = spectra_of(plane(128, 160), hr, blurred)
    assert got.box == (slice(40, 128), slice(0, 160))
    resolution = effective_resolution(got.wavenumber, power_ratio(got)[0])
    assert resolution == pytest.approx(2 * math.pi * 10 / math.sqrt(math.log(2)), rel=0.1)


def test_detail_of_other_steps_has_power_but_no_coherence():
    hr = noise(64, 64)
    large = gaussian_filter(hr, (0, 3, 3), mode="wrap")
    got = spectra_of(plane(64, 64), hr, large + np.roll(hr - large, 1, axis=0))
    assert effective_resolution(got.wavenumber, power_ratio(got)[0]) == 1 / got.wavenumber[-1]
    assert effective_resolution(got.wavenumber, coherence(got)[0]) > 5 * 2 * 3
    assert coherence(got)[0, -5:].max() < 0.05


def test_where_a_share_falls():
    wavenumber = np.array([0.1, 0.2, 0.3, 0.4])
    assert effective_resolution(wavenumber, np.array([1, 0.9, 0.1, 0.6])) == pytest.approx(1 / 0.25)
    assert effective_resolution(wavenumber, np.array([1, 1, 1, 0.5])) == 1 / 0.4
    assert math.isnan(effective_resolution(wavenumber, np.array([0.4, 1, 1, 1])))
    assert math.isnan(effective_resolution(wavenumber, np.full(4, np.nan)))


def test_constant_and_incomplete_steps():
    hr = noise(16, 16, steps=3)
    constant = spectra_of(plane(16, 16), np.ones_like(hr), hr)
    assert np.isnan(power_ratio(constant)).all()
    assert np.isnan(coherence(constant)).all()
    empty = RadialSpectra.empty(plane(16, 16), np.ones((16, 16), bool), 1)
    gap = hr.copy()
    gap[1, 3, 4] = np.nan
    of_steps = empty.of_steps(np.stack([hr, gap]))
    assert np.isnan(of_steps).all(axis=(0, 2)).tolist() == [False, True, False]
    got = empty.add(of_steps)
    assert got.steps == 2
    np.testing.assert_allclose(got.power, empty.add(empty.of_steps(np.stack([hr[[0, 2]]] * 2))).power)
    assert np.isnan(empty.of_steps(np.stack([hr, gap])[:, 1:2])).all()  # a block without any complete step


def test_the_largest_box():
    valid = np.ones((9, 12), bool)
    assert largest_box(valid) == (slice(0, 9), slice(0, 12))
    valid[2, 4] = valid[8, 11] = False  # squares of 7 × 7 lie right of column 4; widened up to the top
    assert largest_box(valid) == (slice(0, 8), slice(5, 12))
    assert largest_box(np.zeros((3, 3), bool)) == (slice(0, 0), slice(0, 0))


def test_cells_in_km_and_grids_without_spectra():
    sphere = Grid(np.arange(50, 70, 0.5), np.arange(0, 20, 0.5), {}, LATITUDE, LONGITUDE)
    height = 6371.0 * math.radians(0.5)
    assert cell_sides_km(sphere) == pytest.approx((height, height * math.cos(math.radians(59.75))), rel=1e-4)
    assert cell_sides_km(plane(9, 9, 2.0, 3.0)) == pytest.approx((2, 3))
    with pytest.raises(GridError, match="has 7 × 30"):
        RadialSpectra.empty(plane(7, 30), np.ones((7, 30), bool), 1)
    uneven = Grid(np.geomspace(1, 60, 20), np.arange(20.0), {}, LATITUDE, LONGITUDE)
    with pytest.raises(GridError, match="cells from"):
        RadialSpectra.empty(uneven, np.ones((20, 20), bool), 1)
