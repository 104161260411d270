"""Lengths on the Earth, and units of length that CF files use for projected axes."""

from __future__ import annotations

from engine.errors import GridError

EARTH_RADIUS_KM = 6_371.0088  # IUGG mean radius, Moritz (2000)
METRES_PER_DEGREE = 111_195.0  # of latitude: the same radius times π / 180, in whole metres
METRES_PER_UNIT = {
    "m": 1.0,
    "metre": 1.0,
    "meter": 1.0,
    "metres": 1.0,
    "meters": 1.0,
    "km": 1000.0,
    "kilometre": 1000.0,
}


def metres_per_unit(units: str, side: str) -> float:
    """Give the length of the unit of a projected axis, "y" or "x"; raises GridError if it isn't known."""
    if units not in METRES_PER_UNIT:
        raise GridError(
            f"{side} is in {units!r}",
            hint="expected m or km for a projected grid",
            action="set the attribute `units`",
        )
    return METRES_PER_UNIT[units]
