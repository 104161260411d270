"""Simple kriging of departures of stations: what a spatial interpolation without a network makes of them.

Source: Cressie (1993), Statistics for Spatial Data, section 3.4.5, with an exponential covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from engine.data.lengths import EARTH_RADIUS_KM

LENGTHS_KM = (50.0, 100.0, 200.0, 400.0, 800.0)
NUGGETS = (0.1, 0.3, 1.0, 3.0)  # over the variance of what is correlated


@dataclass(frozen=True)
class Kriging:
    """Covariance exp(-distance / length), and a nugget beside it, of departures with mean zero."""

    length_km: float
    nugget: float

    @classmethod
    def fit(cls, departures: np.ndarray, places: np.ndarray) -> Kriging:
        """Choose length and nugget by which each station is predicted best from all others, where there are several.

        departures : (time, station), NaN where missing. places : (station, 3), unit vectors.
        """

        def error(kriging: Kriging) -> float:
            squares = []
            for number in range(len(places)):
                others = np.arange(len(places)) != number
                made = kriging.predict(departures[:, others], places[others], places[[number]])[:, 0]
                squares.append((departures[:, number] - made) ** 2)
            return float(np.nanmean(squares))

        if len(places) < 2:
            return cls(LENGTHS_KM[0], NUGGETS[-1])
        return min((cls(*each) for each in product(LENGTHS_KM, NUGGETS)), key=error)

    def predict(self, departures: np.ndarray, given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Predict departures at places: (time, wanted); zero where no station has a value.

        departures : (time, given), NaN where missing. given, wanted : (place, 3), unit vectors.
        """
        among = self._covariance(given, given) + self.nugget * np.eye(len(given))
        between = self._covariance(given, wanted)
        made = np.zeros((len(departures), len(wanted)))
        if not len(given):
            return made
        present = np.isfinite(departures)
        for pattern in np.unique(present, axis=0):  # stations that have a value at the same times
            if pattern.any():
                steps = (present == pattern).all(axis=1)
                weights = np.linalg.solve(among[np.ix_(pattern, pattern)], between[pattern])
                made[steps] = departures[np.ix_(steps, pattern)] @ weights
        return made

    def _covariance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        chords = np.linalg.norm(a[:, None] - b[None], axis=-1) * EARTH_RADIUS_KM
        return np.exp(-chords / self.length_km)
