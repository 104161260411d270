"""A run of several networks is as good as runs of each of them, whether it was stopped or not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from engine.launch.local import ROOT, environment
from engine.runs import Run, Store
from engine.training import checkpoints
from tests.engine.data.mock import write_field
from tests.engine.launch.engine_processes import TIMEOUT_S, CommandLine, no_processes_left

pytestmark = pytest.mark.slow

EPOCHS, STEPS = 2, 4  # 28 training days (0.7 of 40) in batches of 7


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_field(folder / "hr.nc", ny=8, nx=12, times=40)
    plain = {
        "version": 1,
        "data": {"target": {"path": "hr.nc"}, "scale": 2},
        "model": {"n_filters": 4, "n_blocks": 1},
        "training": {"epochs": EPOCHS, "batch_size": 7, "ensemble": 2, "seed": 5, "early_stopping": False},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(plain))
    return folder / "spec.yaml"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(tmp_path_factory.mktemp("runs"))


def train(engine: CommandLine, spec: Path, *settings: str) -> Run:
    with no_processes_left(engine.store):
        answer = engine.json("train", str(spec), *(word for each in settings for word in ("--set", each)))
    return Run(Path(answer["folder"]))


@pytest.fixture(scope="module")
def ensemble(engine: CommandLine, spec: Path) -> Run:
    return train(engine, spec)


def weights(path: Path) -> list[bytes]:
    return [array.tobytes() for array in checkpoints.load(path)[0]["weights"].values()]


def results(run: Run) -> xr.Dataset:
    with xr.open_dataset(run.results) as file:
        return file.load()


def test_its_networks_are_those_of_single_runs_and_its_field_is_their_mean(engine, spec, ensemble):
    single = [train(engine, spec, "training.ensemble=1", f"training.seed={seed}") for seed in (5, 6)]
    assert weights(ensemble.best_of(0)) != weights(ensemble.best_of(1))
    assert [weights(ensemble.best_of(number)) for number in range(2)] == [weights(run.best) for run in single]
    fields, found = np.stack([results(run)["downscaled"] for run in single]), results(ensemble)
    np.testing.assert_allclose(found["downscaled"], fields.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["spread"], fields.std(axis=0, ddof=1), rtol=1e-3, atol=1e-4)
    document: Any = ensemble.scores()
    assert document["ensemble"]["members"] == 2
    assert "ensemble" not in single[0].scores()


def test_its_progress_goes_on_from_network_to_network(ensemble):
    records, _ = ensemble.progress()
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    validated = [record for record in records if "val_loss" in record]
    assert [record["epoch"] for record in validated] == [1, 2, 3, 4]
    assert {record["epochs"] for record in records} == {4}
    elapsed = [record["elapsed_s"] for record in records]
    assert elapsed == sorted(elapsed)
    assert records[-1]["eta_s"] == 0


def test_it_ends_with_the_same_weights_when_it_was_stopped(ensemble, tmp_path):
    """In the first network, between both, and in the second."""
    script, store = Path(__file__).with_name("stop_and_resume.py"), tmp_path / "runs"
    moments = [3, EPOCHS * STEPS, EPOCHS * STEPS + 5]
    command = [sys.executable, str(script), str(ensemble.spec_file), str(store), *map(str, moments)]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(os.environ, 1), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ended.returncode == 0, ended.stderr
    runs = Store(store).runs()
    assert len(runs) == len(moments)
    for run in runs:
        assert [weights(run.best_of(n)) for n in range(2)] == [weights(ensemble.best_of(n)) for n in range(2)]
        assert run.scores() == ensemble.scores()
        epochs = [record["epoch"] for record in run.progress()[0] if "val_loss" in record]
        assert epochs == [1, 2, 3, 4]


def test_it_downscales_with_all_of_its_networks(engine, ensemble, tmp_path):
    found = results(ensemble)
    lr = found["lr"].rename(y_lr="lat", x_lr="lon").rename("t2m")
    lr.to_netcdf(tmp_path / "lr.nc")
    engine.json("downscale", ensemble.id, str(tmp_path / "lr.nc"), str(tmp_path / "out.nc"))
    with xr.open_dataset(tmp_path / "out.nc") as again:
        for name in ("downscaled", "spread"):
            np.testing.assert_allclose(again[name], found[name], rtol=1e-5, atol=1e-4)


def test_it_downscales_nothing_until_all_are_trained(engine, ensemble, tmp_path):
    half = Run(tmp_path / "runs" / ensemble.id)
    shutil.copytree(ensemble.folder, half.folder)
    half.best_of(1).unlink()
    answer = CommandLine(half.folder.parent).json("downscale", half.id, str(ensemble.results), "out.nc", code=1)
    assert f"run {half.id} has weights of 1 of 2 networks" in answer["error"]
