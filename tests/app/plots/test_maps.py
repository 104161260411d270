"""Maps: orientation, ranges, colours, coast."""

import holoviews as hv
import numpy as np
import pytest
import xarray as xr

from app.plots.maps import (
    ANY_VARIABLE,
    SLIMMEST,
    box_of,
    colour_map,
    colour_range,
    field_map,
    label_of,
    number_format,
    palette,
    raster,
)
from engine.data.grids import LATITUDE, LONGITUDE, Grid


def field_of(y: list[float], x: list[float], values: np.ndarray) -> xr.DataArray:
    coords = {"y": ("y", np.array(y), LATITUDE), "x": ("x", np.array(x), LONGITUDE)}
    return xr.DataArray(values, coords, ("y", "x"), attrs={"units": "K", "long_name": "2 metre temperature"})


def test_raster_starts_in_the_south_west_whatever_the_order_of_the_file():
    values, bounds = raster(field_of([52.0, 51.0], [4.0, 2.0, 0.0], np.array([[6, 5, 4], [3, 2, 1]])))
    assert values.tolist() == [[1, 2, 3], [4, 5, 6]]
    # Cells are 1° high and 2° wide, so edges lie 0.5° and 1° beyond the outer centres.
    assert bounds == (-1.0, 50.5, 5.0, 52.5)
    assert values.dtype == np.float32


def test_raster_puts_uneven_rows_where_they_are():
    # Edges by halves: -0.5, 0.5, 2.5, 5.5 → heights 1, 2, 3: shares 1/6, 2/6, 3/6 of the rows.
    values, (_, bottom, _, top) = raster(field_of([0.0, 1.0, 4.0], [0.0, 1.0], np.array([[1, 1], [2, 2], [3, 3]])))
    assert (bottom, top) == (-0.5, 5.5)
    assert [np.mean(values[:, 0] == v) for v in (1, 2, 3)] == pytest.approx([1 / 6, 2 / 6, 3 / 6])


def test_missing_values_stay_missing():
    values, _ = raster(field_of([51.0, 52.0], [0.0, 1.0], np.array([[np.nan, 1], [2, 3]])))
    assert np.isnan(values[0, 0])


def test_a_degree_of_longitude_is_as_wide_as_it_is_long_on_the_globe():
    # 8° × 8° around 60° N: cos 60° = 1/2, so half as wide as high, which is slimmer than a map may be.
    box = box_of(Grid(np.linspace(63.5, 56.5, 8), np.linspace(0.5, 7.5, 8)))
    assert (box.south, box.north) == (56.0, 64.0)
    assert box.aspect == SLIMMEST
    # The margins make up for it: (east - west) · cos 60° / 8° = aspect.
    assert (box.east - box.west) / 2 / 8 == pytest.approx(SLIMMEST)


def test_colour_range_leaves_out_gaps_and_is_centred_for_differences():
    field = field_of([0.0, 1.0], [0.0, 1.0], np.array([[np.nan, -3.0], [1.0, 2.0]]))
    low, high = colour_range([field], centred=True)
    assert low == -high
    assert high == pytest.approx(3.0, abs=0.03)
    assert colour_range([field * np.nan]) == (0.0, 1.0)
    assert colour_range([field * 0 + 5])[1] > 5


@pytest.mark.parametrize(
    ("attrs", "same_as"),
    [
        ({"standard_name": "air_temperature"}, {"long_name": "2 metre temperature"}),
        ({"standard_name": "precipitation_flux"}, {"long_name": "Total precipitation"}),
    ],
)
def test_colour_map_goes_by_what_the_variable_is(attrs, same_as):
    assert colour_map(attrs) == colour_map(same_as) != ANY_VARIABLE
    assert colour_map({"long_name": "something else"}) == ANY_VARIABLE
    assert len(set(palette(colour_map(attrs)))) > 200


def test_numbers_have_the_digits_that_report():
    assert number_format(250, 300) == "0.0"
    assert number_format(0, 0.02) == "0.0000"
    assert number_format(0, 5000) == "0"


def test_labels_carry_the_unit():
    assert label_of({"long_name": "2 metre temperature", "units": "K"}) == "2 metre temperature (K)"
    assert label_of({"standard_name": "land_area_fraction", "units": "1"}) == "land area fraction"


def test_field_map_draws_the_field_under_the_coast_in_the_given_range():
    field = field_of([58.0, 50.0], [-10.0, 2.0], np.array([[1.0, 2.0], [3.0, np.nan]]))
    figure = hv.render(field_map(field, clim=(1.0, 3.0), cmap="viridis", title="HR"))
    image = next(r for r in figure.renderers if type(r.glyph).__name__ == "Image")
    assert (image.glyph.color_mapper.low, image.glyph.color_mapper.high) == (1.0, 3.0)
    np.testing.assert_array_equal(image.data_source.data["image"][0], [[3.0, np.nan], [1.0, 2.0]])
    lines = [r for r in figure.renderers if type(r.glyph).__name__ == "Line"]
    assert lines
    assert figure.title.text == "HR"
