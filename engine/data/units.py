"""Conversion of fields between CF units."""

from __future__ import annotations

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
    "°C": "degC",
    "° C": "degC",
    "deg C": "degC",
    "degree C": "degC",
    "degrees C": "degC",
    "celsius": "degC",
    "degree_C": "degC",
    "degrees_C": "degC",
    "deg_C": "degC",
    "Kelvin": "K",
    "degK": "K",
    "deg K": "K",
    "mb": "hPa",
    "mbar": "hPa",
    "millibars": "hPa",
    "-": "1",
    "~": "1",
    "(0 - 1)": "1",
    "fraction": "1",
    "m of water equivalent": "m",
    "mm of water equivalent": "mm",
}


def convert(field: xr.DataArray, units: str, *, what: str) -> xr.DataArray:
    """Express a field in other units.

    Parameters
    ----------
    field : any dimensions, with the attribute `units`.
    units : to convert to. Precipitation as mass on an area (kg m-2) is water of 1000 kg m-3.
    what : name of the field in messages, as in 'data.lr'.

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
        missing, known = (what, units) if not given else ("data.target", given)
        raise UnitError(
            f"{missing} has no units, but has to be comparable with {known!r}", action="give units: beside its path:"
        )
    factor, offset = conversion(given, units, what=what)
    if (factor, offset) == (1.0, 0.0):
        return field.assign_attrs(units=units)
    converted = apply_lazily(field, lambda values: values * np.float32(factor) + np.float32(offset))
    return converted.assign_attrs(units=units)


def conversion(given: str, units: str, *, what: str) -> tuple[float, float]:
    """Find factor and offset with value in `units` = value in `given` * factor + offset; raises UnitError."""
    import pint
    from cf_xarray.units import units as registry  # a quarter of a second, and most pairs need no conversion

    try:
        old, new = (registry.Unit(SPELLINGS.get(text.strip(), text.strip())) for text in (given, units))
        power = _density_power(old, new)
        unit = old / registry.Unit("kg m-3") ** power
        zero, one = (registry.Quantity(v * WATER_DENSITY**-power, unit).to(new).magnitude for v in (0.0, 1.0))
    except pint.DimensionalityError:
        raise UnitError(
            f"{what} is in {given!r}, which can't be converted to {units!r}",
            action="choose the same quantity as data.target, or say what the file means with units: beside its path:",
        ) from None
    except (pint.PintError, tokenize.TokenError, ValueError, TypeError, AttributeError, AssertionError):
        raise UnitError(
            f"{what} is in {given!r}, data.target in {units!r}, and at least one of these isn't a CF unit",
            action="say what is meant with units: beside the path:, as in 'K' or 'mm day-1'",
        ) from None
    return float(f"{one - zero:.12g}"), float(f"{zero:.12g}")


def _density_power(old: pint.Unit, new: pint.Unit) -> int:
    """Give 1 if `old` is a mass on an area and `new` a depth (or their rates), -1 the other way round, else 0."""
    ratio = dict((old / new).dimensionality)
    density = {"[mass]": 1, "[length]": -3}
    return next((power for power in (1, -1) if ratio == {word: power * n for word, n in density.items()}), 0)
