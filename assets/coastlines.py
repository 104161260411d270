"""Write coastlines.npz: Natural Earth's land as one line of points, each coast ended by a NaN.

Usage: npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
       python assets/coastlines.py package assets/coastlines.npz
"""

import json
import sys
from pathlib import Path

import numpy as np

SCALES = ("110m", "50m")


def land_line(topology: dict) -> np.ndarray:
    """(points, 2) float32 degrees east and north from TopoJSON's delta-encoded, quantized arcs."""
    step, origin = np.array(topology["transform"]["scale"]), np.array(topology["transform"]["translate"])
    pieces = []
    for arc in topology["arcs"]:
        pieces += [np.cumsum(np.array(arc, float), axis=0) * step + origin, np.full((1, 2), np.nan)]
    return without_map_edge(np.concatenate(pieces[:-1])).astype("float32")


def without_map_edge(line: np.ndarray) -> np.ndarray:
    """Break the line where it runs along the date line or the South Pole: land is cut there, not ended."""
    lon, lat = np.abs(line[:, 0]) > 179.99, line[:, 1] < -89.9
    along = np.flatnonzero((lon[1:] & lon[:-1]) | (lat[1:] & lat[:-1])) + 1
    return np.insert(line, along, np.nan, axis=0)


if __name__ == "__main__":
    package, target = map(Path, sys.argv[1:])
    lines = {f"land_{scale}": land_line(json.loads((package / f"land-{scale}.json").read_text())) for scale in SCALES}
    np.savez_compressed(target, **lines)
