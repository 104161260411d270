"""The network as a picture: a slab for each part, as high as its field is fine and as thick as it has channels."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from app import formatting
from engine.network_part import MeasuredPart

WIDTH, HEAD, PITCH = 940, 92, (53, 112)  # px: of all, of the names of the rows, of a part from least to most
TOP, GROUND, LINE_HEIGHT = 34, 150, 17  # px: above the slabs, where they stand, between rows
SLANT = 0.42  # of the depth of a slab, as seen
ACCENT = "#2a93b5"  # fits both modes
ROWS = ("", "cells", "channels", "parameters", "sees (LR cells)", "sees (km)")
SHORT = {"interpolation": "pin", "recurrence": "LSTM"}
MOST_DRAWN = 4  # slabs of a part that comes many times


def network(parts: Sequence[MeasuredPart]) -> str:
    """SVG of each network, by its parts as `engine check --json` lists them; colours are those of the text around."""
    networks: dict[str, list[MeasuredPart]] = {} if parts else {"": []}
    for part in parts:
        networks.setdefault(part.network, []).append(part)
    pictures = "".join(_picture(own, name) for name, own in networks.items())
    return f'<div class="network" tabindex="0" role="group" aria-label="Network">{pictures}</div>'


def _picture(parts: Sequence[MeasuredPart], name: str) -> str:
    pitch = min(max((WIDTH - HEAD) / max(len(parts), 1), PITCH[0]), PITCH[1])
    centres = [HEAD + pitch * (number + 0.5) for number in range(len(parts))]
    width, height = HEAD + pitch * len(parts), GROUND + LINE_HEIGHT * (len(ROWS) + 0.8)
    sizes = _sizes(parts, pitch)
    ground = f'<path d="M{centres[0]:.1f} {GROUND + 4}H{centres[-1]:.1f}" class="way"/>' if centres else ""
    drawn = [ground, *_connectors(parts, centres, sizes), *map(_slabs, parts, centres, sizes)]
    drawn += [_text(0, number, row or name, "faint", "start") for number, row in enumerate(ROWS)]
    for part, centre in zip(parts, centres, strict=True):
        drawn += [_text(centre, number, text, "" if number else "name") for number, text in enumerate(_column(part))]
    label = f"the network of the {name}" if name else "the network"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{html.escape(label)}" '
        f'width="{width:.0f}" height="{height:.0f}">{"".join(drawn)}</svg>'
    )


def _sizes(parts: Sequence[MeasuredPart], pitch: float) -> list[tuple[float, float]]:
    """Height and thickness of each slab in px, by the logarithms of its cells along a side and of its channels."""
    sides = [math.log2(1 + math.sqrt(part.y * part.x)) for part in parts]
    channels = [math.log2(1 + part.channels) for part in parts]
    highest, thickest = GROUND - TOP - 24, 0.3 * pitch
    return [
        (highest * (side / max(sides)) ** 1.6, max(4.0, thickest * many / max(channels)))
        for side, many in zip(sides, channels, strict=True)
    ]


def _slabs(part: MeasuredPart, centre: float, size: tuple[float, float]) -> str:
    """One slab, or a few behind one another for a part that comes many times; what the part does as a tip."""
    (high, thick), many = size, min(part.times, MOST_DRAWN)
    thick, step = thick / math.sqrt(many), thick / math.sqrt(many) + 3
    start = centre - step * (many - 1) / 2 - thick / 2
    tip = f"{part.times} × {part.does}" if part.times > 1 else part.does
    slabs = "".join(_slab(start + number * step, high, thick) for number in range(many))
    return f"<g><title>{html.escape(tip)}</title>{slabs}</g>"


def _slab(x: float, high: float, thick: float) -> str:
    """Front, top and side."""
    depth = SLANT * high / 2
    top, right, back = GROUND - high, x + thick, GROUND - high - depth * 0.6
    faces = [
        (0.34, [(x, top), (right, top), (right, GROUND), (x, GROUND)]),
        (0.14, [(x, top), (x + depth, back), (right + depth, back), (right, top)]),
        (0.22, [(right, top), (right + depth, back), (right + depth, GROUND - depth * 0.6), (right, GROUND)]),
    ]
    return "".join(
        f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}" fill="{ACCENT}" '
        f'fill-opacity="{opacity}" stroke="{ACCENT}" stroke-width="0.8" stroke-linejoin="round"/>'
        for opacity, corners in faces
    )


def _connectors(
    parts: Sequence[MeasuredPart], centres: Sequence[float], sizes: Sequence[tuple[float, float]]
) -> list[str]:
    """The interpolated LR to the field, and from each level down of a U-Net to the same level up."""
    places = {
        part.name: (centre, GROUND - high * (1 + 0.3 * SLANT) - 4)
        for part, centre, (high, _) in zip(parts, centres, sizes, strict=True)
    }
    pairs = [(name, name.replace("down", "up")) for name in places if name.startswith("down")]
    ways = [(places[down], places[up]) for down, up in pairs if up in places]
    if "field" in places:
        ways.append((places["inputs"], places["field"]))
    most = max((end[0] - start[0] for start, end in ways), default=1.0)
    return [_connector(start, end, TOP * (1 - (end[0] - start[0]) / most) + 4) for start, end in ways]


def _connector(start: tuple[float, float], end: tuple[float, float], y: float) -> str:
    """Draw a line up from one part, along at height y, and down onto the other."""
    (x0, y0), (x1, y1) = start, end
    return (
        f'<path d="M{x0:.1f} {y0:.1f}V{y + 8:.1f}Q{x0:.1f} {y:.1f} {x0 + 8:.1f} {y:.1f}'
        f'H{x1 - 8:.1f}Q{x1:.1f} {y:.1f} {x1:.1f} {y + 8:.1f}V{y1:.1f}" class="way around"/>'
    )


def _column(part: MeasuredPart) -> list[str]:
    """Text under a part, row by row."""
    sees, km = part.sees, part.sees_km
    return [
        SHORT.get(part.name, part.name),
        f"{part.y} × {part.x}",
        formatting.count(part.channels),
        formatting.count(part.parameters) if part.parameters else "–",
        "all" if sees is None else formatting.count(sees),
        "all" if km is None else formatting.count(round(km)),
    ]


def _text(x: float, row: int, text: str, kind: str, anchor: str = "middle") -> str:
    y = GROUND + LINE_HEIGHT * (row + 1.4)
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{html.escape(text)}</text>'
