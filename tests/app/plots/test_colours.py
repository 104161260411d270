"""Ranges, colours and labels of maps."""

import numpy as np
import pytest
import xarray as xr

from app.plots.colours import ANY_VARIABLE, colour_map, colour_range, label_of, palette
from engine.data.grids import LATITUDE, LONGITUDE


def field_of(y: list[float], x: list[float], values: np.ndarray) -> xr.DataArray:
    coords = {"y": ("y", np.array(y), LATITUDE), "x": ("x", np.array(x), LONGITUDE)}
    return xr.DataArray(values, coords, ("y", "x"), attrs={"units": "K", "long_name": "2 metre temperature"})


def test_colour_range_leaves_out_gaps_and_is_centred_for_differences():
    field = field_of([0.0, 1.0], [0.0, 1.0], np.array([[np.nan, -3.0], [1.0, 2.0]]))
    low, high = colour_range([field], centred=True)
    assert low == -high
    assert high == pytest.approx(3.0, abs=0.03)
    assert colour_range([field * np.nan]) == (0.0, 1.0)
    assert colour_range([field * 0 + 5])[1] > 5


def test_the_range_of_large_fields_is_that_of_evenly_spread_values_of_all():
    """LR is smaller than the others, so that the steps between values go on across fields."""
    rng = np.random.default_rng(0)
    fields = [xr.DataArray(rng.normal(size=shape), dims=("y", "x")) for shape in ((7, 9), (800, 701), (800, 701))]
    values = np.concatenate([field.values.ravel() for field in fields])  # 1,121,663: each fifth is taken
    assert colour_range(fields) == tuple(np.percentile(values[::5], [0.2, 99.8]))


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


def test_labels_carry_the_unit():
    assert label_of({"long_name": "2 metre temperature", "units": "K"}) == "2 metre temperature (K)"
    assert label_of({"standard_name": "land_area_fraction", "units": "1"}) == "land area fraction"
