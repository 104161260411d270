"""Online learning: a run goes on from another with new time steps."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from engine import run as engine_run
from engine.data.normalizer import Normalizer
from engine.data.pairs import pair
from engine.data.samples import Samples
from engine.errors import MesoscopeError
from engine.runs import Run, Store
from engine.spec import Spec
from engine.update import updated_spec
from tests.engine.data.mock import steps, write_field
from tests.engine.launch.engine_processes import CommandLine, write_spec
from tests.engine.train_here import train_here

NEW = "2001-02-10"  # the day after the 40 of `write_spec`
# By the default split of 40 days, 28, 6 and 6 of them; of 20 new ones, rint(0.7 × 20), rint(0.85 × 20) and 20 end them.
SPLIT = {
    "train": [["2001-01-01T00:00:00", "2001-01-28T00:00:00"], ["2001-02-10T00:00:00", "2001-02-23T00:00:00"]],
    "validation": [["2001-01-29T00:00:00", "2001-02-03T00:00:00"], ["2001-02-24T00:00:00", "2001-02-26T00:00:00"]],
    "test": [["2001-02-04T00:00:00", "2001-02-09T00:00:00"], ["2001-02-27T00:00:00", "2001-03-01T00:00:00"]],
}


def write_new(folder: Path, times: int = 20, start: str = NEW) -> str:
    return str(write_field(folder / "new.nc", ny=8, nx=12, times=steps(times, start=start), missing=0.2, seed=0))


def made(folder: Path, **data: object) -> Run:
    spec = Spec.read(write_spec(folder)).replace(data=data) if data else Spec.read(write_spec(folder))
    return Store(folder / "runs").create(spec, {})


def test_new_steps_are_divided_and_added_to_the_parts_of_the_run(tmp_path):
    run = made(tmp_path)
    spec = updated_spec(run, [write_new(tmp_path)], (), ())
    assert spec.data.split.plain() == SPLIT
    assert Spec.from_yaml(spec.to_yaml()) == spec
    parts = pair(spec.data).parts
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [42, 9, 9]
    np.testing.assert_array_equal(parts.test, [34, 35, 36, 37, 38, 39, 57, 58, 59])
    assert spec.training.start_from == run.id
    assert (spec.training.epochs, spec.training.learning_rate) == (30, pytest.approx(0.0006))  # a quarter; 0.3 × 0.002


def test_the_gap_of_the_run_is_kept_around_new_parts_too(tmp_path):
    run = made(tmp_path, split={"train": 0.7, "validation": 0.15, "test": 0.15, "gap": 1})
    spec = updated_spec(run, [write_new(tmp_path)], (), ())
    parts = pair(spec.data).parts
    assert not {27, 33, 40, 53, 56} & {*parts.train, *parts.validation}  # beside a later, or an earlier test step
    assert len(parts.test) == 9


@pytest.mark.parametrize(
    ("times", "start", "lr", "message"),
    [
        (6, NEW, (), "the new files have 6 time steps after the last one of the run: expected at least 7"),
        (20, NEW, ("lr.nc",), "--lr and 0 of --predictor given: run .* has no data.lr and 0 predictors"),
    ],
)
def test_what_does_not_fit_the_run_is_refused(tmp_path, times, start, lr, message):
    run = made(tmp_path)
    with pytest.raises(MesoscopeError, match=message):
        updated_spec(run, [write_new(tmp_path, times, start)], lr, ())


@pytest.mark.slow
def test_an_update_says_what_came_of_it_and_keeps_the_run(tmp_path):
    engine = CommandLine(tmp_path / "runs")
    spec = write_spec(tmp_path, training={"epochs": 4, "batch_size": 7})
    run = train_here(spec, tmp_path / "runs")
    weights = run.best.read_bytes()
    answer = engine.json("update", run.id, write_new(tmp_path), "--set", "training.epochs=1")
    updated = Run(Path(answer["folder"]))
    assert (answer["state"], updated.title, run.best.read_bytes()) == ("done", f"{run.title}, updated", weights)
    with (
        xr.open_dataset(run.results, engine="netcdf4") as old,
        xr.open_dataset(updated.results, engine="netcdf4") as results,
        xr.open_dataset(updated.baselines, engine="netcdf4") as baselines,
    ):
        before = baselines["start_run"].load()
        np.testing.assert_allclose(before[:6], old["downscaled"], rtol=1e-5)  # as it downscaled them itself
        errors = {"before": before - results["hr"], "after": results["downscaled"] - results["hr"]}
        for name, error in errors.items():
            rmse = np.sqrt((error.astype(float) ** 2).mean(("y", "x")))
            assert answer["rmse"]["old"][name] == pytest.approx(float(rmse[:6].mean()), rel=1e-5)
            assert answer["rmse"]["new"][name] == pytest.approx(float(rmse[6:].mean()), rel=1e-5)
    assert "run it started from" in engine("scores", updated.id)
    shutil.rmtree(run.folder)
    pairs, normalizer = pair(updated.spec.data), Normalizer.load(updated.normalizer_file)
    engine_run.add_baselines(updated, pairs, Samples.of(updated.spec, pairs, normalizer, pairs.parts.test), "linear")
    with xr.open_dataset(updated.baselines, engine="netcdf4") as baselines:
        assert "nearest" in baselines
        assert "start_run" not in baselines
