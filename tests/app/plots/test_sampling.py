"""Which cell of a grid stands under which pixel of a map, and its colour."""

import numpy as np
import pytest

from app.plots.colours import with_faint
from app.plots.projection import SLIMMEST, Box, MapProjection
from app.plots.sampling import N_COLOURS, Sampling, mark_faint, to_colours
from engine.data.grids import Grid


def sampled(grid: Grid, values: list[list[float]], pixels: int = 300) -> tuple[np.ndarray, Sampling]:
    projection = MapProjection.of("native", grid)
    sampling = Sampling.of(grid, projection, projection.box(), pixels)
    return sampling.take(np.array(values, dtype="float32")), sampling


def test_cells_begin_in_the_south_west_whatever_the_order_of_the_file():
    values, sampling = sampled(Grid(np.array([52.0, 51.0]), np.array([4.0, 2.0, 0.0])), [[6, 5, 4], [3, 2, 1]])
    assert values.tolist() == [[1, 2, 3], [4, 5, 6]]
    # Cells are 1° high and 2° wide, so edges lie 0.5° and 1° beyond the outer centres.
    assert (sampling.left, sampling.bottom, sampling.right, sampling.top) == (-1.0, 50.5, 5.0, 52.5)


def test_uneven_rows_stand_where_they_are():
    # Edges by halves: -0.5, 0.5, 2.5, 5.5 → heights 1, 2, 3: shares 1/6, 2/6, 3/6 of the rows.
    values, sampling = sampled(Grid(np.array([0.0, 1.0, 4.0]), np.array([0.0, 1.0])), [[1, 1], [2, 2], [3, 3]])
    assert (sampling.bottom, sampling.top) == (-0.5, 5.5)
    assert [np.mean(values[:, 0] == v) for v in (1, 2, 3)] == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=0.01)


def test_no_more_cells_than_pixels_and_each_is_a_value_of_the_field():
    grid = Grid(np.linspace(40, 60, 1000), np.linspace(0, 20, 1000))
    field = np.random.default_rng(0).random((1000, 1000)).astype("float32")
    values, _ = sampled(grid, field, pixels=200)
    assert max(values.shape) <= 325  # as high as wide in degrees: 1.56 times as many pixels along as across
    assert np.isin(values, field).all()


def test_a_part_in_view_is_sampled_cell_by_cell():
    grid = Grid(np.linspace(40, 60, 1001), np.linspace(0, 20, 1001))
    field = np.add.outer(np.arange(1001.0), np.arange(1001.0) / 1e4).astype("float32")
    sampling = Sampling.of(grid, MapProjection.of("native", grid), Box(5.0, 6.0, 50.0, 51.0, 1.0), 200)
    values = sampling.take(field)
    # 0.02° a cell: rows 499 to 550 or 551 by their edges, columns 249 to 300 or 301
    assert values[0, 0] == pytest.approx(500 + 0.025, abs=1.01)
    assert values.shape == pytest.approx((51, 51), abs=1)


def test_a_degree_of_longitude_is_as_wide_as_it_is_long_on_the_globe():
    # 8° × 8° around 60° N: cos 60° = 1/2, so half as wide as high, which is slimmer than a map may be.
    box = MapProjection.of("native", Grid(np.linspace(63.5, 56.5, 8), np.linspace(0.5, 7.5, 8))).box()
    assert (box.south, box.north) == (56.0, 64.0)
    assert box.aspect == SLIMMEST
    # The margins make up for it: (east - west) · cos 60° / 8° = aspect.
    assert (box.east - box.west) / 2 / 8 == pytest.approx(SLIMMEST)


def test_colours_go_from_end_to_end_and_missing_values_have_their_own():
    values = np.array([-5.0, 0.0, 1.0, 2.0, 9.0, np.nan])
    # 0 to 2 in 254 steps: 1 lies in the middle, what is beyond the ends takes their colours
    assert to_colours(values, (0.0, 2.0)).tolist() == [0, 0, 127, 254, 254, 255]


def test_pale_colours_stand_behind_every_second_one():
    grey = [f"#{number:02x}0000" for number in range(N_COLOURS)]
    colours = with_faint(grey)
    assert len(colours) == N_COLOURS
    values = np.array([0.0, 0.5, 1.0, np.nan, 0.0, 0.5, 1.0])
    numbers = mark_faint(to_colours(values, (0, 1)), np.arange(7) >= 4)
    assert numbers.tolist() == [0, 63, 127, 255, 128, 190, 254]
    assert [colours[number] for number in numbers[:3]] == [grey[0], grey[126], grey[254]]
    # A fifth of 254 and four fifths of the grey 196 are 207.6; of 0 and 196 156.8.
    assert colours[numbers[6]] == "#d09d9d"
