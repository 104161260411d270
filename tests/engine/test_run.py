"""One run from end to end: what it writes, how it answers, and that it can be stopped anywhere."""

from __future__ import annotations

import hashlib
import json
import math
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

from engine import run as engine_run
from engine.cli import main
from engine.files import read_json
from engine.launch.local import ROOT, environment
from engine.runs import Run, Store, describe_error
from engine.spec import RENAMED, Spec
from tests.engine.data.mock import write_field
from tests.engine.launch.engine_processes import TIMEOUT_S, CommandLine, end_of, no_processes_left, weights_of

EPOCHS = 3
STEPS = 4  # of an epoch: 28 training days (0.7 of 40) in batches of 7


def write_spec(folder: Path, **training: Any) -> Path:
    write_field(folder / "hr.nc", ny=8, nx=12, times=40, missing=0.2)
    spec = {
        "version": 1,
        "data": {"target": {"path": "hr.nc"}, "scale": 2},
        "model": {"n_filters": 4, "n_blocks": 1, "normalization": "batch", "dropout_rate": 0.2},
        "training": {"epochs": EPOCHS, "batch_size": 7, "ema": 0.9, **training},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    return folder / "spec.yaml"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def answer(engine: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `train --json` says of a whole run."""
    spec = write_spec(tmp_path_factory.mktemp("data"))
    with no_processes_left(engine.store):
        return engine.json("train", str(spec), "--set", "launch.title=small")


@pytest.fixture(scope="module")
def run(answer: dict[str, Any]) -> Run:
    return Run(Path(answer["folder"]))


@pytest.mark.slow
def test_train_answers_with_state_and_scores(answer, run, engine):
    assert answer == {
        "run": run.id,
        "folder": str(engine.store / run.id),
        "state": "done",
        "reason": "",
        "scores": run.scores(),
    }
    assert "-small-" in run.id


@pytest.mark.slow
def test_the_run_folder_holds_what_it_should_and_nothing_else(run):
    files = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert files == {
        "DONE",
        "spec.yaml",
        "request.json",
        "progress.jsonl",
        "log.txt",
        "status/.launch",
        "status/launcher.jsonl",
        "status/rank-0.json",
        "checkpoints/last.npz",
        "checkpoints/best.npz",
        "checkpoints/scaling.nc",
        "results/test.nc",
        "results/baselines.nc",
        "results/scores.json",
        "results/verification.nc",
        "results/manifest.json",
    }
    last = max(run.folder.rglob("*.*"), key=lambda path: path.stat().st_mtime_ns)
    assert last.name in ("rank-0.json", "launcher.jsonl")  # only these are written after DONE
    manifest = json.loads((run.folder / "results" / "manifest.json").read_text())
    assert manifest == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name in ("baselines.nc", "scores.json", "test.nc", "verification.nc")
        for content in [(run.folder / "results" / name).read_bytes()]
    }
    assert [record.event for record in run.launches()] == ["submitted", "started", "ended"]


@pytest.mark.slow
def test_the_spec_of_a_run_is_complete_and_makes_the_same_run_again(run):
    plain = yaml.safe_load((run.folder / "spec.yaml").read_text())
    assert plain == Spec.from_plain(plain).plain()
    assert plain["launch"]["title"] == "small"
    assert Path(plain["data"]["target"]["path"]).is_absolute()
    request = read_json(run.request_file)
    (described,) = request["inputs"]
    target = Path(described["path"])
    assert described["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert run.request.target == "local"
    assert request["versions"]["tensorflow"].startswith("2.21")


@pytest.mark.slow
def test_results_hold_the_test_part_on_both_grids(run):
    results = xr.load_dataset(run.results)
    original = xr.load_dataset(run.spec.data.target.path)["t2m"]
    # 40 days: 28 train (0.7), 6 validate (0.15), 6 test
    np.testing.assert_array_equal(results["time"], original["time"][34:])
    np.testing.assert_array_equal(results["hr"], original[34:])
    assert {name: results[name].dims for name in results.data_vars} == {
        "hr": ("time", "y", "x"),
        "interpolated": ("time", "y", "x"),
        "downscaled": ("time", "y", "x"),
        "lr": ("time", "y_lr", "x_lr"),
        "rmse_downscaled": ("y", "x"),
        "rmse_interpolated": ("y", "x"),
    }
    assert results["lr"].shape == (6, 4, 6)
    assert {results[name].attrs["units"] for name in results.data_vars} == {"K"}
    gaps = np.isnan(original.values[34:])
    for name in ("downscaled", "interpolated"):
        np.testing.assert_array_equal(np.isnan(results[name]), gaps)  # the same cells are missing at all times
    error = results["downscaled"].values.astype(float) - original.values[34:]
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(results["rmse_downscaled"], np.sqrt((error**2).mean(0)), rtol=1e-5)
    mae = run.scores()["downscaled"]["mae"]
    daily = np.nanmean(np.abs(error), axis=(1, 2))
    assert mae == pytest.approx({"mean": daily.mean(), "std": daily.std()}, rel=1e-5)


@pytest.mark.slow
def test_progress_tells_every_epoch_once(run):
    records, _ = run.progress()
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    closed = [record for record in records if "val_loss" in record]
    assert [record["epoch"] for record in closed] == [1, 2, 3]
    assert {record["steps"] for record in records} == {STEPS}
    assert all(math.isfinite(record["loss"]) and record["val_rmse"] > 0 for record in closed)
    assert records[-1]["eta_s"] == 0


@pytest.mark.slow
def test_commands_that_ask_about_a_run(run, engine, capsys):
    def ask(*words: str) -> str:
        assert main([*words, "--store", str(engine.store)]) == 0
        return capsys.readouterr().out

    assert json.loads(ask("runs", "--json"))["runs"] == [
        {"run": run.id, "title": "small", "state": "done", "reason": "", "epoch": "3/3"}
    ]
    assert ask("show", run.id).startswith(f"{run.id}: done\nin {run.folder}\n")
    assert json.loads(ask("show", "small", "--json"))["scores"] == run.scores()
    assert "28 training samples, in memory" in ask("logs", run.id)
    assert json.loads(ask("scores", run.id, "--json")) == {run.id: run.scores()}
    mae = run.scores()["downscaled"]["mae"]
    cell = f"{mae['mean']:.3f} ± {mae['std']:.3f}"  # three significant digits of the largest mean, below one
    assert ask("scores", run.id).splitlines()[1].startswith(f"small                   {cell}  ")
    assert ask("scores", run.id, "--csv").splitlines()[1].startswith(f"small,{mae['mean']},{mae['std']},")
    assert cell.replace("±", r"$\pm$") + " & " in ask("scores", run.id, "--latex")


@pytest.mark.slow
def test_a_run_that_fails_ends_with_1_and_says_why(engine, tmp_path):
    spec = write_spec(tmp_path, loss="mse")
    field = xr.load_dataset(tmp_path / "hr.nc")
    (field * 1e25).assign_attrs(field.attrs).to_netcdf(tmp_path / "hr.nc")  # squared beyond float32
    with no_processes_left(engine.store):
        answer = engine.json("train", str(spec), "--set", "data.scaling=none", code=1)
    assert (answer["state"], answer["scores"]) == ("failed", None)
    assert answer["reason"] == (
        "the loss is nan in epoch 1: lower training.learning_rate (now 0.002), or look for values in the data that "
        "can't be"
    )
    failed = Run(Path(answer["folder"]))
    assert not (failed.folder / "DONE").exists()
    assert "Traceback" not in failed.log.read_text()


@pytest.mark.slow
def test_a_run_stopped_after_any_step_ends_with_the_same_weights(run, tmp_path):
    """Before the first step, within an epoch, at its end, and before the last step: every epoch has 4."""
    script, store = Path(__file__).with_name("stop_and_resume.py"), tmp_path / "runs"
    command = [sys.executable, str(script), str(run.folder / "spec.yaml"), str(store), "0", "2", "4", "11"]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(os.environ, 1), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ended.returncode == 0, ended.stderr
    expected = [array.tobytes() for array in weights_of(run).values()]
    runs = Store(store).runs()
    assert len(runs) == 4
    for stopped in runs:
        assert [array.tobytes() for array in weights_of(stopped).values()] == expected
        assert stopped.scores() == run.scores()


def test_a_run_stops_when_asked_to_pause_and_in_a_job_leaves_the_time_to_slurm(tmp_path, monkeypatch):
    spec = Spec.read(write_spec(tmp_path), ["launch.time_limit=1"])
    asked = Store(tmp_path / "runs").create(spec, {})
    stop = engine_run.StopRequest.of(asked)
    assert (stop(), stop.reason) == (False, "")
    assert stop.deadline < math.inf
    asked.ask_to_pause("the job's time is nearly up")
    assert (stop(), stop.reason) == (True, "the job's time is nearly up")
    asked.ask_to_cancel()
    assert (stop(), stop.reason) == (True, "cancelled")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert engine_run.StopRequest.of(asked).deadline == math.inf


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("first\nsecond"), "ValueError: first"),
        (
            NotImplementedError('in user code:\n\n    File "a.py", line 5, in f  *\n    NotImplementedError: no way\n'),
            "NotImplementedError: no way",
        ),
        (
            RuntimeError('Graph execution error:\n\nDetected at node x\n  File "a.py"\nno memory\n\t [[{{node x}}]]'),
            "RuntimeError: no memory",
        ),
    ],
)
def test_of_a_long_message_the_line_that_says_something_is_told(error, expected):
    assert describe_error(error) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("north_first", "name"), [(False, ()), (True, ("--variable", "tas"))])
def test_downscaling_the_test_part_again_gives_the_same_fields(run, engine, tmp_path, north_first, name):
    """The LR field of the results, in a file of its own, comes out as it did in the run: turned, and renamed, too."""
    with xr.open_dataset(run.results, engine="netcdf4") as results:
        expected = results["downscaled"].load()
        lr = results["lr"].rename(y_lr="lat", x_lr="lon").load().rename(name[-1] if name else "t2m")
    lr.sortby("lat", ascending=not north_first).to_netcdf(tmp_path / "lr.nc")
    answer = engine.json("downscale", run.id, str(tmp_path / "lr.nc"), str(tmp_path / "out.nc"), *name)
    assert answer["output"] == str(tmp_path / "out.nc")
    again = engine.json("downscale", run.id, str(tmp_path / "lr.nc"), str(tmp_path / "out.nc"), *name, code=2)
    assert again["error"].endswith("give another name, or --overwrite to replace it")
    same = engine.json("downscale", run.id, str(tmp_path / "lr.nc"), str(tmp_path / "lr.nc"), "--overwrite", code=2)
    assert "is also the input" in same["error"]
    with xr.open_dataset(tmp_path / "out.nc", engine="netcdf4") as found:
        np.testing.assert_allclose(found["downscaled"], expected, rtol=1e-5, atol=1e-4)
        assert found["downscaled"].attrs["units"] == expected.attrs["units"]
        assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_recorded_before_options_were_renamed_is_shown_resumed_and_applied(run, tmp_path):
    engine = CommandLine(tmp_path / "runs")
    old = Run(engine.store / run.id)
    shutil.copytree(run.folder, old.folder)
    (old.folder / "DONE").unlink()  # as if it had been killed before its end
    recorded = old.folder / "spec.yaml"
    for name, new in RENAMED.items():
        words = [f"  {each.partition('.')[2]}: " for each in (new, name)]
        recorded.write_text(recorded.read_text().replace(*words))
    assert "  target: local\n" in recorded.read_text()
    engine.json("resume", old.id)
    assert end_of(old).state == "done"
    assert [row["state"] for row in engine.json("runs")["runs"]] == ["done"]
    assert engine.json("show", old.id)["spec"] == run.spec.plain()
    with xr.open_dataset(run.results, engine="netcdf4") as results:
        results["lr"].rename(y_lr="lat", x_lr="lon").rename("t2m").to_netcdf(tmp_path / "lr.nc")
    engine.json("downscale", old.id, str(tmp_path / "lr.nc"), str(tmp_path / "out.nc"))
    assert (tmp_path / "out.nc").exists()


@pytest.mark.slow
def test_downscaling_data_that_do_not_fit_is_refused(run, engine, tmp_path):
    write_field(tmp_path / "far.nc", ny=4, nx=6, times=3, south=-60.0)
    error = engine.json("downscale", run.id, str(tmp_path / "far.nc"), str(tmp_path / "out.nc"), code=2)["error"]
    assert "far.nc" in error or "LR" in error
    assert not (tmp_path / "out.nc").exists()
