"""Filter by wave numbers, against NumPy's Fourier transforms."""

from __future__ import annotations

import numpy as np
import pytest

from engine.models.fourier_filter import FourierFilter

MODES, CHANNELS = 6, 3


def by_fft(field: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Of (y, x, c): the lowest wave numbers of twice the side, zero beyond the field, times complex matrices."""
    cells = field.shape[axis]
    waves = np.moveaxis(np.fft.rfft(field, n=2 * cells, axis=axis), axis, 0)  # (wave number, other, c)
    kept, matrices = min(MODES, cells), weights[0] + 1j * weights[1]
    mixed = np.zeros_like(waves)
    mixed[:kept] = np.einsum("knc,kcd->knd", waves[:kept], matrices[:kept])
    return np.moveaxis(np.fft.irfft(mixed, n=2 * cells, axis=0)[:cells], 0, axis)


@pytest.mark.parametrize("sides", [(7, 9), (20, 4), (1, 6)])
def test_low_waves_are_mixed_as_by_fast_fourier_transforms(sides):
    layer, rng = FourierFilter(MODES), np.random.default_rng(0)
    layer.build((None, None, None, CHANNELS))
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    fields = rng.normal(size=(2, *sides, CHANNELS)).astype("f4")
    along_y, along_x = layer.along_y.numpy(), layer.along_x.numpy()
    expected = np.stack([by_fft(field, along_y, 0) + by_fft(field, along_x, 1) for field in fields])
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-3, atol=1e-4)
