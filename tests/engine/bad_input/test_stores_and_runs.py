"""Stores and runs that can't be used: each refusal says what was given, what is expected, and what to do."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr

from engine.runs import Run, Store
from engine.spec import Spec
from tests.engine.bad_input.wrong_requests import Request


@pytest.fixture
def run(request_: Request, store: Path) -> Run:
    """A run that has not begun."""
    return Store(store).create(Spec.read(Path(request_.arguments[0])), {})


@pytest.fixture
def finished(run: Run) -> Run:
    (run.folder / "DONE").touch()
    return run


def test_the_store_is_a_file(request_, store, refused):
    store.write_text("not a folder")
    assert refused("train", *request_.arguments, "--store", str(store)) == (
        f"the store {store} can't be written (Not a directory): give another folder with --store or MESOSCOPE_STORE"
    )
    assert store.read_text() == "not a folder"


def test_the_store_lies_in_what_takes_no_folders(request_, refused):
    assert refused("train", *request_.arguments, "--store", "/proc/self/runs") == (
        "the store /proc/self/runs can't be written (No such file or directory): give another folder with --store or "
        "MESOSCOPE_STORE"
    )


@pytest.fixture
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that takes folders, but no content: on a small disk of its own where one can be mounted."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode == 0:
        (folder / "filler").write_bytes(bytes(16 * 1024))
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
        return

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    (folder / "filler").touch()
    yield folder


def test_the_disk_is_full(request_, full_disk, refused):
    assert refused("train", *request_.arguments, "--store", str(full_disk)) == (
        f"the store {full_disk} can't be written (No space left on device): the disk is full; free some space, or give "
        "another folder with --store"
    )
    assert [path.name for path in full_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("command", ["show", "logs", "cancel", "resume", "scores", "downscale"])
def test_a_run_that_is_not_there(command, run, store, refused, tmp_path):
    more = ["lr.nc", str(tmp_path / "out.nc")] if command == "downscale" else []
    message = f"no run 2019 in {store}: known are {run.id}"
    assert refused(command, "2019", *more, "--store", str(store)) == message


def test_a_run_in_a_store_that_is_empty(store, refused):
    message = f"no run 2019 in {store}: the store is empty; give --store, or train a run"
    assert refused("show", "2019", "--store", str(store)) == message


def test_a_name_that_means_two_runs(run, request_, store, refused):
    other = Store(store).create(Spec.read(Path(request_.arguments[0])), {})
    first, second = sorted([run.id, other.id], reverse=True)
    message = f"20 means 2 runs ({first}, {second}, …): give more of the id"
    assert refused("logs", "20", "--store", str(store)) == message


def test_scores_of_an_unfinished_run(run, store, refused):
    message = f"run {run.id} has no scores yet, it is queued: wait for its end, or resume it"
    assert refused("scores", run.id, "--store", str(store)) == message


@pytest.mark.parametrize("how", [[], ["--now"]])
def test_cancel_of_a_finished_run(how, finished, store, refused):
    message = f"run {finished.id} is done: there is nothing to cancel"
    assert refused("cancel", finished.id, *how, "--store", str(store)) == message
    assert not finished.cancel_file.exists()


def test_resume_of_a_finished_run(finished, store, refused):
    message = f"run {finished.id} is done: train a new one with training.start_from={finished.id} to go on"
    assert refused("resume", finished.id, "--store", str(store)) == message


def test_resume_of_a_run_that_waits(run, store, refused):
    message = f"run {run.id} is queued: cancel it first, or wait for its end"
    assert refused("resume", run.id, "--store", str(store)) == message


def test_start_from_a_run_without_weights(run, request_, store, refused):
    request_.set = [f"training.start_from={run.id}"]
    assert refused("train", *request_.arguments, "--store", str(store)) == (
        f"training.start_from is {run.id}, which is queued and has no trained weights: give a run that is done, or "
        "leave it empty"
    )
    assert [path.name for path in store.iterdir()] == [run.id]


def test_log_scaling_of_what_is_negative_on_a_day_that_check_does_not_look_at(request_, store, refused):
    path = request_.here / request_.data["target"]["path"]
    dataset = xr.load_dataset(path)
    values = dataset["t2m"]
    values[3, 2, 2] = -7.5
    dataset.to_netcdf(path)
    request_.data["scaling"] = "log"
    assert refused("train", *request_.arguments, "--store", str(store)) == (
        "t2m falls to -7.5, but data.scaling log needs values from 0 on: choose standard"
    )
    assert not store.exists() or not list(store.iterdir())
