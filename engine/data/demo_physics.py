"""The weather over the imaginary land and the NO2 in its air: physics of the synthetic demonstration data.

A mixed-layer model on a regular latitude-longitude grid. Emissions of towns, roads and ships enter a
well-mixed layer whose depth follows sun and wind; the excess over the background is carried by the wind
(semi-Lagrangian, bilinear), diluted when the layer deepens and removed by light, warmth and deposition.
No observation and no other model's output enters: every number follows from the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from engine.data.demo_land import CELL_DEG, Field, Land
from engine.data.lengths import METRES_PER_DEGREE

STEP_S = 3600.0
LAPSE_K_PER_M = 0.0065  # ICAO standard atmosphere
DEPOSITION_M_S = 0.0015
TITRATION_UG = 230.0  # µg m-3 above which NO2 is limited by the ozone at hand
CLOCK_OFFSET_H = -2  # the towns' clocks, behind UTC


@dataclass(frozen=True)
class Weather:
    """One hour, each (y, x): wind towards east and north in m s-1, temperature in K, mixed-layer depth in m,
    sine of the sun's elevation, clearness of the sky in 0..1."""

    east: Field
    north: Field
    temperature: Field
    depth: Field
    sun: Field
    clear: Field

    @property
    def speed(self) -> Field:
        return np.hypot(self.east, self.north)


class Atmosphere:
    """Weather that drifts over the land: travelling waves that slowly change, bent by the terrain."""

    WAVES = 14
    MEMORY_H = 84.0

    def __init__(self, rng: Generator, land: Land) -> None:
        self._rng, self._land = rng, land
        self._y = (land.lat - land.lat[0]) * METRES_PER_DEGREE
        self._metres_per_cell_x = CELL_DEG * METRES_PER_DEGREE * np.cos(np.deg2rad(land.lat))[:, None]
        self._x = (land.lon - land.lon[0]) * METRES_PER_DEGREE * np.cos(np.deg2rad(land.lat.mean()))
        length = np.exp(rng.uniform(np.log(0.9e6), np.log(4e6), self.WAVES))  # m
        heading = rng.uniform(-1.1, 1.1, self.WAVES)
        self._kx = 2 * np.pi / length * np.cos(heading)
        self._ky = 2 * np.pi / length * np.sin(heading)
        self._drift = self._kx * rng.uniform(5, 11, self.WAVES)  # rad s-1, eastward
        self._amplitude = rng.standard_normal((2, self.WAVES))
        self._slow = rng.standard_normal(4)
        self._prepare_terrain()

    def _prepare_terrain(self) -> None:
        land = self._land
        smooth = ndimage.gaussian_filter(land.topography, 0.8)
        rise_y, rise_x = np.gradient(smooth, CELL_DEG * METRES_PER_DEGREE)
        slope = np.hypot(rise_y, rise_x) + 1e-9
        self._up_y, self._up_x = rise_y / slope, rise_x / slope
        self._block = 0.9 * (1 - np.exp(-slope / 0.012))
        self._downhill = 1.6 * (1 - np.exp(-slope / 0.02))
        exposure = land.topography - ndimage.gaussian_filter(land.topography, 4)
        self._soft_land = ndimage.gaussian_filter(land.land_mask, 1.0)
        drag = 1 - 0.36 * self._soft_land - 0.2 * land.urban_fraction
        self._shelter = drag * (1 + 0.4 * np.tanh(exposure / 300))
        coast_y, coast_x = np.gradient(ndimage.gaussian_filter(land.land_mask, 2.5))
        self._onshore_y, self._onshore_x = 12 * coast_y, 12 * coast_x

    def hours(self, start: np.datetime64, count: int) -> Iterator[Weather]:
        """Yield the weather of `count` hours from `start` (UTC)."""
        keep = np.exp(-1 / self.MEMORY_H)
        noise = np.sqrt(1 - keep**2)
        for hour in range(count):
            self._amplitude = keep * self._amplitude + noise * self._rng.standard_normal((2, self.WAVES))
            self._slow = keep * self._slow + noise * self._rng.standard_normal(4)
            yield self._weather(start + np.timedelta64(hour, "h"), hour * 3600.0)

    def _weather(self, time: np.datetime64, seconds: float) -> Weather:
        pressure, east, north = self._synoptic(seconds)
        sun = _sun(time, self._land)
        clear = 1 / (1 + np.exp(-1.3 * pressure))  # fair weather in highs
        east, north = self._bend(east, north, sun, clear)
        temperature = self._temperature(time, north, sun, clear)
        depth = self._depth(np.hypot(east, north), sun, clear)
        return Weather(east, north, temperature, depth, sun, clear)

    def _synoptic(self, seconds: float) -> tuple[Field, Field, Field]:
        """Stream function (unit variance) and wind of all waves at one time, each (y, x)."""
        phase_y = self._ky[:, None] * self._y
        phase_x = self._kx[:, None] * self._x - (self._drift * seconds)[:, None]
        cosine, sine = self._amplitude[0][:, None], self._amplitude[1][:, None]
        wave_y = np.concatenate([np.cos(phase_y), np.sin(phase_y)])
        even = cosine * np.cos(phase_x) + sine * np.sin(phase_x)
        odd = sine * np.cos(phase_x) - cosine * np.sin(phase_x)
        vigour = 1.05 * np.exp(0.35 * self._slow[0]) * np.sqrt(2 / self.WAVES)
        speed = 4.6 * vigour / np.sqrt(np.mean(self._kx**2 + self._ky**2))
        slope_x, slope_y = self._kx[:, None], self._ky[:, None]
        wave_y = wave_y.T
        pressure = np.sqrt(1 / self.WAVES) * (wave_y @ np.concatenate([even, odd]))
        east = 2.2 + 1.5 * self._slow[1] - speed * (wave_y @ np.concatenate([odd * slope_y, -even * slope_y]))
        north = 1.2 * self._slow[2] + speed * (wave_y @ np.concatenate([odd * slope_x, -even * slope_x]))
        return pressure, east, north

    def _bend(self, east: Field, north: Field, sun: Field, clear: Field) -> tuple[Field, Field]:
        """Block the uphill part of the wind, add sea breeze by day and drainage of cold air by night."""
        day, night = sun.clip(0), np.exp(-8 * sun.clip(0))
        block = self._block * (0.55 + 0.45 * night)
        uphill = block * (east * self._up_x + north * self._up_y)
        breeze = clear * (4.0 * day - 0.9 * night)
        drain = clear * night * self._downhill
        east = self._shelter * (east - uphill * self._up_x) + breeze * self._onshore_x - drain * self._up_x
        north = self._shelter * (north - uphill * self._up_y) + breeze * self._onshore_y - drain * self._up_y
        return east, north

    def _temperature(self, time: np.datetime64, north: Field, sun: Field, clear: Field) -> Field:
        day_of_year = (time - time.astype("M8[Y]")) / np.timedelta64(1, "D")
        season = -np.cos(2 * np.pi * (day_of_year - 28) / 365.25)
        sea = 285.5 + 2.6 * season - 0.5 * (self._land.lat[:, None] - 46)
        warming = 11 * sun.clip(0) - 3.0 * np.exp(-6 * sun.clip(0))
        land = 283.0 + 6.0 * season - 0.7 * (self._land.lat[:, None] - 46) + (0.4 + 0.8 * clear) * warming
        synoptic = 1.9 * self._slow[3] + 0.35 * north
        mixed = self._soft_land * (land + synoptic) + (1 - self._soft_land) * (sea + 0.4 * synoptic)
        return mixed - LAPSE_K_PER_M * self._land.topography + 1.2 * self._land.urban_fraction

    def _depth(self, speed: Field, sun: Field, clear: Field) -> Field:
        """Mixed-layer depth (m): shear always, convection over land by day; shallow in calm, clear nights."""
        shear = 90 + 48 * speed
        convection = 1900 * sun.clip(0) * (0.35 + 0.65 * clear)
        over_land = np.hypot(shear, convection)
        return self._soft_land * over_land + (1 - self._soft_land) * (260 + 38 * speed)


def _sun(time: np.datetime64, land: Land) -> Field:
    """Sine of the sun's elevation (y, x). Source of the declination: Cooper (1969), Solar Energy 12, 333."""
    day = (time - time.astype("M8[Y]")) / np.timedelta64(1, "D")
    declination = np.deg2rad(23.45) * np.sin(2 * np.pi * (284 + day) / 365)
    hour_angle = 2 * np.pi * (day % 1) + np.deg2rad(land.lon)[None, :] - np.pi
    lat = np.deg2rad(land.lat)[:, None]
    return np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(hour_angle)


def emission(time: np.datetime64, land: Land, temperature: Field) -> Field:
    """NO2 emitted, µg m-2 s-1 (y, x): traffic by hour and weekday, heating by cold, steady ships."""
    cold = ((289 - temperature) / 12).clip(0, 2)
    return land.traffic * traffic_factor(time) + land.heating * cold + land.shipping


def traffic_factor(time: np.datetime64) -> float:
    """Traffic of this hour over the working-day mean: two rush hours, quieter weekends that begin late."""
    local = time + np.timedelta64(CLOCK_OFFSET_H, "h")
    hour = float((local - local.astype("M8[D]")) / np.timedelta64(1, "h"))
    weekday = (int(local.astype("M8[D]").astype(int)) + 3) % 7  # 1970-01-01 was a Thursday
    daytime = 1 / (1 + np.exp(-(hour - 6.5))) / (1 + np.exp(hour - 21))
    morning, evening = (np.exp(-(((hour - peak) / 1.6) ** 2)) for peak in (7.5, 17.5))
    weekend = {5: 0.72, 6: 0.55}.get(weekday)
    if weekend is None:
        return 0.25 + 0.75 * daytime + 1.1 * morning + 1.15 * evening
    return weekend * (0.35 + 1.05 * daytime + 0.35 * evening)


def simulate(land: Land, atmosphere: Atmosphere, start: np.datetime64, count: int) -> Iterator[tuple[Field, Weather]]:
    """Yield NO2 (µg m-3, (y, x), never negative) and weather of each of `count` hours from `start`."""
    excess, depth = np.zeros_like(land.topography), None
    for hour, weather in enumerate(atmosphere.hours(start, count)):
        time = start + np.timedelta64(hour, "h")
        deepening = 1.0 if depth is None else np.minimum(1, depth / weather.depth)
        excess = _transport(excess * deepening, emission(time, land, weather.temperature), weather, land)
        depth = weather.depth
        background = 0.6 + 0.6 * weather.clear  # µg m-3, air from the ocean, older in highs
        yield background + excess / (1 + excess / TITRATION_UG), weather


def _transport(excess: Field, emitted: Field, weather: Weather, land: Land) -> Field:
    """Carry the excess for one hour and add what was emitted on the way, as a plume rather than as puffs."""
    cells_y = weather.north * STEP_S / (CELL_DEG * METRES_PER_DEGREE)
    cells_x = weather.east * STEP_S / (CELL_DEG * METRES_PER_DEGREE * np.cos(np.deg2rad(land.lat))[:, None])
    photolysis = weather.sun.clip(0) * np.exp((weather.temperature - 283) / 14) / (5 * 3600)
    loss = 1 / (16 * 3600) + photolysis + DEPOSITION_M_S / weather.depth  # s-1
    carried = _upwind(excess, cells_y, cells_x) * np.exp(-loss * STEP_S)
    source = emitted / weather.depth * STEP_S / 3
    for age in (1 / 6, 1 / 2, 5 / 6):
        carried += _upwind(source, age * cells_y, age * cells_x) * np.exp(-loss * age * STEP_S)
    return carried


def _upwind(field: Field, cells_y: Field, cells_x: Field) -> Field:
    """Value of `field` the given number of cells upwind, bilinear; clean air outside the region."""
    ny, nx = field.shape
    padded = np.zeros((ny + 2, nx + 2))
    padded[1:-1, 1:-1] = field
    padded = padded.ravel()
    y = (np.arange(1, ny + 1)[:, None] - cells_y).clip(0, ny + 0.999)
    x = (np.arange(1, nx + 1)[None, :] - cells_x).clip(0, nx + 0.999)
    row, column = y.astype(np.intp), x.astype(np.intp)
    y, x = y - row, x - column
    corner = row * (nx + 2) + column
    south = (1 - x) * padded[corner] + x * padded[corner + 1]
    north = (1 - x) * padded[corner + nx + 2] + x * padded[corner + nx + 3]
    return (1 - y) * south + y * north
