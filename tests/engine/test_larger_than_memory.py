"""Data four times larger than the memory that the process may take: it trains to the end, and is scored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from engine.launch.local import ROOT, environment
from engine.runs import Run, Store
from engine.spec import Spec
from tests.engine.launch.engine_processes import TIMEOUT_S, no_processes_left

LIMIT = 5 * 2**28  # bytes, 1.25 GiB; a run that has next to no data allocates 0.75 GiB, thread stacks included
SIDE = 256
STEPS = 4 * LIMIT // (4 * SIDE**2) + 700  # of float32
AT_ONCE = 256
BATCH = 8
SPLIT = {"train": 0.97, "validation": 0.015, "test": 0.015}


def write_large(path: Path) -> None:
    """Waves that wander, every field another, a chunk for each."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    noise = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    with netCDF4.Dataset(path, "w") as file:
        for name, values, units in (
            ("time", np.arange(STEPS), "hours since 2001-01-01"),
            ("lat", 40 + 0.02 * np.arange(SIDE), "degrees_north"),
            ("lon", 0.02 * np.arange(SIDE), "degrees_east"),
        ):
            file.createDimension(name, len(values))
            axis = file.createVariable(name, "f8", (name,))
            axis.units, axis[:] = units, values
        field = file.createVariable("t2m", "f4", ("time", "lat", "lon"), chunksizes=(1, SIDE, SIDE))
        field.units = "K"
        for first in range(0, STEPS, AT_ONCE):
            steps = np.arange(first, min(first + AT_ONCE, STEPS), dtype=np.float32)[:, None]
            waves = np.sin(steps + y[:, 0] / 7)[:, :, None] + np.cos(steps / 3 + x[0] / 11)[:, None, :]
            field[first : first + len(steps)] = 280 + waves + noise


def work_with_limit(run: Run) -> subprocess.CompletedProcess[str]:
    """The run, in a process that `ulimit -d` keeps from allocating more than LIMIT; files it reads don't count."""
    command = f'ulimit -d {LIMIT // 1024} && exec "$0" -m engine work "$1"'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, str(run.folder)],
        cwd=ROOT,
        env=environment(os.environ, 1),
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT_S,
    )


@pytest.mark.slow
def test_data_four_times_larger_than_the_memory_limit_train_to_the_end(tmp_path):
    write_large(tmp_path / "large.nc")
    data = {"target": {"path": str(tmp_path / "large.nc")}, "scale": 8, "split": SPLIT, "patch_size": 64}
    plain = {
        "version": 1,
        "data": data,
        "model": {"n_filters": 2, "n_blocks": 1, "localized": False},
        "training": {"epochs": 1, "batch_size": BATCH},
    }
    run = Store(tmp_path / "runs").create(Spec.from_plain(plain), {})
    with no_processes_left(tmp_path):
        ended = work_with_limit(run)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "training samples, read ahead from the files" in ended.stdout
    last = run.latest()
    assert last["steps"] * BATCH * 4 * SIDE**2 > 4 * LIMIT  # HR fields of so many bytes have been read to train on
    assert (run.folder / "DONE").exists()
    assert set(run.scores()) == {"downscaled", "interpolated"}
    (tmp_path / "large.nc").unlink()  # 4 GiB are too much to be kept among the last tests' folders
