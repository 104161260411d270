"""Components of a vector, as compared runs have them; no widget, no plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from engine.evaluation.products import SECOND

if TYPE_CHECKING:
    from app.services.comparison import Result

FIRST_ONE, SECOND_ONE = COMPONENTS = ["u", "v"]  # as in links


def component_names(data: xr.Dataset) -> tuple[str, str]:
    """Name both components: by standard or long names, or by their order where these are the same."""
    first, second = (_name_of(data[f"hr{ending}"]) for ending in ("", SECOND))
    return (first, second) if first and second and first != second else ("first component", "second component")


def other_variable(first: Result, other: Result) -> tuple[str, ...]:
    """Names of the variables of two runs if they differ: standard names, or where one has none, those in files."""
    names = tuple(str(result.data["hr"].attrs.get("standard_name", "")) for result in (first, other))
    if not all(names):
        data = [(result.run.spec.data, result.is_second) for result in (first, other)]
        sources = [options.target_v if second and options.target_v else options.target for options, second in data]
        names = tuple(source.variable or "an unnamed variable" for source in sources)
    return names if names[0] != names[1] else ()


def _name_of(hr: xr.DataArray) -> str:
    standard = str(hr.attrs.get("standard_name", "")).replace("_", " ")
    return standard or str(hr.attrs.get("long_name", "")).removeprefix("HR").strip()
