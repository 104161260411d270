"""The imaginary land of the synthetic demonstration data: coast, mountains, towns, roads, shipping lanes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

Field = NDArray[np.floating]
Mask = NDArray[np.bool_]
Cells = NDArray[np.intp]

CELL_DEG = 0.1
CELL_AREA_M2 = 88e6  # at 46° north
NOX_PER_PERSON_UG = 650.0  # µg s-1 as NO2: 20 kg a year, about the European Union's average of 2008
LARGEST_TOWN = 2.6e6  # inhabitants


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


def _coast(rng: Generator, size: tuple[int, int]) -> Mask:
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    ground = _fractal(rng, size, 1.9) + 0.35 * _fractal(rng, size, 1.4) + 1.1 * x - 0.8 * np.hypot(x, y) ** 3
    mask = ground > np.quantile(ground, 0.5)
    return _without_specks(~_without_specks(~mask, 40), 3)


def _without_specks(mask: Mask, cells: int) -> Mask:
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, np.arange(count + 1))
    return mask & (sizes[labels] >= cells)


def _topography(rng: Generator, mask: Mask) -> Field:
    inland = ndimage.distance_transform_edt(mask)
    ridge = np.exp(-2.2 * np.abs(_fractal(rng, mask.shape, 1.75)))
    bulk = _fractal(rng, mask.shape, 2.3)
    range_ = 1 / (1 + np.exp(-4 * (bulk - np.quantile(bulk[mask], 0.75))))
    hills = np.exp(0.6 * _fractal(rng, mask.shape, 1.4))
    rise = 1 - np.exp(-inland / 4)
    height = 20 + 130 * rise * hills + 3000 * rise * range_ * ridge
    return np.where(mask, ndimage.gaussian_filter(height, 0.5), 0.0)


def _towns(rng: Generator, mask: Mask, topography: Field) -> tuple[Cells, Field]:
    """Cells (n, 2) and inhabitants (n,) of towns, largest first: on low ground by the sea, after Zipf."""
    coast = np.exp(-ndimage.distance_transform_edt(mask) / 4)
    appeal = np.log(np.where(mask, 0.12 + coast, 1e-30)) - topography / 350
    order = np.argsort(-(appeal + rng.gumbel(size=mask.shape)), axis=None)
    cells = np.stack(np.unravel_index(order, mask.shape), axis=1)
    wanted = min(max(4, int(mask.sum()) // 60), 200)
    chosen: list[Cells] = []
    for cell in cells[mask[cells[:, 0], cells[:, 1]]]:
        apart = 3 + 0.14 * min(mask.shape) * max(0.0, 1 - len(chosen) / 12)  # great towns keep their distance
        if all(np.hypot(*(cell - other)) >= apart for other in chosen):
            chosen.append(cell)
        if len(chosen) == wanted:
            break
    return np.array(chosen), LARGEST_TOWN / np.arange(1, len(chosen) + 1) ** 0.8


def _population_density(rng: Generator, mask: Mask, topography: Field, towns: Cells, people: Field) -> Field:
    """Inhabitants of each cell (y, x): towns with frayed edges, and villages where the land is low."""
    y, x = np.indices(mask.shape)
    density = 1500 * np.exp(0.8 * _fractal(rng, mask.shape, 1.3) - topography / 500)
    frayed = np.exp(0.55 * _fractal(rng, mask.shape, 0.8))
    for (row, column), count in zip(towns, people, strict=True):
        radius = 0.5 + 1.2 * (count / LARGEST_TOWN) ** 0.45  # cells
        shape = frayed * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * radius**2)) * mask
        density += count * shape / shape.sum()
    return np.where(mask, density, 0.0)


def _roads(mask: Mask, topography: Field, towns: Cells, people: Field) -> Field:
    """Emission of traffic between towns (y, x): gravity model over least-cost paths."""
    slope = np.hypot(*np.gradient(topography))
    cost = np.where(mask, 1 + slope / 60 + topography / 900, 30.0)
    weight = people[:, None] * people[None, :]
    busy = np.zeros(mask.shape)
    for _ in range(3):  # later rounds prefer the roads of the earlier ones, so that roads merge
        flow = _flow(cost / (1 + 4 * busy), _flat(towns, mask), weight)
        busy = np.tanh(6 * flow / max(flow.max(), 1e-30))
    return np.where(mask, 0.24 * ndimage.gaussian_filter(busy, 0.65), 0.0)


def _flow(cost: Field, places: Cells, weight: Field) -> Field:
    """Sum over pairs of places of weight / cost^2, laid along each pair's cheapest path (y, x)."""
    length, before = dijkstra(_neighbours(cost), indices=places, return_predecessors=True)
    flow = np.zeros(cost.size)
    for i in range(len(places)):
        for j in range(i):
            flow[_path(before[i], places[j])] += weight[i, j] / (length[i, places[j]] + 5) ** 2
    return flow.reshape(cost.shape)


def _lanes(rng: Generator, mask: Mask, towns: Cells, people: Field) -> Field:
    """Emission of ships (y, x) between the great ports and from them to the high sea."""
    offshore, nearest = ndimage.distance_transform_edt(mask, return_indices=True)
    ports = towns[offshore[towns[:, 0], towns[:, 1]] <= 3][:6]
    ny, nx = mask.shape
    gates = np.array([[0, 0], [ny // 2, 0], [ny - 1, 0], [0, nx // 2], [ny - 1, nx // 2]])
    gates = gates[~mask[gates[:, 0], gates[:, 1]]]
    goals = _flat(nearest[:, *np.concatenate([ports, gates]).T].T, mask)
    calling = np.arange(len(goals)) < len(ports)
    weight = (calling[:, None] | calling[None, :]).astype(float)
    shoal = 3 / (1 + ndimage.distance_transform_edt(~mask))
    cost = np.where(mask, 1e4, 1 + shoal + 0.4 * np.abs(_fractal(rng, mask.shape, 2.0)))
    busy = np.zeros(mask.shape)
    for _ in range(2):
        flow = np.where(mask, 0.0, _flow(cost / (1 + busy), goals, weight))
        busy = np.tanh(8 * flow / max(flow.max(), 1e-30))
    return np.where(mask, 0.0, 0.08 * ndimage.gaussian_filter(busy, 0.7))


def _flat(cells: Cells, mask: Mask) -> Cells:
    return np.ravel_multi_index((cells[:, 0], cells[:, 1]), mask.shape)


def _neighbours(cost: Field) -> csr_array:
    """Graph of cells joined with their sixteen neighbours; an edge costs its length times the mean cost."""
    index = np.arange(cost.size).reshape(cost.shape)
    edges = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1)):
        here = (slice(0, cost.shape[0] - dy), slice(max(0, -dx), cost.shape[1] - max(0, dx)))
        neighbour = (slice(dy, None), slice(max(0, dx), cost.shape[1] + min(0, dx)))
        weight = np.hypot(dy, dx) * (cost[here] + cost[neighbour]) / 2
        edges.append((weight.ravel(), index[here].ravel(), index[neighbour].ravel()))
    weight, start, end = (np.concatenate(part) for part in zip(*edges, strict=True))
    graph = coo_array((weight, (start, end)), shape=(cost.size, cost.size)).tocsr()
    return graph + graph.T


def _path(before: NDArray[np.int32], goal: int) -> list[int]:
    cells = []
    while goal >= 0:
        cells.append(int(goal))
        goal = before[goal]
    return cells
