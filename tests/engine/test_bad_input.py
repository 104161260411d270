"""Wrong requests through the command line: each says what was given, what is expected, and how to mend it.

A case prepares a request that is right but for one thing, and gives the message word by word. In it {here} stands
for the folder of the spec and its data.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from engine.cli import main
from engine.launch import local
from engine.runs import Run, Store
from engine.spec import Spec
from tests.engine.data.mock import make_field, steps, write_field

CHECKOUT = Path(__file__).parents[2]
HR = {"ny": 16, "nx": 16, "dy": 0.25, "dx": 0.25}  # lat 40 to 43.75, lon 0 to 3.75, 20 days from 2001-01-01 on
LR = {"ny": 6, "nx": 6, "south": 39.5, "west": -0.5, "dy": 1.0, "dx": 1.0}  # around it


@dataclass
class Request:
    """A folder with data and a spec, both right as long as nobody changes them."""

    here: Path

    def __post_init__(self) -> None:
        self.field("hr.nc", **HR)
        self.data: dict[str, Any] = {"target": {"path": "hr.nc"}, "scale": 4}
        self.sections: dict[str, Any] = {"version": 1}
        self.set: list[str] = []
        self.text: str | None = None  # of the spec, in place of the above

    def field(self, file: str, /, **what: Any) -> None:
        write_field(self.here / file, **what)

    def file(self, name: str, dataset: xr.Dataset) -> None:
        dataset.to_netcdf(self.here / name)

    def mos(self, **lr: Any) -> None:
        """Make it a MOS spec with an LR field that fits but for what is named."""
        self.field("lr.nc", **{**LR, **lr})
        self.data |= {"pairing": "mos", "lr": {"path": "lr.nc"}}

    @property
    def arguments(self) -> list[str]:
        spec = self.here / "spec.yaml"
        if self.text is None:
            spec.write_text(yaml.safe_dump({**self.sections, "data": self.data}))
        elif self.text:
            spec.write_text(self.text)
        return [str(spec), *(word for setting in self.set for word in ("--set", setting))]


CASES: dict[str, tuple[Callable[[Request], object], str]] = {}


def case(message: str) -> Callable[[Callable[[Request], object]], Callable[[Request], object]]:
    def register(change: Callable[[Request], object]) -> Callable[[Request], object]:
        CASES[change.__name__] = change, message
        return change

    return register


# Files


@case("{here}/hrr.nc doesn't exist: expected a file, a glob with a match, or a Zarr store; did you mean 'hr.nc'?")
def file_missing(request: Request) -> None:
    request.data["target"]["path"] = "hrr.nc"


@case("{here}/tas_*.nc doesn't exist: expected a file, a glob with a match, or a Zarr store")
def glob_without_a_match(request: Request) -> None:
    request.data["target"]["path"] = "tas_*.nc"


@case("{here}/hr.nc is neither NetCDF nor GRIB: expected a NetCDF file, a GRIB file or a Zarr store")
def not_netcdf(request: Request) -> None:
    (request.here / "hr.nc").write_text("time,lat,lon,t2m\n")


@case("{here}/hr.nc is empty: expected a NetCDF file, a GRIB file or a Zarr store")
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
    "t2m in {here}/hr.nc has no time dimension, only (lat, lon): expected time, y and x; list a"
    " field without time under data.static"
)
def no_time_dimension(request: Request) -> None:
    request.field("hr.nc", **HR, times=0)


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
    "t2m in {here}/hr.nc has 2 values along level: expected a field over time, y and x; select "
    "one first (CDO: cdo sellevel,…; Python: dataset.isel(level=0).to_netcdf(…))"
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


@case("there is 1 step, 2001-01-01T00:00 to 2001-01-01T00:00: expected enough to train, validate and test; add files")
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
    "t2m in {here}/hr.nc, with dimensions (time, j, i), is on a curvilinear grid (2-D "
    "coordinates lat, lon): expected 1-D coordinates; remap it to latitude and longitude first "
    "(CDO: cdo remapbil,…; Python: xESMF)"
)
def curvilinear_grid(request: Request) -> None:
    flat = make_field(**HR).rename_dims(lat="j", lon="i")
    lat, lon = xr.broadcast(flat["lat"], flat["lon"])
    request.file("hr.nc", flat.drop_vars(["lat", "lon"]).assign_coords(lat=lat, lon=lon))


@case(
    "t2m in {here}/hr.nc, with dimensions (time, row, column), has no coordinate along y: "
    "expected 1-D latitude and longitude, or projected x and y, named so or with CF attributes "
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
    "data.target, or say what the file means with units: beside its path:"
)
def units_incompatible(request: Request) -> None:
    request.mos(units="hPa")


@case("data.lr has no units, but has to be comparable with 'K': give units: beside its path:")
def units_absent(request: Request) -> None:
    request.mos(units=None)


@case(
    "data.lr is in 'bananas', data.target in 'K', and at least one of these isn't a CF unit: "
    "say what is meant with units: beside the path:, as in 'K' or 'mm day-1'"
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
    "data.target has the calendar standard, data.lr has noleap: expected one calendar; convert "
    "one first (Python: dataset.convert_calendar)"
)
def calendars_that_differ(request: Request) -> None:
    request.mos(times=steps(calendar="noleap"))


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


# Options


@case("{here}/spec.yaml does not exist: give the path of a spec, a YAML file")
def spec_missing(request: Request) -> None:
    request.text = ""


@case(
    "{here}/spec.yaml is not YAML (line 3: expected ',' or '}}', but got '<stream end>'): "
    "expected lines such as 'training: {{epochs: 30}}'"
)
def yaml_broken(request: Request) -> None:
    request.text = "version: 1\ndata: {target: {path: hr.nc}\n"


@case(
    "{here}/spec.yaml is not YAML (line 5 gives epochs a second time): expected lines such as "
    "'training: {{epochs: 30}}'"
)
def yaml_key_twice(request: Request) -> None:
    request.text = "version: 1\ndata: {target: {path: hr.nc}, scale: 4}\ntraining:\n  epochs: 3\n  epochs: 30\n"


@case("the spec is list: expected a mapping with version, data, model, training, launch")
def spec_is_a_list(request: Request) -> None:
    request.text = "- version: 1\n"


@case("version is 2: expected version: 1")
def version_unknown(request: Request) -> None:
    request.sections["version"] = 2


@case("trainig is not a section: did you mean 'training'?")
def unknown_section(request: Request) -> None:
    request.sections["trainig"] = {"epochs": 3}


@case("training.epoch is not an option: did you mean 'epochs'?")
def unknown_key(request: Request) -> None:
    request.sections["training"] = {"epoch": 3}


@case("training.epochs is True: expected a whole number from 1 to 100000 (epochs)")
def boolean_for_a_number(request: Request) -> None:
    request.sections["training"] = {"epochs": True}


@case("training.learning_rate is 'fast': expected a number above 0, at most 1")
def text_for_a_number(request: Request) -> None:
    request.sections["training"] = {"learning_rate": "fast"}


@case("model is 3: expected a mapping of options")
def number_for_a_section(request: Request) -> None:
    request.sections["model"] = 3


@case("model.backbone is 'resnett': expected one of resnet, convnet, densenet, convnext, unet; did you mean 'resnet'?")
def word_not_in_the_list(request: Request) -> None:
    request.sections["model"] = {"backbone": "resnett"}


@case("data.scale is 1: expected a whole number from 2 to 64 (HR cells per LR cell)")
def scale_of_one(request: Request) -> None:
    request.data["scale"] = 1


@case("data.scale is missing: give the HR cells per LR cell, a whole number from 2 to 64")
def scale_not_given(request: Request) -> None:
    del request.data["scale"]


@case("data.target is missing: expected a mapping {{path: file, glob, list of files or Zarr store, variable: name}}")
def target_not_given(request: Request) -> None:
    del request.data["target"]


@case("data.lr is missing: pairing mos needs the LR field; give data.lr, or choose perfect-prog")
def mos_without_lr(request: Request) -> None:
    request.data["pairing"] = "mos"


@case("--set epochs=3: expected section.option=value, as in training.epochs=30")
def setting_without_a_section(request: Request) -> None:
    request.set = ["epochs=3"]


@case("--set training.epochs: expected section.option=value, as in training.epochs=30")
def setting_without_a_value(request: Request) -> None:
    request.set = ["training.epochs"]


@case("training.epochs is 0: expected a whole number from 1 to 100000 (epochs)")
def setting_beyond_the_bounds(request: Request) -> None:
    request.set = ["training.epochs=0"]


@case("data.time_window is 2: expected an odd number, centred on the time step")
def even_time_window(request: Request) -> None:
    request.data["time_window"] = 2


@case("data.patch_size is 10: expected a multiple of scale 4, at least 8, or 0 for whole fields")
def patch_size_no_multiple_of_the_scale(request: Request) -> None:
    request.data["patch_size"] = 10
    request.sections["model"] = {"localized": False}


@case("data.patch_size is 32, but HR has 16 × 16 cells: expected at most 16, or 0 for whole fields")
def patch_larger_than_the_grid(request: Request) -> None:
    request.data["patch_size"] = 32
    request.sections["model"] = {"localized": False}


@case(
    "model.localized is true, but data.patch_size is 8: a localized block has weights for each "
    "cell of the whole grid; set model.localized=false, or data.patch_size=0"
)
def localized_with_patches(request: Request) -> None:
    request.data["patch_size"] = 8


@case("no run 20200101 in {store}: the store is empty; give --store, or train a run")
def start_from_an_unknown_run(request: Request) -> None:
    request.sections["training"] = {"start_from": "20200101"}


@case("launch.site is 'lokal', which is not known: did you mean 'local'?")
def launch_target_unknown(request: Request) -> None:
    request.sections["launch"] = {"site": "lokal"}


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    here = tmp_path / "here"
    here.mkdir()
    return Request(here)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gets as far as starting a run was not refused."""

    def started(run: Any, **_: Any) -> None:
        raise AssertionError(f"{run.id} was started")

    monkeypatch.setattr(local, "start", started)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command with and without --json; returns its message once both have answered as they should."""

    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        plain = capsys.readouterr()
        assert plain.out == ""
        assert main([*arguments, "--json"]) == 2
        told = capsys.readouterr()
        assert told.err == plain.err
        message = json.loads(told.out)
        assert list(message) == ["error"]
        assert plain.err == f"error: {message['error']}\n"
        return message["error"]

    return run


@pytest.mark.parametrize("name", CASES)
def test_refused_before_a_run_is_made(name, request_, store, refused):
    change, message = CASES[name]
    change(request_)
    assert refused("train", *request_.arguments, "--store", str(store)) == message.format(
        here=request_.here, store=store
    )
    assert not store.exists() or not list(store.iterdir())


def test_the_request_is_right_without_a_change(request_, store, capsys):
    with pytest.raises(AssertionError, match="was started"):
        main(["train", *request_.arguments, "--store", str(store)])
    request_.mos()
    assert main(["check", *request_.arguments]) == 0


BEYOND_CHECK = ("launch_target_unknown",)  # it needs no data


@pytest.mark.parametrize("name", [name for name in CASES if name not in BEYOND_CHECK])
def test_check_says_the_same(name, request_, store, refused):
    change, message = CASES[name]
    change(request_)
    assert refused("check", *request_.arguments, "--store", str(store)) == message.format(
        here=request_.here, store=store
    )


# The store and its runs


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


# As a process of its own

PROCESSES = ("file_missing", "not_netcdf", "yaml_broken", "unknown_key", "no_common_times")


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_refused_by_a_real_process(name, flags, request_, store):
    change, message = CASES[name]
    change(request_)
    command = [sys.executable, "-m", "engine", "train", *request_.arguments, "--store", str(store), *flags]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    expected = message.format(here=request_.here, store=store)
    assert ended.returncode == 2
    assert ended.stderr == f"error: {expected}\n"
    assert (json.loads(ended.stdout) if flags else ended.stdout) == ({"error": expected} if flags else "")
    assert not store.exists()
