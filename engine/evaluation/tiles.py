"""Tiles for fields that are too large to be predicted at once; without TensorFlow.

Of the prediction of a tile only those cells are used that are as if the whole field had been given: at a distance from
the tile's edges, the halo, but up to the border of the field, where tile and field end alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from math import sqrt

from engine.models.receptive_field import Reach
from engine.training.memory_budget import HR_CELLS_AT_ONCE

MIN_HALOS = 6  # along a side of a tile, so that two thirds of what is predicted along it are used

Box = tuple[slice, slice]  # rows and columns
Span = tuple[int, int]  # first, and one after the last


@dataclass(frozen=True)
class Tile:
    """Rows and columns of LR that the network is given, and those of which its prediction is used."""

    input: Box
    output: Box

    def input_at_hr(self, scale: int) -> Box:
        return _box(*((scale * side.start, scale * side.stop) for side in self.input))

    def output_at_hr(self, scale: int) -> Box:
        return _box(*((scale * side.start, scale * side.stop) for side in self.output))

    def output_in_input(self, scale: int) -> Box:
        """Give rows and columns at HR within what the network predicts, which begins where `input` does."""
        sides = zip(self.input, self.output, strict=True)
        return _box(*((scale * (out.start - given.start), scale * (out.stop - given.start)) for given, out in sides))


def plan_tiles(
    lr_shape: tuple[int, int], scale: int, reach: Reach | None, max_cells: int = HR_CELLS_AT_ONCE, wrap: int = 0
) -> list[Tile]:
    """Cut a field into tiles of one shape whose outputs cover each cell once.

    Parameters
    ----------
    reach : surroundings that the network has to be given; None for the whole field, which is the only tile then.
    max_cells : HR cells of a tile; more where its halo would take too large a share of it.
    wrap : LR columns of the other end that the network puts beside each end, where it is given all columns; 0 where the
        field has borders. Pieces of a field without have columns below zero, and beyond the last one.
    """
    y, x = lr_shape
    if reach is None or y * (x + 2 * wrap) * scale**2 <= max_cells:
        whole = _box((0, y), (0, x))
        return [Tile(whole, whole)]
    beyond = max(wrap, -(-reach.halo // reach.align) * reach.align) if wrap else 0
    wide = y, x + 2 * beyond
    rows, columns = (
        _along(side, wanted, reach) for side, wanted in zip(wide, _sides(wide, scale, max_cells), strict=True)
    )
    columns = [((0, x), (0, x))] if len(columns) == 1 else [_unwrapped(*spans, beyond, x) for spans in columns]
    return [Tile(_box(y[0], x[0]), _box(y[1], x[1])) for y, x in product(rows, columns)]


def input_shape(tiles: list[Tile]) -> tuple[int, int]:
    """Count LR cells along y and along x that the network is given at once."""
    rows, columns = tiles[0].input
    return rows.stop - rows.start, columns.stop - columns.start


def _sides(lr_shape: tuple[int, int], scale: int, max_cells: int) -> tuple[int, int]:
    """Choose the sides of a tile in LR cells: a square, or longer where the other side of the field is shorter."""
    y, x = lr_shape
    square = int(sqrt(max_cells) / scale)
    if min(y, x) >= square:
        return square, square
    long = max_cells // (scale**2 * min(y, x))
    return (y, long) if y < x else (long, x)


def _along(cells: int, wanted: int, reach: Reach) -> list[tuple[Span, Span]]:
    """Give input and output of each tile along a side of so many LR cells."""
    shortest = max(MIN_HALOS * reach.halo, 2 * (reach.halo + reach.align))
    if cells <= max(wanted, shortest):
        return [((0, cells), (0, cells))]
    side = _shortest_side(cells, max(wanted, shortest), reach)
    starts = [*range(0, cells - side, _stride(side, reach)), cells - side]
    cuts = [0, *(start + reach.halo for start in starts[1:]), cells]
    return [((start, start + side), output) for start, output in zip(starts, pairwise(cuts), strict=True)]


def _shortest_side(cells: int, longest: int, reach: Reach) -> int:
    """Find the shortest side that needs no more tiles than the longest one.

    The last tile ends with the field and begins at a multiple of `align`: so sides differ from the field's by one.
    """
    side = cells + (longest - cells) // reach.align * reach.align
    count = _count(cells, side, reach)
    while _stride(side - reach.align, reach) > 0 and _count(cells, side - reach.align, reach) == count:
        side -= reach.align
    return side


def _count(cells: int, side: int, reach: Reach) -> int:
    return 1 - (side - cells) // _stride(side, reach)


def _stride(side: int, reach: Reach) -> int:
    """Give the distance from the start of a tile to that of the next."""
    return (side - 2 * reach.halo) // reach.align * reach.align


def _unwrapped(given: Span, output: Span, beyond: int, columns: int) -> tuple[Span, Span]:
    """Number the columns from the first one of the field; the output is within it."""
    first, last = (min(max(end - beyond, 0), columns) for end in output)
    return (given[0] - beyond, given[1] - beyond), (first, last)


def _box(rows: Span, columns: Span) -> Box:
    return slice(*rows), slice(*columns)
