"""The imaginary land, its weather and the NO2 above it: physics of the synthetic demonstration data set.

A mixed-layer model on a regular latitude-longitude grid. Emissions of towns, roads and ships enter a well-mixed
layer whose depth follows sun and wind; the excess over the background is carried by the wind
(semi-Lagrangian, bilinear), diluted when the layer deepens and removed by light, warmth and deposition.
No observation and no other model's output enters: every number follows from the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

Field = NDArray[np.float64]

CELL_DEG = 0.1
METRES_PER_DEGREE = 111_195.0  # on a sphere of 6371.0 km radius
STEP_S = 3600.0
BACKGROUND_UG = 0.8  # µg m-3, a clean marine air mass in winter
NOX_PER_PERSON_UG = 420.0  # µg s-1 as NO2, 13 kg a year: a European average around 2015
CELL_AREA_M2 = 88e6
LAPSE_K_PER_M = 0.0065  # ICAO standard atmosphere
DEPOSITION_M_S = 0.0015
TITRATION_UG = 230.0  # µg m-3 above which NO2 is limited by the ozone at hand
CLOCK_OFFSET_H = -2  # the towns' clocks, behind UTC


@dataclass(frozen=True)
class Land:
    """Static fields, each (y, x), south first: metres, fractions in 0..1, and µg m-2 s-1 of NO2."""

    lat: Field
    lon: Field
    topography: Field
    land_mask: Field
    urban_fraction: Field
    traffic: Field
    heating: Field
    shipping: Field


@dataclass(frozen=True)
class Weather:
    """One hour: wind towards east and north (m s-1), temperature (K), mixed-layer depth (m), sine of the sun."""

    east: Field
    north: Field
    temperature: Field
    depth: Field
    sun: Field

    @property
    def speed(self) -> Field:
        return np.hypot(self.east, self.north)


def build_land(rng: Generator, size: tuple[int, int], south: float, west: float) -> Land:
    """Raise an imaginary land from the sea, settle it and connect its towns.

    `size` is (y, x) in cells of 0.1°; `south` and `west` are the region's edges in degrees. About half of the
    region is land.
    """
    lat = south + CELL_DEG * (np.arange(size[0]) + 0.5)
    lon = west + CELL_DEG * (np.arange(size[1]) + 0.5)
    mask = _coast(rng, size)
    topography = _topography(rng, mask)
    towns, people = _towns(rng, mask, topography)
    density = _population_density(rng, mask, topography, towns, people)
    person = NOX_PER_PERSON_UG / CELL_AREA_M2
    return Land(
        lat=lat,
        lon=lon,
        topography=topography,
        land_mask=mask.astype(float),
        urban_fraction=1 - np.exp(-density / 220_000),
        traffic=0.75 * person * density + _roads(mask, topography, towns, people),
        heating=0.25 * person * density,
        shipping=_lanes(rng, mask, towns, people),
    )


def _fractal(rng: Generator, size: tuple[int, int], slope: float) -> Field:
    """Random field with amplitude ~ wavenumber^-slope, zero mean, unit variance; not periodic over `size`."""
    padded = (2 * size[0], 2 * size[1])
    wave = np.hypot(np.fft.fftfreq(padded[0])[:, None], np.fft.rfftfreq(padded[1])[None, :])
    wave[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(padded)) * wave**-slope, s=padded)
    field = field[: size[0], : size[1]]
    return (field - field.mean()) / field.std()


def _coast(rng: Generator, size: tuple[int, int]) -> NDArray[np.bool_]:
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    ground = _fractal(rng, size, 2.1) + 0.9 * x - 0.6 * y**2 + 0.12 * _fractal(rng, size, 1.2)
    mask = ground > np.quantile(ground, 0.47)
    return _without_specks(~_without_specks(~mask, 40), 3)


def _without_specks(mask: NDArray[np.bool_], cells: int) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, np.arange(count + 1))
    return mask & (sizes[labels] >= cells)


def _topography(rng: Generator, mask: NDArray[np.bool_]) -> Field:
    inland = ndimage.distance_transform_edt(mask)
    ridge = (1 - np.abs(_fractal(rng, mask.shape, 1.7))).clip(0) ** 1.5
    range_ = 1 / (1 + np.exp(-2.2 * (_fractal(rng, mask.shape, 2.4) - 0.1)))
    hills = np.exp(0.5 * _fractal(rng, mask.shape, 1.4))
    rise = 1 - np.exp(-inland / 5)
    height = 25 + 170 * rise * hills + 2300 * rise * range_ * (0.18 + ridge)
    return np.where(mask, ndimage.gaussian_filter(height, 0.6), 0.0)


def _towns(rng: Generator, mask: NDArray[np.bool_], topography: Field) -> tuple[NDArray[np.intp], Field]:
    """Cells (n, 2) and inhabitants (n,) of towns, largest first: low ground near the sea, sizes after Zipf."""
    coast = np.exp(-ndimage.distance_transform_edt(mask) / 4)
    appeal = np.log(np.where(mask, 0.05 + coast, 1e-30)) - topography / 350
    order = np.argsort(-(appeal + rng.gumbel(size=mask.shape)), axis=None)
    cells = np.stack(np.unravel_index(order, mask.shape), axis=1)
    wanted = max(4, int(mask.sum()) // 75)
    chosen: list[NDArray[np.intp]] = []
    for cell in cells[mask[cells[:, 0], cells[:, 1]]]:
        apart = 3 + 14 * max(0.0, 1 - len(chosen) / 12)
        if all(np.hypot(*(cell - other)) >= apart for other in chosen):
            chosen.append(cell)
        if len(chosen) == wanted:
            break
    return np.array(chosen), 2.6e6 / np.arange(1, len(chosen) + 1) ** 0.95


def _population_density(
    rng: Generator, mask: NDArray[np.bool_], topography: Field, towns: NDArray[np.intp], people: Field
) -> Field:
    """Inhabitants of each cell (y, x): towns with frayed edges, and villages where the land is low."""
    y, x = np.indices(mask.shape)
    density = 900 * np.exp(0.8 * _fractal(rng, mask.shape, 1.3) - topography / 500)
    frayed = np.exp(0.55 * _fractal(rng, mask.shape, 0.8))
    for (row, column), count in zip(towns, people, strict=True):
        radius = 0.5 + 1.2 * (count / 2.6e6) ** 0.45  # cells
        shape = frayed * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * radius**2)) * mask
        density += count * shape / shape.sum()
    return np.where(mask, density, 0.0)


def _roads(mask: NDArray[np.bool_], topography: Field, towns: NDArray[np.intp], people: Field) -> Field:
    """Emission of traffic between towns (y, x): gravity model over least-cost paths."""
    slope = np.hypot(*np.gradient(topography))
    cost = np.where(mask, 1 + slope / 60 + topography / 900, 30.0)
    length, before = dijkstra(_neighbours(cost), indices=_flat(towns, mask), return_predecessors=True)
    flow = np.zeros(mask.size)
    for i in range(len(towns)):
        for j in range(i):
            trips = (people[i] * people[j]) ** 0.8 / (length[i, _flat(towns, mask)[j]] + 5) ** 2
            flow[_path(before[i], _flat(towns, mask)[j])] += trips
    flow = np.where(mask, flow.reshape(mask.shape), 0.0)
    return 0.14 * np.tanh(0.6 * np.sqrt(flow / flow.max()) ** 1.2)


def _lanes(rng: Generator, mask: NDArray[np.bool_], towns: NDArray[np.intp], people: Field) -> Field:
    """Emission of ships (y, x) between the great ports and from them to the high sea."""
    sea = ndimage.distance_transform_edt(~mask)
    cost = np.where(mask, 1e4, 1 + 2 / (1 + sea) + 0.5 * np.abs(_fractal(rng, mask.shape, 2.0)))
    inland = ndimage.distance_transform_edt(mask)[towns[:, 0], towns[:, 1]]
    ports = _flat(towns[np.flatnonzero(inland <= 3)][:5], mask)
    corners = np.ravel_multi_index(([0, mask.shape[0] // 2, mask.shape[0] - 1], [0, 0, 0]), mask.shape)
    goals = np.concatenate([ports, corners])
    before = dijkstra(_neighbours(cost), indices=goals, return_predecessors=True)[1]
    flow = np.zeros(mask.size)
    for i in range(len(goals)):
        for j in range(i):
            flow[_path(before[i], goals[j])] += 1
    flow = ndimage.gaussian_filter(np.where(mask, 0.0, flow.reshape(mask.shape)), 0.6)
    return np.where(mask, 0.0, 0.06 * np.tanh(flow / 6))


def _flat(cells: NDArray[np.intp], mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.ravel_multi_index((cells[:, 0], cells[:, 1]), mask.shape)


def _neighbours(cost: Field) -> csr_array:
    """Graph of cells joined with their eight neighbours; an edge costs its length times the mean cost."""
    index = np.arange(cost.size).reshape(cost.shape)
    edges = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, cost.shape[0] - dy), slice(max(0, -dx), cost.shape[1] - max(0, dx)))
        there = (slice(dy, None), slice(max(0, dx), cost.shape[1] + min(0, dx)))
        weight = np.hypot(dy, dx) * (cost[here] + cost[there]) / 2
        edges.append((weight.ravel(), index[here].ravel(), index[there].ravel()))
    weight, start, end = (np.concatenate(part) for part in zip(*edges, strict=True))
    graph = coo_array((weight, (start, end)), shape=(cost.size, cost.size)).tocsr()
    return graph + graph.T


def _path(before: NDArray[np.int32], goal: int) -> list[int]:
    cells = []
    while goal >= 0:
        cells.append(int(goal))
        goal = before[goal]
    return cells


class Atmosphere:
    """Weather that drifts over the land: travelling waves with slowly changing amplitudes, bent by the terrain."""

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
        spread = np.sqrt(1 - keep**2)
        for hour in range(count):
            self._amplitude = keep * self._amplitude + spread * self._rng.standard_normal((2, self.WAVES))
            self._slow = keep * self._slow + spread * self._rng.standard_normal(4)
            yield self._weather(start + np.timedelta64(hour, "h"), hour * 3600.0)

    def _weather(self, time: np.datetime64, seconds: float) -> Weather:
        pressure, east, north = self._synoptic(seconds)
        sun = _sun(time, self._land)
        clear = 1 / (1 + np.exp(-1.3 * pressure))  # fair weather in highs
        east, north = self._bend(east, north, sun, clear)
        temperature = self._temperature(time, north, sun, clear)
        depth = self._depth(np.hypot(east, north), sun, clear)
        return Weather(east, north, temperature, depth, sun)

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
        pressure = np.sqrt(1 / self.WAVES) * (wave_y.T @ np.concatenate([even, odd]))
        east = 2.2 + 1.5 * self._slow[1] - speed * (wave_y.T @ np.concatenate([odd * slope_y, -even * slope_y]))
        north = 1.2 * self._slow[2] + speed * (wave_y.T @ np.concatenate([odd * slope_x, -even * slope_x]))
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
    """Sine of the sun's elevation (y, x). Source: Cooper (1969), Solar Energy 12, 333, for the declination."""
    day = (time - time.astype("M8[Y]")) / np.timedelta64(1, "D")
    declination = np.deg2rad(23.45) * np.sin(2 * np.pi * (284 + day) / 365)
    hour_angle = 2 * np.pi * (day % 1) + np.deg2rad(land.lon)[None, :] - np.pi
    lat = np.deg2rad(land.lat)[:, None]
    return np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(hour_angle)


def emission(time: np.datetime64, land: Land, temperature: Field) -> Field:
    """NO2 emitted at one time, µg m-2 s-1 (y, x): traffic by hour and weekday, heating by cold, steady ships."""
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
        yield BACKGROUND_UG + excess / (1 + excess / TITRATION_UG), weather


def _transport(excess: Field, emitted: Field, weather: Weather, land: Land) -> Field:
    """Carry the excess for one hour and add what was emitted on the way, as a plume rather than as puffs."""
    cells_y = weather.north * STEP_S / (CELL_DEG * METRES_PER_DEGREE)
    cells_x = weather.east * STEP_S / (CELL_DEG * METRES_PER_DEGREE * np.cos(np.deg2rad(land.lat))[:, None])
    light = weather.sun.clip(0) * np.exp((weather.temperature - 283) / 14) / (5 * 3600)
    loss = 1 / (16 * 3600) + light + DEPOSITION_M_S / weather.depth  # s-1
    carried = _upwind(excess, cells_y, cells_x) * np.exp(-loss * STEP_S)
    source = emitted / weather.depth * STEP_S / 4
    for age in (0.125, 0.375, 0.625, 0.875):
        carried += _upwind(source, age * cells_y, age * cells_x) * np.exp(-loss * age * STEP_S)
    return carried


def _upwind(field: Field, cells_y: Field, cells_x: Field) -> Field:
    """Value of `field` the given number of cells upwind, bilinear; clean air outside the region."""
    ny, nx = field.shape
    padded = np.pad(field, 1).ravel()
    y = (np.arange(1, ny + 1)[:, None] - cells_y).clip(0, ny + 0.999)
    x = (np.arange(1, nx + 1)[None, :] - cells_x).clip(0, nx + 0.999)
    row, column = y.astype(np.intp), x.astype(np.intp)
    y, x = y - row, x - column
    corner = row * (nx + 2) + column
    south = (1 - x) * padded[corner] + x * padded[corner + 1]
    north = (1 - x) * padded[corner + nx + 2] + x * padded[corner + nx + 3]
    return (1 - y) * south + y * north
