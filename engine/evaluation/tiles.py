"""Which pieces a field too large to be predicted at once is cut into; known without TensorFlow.

A network is given a tile, and what it predicts is kept where it is as if the whole field had been given: at a distance
from the tile's edges, but up to the border of the field, where tile and field end alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from math import sqrt

from engine.models.receptive_field import Reach
from engine.training.memory_budget import HR_CELLS_AT_ONCE

LEAST_HALOS = 6  # along a side of a tile: of what is predicted, two thirds of each side are kept

Box = tuple[slice, slice]  # rows and columns
Span = tuple[int, int]  # the first and the one after the last


@dataclass(frozen=True)
class Tile:
    """Rows and columns of LR that the network is given, and those of which its prediction is kept."""

    seen: Box
    kept: Box

    def seen_at_hr(self, scale: int) -> Box:
        return _box(*((scale * side.start, scale * side.stop) for side in self.seen))

    def kept_at_hr(self, scale: int) -> Box:
        return _box(*((scale * side.start, scale * side.stop) for side in self.kept))

    def kept_of_seen(self, scale: int) -> Box:
        """Rows and columns at HR of what the network predicts, which begins where `seen` does."""
        sides = zip(self.seen, self.kept, strict=True)
        return _box(*((scale * (kept.start - seen.start), scale * (kept.stop - seen.start)) for seen, kept in sides))


def plan(lr_shape: tuple[int, int], scale: int, reach: Reach | None, most: int = HR_CELLS_AT_ONCE) -> list[Tile]:
    """Tiles of one shape, which are kept once in each cell of the field.

    Parameters
    ----------
    reach : what the network has to be given around a piece; None: the whole field, which then is the only tile.
    most : HR cells of a tile, unless its halo, which isn't kept, would take too large a share of it.
    """
    y, x = lr_shape
    if reach is None or y * x * scale**2 <= most:
        whole = _box((0, y), (0, x))
        return [Tile(whole, whole)]
    along = (_along(side, wanted, reach) for side, wanted in zip(lr_shape, _sides(lr_shape, scale, most), strict=True))
    return [Tile(_box(rows[0], columns[0]), _box(rows[1], columns[1])) for rows, columns in product(*along)]


def largest(tiles: list[Tile]) -> tuple[int, int]:
    """LR cells along y and along x that the network is given at once."""
    rows, columns = tiles[0].seen
    return rows.stop - rows.start, columns.stop - columns.start


def _sides(lr_shape: tuple[int, int], scale: int, most: int) -> tuple[int, int]:
    """LR cells along both sides of a tile: of a square, or, where a side of the field is shorter, of a longer one."""
    y, x = lr_shape
    square = int(sqrt(most) / scale)
    if min(y, x) >= square:
        return square, square
    long = most // (scale**2 * min(y, x))
    return (y, long) if y < x else (long, x)


def _along(cells: int, wanted: int, reach: Reach) -> list[tuple[Span, Span]]:
    """What is seen and what is kept of each tile along a side of so many LR cells."""
    least = max(LEAST_HALOS * reach.halo, 2 * (reach.halo + reach.align))
    if cells <= max(wanted, least):
        return [((0, cells), (0, cells))]
    side = _fewest(cells, max(wanted, least), reach)
    starts = [*range(0, cells - side, _stride(side, reach)), cells - side]
    cuts = [0, *(start + reach.halo for start in starts[1:]), cells]
    return [((start, start + side), kept) for start, kept in zip(starts, pairwise(cuts), strict=True)]


def _fewest(cells: int, most: int, reach: Reach) -> int:
    """The shortest side of tiles that are as few as those of the longest one.

    The last tile ends with the field and begins at a multiple of `align`: so sides differ from the field's by one.
    """
    side = cells - _up(cells - most, reach.align)
    count = _count(cells, side, reach)
    while _stride(side - reach.align, reach) > 0 and _count(cells, side - reach.align, reach) == count:
        side -= reach.align
    return side


def _count(cells: int, side: int, reach: Reach) -> int:
    return 1 - (side - cells) // _stride(side, reach)


def _stride(side: int, reach: Reach) -> int:
    """From the start of a tile to that of the next."""
    return (side - 2 * reach.halo) // reach.align * reach.align


def _up(cells: int, align: int) -> int:
    return -(-cells // align) * align


def _box(rows: Span, columns: Span) -> Box:
    return slice(*rows), slice(*columns)
