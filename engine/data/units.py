"""Conversion of fields between CF units."""

from __future__ import annotations

import re
import tokenize
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from engine.data.lazy import apply_lazily
from engine.errors import UnitError

if TYPE_CHECKING:
    import pint

WATER_DENSITY = 1000.0  # kg m-3, liquid water, by which precipitation is given as a depth (WMO-No. 8, 6.1.1)
SPELLINGS = {  # names that the UDUNITS syntax reads as something else, or not at all
    "C": "degC",
    "\N{DEGREE CELSIUS}": "degC",
    "mb": "hPa",
    "mbar": "hPa",
    "millibars": "hPa",
    "-": "1",
    "~": "1",
    "(0 - 1)": "1",
    "fraction": "1",
    "unitless": "1",
    "ppmv": "1e-6",
    "ppb": "1e-9",
    "ppbv": "1e-9",
    "pptv": "1e-12",
    "m of water equivalent": "m",
    "mm of water equivalent": "mm",
}
TEMPERATURE = re.compile(
    r"(?:°|º|o|deg(?:ree)?s?\.?)[ _]*(?P<scale>c(?:elsius|entigrade)?|f(?:ahrenheit)?|k(?:elvin)?)"
    r"|(?P<name>celsius|centigrade|fahrenheit|kelvins?)",
    re.IGNORECASE,
)
TEMPERATURES = {"C": "degC", "F": "degF", "K": "K"}  # by the first letter of the scale
FACTOR = re.compile(r"10(?:\*\*|\^)(?P<power>[+-]?\d{1,2})\b|(?P<number>\d+\.?\d*(?:[eE][+-]?\d{1,2})?)(?![\w.*^])")
PER_STEPS = re.compile(r"/\s*(?P<count>\d{1,3})\s*(?=(?:h|hr|hrs|hours?|d|days?|min|minutes?|s)\b)")  # as in mm/3h
# Words with powers of at most two digits: all else would be evaluated as arithmetic, however large its result.
EXPRESSION = re.compile(
    r"(?:(?:[^\W\d]|[%°])++(?:\s*(?:\*\*|\^)\s*[+-]?\d{1,2}|[+-]?\d{1,2})?(?!\d)|1(?!\d)|[\s./*·()-])*+"
)
IN_THE_SPEC = "say what the file means with units: beside its path"
IN_THE_FILE = "correct the attribute units of the file (NCO: ncatted)"
LONGEST_UNIT = 200  # characters
PARSE_ERRORS = (ValueError, TypeError, AttributeError, AssertionError, ArithmeticError)  # that pint lets through
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")


def convert(
    field: xr.DataArray, units: str, *, what: str, reference: str = "data.target", correction: str = IN_THE_SPEC
) -> xr.DataArray:
    """Express a field in other units.

    Parameters
    ----------
    field : any dimensions, with the attribute `units`.
    units : to convert to. Precipitation as mass on an area (kg m-2) is water of 1000 kg m-3.
    what, reference : names in messages of the field and of what has `units`.
    correction : how to give the field another unit, in messages.

    Returns
    -------
    The field in `units`, lazy; the same object when nothing changes.

    Raises
    ------
    UnitError
        If one cannot be converted into the other, or just one of both is known.
    """
    given = str(field.attrs.get("units", ""))
    if given == units:
        return field
    if not given or not units:
        missing, other, known = (what, reference, units) if not given else (reference, what, given)
        raise UnitError(f"{missing} has no units, but {other} is in {known!r}", action=correction)
    factor, offset = conversion(given, units, what=what, reference=reference, correction=correction)
    if (factor, offset) == (1.0, 0.0):
        return field.assign_attrs(units=units)
    converted = apply_lazily(field, lambda values: values * np.float32(factor) + np.float32(offset))
    return converted.assign_attrs(units=units)


def describe_conversion(given: str, units: str) -> str:
    """Describe how values are converted, as in "from 'degC' to 'K' (× 1 + 273.15)"; empty where they stay the same."""
    factor, offset = (1.0, 0.0) if given == units else conversion(given, units, what="it")
    if (factor, offset) == (1.0, 0.0):
        return ""
    added = f" {'-' if offset < 0 else '+'} {abs(offset):g}" if offset else ""
    return f"from {given!r} to {units!r} (× {factor:.6g}{added})"


def conversion(
    given: str, units: str, *, what: str, reference: str = "data.target", correction: str = IN_THE_SPEC
) -> tuple[float, float]:
    """Find factor and offset with value in `units` = value in `given` * factor + offset; raises UnitError."""
    import pint
    from cf_xarray.units import units as registry  # a quarter of a second, and most pairs need no conversion

    try:
        (old_factor, old), (new_factor, new) = _parse(given, registry), _parse(units, registry)
        power = _density_power(old, new)
        volume, density = old / registry.Unit("kg m-3") ** power, WATER_DENSITY**-power
        with np.errstate(divide="ignore"):  # decibels of zero
            zero, one, two = (
                registry.Quantity(n * old_factor * density, volume).to(new).magnitude / new_factor for n in (0, 1, 2)
            )
        is_linear = np.isclose(two - one, one - zero, rtol=1e-6, atol=0)  # decibels are not
        is_comparable = is_linear and _counted(old, registry) == _counted(new, registry)
    except pint.DimensionalityError:
        is_comparable = False
    except (pint.PintError, tokenize.TokenError, *PARSE_ERRORS):
        raise UnitError(
            f"{what} is in {given!r}, {reference} in {units!r}, and at least one of these isn't a CF unit",
            action=f"{correction}, as in 'K' or 'mm day-1'",
        ) from None
    if not is_comparable:
        raise UnitError(
            f"{what} is in {given!r}, which can't be converted to {units!r}",
            action=f"choose the same quantity as {reference}, or {correction}",
        )
    return float(f"{one - zero:.12g}"), float(f"{zero:.12g}")


def _parse(text: str, registry: pint.UnitRegistry) -> tuple[float, pint.Unit]:
    """Split text such as '1e-3 kg m-2' into a number and a unit; raises ValueError if it is none."""
    text = text.strip().translate(SUPERSCRIPTS)
    text = SPELLINGS.get(text, text)
    if temperature := TEMPERATURE.fullmatch(text):
        return 1.0, registry.Unit(TEMPERATURES[(temperature["scale"] or temperature["name"])[0].upper()])
    factor = 1.0
    if leading := FACTOR.match(text):
        factor = 10.0 ** int(leading["power"]) if leading["power"] else float(leading["number"])
        text = "1 " + text[leading.end() :]
    if steps := PER_STEPS.search(text):
        factor /= int(steps["count"])
        text = PER_STEPS.sub("/", text, count=1)
    if not EXPRESSION.fullmatch(text) or not 0 < factor < np.inf:
        raise ValueError(text)
    return factor, registry.Unit(text)


def _counted(unit: pint.Unit, registry: pint.UnitRegistry) -> dict[str, object]:
    """Give the powers of units that have no dimension but are no plain numbers, such as radian and psu."""
    roots = registry.get_root_units(unit)[1]._units
    return {name: power for name, power in roots.items() if not registry.Unit(name).dimensionality}


def _density_power(old: pint.Unit, new: pint.Unit) -> int:
    """Give 1 if `old` is a mass on an area and `new` a depth (or their rates), -1 the other way round, else 0."""
    for power, mass, depth in ((1, old, new), (-1, new, old)):
        for rate in ({}, {"[time]": -1}):
            is_depth = dict(depth.dimensionality) == {"[length]": 1} | rate
            if is_depth and dict(mass.dimensionality) == {"[mass]": 1, "[length]": -2} | rate:
                return power
    return 0
