"""Files, their content, grids, units and times that can't be used."""

from __future__ import annotations

import numpy as np
import xarray as xr

from tests.engine.bad_input.wrong_requests import HR, Request, case
from tests.engine.data.mock import make_field, steps

# Files


@case("{here}/hrr.nc doesn't exist: expected a file, a glob with a match, or a Zarr store; did you mean 'hr.nc'?")
def file_missing(request: Request) -> None:
    request.data["target"]["path"] = "hrr.nc"


@case("{here}/tas_*.nc doesn't exist: expected a file, a glob with a match, or a Zarr store")
def glob_without_a_match(request: Request) -> None:
    request.data["target"]["path"] = "tas_*.nc"


@case("{here}/hr.nc is neither NetCDF nor GRIB nor GeoTIFF: expected a NetCDF, GRIB or GeoTIFF file, or a Zarr store")
def not_netcdf(request: Request) -> None:
    (request.here / "hr.nc").write_text("time,lat,lon,t2m\n")


@case("{here}/hr.nc is empty: expected a NetCDF, GRIB or GeoTIFF file, or a Zarr store")
def empty_file(request: Request) -> None:
    (request.here / "hr.nc").write_bytes(b"")


@case(
    "{here}/hr.nc can't be read ([Errno -101] NetCDF: HDF error: '{here}/hr.nc'): it may be "
    "damaged or cut off; copy or download it again"
)
def truncated_file(request: Request) -> None:
    whole = (request.here / "hr.nc").read_bytes()
    (request.here / "hr.nc").write_bytes(whole[: len(whole) // 2])


@case("{here}/store is a folder, but no Zarr store: name the files in it, as in {here}/store/*.nc")
def folder_that_is_no_zarr_store(request: Request) -> None:
    (request.here / "store").mkdir()
    request.data["target"]["path"] = "store"


# What is in them


@case(
    "t2m in {here}/lr.nc has no time dimension, only (lat, lon): expected time, y and x, or one date in the name of "
    "the file, as in 2020-01-31 or 20200131; list a field without time under data.static"
)
def no_time_dimension(request: Request) -> None:
    request.mos(times=0)


@case(
    "z in {here}/orography.nc changes with time (20 steps), but static variables don't: list it under data.predictors"
)
def static_with_time(request: Request) -> None:
    request.field("orography.nc", **HR, name="z")
    request.data["static"] = [{"path": "orography.nc"}]


@case("{here}/hr.nc has no variable 't2n': did you mean 't2m'?")
def variable_missing(request: Request) -> None:
    request.data["target"]["variable"] = "t2n"


@case("{here}/hr.nc has several variables (t2m, d2m): name one as variable: beside path:")
def several_variables_none_named(request: Request) -> None:
    request.file("hr.nc", xr.merge([make_field(**HR), make_field(**HR, name="d2m")]))


@case(
    "t2m in {here}/hr.nc has 2 values along level: expected a field over time, y and x; choose "
    "one with select: {{level: 850}}"
)
def several_levels(request: Request) -> None:
    request.file("hr.nc", make_field(**HR).expand_dims(level=[850.0, 500.0]))


@case("t2m in {here}/hr.nc holds <U9, no numbers: choose another variable")
def text_in_place_of_numbers(request: Request) -> None:
    dataset = make_field(**HR)
    request.file("hr.nc", dataset.assign(t2m=dataset["t2m"].astype(str)))
    request.data["target"]["variable"] = "t2m"


@case(
    "data.target has no value at all in the first, middle and last training step: expected "
    "numbers; check the variable, its fill value and data.region"
)
def all_values_missing(request: Request) -> None:
    request.field("hr.nc", **HR, missing=1.0)


@case(
    "data.split leaves no row for validation: the data have a single time step, and 4 LR rows to split; choose other "
    "fractions or dates, or a smaller gap"
)
def one_time_step(request: Request) -> None:
    request.field("hr.nc", **HR, times=1)


@case(
    "{here}/hr.nc has a time axis that can't be decoded (unable to decode time units 'days "
    "since yesterday' with 'the default calendar'. Try opening your dataset with "
    "decode_times=False or installing cftime if it is not installed.): expected CF units such "
    "as 'days since 2000-01-01' and a CF calendar; fix its attributes (CDO: cdo setreftime; "
    "NCO: ncatted)"
)
def times_not_decodable(request: Request) -> None:
    dataset = make_field(**HR).assign_coords(time=np.arange(20))
    dataset["time"].attrs["units"] = "days since yesterday"
    request.file("hr.nc", dataset)


@case(
    "time in {here}/hr.nc doesn't increase: 2001-01-01T00:00:00.000000000 comes twice; sort the"
    " steps and drop duplicates first (Python: dataset.sortby('time').drop_duplicates('time'))"
)
def times_twice(request: Request) -> None:
    request.file("hr.nc", make_field(**HR, times=steps(10).repeat(2)))


@case("data.target falls to -15.0417, but data.scaling log needs values from 0 on: choose standard")
def negative_values_under_log(request: Request) -> None:
    dataset = make_field(**HR)
    request.file("hr.nc", dataset - 290)
    request.data["scaling"] = "log"


# Grids


@case(
    "y in {here}/hr.nc is not monotonic: expected coordinates that only increase or only "
    "decrease; sort them first (Python: dataset.sortby(…))"
)
def coordinate_not_monotonic(request: Request) -> None:
    request.file("hr.nc", make_field(**HR).isel(lat=[1, 0, *range(2, 16)]))


@case(
    "lat in {here}/hr.nc is missing, or no degrees, in 1 of 256 cells: expected the place of each cell; choose the "
    "part of the grid that has them first (Python: dataset.isel(…))"
)
def curvilinear_grid_with_a_cell_of_no_place(request: Request) -> None:
    flat = make_field(**HR).rename_dims(lat="j", lon="i")
    lat, lon = xr.broadcast(flat["lat"], flat["lon"])
    lat = lat.where((lat > lat.min()) | (lon > lon.min()))
    request.file("hr.nc", flat.drop_vars(["lat", "lon"]).assign_coords(lat=lat, lon=lon))


@case(
    "t2m in {here}/hr.nc, with dimensions (time, row, column), has no coordinate along y: "
    "expected latitude and longitude, or projected x and y, named so or with CF attributes "
    "(units degrees_north and degrees_east, or standard_name)"
)
def no_coordinates(request: Request) -> None:
    request.file("hr.nc", make_field(**HR, names=("time", "row", "column")).drop_vars(["row", "column"]))


@case(
    "data.region is lat 50 to 55, lon 0 to 5, but the data cover lat 40 to 43.75, lon 0 to "
    "3.75: choose a region within them"
)
def region_without_data(request: Request) -> None:
    request.data["region"] = {"lat": [50, 55], "lon": [0, 5]}


@case(
    "HR has 16 × 16 cells, which at scale 32 gives fewer than 2 × 2 LR cells: expected at least"
    " 64 cells a side; choose a smaller scale or a larger region"
)
def scale_larger_than_the_grid(request: Request) -> None:
    request.data["scale"] = 32


@case(
    "data.lr covers lat 39.5 to 44.5, lon 60 to 65, but lat 40.375 to 43.375, lon 0.375 to "
    "3.375 is needed: crop with data.region to where both have data, or choose a file that "
    "covers the region"
)
def lr_outside_the_region_of_hr(request: Request) -> None:
    request.mos(west=60.0)


# Units


@case(
    "data.lr is in 'hPa', which can't be converted to 'K': choose the same quantity as "
    "data.target, or say what the file means with units: beside its path"
)
def units_incompatible(request: Request) -> None:
    request.mos(units="hPa")


@case("data.lr has no units, but data.target is in 'K': say what the file means with units: beside its path")
def units_absent(request: Request) -> None:
    request.mos(units=None)


@case(
    "data.lr is in 'bananas', data.target in 'K', and at least one of these isn't a CF unit: "
    "say what the file means with units: beside its path, as in 'K' or 'mm day-1'"
)
def units_unheard_of(request: Request) -> None:
    request.mos(units="bananas")


# Times


@case(
    "no time step is in all fields (data.target has 20 steps, 2001-01-01T00:00 to "
    "2001-01-20T00:00; data.lr has 20 steps, 2011-01-01T00:00 to 2011-01-20T00:00): expected "
    "common times; choose overlapping files"
)
def no_common_times(request: Request) -> None:
    request.mos(times=steps(start="2011-01-01"))


@case(
    "data.period is 2010-01-01 to 2010-12-31, but the data have 20 steps, 2001-01-01T00:00 to "
    "2001-01-20T00:00: choose a period within them"
)
def period_outside_the_data(request: Request) -> None:
    request.data["period"] = ["2010-01-01", "2010-12-31"]


@case("data.period is [2001-12-31, 2001-01-01]: the first date is after the last; swap them")
def period_backwards(request: Request) -> None:
    request.data["period"] = ["2001-12-31", "2001-01-01"]


@case(
    "data.split leaves no step for validation: the data have 20 steps, 2001-01-01T00:00 to "
    "2001-01-20T00:00; choose other fractions or dates, or a smaller gap"
)
def empty_part_of_the_split(request: Request) -> None:
    request.data["split"] = {"train": 0.9, "validation": 0.01, "test": 0.09}


@case("data.split sums to 1.3: expected fractions that sum to at most 1")
def fractions_beyond_one(request: Request) -> None:
    request.data["split"] = {"train": 0.7, "validation": 0.3, "test": 0.3}


@case(
    "data.split: train and validation share 1 step, 2001-01-10T00:00 to 2001-01-10T00:00: "
    "expected dates that don't overlap"
)
def parts_that_overlap(request: Request) -> None:
    dates = {"train": ["2001-01-01", "2001-01-10"], "validation": ["2001-01-10", "2001-01-15"]}
    request.data["split"] = {**dates, "test": ["2001-01-16", "2001-01-20"]}
