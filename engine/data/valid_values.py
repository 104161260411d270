"""Values that a file declares as missing, beyond those that xarray masks."""

from __future__ import annotations

import netCDF4
import numpy as np
import xarray as xr

from engine.data.lazy import apply_lazily


def mask_invalid(field: xr.DataArray, described: xr.DataArray) -> xr.DataArray:
    """Mask the values outside the valid range, and those equal to a fill value of another type, lazily.

    Parameters
    ----------
    field : float32 values of `described`, unpacked.
    described : the variable as xarray opened it, with the attributes and encoding of the file.

    Source: CF-1.11, section 2.5.1; the range of packed data is packed as they are (section 8.1).
    """
    with np.errstate(over="ignore"):  # of limits beyond float32
        low, high = _valid_range(described)
        fills = np.array(_fill_values(described), np.float32)
    if np.isinf([low, high]).all() and not fills.size:
        return field

    def mask(values: np.ndarray) -> np.ndarray:
        invalid = (values < low) | (values > high) | np.isin(values, fills)
        return np.where(invalid, np.float32(np.nan), values)

    return apply_lazily(field, mask)


def _fill_values(described: xr.DataArray) -> list[float]:
    """Give the fill values of unpacked data that xarray doesn't find.

    These are values in float64 that a float32 field holds rounded, and NetCDF's own where none is declared.
    """
    if {"scale_factor", "add_offset"} & set(described.encoding):
        return []
    if described.dtype.kind == "f" and not {"_FillValue", "missing_value"} & set(described.encoding):
        return [float(netCDF4.default_fillvals["f4"])]
    given = [described.encoding.get(name) for name in ("_FillValue", "missing_value")]
    numbers = [np.ravel(value) for value in given if value is not None]
    doubles = [float(number) for value in numbers if value.dtype.kind in "fiu" for number in value]
    return [number for number in doubles if np.isfinite(number) and float(np.float32(number)) != number]


def _valid_range(described: xr.DataArray) -> tuple[np.float32, np.float32]:
    """Give lowest and highest valid value, unpacked; infinite where none is declared."""
    attrs, packing = described.attrs, described.encoding
    given = attrs.get("valid_range", [attrs.get("valid_min", -np.inf), attrs.get("valid_max", np.inf)])
    limits = [np.asarray(limit) for limit in given] if len(np.ravel(given)) == 2 else []
    is_known = len(limits) == 2 and all(limit.dtype.kind in "fiu" for limit in limits)
    if not is_known or "_Unsigned" in packing:
        return np.float32(-np.inf), np.float32(np.inf)
    scale, offset, slack = float(packing.get("scale_factor", 1)), float(packing.get("add_offset", 0)), 0.0
    is_packed = np.dtype(packing.get("dtype", "f4")).kind in "iu" and (scale, offset) != (1.0, 0.0)
    numbers = [float(limit) for limit in limits]
    if is_packed and all(limit.dtype.kind in "iu" or not np.isfinite(limit) for limit in limits):
        numbers = sorted(number * scale + offset for number in numbers)
        slack = abs(scale) / 2  # rounding of unpacked values
    return np.float32(numbers[0] - slack), np.float32(numbers[1] + slack)
