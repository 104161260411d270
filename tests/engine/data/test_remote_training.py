"""A run that trains from a server: over HTTP and from an S3-compatible store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from engine.runs import Run
from tests.engine.data.data_server import s3_environment, serving
from tests.engine.data.mock import make_field
from tests.engine.data.test_remote_data import write_zarr
from tests.engine.launch.engine_processes import CommandLine, no_processes_left


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "s3"])
def test_a_run_trains_from_a_server(tmp_path, monkeypatch, protocol):
    field = make_field(ny=16, nx=24, times=40)
    (tmp_path / "bucket").mkdir()
    write_zarr(tmp_path / "bucket" / "a.zarr", field)
    with serving(tmp_path) as server, no_processes_left(tmp_path):
        named = s3_environment(server)
        keys = [f"{name.lower()} = {named.pop(name)}\n" for name in list(named) if "KEY" in name]
        (tmp_path / "credentials").write_text("".join(["[default]\n", *keys]))  # runs see no keys of the environment
        for name, value in {**named, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}.items():
            monkeypatch.setenv(name, value)
        url = f"{server.url}/bucket/a.zarr" if protocol == "http" else "s3://bucket/a.zarr"
        spec = {
            "version": 1,
            "data": {"target": {"path": url}, "scale": 2},
            "model": {"n_filters": 4, "n_blocks": 1},
            "training": {"epochs": 1},
        }
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
        answer = CommandLine(tmp_path / "runs").json("train", str(tmp_path / "spec.yaml"))
    run = Run(Path(answer["folder"]))
    results = xr.load_dataset(run.results)
    np.testing.assert_array_equal(results["hr"], field["t2m"].sel(time=results["time"]))
    kept = [path for path in run.folder.rglob("*") if path.is_file()]
    assert not any(b"very-secret" in path.read_bytes() for path in kept)
    assert not any((tmp_path / "runs").rglob("*.zarr"))  # no copy of the store
