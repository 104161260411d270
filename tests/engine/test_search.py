"""Search within a budget of time: what is tried, what is chosen, and what goes on after an end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from engine import search
from engine.cli import main
from engine.errors import RequestError, SpecError
from engine.files import append_line, write_whole
from engine.launch import api
from engine.models.backbones import BACKBONES
from engine.models.upsampling import UPSAMPLINGS
from engine.runs import Run, Store
from engine.search import Budget, Interval, Space, Trial, open_study, pareto, parse_space, trials_of
from engine.spec import Spec
from tests.engine.launch.engine_processes import CommandLine, no_processes_left, write_spec

SPACE = parse_space(["model.n_filters=4,8,16", "training.learning_rate=1e-4:1e-2"])


@pytest.fixture
def spec() -> Spec:
    return Spec.from_plain({"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 2}})


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are done once submitted: least error with 8 filters, and after the second of three epochs."""

    def submit(spec: Spec, store: Store) -> Run:
        run = store.create(spec, {})
        error = abs(spec.model.n_filters - 8) + spec.training.learning_rate
        for epoch, more in enumerate((0.5, 0.0, 0.25), start=1):
            record = {"seq": epoch, "time": 0.0, "epoch": epoch, "epochs": 3, "step": 1, "steps": 1}
            line = json.dumps(record | {"val_rmse": error + more, "elapsed_s": 10.0 * epoch})
            with run.progress_file.open("a") as file:
                file.write(line + "\n")
        write_whole(run.done_file, "{}")
        return run

    monkeypatch.setattr(api, "submit", submit)
    monkeypatch.setattr(search, "POLL_INTERVAL_S", 0.0)


def run_search(
    spec: Spec,
    folder: Path,
    *,
    trials: int,
    check=lambda spec: None,
    space: Space = SPACE,
    report=lambda line: None,
    is_stopped=lambda: False,
) -> list[Trial]:
    study, budget = open_study(folder / "journal.jsonl", spec, space), Budget.of(60, trials, is_stopped)
    hooks = {"check": check, "refresh": lambda run: None, "report": report, "ended": lambda: None}
    search.search(study, spec, space, Store(folder / "runs"), budget, name="search", **hooks)
    return trials_of(study)


def test_by_default_every_backbone_and_upsampling_is_searched():
    space = parse_space(f"{option}={text}" for option, text in search.SPACE.items())
    assert set(space["model.backbone"]) == set(BACKBONES)
    assert set(space["model.upsampling"]) == {*UPSAMPLINGS, "pin"}


def test_combinations_that_the_rules_refuse_are_never_asked_for(spec, finished, tmp_path):
    space = parse_space(["model.backbone=unet,resnet,fno", "model.upsampling=spc,pin", "model.n_filters=4,8"])
    patches, lines = spec.replace(data={"patch_size": 16}, model={"localized": False}), []
    trials = run_search(patches, tmp_path, trials=16, space=space, report=lines.append)
    assert sorted(trial.number for trial in trials) == list(range(16))  # else some would have been refused
    tried = {(trial.settings["model.backbone"], trial.settings["model.upsampling"]) for trial in trials}
    assert tried == {("unet", "pin"), ("resnet", "pin"), ("resnet", "spc")}  # fno sees whole fields, not patches
    assert [line for line in lines if line.startswith("left out: model.backbone=fno, as ")]


def test_words_of_which_none_is_allowed_are_refused_with_the_reason(spec, finished, tmp_path):
    space = parse_space(["model.backbone=unet", "model.upsampling=spc,rc"])
    with pytest.raises(RequestError, match=r"no combination of values is allowed, .* a U-Net works at HR"):
        run_search(spec, tmp_path, trials=1, space=space)


def test_the_first_trial_is_the_spec_as_it_is_as_far_as_it_is_in_the_space(spec, finished, tmp_path):
    space = parse_space(
        ["model.upsampling=rc,pin", "model.backbone=swin,unet", "model.n_blocks=2:4", "model.n_filters=4,8"]
    )
    own = spec.replace(model={"backbone": "unet", "upsampling": "pin", "n_blocks": 3})
    first = min(run_search(own, tmp_path, trials=1, space=space), key=lambda trial: trial.number).settings
    assert {**first, "model.n_filters": ""} == {
        "model.upsampling": "pin", "model.backbone": "unet", "model.n_blocks": "3", "model.n_filters": "",
    }  # fmt: skip


def test_a_search_that_is_asked_to_stop_ends_its_trial(spec, monkeypatch, tmp_path):
    stops, store = iter([False, True]), Store(tmp_path / "runs")
    monkeypatch.setattr(api, "submit", lambda spec, store: api.create(spec, store))  # waits until it is cancelled
    (trial,) = run_search(spec, tmp_path, trials=5, is_stopped=lambda: next(stops, True))
    assert (trial.state, trial.reason) == ("fail", "stopped")
    assert store.run(trial.run).status().state == "cancelled"


@pytest.mark.parametrize(("val_rmse", "eta_s"), [(None, None), (1.0, 3700.0)])
def test_a_trial_that_is_too_slow_for_the_time_is_ended(spec, monkeypatch, tmp_path, val_rmse, eta_s):
    """No epoch in a quarter of the hour, here 0 s of it; or more than the hour is needed after the first one."""

    def submit(changed: Spec, store: Store) -> Run:
        run = api.create(changed, store)
        record = {"seq": 1, "time": 0.0, "epoch": 1, "epochs": 9, "step": 1, "steps": 1, "eta_s": eta_s}
        append_line(run.progress_file, record | {"val_rmse": val_rmse})
        return run

    monkeypatch.setattr(api, "submit", submit)
    monkeypatch.setattr(search, "FIRST_EPOCH_SHARE", 0.0)
    (trial,) = run_search(spec.replace(training={"epochs": 9}), tmp_path, trials=1)
    assert trial.reason.startswith("too slow: ")
    assert trial.state == ("fail" if val_rmse is None else "pruned")


def test_the_best_trial_is_that_of_least_error_and_its_run_has_its_options(spec, finished, tmp_path):
    trials = run_search(spec, tmp_path, trials=12)
    assert sorted(trial.number for trial in trials) == list(range(12))
    for trial in trials:
        of_run = Store(tmp_path / "runs").run(trial.run).spec
        assert str(of_run.model.n_filters) == trial.settings["model.n_filters"]
        assert 1e-4 <= of_run.training.learning_rate <= 1e-2
        assert trial.val_rmse == abs(of_run.model.n_filters - 8) + of_run.training.learning_rate
        assert (trial.state, trial.training_s) == ("complete", 30.0)
    assert trials[0].settings["model.n_filters"] == "8"
    assert trials[0].val_rmse == min(trial.val_rmse for trial in trials)


def test_what_the_data_dont_allow_is_not_trained(spec, finished, tmp_path):
    def check(changed: Spec) -> None:
        if changed.model.n_filters == 8:
            raise RequestError("8 filters don't fit")

    trials = run_search(spec, tmp_path, trials=6, check=check)
    assert len(trials) == 6
    assert {trial.settings["model.n_filters"] for trial in trials} == {"4", "16"}


def test_where_nothing_is_allowed_the_search_ends_with_the_reason(spec, finished, tmp_path):
    def check(changed: Spec) -> None:
        raise RequestError("the disk is full of holes")

    with pytest.raises(RequestError, match=r"50 combinations in a row .* full of holes: search other values"):
        run_search(spec, tmp_path, trials=6, check=check)


def test_a_search_goes_on_from_its_journal_and_refuses_that_of_another(spec, finished, tmp_path):
    before = run_search(spec, tmp_path, trials=2)
    after = run_search(spec, tmp_path, trials=5)
    assert len(after) == 5
    assert {trial.run for trial in before} < {trial.run for trial in after}
    with pytest.raises(RequestError, match="another spec"):
        open_study(tmp_path / "journal.jsonl", spec.replace(training={"epochs": 7}), SPACE)


@pytest.mark.parametrize("is_started", [True, False])
def test_of_a_search_that_was_killed_its_own_run_is_ended_and_no_other(is_started, spec, finished, tmp_path):
    store = Store(tmp_path / "runs")
    run = api.create(spec, store)  # the only one of the store
    trial = open_study(tmp_path / "journal.jsonl", spec, SPACE).ask()
    if is_started:
        trial.set_user_attr("run", run.id)
        trial.set_user_attr("settings", {})
    run_search(spec, tmp_path, trials=2)
    assert run.status().state == ("cancelled" if is_started else "queued")


def test_trials_that_are_neither_better_nor_cheaper_are_no_choice():
    def trial(number: int, val_rmse: float, training_s: float, state: str = "complete") -> Trial:
        return Trial(number, state, {}, "", "", val_rmse, training_s)

    by_error = [trial(3, 0.9, 5.0, "pruned"), trial(0, 1.0, 60.0), trial(1, 1.1, 80.0), trial(2, 1.2, 20.0)]
    assert pareto(by_error) == {0, 2}


def test_a_space_is_read():
    space = parse_space(["model.backbone=resnet, unet", "model.n_blocks=2:6", "training.learning_rate=1e-4:1e-2"])
    assert list(space.values()) == [("resnet", "unet"), Interval(2, 6, True), Interval(1e-4, 1e-2, False)]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.backbone", "expected section.option=value,value"),
        ("model.bakbone=unet,resnet", "did you mean 'backbone'"),
        ("launch.processes=1,2", "expected section.option=value,value"),
        ("model.n_filters=16:8", "the lower number first"),
        ("model.n_filters=few:8", "two numbers"),
        ("model.n_filters=4,,8", "between two commas"),
        ("data.scael=2,4", "did you mean 'scale'"),
    ],
)
def test_a_wrong_space_is_refused_with_what_is_expected(word, message):
    with pytest.raises(SpecError, match=message):
        parse_space([word])


@pytest.mark.slow
def test_from_the_command_line_a_trial_is_trained_and_the_best_spec_written(tmp_path, capsys):
    path = write_spec(tmp_path, training={"epochs": 2, "batch_size": 7})
    engine = CommandLine(tmp_path / "runs")
    words = ["search", str(path), "--search", "model.n_filters=3,5", "--output", str(tmp_path / "search")]
    with no_processes_left(tmp_path):
        done = engine.json(*words, "--trials", "1")
        assert json.loads((tmp_path / "search" / "trials.json").read_text()) == done
        assert done["end"] == "all trials are done"
        (trial,) = done["trials"]
        assert (trial["state"], trial["pareto"]) == ("complete", True)
        run = Run(tmp_path / "runs" / trial["run"])
        assert trial["val_rmse"] == min(r["val_rmse"] for r in run.progress()[0] if r.get("val_rmse"))
        best = yaml.safe_load(Path(done["best"]).read_text())
        assert str(best["model"]["n_filters"]) == trial["settings"]["model.n_filters"]
        assert main(["check", done["best"], "--store", str(tmp_path / "runs")]) == 0
        # The budget is over long before a trial of so many epochs.
        long = engine.json(*words[:2], "--set", "training.epochs=100000", *words[2:-1], str(tmp_path / "long"),
                           "--minutes", "0.05", code=1)  # fmt: skip
    assert long["best"] is None
    assert {trial["state"] for trial in long["trials"]} <= {"pruned", "fail"}
    assert all(trial["reason"].startswith(("out of time", "too slow")) for trial in long["trials"])
    assert long["trials"]
