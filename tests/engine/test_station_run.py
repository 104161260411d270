"""A run with stations through the command line: checked, trained, verified at withheld ones, applied with new ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from engine.cli import main
from engine.runs import Run
from tests.engine.data.mock import write_field
from tests.engine.launch.engine_processes import CommandLine, no_processes_left

pytestmark = pytest.mark.slow
CELLS = {"a": (1, 1), "b": (2, 20), "c": (10, 3), "d": (12, 18), "e": (13, 19), "f": (7, 12)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of few steps; each station measures a cell, and c is one kelvin too warm."""
    folder = tmp_path_factory.mktemp("data")
    write_field(folder / "hr.nc", ny=16, nx=24, times=60)
    with xr.open_dataset(folder / "hr.nc") as file:
        hr = file["t2m"].load()
    rows = ["id,lat,lon,altitude_m,date,t2m (K)"]
    for name, (y, x) in CELLS.items():
        lat, lon = float(hr["lat"][y]), float(hr["lon"][x])
        for step, when in zip(hr[:, y, x].values + (name == "c"), hr["time"].values, strict=True):
            rows.append(f"{name},{lat},{lon},{100 * y},{str(when)[:10]},{step}")
    (folder / "stations.csv").write_text("\n".join(rows))
    spec = {
        "version": 1,
        "data": {"target": {"path": "hr.nc"}, "scale": 2, "stations": {"path": "stations.csv"}},
        "model": {"n_filters": 4, "n_blocks": 1, "upsampling": "implicit", "localized": False, "scales": [2, 4]},
        "training": {"epochs": 2, "learning_rate": 0.01},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    with no_processes_left(folder):
        line = CommandLine(folder / "runs")
        notes = line.json("check", str(folder / "spec.yaml"))["notes"]
        assert "data.stations: 6 of 6 stations are used; 0.0% of their values at the steps of HR are missing" in notes
        return Run(Path(line.json("train", str(folder / "spec.yaml"))["folder"]))


def stations_of(run: Run) -> str:
    return str(run.folder.parent.parent / "stations.csv")


def command(run: Run, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    main([*words, "--json", "--store", str(run.folder.parent)])
    return json.loads(capsys.readouterr().out)


def test_verify_scores_each_station_without_its_fold(run, capsys):
    assert "withheld.nc" in json.loads((run.results.parent / "manifest.json").read_text())
    found = command(run, capsys, "verify", run.id, "--stations", stations_of(run))[run.id]["stations"]
    assert {"downscaled", "without_stations", "kriging", "downscaled_at_height", "lr_at_height"} < set(found["all"])
    assert "what is downscaled at one is made without those of its fold, of 5" in "".join(found["notes"])
    biases = {name: station["scores"]["hr"]["bias"] for name, station in found["each"].items()}
    assert biases == pytest.approx({name: -1.0 if name == "c" else 0.0 for name in CELLS}, abs=1e-4)


@pytest.mark.parametrize("words", [(), ("--scale", "2")], ids=["own grid", "any scale"])
def test_new_lr_is_downscaled_with_stations_and_without(run, words, tmp_path, capsys):
    lr, out = str(tmp_path / "lr.nc"), str(tmp_path / "out.nc")
    with xr.open_dataset(run.results, engine="netcdf4") as results:
        expected = results["downscaled"].load()
        results["lr"].rename(y_lr="lat", x_lr="lon").rename("t2m").to_netcdf(lr)
    given = ("downscale", run.id, lr, out, "--overwrite", *words)
    notes = command(run, capsys, *given, "--stations", stations_of(run))["notes"]
    assert "--stations: 6 of 6 stations are used; 0.0% of their values at the steps of HR are missing" in notes
    with xr.open_dataset(out) as file:
        np.testing.assert_allclose(file["downscaled"], expected, atol=2e-3)
    assert "no stations are given: fields are made without them" in command(run, capsys, *given)["notes"]
    with xr.open_dataset(out) as file:
        assert np.abs(file["downscaled"].values - expected.values).max() > 2 * 2e-3
