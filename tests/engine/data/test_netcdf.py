"""NetCDF: threads that open, read, drop and write files at the same time don't get into each other's way."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from engine.data.netcdf import netcdf_file, open_netcdf, write_netcdf

# Without the lock of engine.data.netcdf this crashes (a segmentation fault) within the first second.
CROWD = """
import gc, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from engine.data.fields import open_field
from engine.data.file_summary import describe
from engine.data.netcdf import write_netcdf
from engine.spec import Source

folder = Path(sys.argv[1])
paths = sorted(folder.glob("*.nc"))

def visit(turn):
    path = paths[turn % len(paths)]
    summary = describe(str(path))
    field = open_field(Source(str(path), summary.variables[0].name))
    total = float(field.isel(time=turn % 3).sum())
    if turn % 5 == 0:
        gc.collect()
    if turn % 11 == 0:
        write_netcdf(field.to_dataset(name="t"), folder / f"copy_{turn}.out")
    return total

with ThreadPoolExecutor(8) as pool:
    totals = list(pool.map(visit, range(64)))
expected = [4 * (10 * (turn % 4) + turn % 3) for turn in range(64)]
assert totals == expected, (totals, expected)
"""

# HDF5 reads freed memory within some hundred turns where variables of strings are opened and closed.
IN_TURN = """
import random, sys
from pathlib import Path
from engine.data.netcdf import open_netcdf

paths, choose, held = sorted(Path(sys.argv[1]).glob("*.nc")), random.Random(0), []
for turn in range(600):
    if len(held) > choose.randint(0, 6):
        held.pop(choose.randrange(len(held))).close()
    else:
        held.append(open_netcdf(choose.choice(paths)))
        assert held[-1]["season"].values.tolist() == ["DJF", "été"]
"""


@pytest.mark.parametrize("has_strings", [False, True])
def test_files_with_text_are_opened_and_closed_in_any_order(tmp_path, has_strings):
    dataset = xr.Dataset(coords={"season": ["DJF", "été"], "product": ["hr", "lr"]})
    for number in range(8):
        if has_strings:
            dataset.to_netcdf(tmp_path / f"{number}.nc")
        else:
            write_netcdf(dataset, tmp_path / f"{number}.nc")
    done = subprocess.run([sys.executable, "-c", IN_TURN, tmp_path], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_crowd_of_threads_reads_what_is_there(tmp_path):
    lat = ("lat", [50.0, 51.0], {"units": "degrees_north"})
    lon = ("lon", [0.0, 1.0], {"units": "degrees_east"})
    times = ("time", np.array(["2001-01-01", "2001-01-02", "2001-01-03"], "datetime64[ns]"))
    for number in range(4):
        values = 10.0 * number + np.arange(3.0)[:, None, None] * np.ones((2, 2))
        data = {"t": (("time", "lat", "lon"), values, {"units": "K"})}
        write_netcdf(xr.Dataset(data, {"time": times, "lat": lat, "lon": lon}), tmp_path / f"{number}.nc")
    done = subprocess.run([sys.executable, "-c", CROWD, tmp_path], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_lazy_dataset_is_written_from_a_file_that_is_open(tmp_path):
    write_netcdf(xr.Dataset({"a": ("x", np.arange(1000.0))}), tmp_path / "in.nc")
    write_netcdf(open_netcdf(tmp_path / "in.nc"), tmp_path / "out.nc")
    with netcdf_file(tmp_path / "out.nc") as file:
        assert float(file["a"][:].sum()) == 499_500.0


def test_what_the_readers_raise_comes_through(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_netcdf(tmp_path / "nowhere.nc")
