"""Baselines that `engine verify` fits to a run that lacks them are those that the run had; without data it says so."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr

from engine.cli import main
from engine.files import read_json, sha256, to_json
from tests.engine.launch.engine_processes import write_spec
from tests.engine.train_here import train_here

pytestmark = pytest.mark.slow


def test_an_old_run_gets_its_baselines(tmp_path, capsys):
    spec = write_spec(tmp_path, training={"epochs": 1, "batch_size": 14})
    run = train_here(spec, tmp_path / "runs")
    capsys.readouterr()
    with xr.open_dataset(run.baselines, engine="netcdf4") as file:
        before = file.load()
    scores = run.scores()
    run.baselines.unlink()
    without = {name: scores[name] for name in ("downscaled", "interpolated")}
    run.scores_file.write_text(to_json(without))  # as before there were any

    def verify() -> tuple[dict[str, Any], str]:
        assert main(["verify", run.id, "--store", str(tmp_path / "runs"), "--json"]) == 0
        answer = capsys.readouterr()
        return json.loads(answer.out)[run.id]["all"], answer.err

    products, notes = verify()
    assert "climatology" in products
    assert f"wrote {run.baselines}" in notes
    assert run.scores() == scores
    with xr.open_dataset(run.baselines, engine="netcdf4") as after:
        assert set(after.data_vars) == set(before.data_vars)
        for name in ("climatology", "nearest", "bias_corrected"):
            np.testing.assert_array_equal(after[name], before[name])
    assert read_json(run.scores_file.with_name("manifest.json"))["baselines.nc"]["sha256"] == sha256(run.baselines)

    run.baselines.unlink()
    gone = (tmp_path / "hr.nc").rename(tmp_path / "gone.nc")
    products, notes = verify()
    assert list(products) == ["interpolated", "downscaled"]
    assert "no baselines could be fitted: " in notes
    assert "hr.nc" in notes
    with xr.open_dataset(gone, engine="netcdf4") as file:
        (file.load() + 1).to_netcdf(tmp_path / "hr.nc", engine="netcdf4")
    products, notes = verify()
    assert list(products) == ["interpolated", "downscaled"]
    assert "aren't those of test.nc" in notes
