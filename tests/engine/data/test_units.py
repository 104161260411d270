import numpy as np
import pytest
import xarray as xr

from engine.data.units import conversion, convert
from engine.errors import UnitError


def field(units: str, value: float = 20.0) -> xr.DataArray:
    return xr.DataArray(np.full((2, 2), value, np.float32), dims=["y", "x"], attrs={"units": units, "long_name": "t"})


@pytest.mark.parametrize(
    ("given", "value", "units", "expected"),
    [
        ("degC", 20.0, "K", 293.15),
        ("Celsius", 20.0, "K", 293.15),
        ("°C", 20.0, "K", 293.15),
        ("degrees C", 20.0, "K", 293.15),
        ("K", 273.15, "degC", 0.0),
        ("degF", 50.0, "degC", 10.0),  # (50 - 32) / 1.8
        ("hPa", 1013.0, "Pa", 101300.0),
        ("Pa", 101300.0, "mbar", 1013.0),
        ("%", 50.0, "1", 0.5),
        ("g kg-1", 5.0, "kg kg-1", 0.005),
        ("kg m-2 s-1", 1e-5, "mm/day", 0.864),  # 1e-5 × 86400 s
        ("mm day-1", 86.4, "kg m-2 s-1", 0.001),
        ("kg m-2", 3.0, "mm", 3.0),
        ("m", 0.002, "kg m-2", 2.0),
        ("kg m**-2", 3.0, "mm", 3.0),
        ("m s**-1", 10.0, "km/h", 36.0),
        ("ug m-3", 40.0, "kg m-3", 4e-8),
        ("µg/m³", 40.0, "kg m⁻³", 4e-8),
        ("degC", 20.0, "degF", 68.0),  # 20 × 1.8 + 32
        ("K km-1", 6.5, "degC m-1", 0.0065),  # a difference of temperatures: no offset
        ("mm/3h", 3.0, "mm/day", 24.0),  # eight times three hours
        ("mm/6hr", 3.0, "kg m-2 s-1", 3 / 21600),
        ("mm/h", 2.0, "mm/3h", 6.0),
        ("mm per day", 5.0, "mm day-1", 5.0),
        ("ppb", 40.0, "mol mol-1", 4e-8),
        ("ppmv", 0.04, "ppbv", 40.0),
        ("unitless", 0.25, "%", 25.0),
        ("0.001", 35.0, "1", 0.035),
        ("1e-3 kg m-2 s-1", 2.0, "mm/s", 0.002),
        ("10^3 Pa", 101.3, "hPa", 1013.0),
        ("m2 s-2", 9.8, "J kg-1", 9.8),
    ],
)
def test_conversions_on_paper(given, value, units, expected):
    converted = convert(field(given, value), units, what="data.lr")
    np.testing.assert_allclose(converted, expected, rtol=1e-6, atol=2e-5)
    assert converted.attrs == {"units": units, "long_name": "t"}
    assert converted.dtype == np.float32


@pytest.mark.parametrize(
    "celsius",
    [
        "degC",
        "C",
        "°C",
        "º C",
        "oC",
        "deg C",
        "deg. C",
        "degs C",
        "deg c",
        "degree C",
        "degrees C",
        "degreesC",
        "degree_C",
        "degrees Celsius",
        "Degrees celsius",
        "degree_celsius",
        "Celsius",
        "celsius",
        "centigrade",
    ],
)
def test_spellings_of_degrees_celsius(celsius):
    assert conversion(celsius, "K", what="data.lr") == (1.0, 273.15)
    assert conversion("K", celsius, what="data.lr") == (1.0, -273.15)


@pytest.mark.parametrize(
    ("given", "units"),
    [
        ("Pa", "m2 s-2"),  # off by kg m-3, as all of these
        ("kg m-3", "%"),
        ("kg m-3", "1"),
        ("kg kg-1", "kg m-3"),
        ("g kg-1", "ug m-3"),
        ("kg s-1", "m3 s-1"),
        ("kg m-1", "m2"),
        ("kg m-2", "mm day-1"),
        ("psu", "1"),
        ("1e-3", "psu"),
        ("dB", "1"),
        ("rad", "1"),
        ("degrees", "K"),
        ("degrees Celsius/day", "mm/day"),
    ],
)
def test_other_quantities_are_refused_both_ways(given, units):
    for pair in ((given, units), (units, given)):
        with pytest.raises(UnitError, match="which can't be converted to|isn't a CF unit"):
            conversion(*pair, what="data.lr")


@pytest.mark.parametrize(
    "given", ["10**10**8 m", "m**9**9**9", "m99999999", "m^99999999", "((9)**99)**99 m", "1e999 m", "0 m", "9" * 190]
)
def test_arithmetic_is_not_evaluated(given):
    with pytest.raises(UnitError, match="isn't a CF unit|can't be converted"):
        conversion(given, "m", what="data.lr")


def test_the_same_unit_changes_nothing():
    given = field("furlong per moon")
    assert convert(given, "furlong per moon", what="data.lr") is given
    unknown = field("")
    assert convert(unknown, "", what="data.lr") is unknown
    np.testing.assert_array_equal(convert(field("Kelvin"), "K", what="data.lr"), field("K"))


def test_a_field_is_converted_when_it_is_read():
    assert not isinstance(convert(field("degC"), "K", what="data.lr").variable._data, np.ndarray)


def test_what_cannot_be_converted():
    with pytest.raises(UnitError) as caught:
        convert(field("Pa"), "K", what="data.lr")
    assert str(caught.value) == (
        "data.lr is in 'Pa', which can't be converted to 'K': choose the same quantity as data.target, or say what the "
        "file means with units: beside its path"
    )
    with pytest.raises(UnitError, match="data.lr is in 'mm', which can't be converted to 'mm day-1'"):
        convert(field("mm"), "mm day-1", what="data.lr")  # over which time isn't known


def test_a_unit_given_on_one_side_only():
    with pytest.raises(UnitError) as caught:
        convert(field(""), "K", what="data.lr")
    assert str(caught.value) == (
        "data.lr has no units, but data.target is in 'K': say what the file means with units: beside its path"
    )
    with pytest.raises(UnitError, match="data.target has no units, but data.lr is in 'K'"):
        convert(field("K"), "", what="data.lr")


@pytest.mark.parametrize("given", ["temperature", "gpdm", "K K K)", "kg/", "dBZ", "ppt of"])
def test_what_is_no_unit(given):
    with pytest.raises(UnitError, match="at least one of these isn't a CF unit: say what the file means with units:"):
        convert(field(given), "K", what="data.lr")
