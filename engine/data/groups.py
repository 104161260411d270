"""Groups of NetCDF-4 and HDF5 files, as of IMERG and Sentinel-5P: each is a dataset within those around it."""

from __future__ import annotations

from typing import Any

import xarray as xr

from engine.data.axes import fields_of
from engine.data.netcdf import group_names, open_netcdf
from engine.errors import DataError
from engine.options import did_you_mean


def open_group(path: str, variable: str, **options: Any) -> xr.Dataset | None:
    """Open the group that holds a variable, lazily.

    Parameters
    ----------
    variable : with its group, as in 'PRODUCT/no2', or alone where one group has it; may be empty if there is just one.

    Returns
    -------
    As one of `open_groups`; None where there is no group with a field.

    Raises
    ------
    DataError
        If no group has it, or several.
    """
    known = {str(field.name): dataset for dataset in open_groups(path, **options) for field in fields_of(dataset)}
    found = [name for name in known if not variable or f"/{name}".endswith(f"/{variable.strip('/')}")]
    if known and not found:
        names = [*(str(field.name) for field in fields_of(open_netcdf(path, **options))), *known]
        raise DataError(f"{path} has no variable {variable!r}", hint=did_you_mean(variable, names))
    if len(found) > 1:
        problem = f"{variable} is in several groups" if variable else "it has several variables"
        raise DataError(
            f"{path} has groups, and {problem} ({', '.join(found)})", action="name one as variable: beside path:"
        )
    return known[found[0]] if found else None


def open_groups(path: str, **options: Any) -> list[xr.Dataset]:
    """Open the groups of a file that hold fields, lazily, with the options of `open_netcdf`.

    Names of fields begin with their group, as in 'PRODUCT/no2'. What lies in the groups around belongs to them too.

    Source: NetCDF-4 data model: dimensions and coordinates are seen in all groups below (CF-1.11, section 2.7).
    """
    names = group_names(path)
    opened = {name: open_netcdf(path, **options, **({"group": name} if name else {})) for name in ("", *names)}
    datasets = []
    for name in names:
        dataset = opened[name]
        fields = [field.name for field in fields_of(dataset) if not _is_latitude_or_longitude(field)]
        if not fields:
            continue
        parts = name.split("/")
        for around in ("/".join(parts[:n]) for n in range(len(parts) - 1, -1, -1)):
            seen = {
                word: data
                for word, data in opened[around].variables.items()
                if word not in dataset.variables and set(data.dims) <= set(dataset.dims)
            }
            dataset = dataset.assign_coords(seen)
        datasets.append(dataset.rename_vars({field: f"{name}/{field}" for field in fields}))
    return datasets


def _is_latitude_or_longitude(field: xr.DataArray) -> bool:
    return str(field.attrs.get("units", "")).lower().endswith(("_north", "_east"))
