"""Principal-component regression: HR of each cell from the leading patterns of all LR fields, by least squares.

The usual statistical downscaling of daily climate; a network has to beat it to be worth its cost.

Source: Wilks (2019), Statistical Methods in the Atmospheric Sciences, 4th ed., section 13.3; as in method 1.13 of
Gutiérrez et al. (2019), Int. J. Climatol. 39, 3750 (PP, multiple linear regression on PCs), without classes of weather.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.linalg import eigh

from engine.evaluation.cell_blocks import by_cells

CANDIDATES = (5, 10, 20, 40, 80)  # numbers of components
STEPS_PER_COMPONENT = 10
COMPONENTS_WITH_GAPS = 10  # at most
SMALLEST_VARIANCE = 1e-9  # of a component, over that of the first: less is rounding


@dataclass(frozen=True, eq=False)
class PcRegression:
    """Linear model of HR on standardized principal components.

    centre : (vector,) mean of the LR vectors; projection : (vector, component), to components of unit variance.
    coefficients : (1 + component, cell) in the target's unit, the mean first.
    """

    centre: np.ndarray
    projection: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray, hr: np.ndarray, fallback: float) -> Self:
        """Fit with as many components as the number of steps allows.

        Parameters
        ----------
        vectors : (step, vector) LR and predictors of all LR cells, normalized, nothing missing.
        hr : (step, cell), NaN where missing.
        fallback : what is predicted of a cell without any value.
        """
        centre = vectors.mean(axis=0)
        most = min(max(CANDIDATES), len(vectors) // STEPS_PER_COMPONENT)
        projection = _projection(vectors - centre, most)
        components = (vectors - centre) @ projection
        return cls(centre, projection, by_cells(lambda some: _regress(components, some, fallback), hr))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Predict HR: (step, vector) → (step, cell)."""
        return (vectors - self.centre) @ self.projection @ self.coefficients[1:] + self.coefficients[0]

    @property
    def n_components(self) -> int:
        return self.projection.shape[1]

    def choose(self, vectors: np.ndarray, hr: np.ndarray) -> Self:
        """Keep the number of components with the least squared error in other steps, as of the validation part.

        Components are uncorrelated in the training part, so that the coefficients of the others stay as they are.
        """
        numbers = [number for number in CANDIDATES if number < self.n_components] + [self.n_components]
        models = [self.first(number) for number in numbers]
        errors = [np.nanmean((model(vectors) - hr) ** 2) for model in models]
        return models[int(np.argmin(errors))]

    def first(self, number: int) -> Self:
        """Keep so many components, the leading ones."""
        return replace(self, projection=self.projection[:, :number], coefficients=self.coefficients[: 1 + number])


def _projection(anomalies: np.ndarray, most: int) -> np.ndarray:
    """Find the leading eigenvectors of the covariance of (step, vector), divided by the components' deviation.

    Of vectors longer than there are steps, they follow from those of the steps' products, a smaller matrix.
    """
    n, length = anomalies.shape
    is_wide = length > n
    products = (anomalies @ anomalies.T if is_wide else anomalies.T @ anomalies).astype(np.float64) / n
    side = len(products)
    variances, vectors = eigh(products, subset_by_index=[max(side - most, 0), side - 1])
    variances, vectors = variances[::-1], vectors[:, ::-1]
    kept = variances > SMALLEST_VARIANCE * variances[0]
    variances, vectors = variances[kept], vectors[:, kept]
    if is_wide:
        return (anomalies.T @ vectors / (np.sqrt(n) * variances)).astype(np.float32)
    return (vectors / np.sqrt(variances)).astype(np.float32)


def _regress(components: np.ndarray, hr: np.ndarray, fallback: float) -> np.ndarray:
    """Compute coefficients (1 + component, cell) of all complete cells (step, cell) with one matrix product.

    A cell with gaps has normal equations of its own, with fewer components; with too few values it takes its mean.
    """
    counts = np.isfinite(hr).sum(axis=0)
    coefficients = np.zeros((1 + components.shape[1], hr.shape[1]), np.float32)
    coefficients[0] = np.where(counts > 0, np.nansum(hr, axis=0, dtype=np.float64) / np.maximum(counts, 1), fallback)
    complete = counts == len(hr)
    coefficients[1:, complete] = components.T @ (hr[:, complete] - coefficients[0, complete]) / len(hr)
    few = components[:, :COMPONENTS_WITH_GAPS]
    with_gaps = ~complete & (counts >= STEPS_PER_COMPONENT * (1 + few.shape[1]))
    coefficients[: 1 + few.shape[1], with_gaps] = _regress_with_gaps(few, hr[:, with_gaps])
    return coefficients


def _regress_with_gaps(components: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Solve the normal equations of each cell over the steps with a value: (step, cell) → (1 + component, cell)."""
    design = np.column_stack([np.ones(len(components)), components])
    terms = design.shape[1]
    valid = np.isfinite(hr)
    products = (design[:, :, None] * design[:, None]).reshape(len(design), terms**2)
    matrices = (products.T @ valid).T.reshape(-1, terms, terms)
    sums = (design.T @ np.where(valid, hr, 0)).T[..., None]
    return np.linalg.solve(matrices + 1e-9 * np.eye(terms), sums)[..., 0].T
