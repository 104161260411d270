"""One experiment on this machine, on a host over SSH, and in a Slurm: the same run, brought home."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from engine.files import sha256
from engine.launch import api
from engine.launch.remote import submit
from engine.launch.remote.upload_heartbeat import UploadHeartbeat
from engine.launch.sites import Sites
from engine.runs import Run, Store
from tests.engine.launch.engine_processes import CHECKOUT, CommandLine, weights_of, write_spec
from tests.engine.launch.site_runs import declare, poll_until_ended, remote_folder

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.usefixtures("usual_threads")]
SHORT = {"epochs": 3, "batch_size": 7, "early_stopping": False}
ONE_EPOCH = ("--set", "training.epochs=1")
OF_THE_COPY = {"status/look.json", "status/fetch.json", "status/.fetch"}  # what a copy has besides


@pytest.mark.parametrize("processes", [1, 2])
def test_one_experiment_gives_the_same_run_on_all_kinds_of_target(processes, login, store, tmp_path, monkeypatch):
    declare(tmp_path, monkeypatch, login)
    path, engine = write_spec(tmp_path, training=SHORT), CommandLine(store.folder)
    runs = {}
    for kind in ("local", "slurm", "ssh"):
        nodes = processes if kind == "slurm" else 1
        settings = [f"launch.site={kind}", f"launch.processes={processes}", f"launch.nodes={nodes}"]
        settings += [f"launch.threads={(os.cpu_count() or 1) // processes}"]  # sums depend on the number of threads
        if (kind, processes) == ("ssh", 1):  # followed in the terminal, to its end
            answer = engine.json("train", str(path), *(word for each in settings for word in ("--set", each)))
            runs[kind] = Run(Path(answer["folder"]))
            assert (answer["state"], answer["scores"]) == ("done", runs[kind].scores())
            assert "training samples" in engine("logs", answer["run"])
        else:
            runs[kind] = engine.submit(path, *settings)
    for kind, run in runs.items():
        assert poll_until_ended(run).state == "done", (kind, run.status(), run.log.read_text())
    local = runs["local"]
    for kind in ("ssh", "slurm"):
        assert runs[kind].scores() == local.scores()
        assert files_of(runs[kind]) - OF_THE_COPY == files_of(local)
        for name, array in weights_of(local).items():
            np.testing.assert_array_equal(weights_of(runs[kind])[name], array)
        assert runs[kind].request.job
        epochs = [record["epoch"] for record in runs[kind].progress()[0] if "val_loss" in record]
        assert epochs == [1, 2, 3]  # besides, a slow machine reports within an epoch
        for name, facts in json.loads((runs[kind].folder / "results" / "manifest.json").read_text()).items():
            assert sha256(runs[kind].folder / "results" / name) == facts["sha256"]


def files_of(run: Run) -> set[str]:
    return {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch on this machine."""
    folder = tmp_path_factory.mktemp("trained")
    engine = CommandLine(folder / "runs")
    return Run(Path(engine.json("train", str(write_spec(folder, training=SHORT)), *ONE_EPOCH)["folder"]))


def uploaded(tmp_path: Path) -> dict[Path, int]:
    """Files of inputs on the site, and when each was written."""
    return {file: file.stat().st_mtime_ns for file in (tmp_path / "there" / "data").rglob("*") if file.is_file()}


def upload_again(run: Run) -> None:
    """Prepare another run of the same spec on its site, up to its start."""
    again = api.create(run.spec, Store(run.folder.parent))
    with UploadHeartbeat(again, str(again.request.token)) as sending:
        submit._prepare(again, Sites.read().named("ssh"), sending.token, sending)


def test_inputs_are_sent_once_and_weights_to_start_from_too(trained, sshd, store, tmp_path, monkeypatch):
    declare(tmp_path, monkeypatch, sshd)
    path, engine = write_spec(tmp_path, training=SHORT), CommandLine(store.folder)
    shutil.copytree(trained.folder, store.folder / trained.id)
    run = engine.submit(path, "launch.site=ssh", "launch.upload=true", f"training.start_from={trained.id}")
    assert poll_until_ended(run).state == "done", (run.status(), run.log.read_text())
    first = uploaded(tmp_path)
    upload_again(run)
    assert uploaded(tmp_path) == first
    (copy,) = first
    assert (copy.parent.name, copy.name) == (sha256(tmp_path / "hr.nc"), "hr.nc")
    here, there = xr.open_dataset(run.results), xr.open_dataset(trained.results)
    xr.testing.assert_identical(here["hr"].load(), there["hr"].load())
    assert run.spec.data.target.path == str(tmp_path / "hr.nc")  # as the user gave it


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_store_is_sent_once_and_read_there(version, trained, sshd, store, tmp_path, monkeypatch):
    declare(tmp_path, monkeypatch, sshd)
    path, engine = write_spec(tmp_path, training=SHORT), CommandLine(store.folder)
    with xr.open_dataset(tmp_path / "hr.nc") as field:
        field.drop_encoding().to_zarr(tmp_path / "hr.zarr", zarr_format=version, consolidated=False)
    settings = [f"data.target={{path: {tmp_path / 'hr.zarr'}}}", "training.epochs=1"]
    run = engine.submit(path, *settings, "launch.site=ssh", "launch.upload=true")
    assert poll_until_ended(run).state == "done", (run.status(), run.log.read_text())
    first = uploaded(tmp_path)
    upload_again(run)
    assert uploaded(tmp_path) == first
    (copy,) = (tmp_path / "there" / "data").glob("*/*")
    assert Run(remote_folder(tmp_path, run)).spec.data.target.path == str(copy)
    assert copy.name == "hr.zarr"
    assert run.scores() == trained.scores()  # of the same field, in NetCDF


def test_data_that_the_target_does_not_have_are_told_before_it_is_queued(login, store, tmp_path, monkeypatch):
    declare(tmp_path, monkeypatch, login)
    path, engine = write_spec(tmp_path, training=SHORT), CommandLine(store.folder)
    (tmp_path / "hr.nc").unlink()
    error = engine.json("submit", str(path), "--target", "slurm", code=2)["error"]
    assert error.startswith("on slurm: ")
    assert "hr.nc" in error
    assert login.command("squeue", "--noheader") == ""
    (run,) = store.runs()
    assert (run.status().state, run.status().reason) == ("failed", error)


def test_a_target_is_checked_step_by_step(login, store, tmp_path, monkeypatch):
    declare(tmp_path, monkeypatch, login)
    words = [sys.executable, "-m", "engine", "targets", "check", "slurm", "--json"]
    ended = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    steps = json.loads(ended.stdout)["steps"]
    names = ["login", "folder and Python", "packages", "Horovod", "scheduler", "engine"]
    assert [(step["step"], step["works"]) for step in steps] == [(name, True) for name in names]
    declare(tmp_path, monkeypatch, login, python="/nowhere/python")
    ended = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    last = json.loads(ended.stdout)["steps"][-1]
    assert (last["step"], last["works"]) == ("folder and Python", False)
    assert "fix prelude or python in the targets file" in last["mend"]
