"""The suite A–H: the same pairs for all, what makes each model itself, and one after another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import suite
from engine.cli import main
from engine.data.demo import write_demo
from engine.errors import LaunchError, SpecError
from engine.launch import api
from engine.runs import Store
from engine.spec import Spec

# Gomez Gonzalez (2023), table 1: pairing, learning, backbone, upsampling, localized, loss, samples.
PAPER = {
    "A": ("perfect-prog", "supervised", "unet", "pin", False, "mae", 1),
    "B": ("mos", "supervised", "unet", "pin", False, "mae", 1),
    "C": ("perfect-prog", "supervised", "resnet", "spc", False, "dssim_mae", 1),
    "D": ("mos", "supervised", "resnet", "spc", True, "dssim_mae", 1),
    "E": ("mos", "supervised", "resnet", "spc", True, "mae", 1),
    "F": ("mos", "adversarial", "resnet", "spc", True, "mae", 1),
    "G": ("mos", "supervised", "resnet", "spc", True, "dssim_mae", 3),
    "H": ("mos", "supervised", "convnext", "spc", True, "mae", 1),
}
SMALL = ["training.epochs=1", "model.n_filters=4", "model.n_blocks=1"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, days=6, size=(32, 32))
    return folder / "demo_mos.yaml"


@pytest.fixture
def own(demo: Path) -> Spec:
    return Spec.read(demo)


@pytest.mark.parametrize("letter", PAPER)
def test_each_model_is_that_of_the_paper(letter, own):
    (spec,) = suite.specs(own, letter)
    data, model, training = spec.data, spec.model, spec.training
    found = (data.pairing, training.learning, model.backbone, model.upsampling, model.localized, training.loss)
    assert (*found, data.time_window) == PAPER[letter]
    assert spec.launch.title.startswith(f"{letter} ")


def test_all_models_share_the_pairs_and_the_place_to_run(own):
    own = own.replace(data={"scale": 4, "predictors": ()}, launch={"processes": 2})
    for spec in suite.specs(own):
        assert spec.data.replace(pairing="mos", time_window=1) == own.data
        assert spec.launch.processes == 2


def test_a_setting_is_put_in_all_models(own):
    assert {spec.training.epochs for spec in suite.specs(own, settings=["training.epochs=7"])} == {7}


@pytest.mark.parametrize(
    ("letters", "data", "message"),
    [
        ("AX", {}, "X is no model of the suite: "),
        ("", {}, "no model is named: expected letters of the suite, ABCDEFGH for all"),
        (
            "A",
            {"pairing": "perfect-prog", "lr": None},
            "data.lr is missing: the suite compares networks that learn from ",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(letters, data, message, own):
    with pytest.raises(SpecError, match=message):
        suite.specs(own.replace(data=data), letters)


def test_models_without_a_localized_block_are_trained_in_patches(own):
    own = own.replace(data={"patch_size": 16}, model={"localized": False})
    assert [(spec.launch.title[0], spec.data.patch_size) for spec in suite.specs(own, "ABC")] == [
        ("A", 16), ("B", 16), ("C", 16),
    ]  # fmt: skip
    assert not any(spec.model.localized for spec in suite.specs(own, settings=["model.localized=false"]))


@pytest.mark.parametrize(
    ("letters", "message"),
    [
        ("ABCDEFGH", "data.patch_size is 16, but D, E, F, G, H of the suite have a localized block, with separate "
         r"weights for each cell of the whole grid: train A, B, C only \(--models ABC\), set data.patch_size=0, or "),
        ("DE", "but D, E of the suite have a localized block, .* grid: set data.patch_size=0, or model.localized"),
    ],
)  # fmt: skip
def test_all_models_that_patches_exclude_are_named(letters, message, own):
    with pytest.raises(SpecError, match=message):
        suite.specs(own.replace(data={"patch_size": 16}, model={"localized": False}), letters)


def test_a_run_cancelled_while_it_waits_is_left_out(own, tmp_path, monkeypatch):
    runs = suite.create(suite.specs(own, "AB"), Store(tmp_path))
    runs[0].record_launch("ended", rc=None, cancelled=True, reason="cancelled before it began")
    started = []
    monkeypatch.setattr(suite.local, "start", lambda run, nice: started.append(run) or _end(run))
    suite.conduct(runs)
    assert started == [runs[1]]


def test_a_run_that_can_not_be_started_says_so_and_the_next_one_is_tried(own, tmp_path, monkeypatch):
    def refuse(run, nice):
        raise LaunchError("python can't be started")

    runs = suite.create(suite.specs(own, "AB"), Store(tmp_path))
    monkeypatch.setattr(suite.local, "start", refuse)
    suite.conduct(runs)
    assert [(run.status().state, run.status().reason) for run in runs] == [("failed", "python can't be started")] * 2


def test_runs_for_a_target_are_all_handed_over_for_its_queue_to_order(own, tmp_path, monkeypatch):
    path = tmp_path / "targets.yaml"
    path.write_text("version: 1\ntargets: {hpc: {kind: slurm, host: login}}\n")
    monkeypatch.setenv("MESOSCOPE_TARGETS", str(path))
    runs = suite.create(suite.specs(own.replace(launch={"site": "hpc"}), "ABC"), Store(tmp_path / "runs"))
    api.cancel(runs[1])
    handed = []

    def hand_over(run, target):
        """As engine.launch.remote.submit does: the first is refused, which the run itself says."""
        handed.append((run, target.name))
        run.update_request(stage="refused" if run == runs[0] else "sent", reason="no login")
        if run == runs[0]:
            raise LaunchError("no login")

    monkeypatch.setattr(api.remote, "start", hand_over)
    suite.conduct(runs)
    assert handed == [(runs[0], "hpc"), (runs[2], "hpc")]
    assert [run.status().state for run in runs] == ["failed", "cancelled", "queued"]
    assert not any(run.launches() for run in runs)  # these records are the target's to write


def test_a_run_whose_target_is_gone_says_so(own, tmp_path, monkeypatch):
    path = tmp_path / "targets.yaml"
    path.write_text("version: 1\ntargets: {hpc: {kind: slurm, host: login}}\n")
    monkeypatch.setenv("MESOSCOPE_TARGETS", str(path))
    (run,) = suite.create(suite.specs(own.replace(launch={"site": "hpc"}), "A"), Store(tmp_path / "runs"))
    path.write_text("version: 1\ntargets: {local: {}}\n")
    suite.conduct([run])
    assert (run.status().state, run.status().reason[:40]) == ("failed", "launch.site is 'hpc', which is not known")


def _end(run):
    run.record_launch("ended", rc=1, reason="no more")


@pytest.mark.slow
def test_one_command_trains_all_eight_and_exports_the_comparison(tmp_path, demo):
    settings = [word for setting in SMALL for word in ("--set", setting)]
    command = [sys.executable, "-m", "engine", "suite", str(demo), "--output", str(tmp_path / "out"), *settings]
    place = {**os.environ, "MESOSCOPE_STORE": str(tmp_path / "runs")}
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=place, timeout=600)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert [title[0] for title in facts["runs"]] == list(PAPER)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "scores.csv", "scores.tex", "scores.txt", "maps.png", "rmse.png",
    }  # fmt: skip
    rows = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    # Head and models; the interpolated field, nearest, bilinear and climatology, which are the same for all; and bias
    # correction, quantile mapping and PC regression, fitted on the LR field or on coarsened HR.
    assert len(rows) == 1 + 8 + 4 + 2 * 3
    assert (tmp_path / "out" / "maps.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_conductor_outlives_who_started_it(tmp_path, own):
    settings = [*SMALL, "model.localized=false"]
    runs = suite.create(suite.specs(own, "BE", settings), Store(tmp_path))
    assert suite.start(runs).wait(timeout=600) == 0
    assert [run.status().state for run in runs] == ["done", "done"]
    assert runs[0].status().since <= runs[1].launches()[0].time


def test_the_command_refuses_a_spec_without_lr(demo, tmp_path, capsys):
    spec = demo.with_name("demo_perfect_prog.yaml")
    assert main(["suite", str(spec), "--output", str(tmp_path), "--store", str(tmp_path)]) == 2
    assert "data.lr is missing: the suite compares networks" in capsys.readouterr().err
    assert not list(tmp_path.glob("2*"))


def test_the_command_refuses_data_that_do_not_fit_before_any_run_is_made(demo, tmp_path, capsys):
    setting = ["--set", "data.region={lat: [0, 1], lon: [0, 1]}"]
    assert main(["suite", str(demo), "--output", str(tmp_path / "out"), "--store", str(tmp_path / "s"), *setting]) == 2
    assert "data.region" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_the_command_refuses_a_folder_that_can_not_be_made(demo, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["suite", str(demo), "--output", str(tmp_path / "file" / "out"), "--store", str(tmp_path / "s")]) == 2
    assert "can't be made (Not a directory): give another --output folder" in capsys.readouterr().err
