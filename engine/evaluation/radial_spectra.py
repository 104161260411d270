"""Power by spatial scale, coherence with HR, and the effective resolution that follows from both."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.fft import rfft2
from scipy.sparse import csr_array

from engine.data.grids import Grid, check_equal_spacing
from engine.errors import GridError
from engine.evaluation.moments import ratio

MIN_SIDE = 8  # cells: with fewer there are less than four wavenumbers
THRESHOLD = 0.5

Box = tuple[slice, slice]  # rows and columns


@dataclass(frozen=True, eq=False)
class RadialSpectra:
    """Sums over time steps of radially averaged spectra in a box without missing cells.

    wavenumber : (ring,) mean of the ring's, in cycles per km, from one wave along the shorter side of the box on to
        two cells a wave along the longer side of a cell.
    power : (1 + product, ring) mean |F|² of a ring's modes, summed over steps; HR first.
    cospectrum : (product, ring) the same of Re(F_product F*_HR).
    ring_means : (ring, mode) weights that average the modes of a half spectrum (y, x // 2 + 1) over each ring.
    steps : that were complete in the box.
    """

    wavenumber: np.ndarray
    power: np.ndarray
    cospectrum: np.ndarray
    ring_means: csr_array
    box: Box
    steps: int = 0

    @classmethod
    def empty(cls, grid: Grid, valid: np.ndarray, products: int) -> Self:
        """Make empty sums for the largest box of cells that are `valid` (y, x).

        Raises
        ------
        GridError
            If the cells are not equally spaced, or a side of the box has less than MIN_SIDE cells.
        """
        box = largest_box(valid)
        y, x = shape = valid[box].shape
        if min(shape) < MIN_SIDE:
            problem = f"spectra need a box of {MIN_SIDE} × {MIN_SIDE} cells without missing values"
            raise GridError(problem, hint=f"the largest has {y} × {x}")
        cell_km = cell_sides_km(grid.select(*box))
        radius = np.hypot(np.fft.fftfreq(y, cell_km[0])[:, None], np.fft.rfftfreq(x, cell_km[1]))
        width = max(1 / (cells * km) for cells, km in zip(shape, cell_km, strict=True))
        rings = int(1 / (2 * max(cell_km)) / width + 1e-9)
        ring = np.rint(radius / width).astype(int) - 1
        ring = np.where(ring < rings, ring, -1)
        sums = np.zeros((1 + products, rings))
        ring_means = _ring_means(ring, rings, x)
        return cls(ring_means @ radius.ravel(), sums, sums[1:], ring_means, box)

    def add(self, of_steps: np.ndarray) -> Self:
        """Add spectra `of_steps` that are complete."""
        complete = of_steps[:, np.isfinite(of_steps[0, :, 0])]
        power, cospectrum = np.split(complete.sum(axis=1), [len(self.power)])
        return replace(
            self,
            power=self.power + power,
            cospectrum=self.cospectrum + cospectrum,
            steps=self.steps + complete.shape[1],
        )

    def of_steps(self, fields: np.ndarray) -> np.ndarray:
        """Compute power and cospectra of each step of (1 + product, time, y, x), HR first.

        Returns
        -------
        (1 + 2 product, time, ring): power of HR and products, then cospectra; NaN where a step has gaps in the box.

        The mean is subtracted, and a Hann window (Harris 1978, Proc. IEEE 66, 51, eq. 27) keeps differences between
        opposite edges from looking like small scales. Filled gaps would do so too: hence the box.
        """
        fields = fields[:, :, *self.box]
        complete = np.isfinite(fields).all(axis=(0, 2, 3))
        fields = fields[:, complete].astype(np.float64)
        anomalies = fields - fields.mean(axis=(2, 3), keepdims=True)
        y, x = fields.shape[2:]
        taper = np.outer(*(np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in (y, x)))
        transformed = rfft2(anomalies * (taper / np.sqrt((taper**2).mean()))) / (y * x)
        hr, products = transformed[0], transformed[1:]
        modes = (transformed.real**2 + transformed.imag**2, hr.real * products.real + hr.imag * products.imag)
        found = np.full((2 * len(transformed) - 1, len(complete), len(self.wavenumber)), np.nan)
        of_modes = np.concatenate(modes).reshape(-1, self.ring_means.shape[1])
        found[:, complete] = (self.ring_means @ of_modes.T).T.reshape(found[:, complete].shape)
        return found


def largest_box(valid: np.ndarray) -> Box:
    """Find the largest square of `valid` cells (y, x), widened to both sides as far as its rows and columns allow."""
    sums = np.pad(valid.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))

    def squares(side: int) -> np.ndarray:
        """First row and column of each square of that side, (n, 2)."""
        inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        return np.argwhere(inside == side**2)

    side = bisect_left(range(1, min(valid.shape) + 1), True, key=lambda side: not len(squares(side)))
    if not side:
        return slice(0, 0), slice(0, 0)
    row, column = squares(side)[0]
    columns = _run_around(np.logical_and.reduce(valid[row : row + side]), column)
    return _run_around(np.logical_and.reduce(valid[:, columns], axis=1), row), columns


def _run_around(valid: np.ndarray, start: int) -> slice:
    """Find the unbroken run of True that holds `start`."""
    gaps = np.flatnonzero(~valid)
    number = np.searchsorted(gaps, start)
    return slice(int(gaps[number - 1]) + 1 if number else 0, int(gaps[number]) if number < len(gaps) else len(valid))


def power_ratio(spectra: RadialSpectra) -> np.ndarray:
    """Compute the power of products over that of HR: (product, ring), NaN where HR has none.

    Source: Skamarock (2004), Mon. Wea. Rev. 132, 3019, section 3.
    """
    return ratio(spectra.power[1:], spectra.power[0])


def coherence(spectra: RadialSpectra) -> np.ndarray:
    """Compute the squared coherence with HR, (Σ Re F_f F*_o)² / (Σ|F_f|² Σ|F_o|²): (product, ring), from 0 to 1.

    Sums go over the modes of a ring and over steps; of real fields, the imaginary parts cancel. NaN where a field
    has no power.

    Source: Bendat and Piersol (2010), Random Data, 4th ed., eq. 5.91.
    """
    return ratio(spectra.cospectrum**2, spectra.power[1:] * spectra.power[0])


def effective_resolution(wavenumber: np.ndarray, share: np.ndarray, threshold: float = THRESHOLD) -> float:
    """Find the wavelength (the inverse of `wavenumber`) at which `share` first falls below `threshold`.

    Parameters
    ----------
    wavenumber : (ring,) increasing.
    share : (ring,) power ratio or coherence.

    Returns
    -------
    Interpolated linearly between rings; the shortest wavelength if the share never falls, NaN if it isn't above the
    threshold at the longest one.

    Source: Skamarock (2004), section 3, there by eye; 0.5 as in Abdalla et al. (2013), ECMWF Newsletter 137, 19.
    """
    if not share[0] >= threshold:
        return np.nan
    below = np.flatnonzero(share < threshold)
    if not len(below):
        return float(1 / wavenumber[-1])
    after = below[0]
    fallen = (share[after - 1] - threshold) / (share[after - 1] - share[after])
    return float(1 / (wavenumber[after - 1] + fallen * (wavenumber[after] - wavenumber[after - 1])))


def cell_sides_km(grid: Grid) -> tuple[float, float]:
    """Compute the sides of a cell along y and x, of latitude and longitude those of the middle row.

    Raises
    ------
    GridError
        If the cells are not equally spaced.
    """
    for side, centres in (("y", grid.y), ("x", grid.x)):
        check_equal_spacing(centres, side)
    return grid.cell_sides_km()


def _ring_means(ring: np.ndarray, rings: int, x: int) -> csr_array:
    """Make the weights that average the modes of a half spectrum, whose rings are given, over each ring."""
    column = np.arange(ring.shape[1])
    twice = np.where((column == 0) | (2 * column == x), 1.0, 2.0)  # a half spectrum holds the other columns once
    mode = np.flatnonzero(ring.ravel() >= 0)
    numbers, counts = ring.ravel()[mode], np.broadcast_to(twice, ring.shape).ravel()[mode]
    return csr_array((counts / np.bincount(numbers, counts)[numbers], (numbers, mode)), shape=(rings, ring.size))
