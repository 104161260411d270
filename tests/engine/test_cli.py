"""The command line: one JSON document or readable text, and the right exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from engine.cli import main, progress
from engine.cli.parser import option_help
from engine.errors import CheckpointError
from engine.evaluation.tables import METRICS
from engine.files import append_line, to_json, write_whole
from engine.launch import api
from engine.launch.machine import Machine
from engine.runs import Run, Store
from engine.spec import SECTIONS, Spec
from tests.engine.data.mock import write_field

CHECKOUT = Path(__file__).parents[2]
PLAIN = {"version": 1, "data": {"target": {"path": "hr.nc"}, "scale": 4}, "model": {"n_filters": 4, "n_blocks": 1}}
RECORD = {"epoch": 3, "epochs": 9, "step": 5, "steps": 5, "loss": 0.25, "val_rmse": 1.5, "samples_per_s": 80.4}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    write_field(tmp_path / "hr.nc", ny=8, nx=12)
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(PLAIN))
    return path


def scores(shift: float) -> dict[str, Any]:
    def field(mean: float) -> dict[str, Any]:
        pairs = {metric: {"mean": mean + k, "std": 0.125} for k, metric in enumerate(METRICS)}
        return {**pairs, "psnr": {"mean": None, "std": None}}

    return {"downscaled": field(shift), "interpolated": field(10.0)}


def finished(store: Store, title: str = "", shift: float = 1.0) -> Run:
    run = store.create(Spec.from_plain({**PLAIN, "launch": {"title": title}}, store.folder), {})
    append_line(run.folder / "progress.jsonl", RECORD)
    write_whole(run.folder / "results" / "scores.json", to_json(scores(shift)))
    write_whole(run.folder / "DONE", "{}")
    return run


def waiting(store: Store) -> Run:
    return store.create(Spec.from_plain(PLAIN, store.folder), {})


def answer(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    """The one JSON document that a command prints."""
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_help_shows_every_option_as_it_is_declared(capsys):
    with pytest.raises(SystemExit) as left:
        main(["train", "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    for section, kind in SECTIONS.items():
        for name, option in kind.declared().items():
            assert f"  {section}.{name} = " in text
            assert option.doc in text
    assert "  training.learning_rate = 0.002\n" in text
    assert "  data.split = {train: 0.7, validation: 0.15, test: 0.15}\n" in option_help()
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "resume" in (text := capsys.readouterr().out)
    assert "supervise" not in text  # what launchers start is no one else's business


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND; expected python -m engine [-h] COMMAND ..."),
        (["trian"], "trian is not a command: did you mean 'train'?"),
        (["show"], "the following arguments are required: run; expected python -m engine show [-h] [--json] "),
        (["check", "a", "--jsn"], "unrecognized arguments: --jsn; expected python -m engine [-h] COMMAND ..."),
    ],
    ids=str,
)
def test_arguments_that_are_none_are_refused(arguments, message, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert main([*arguments, "--json"]) == 2
    assert message in json.loads(capsys.readouterr().out)["error"]


def test_check_as_text_and_as_json(spec_file, capsys):
    assert main(["check", str(spec_file), "--set", "model.localized=false"]) == 0
    assert "parameters " in capsys.readouterr().out
    summary = answer(capsys, "check", spec_file)
    assert summary["samples"] == {"train": 14, "validation": 3, "test": 3}
    assert answer(capsys, "check", spec_file, "--set", "model.n_filters=8")["parameters"] > summary["parameters"]


def test_check_reads_from_standard_input(spec_file, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(spec_file.read_text()))
    monkeypatch.chdir(spec_file.parent)
    assert answer(capsys, "check", "-")["grids"]["hr"]["shape"] == [8, 12]


def test_a_wrong_request_leaves_with_2_and_a_failed_run_with_1(spec_file, capsys, monkeypatch):
    assert main(["check", str(spec_file), "--set", "data.scal=3", "--json"]) == 2
    printed = capsys.readouterr()
    message = "data.scal is not an option: did you mean 'scale'?"
    assert json.loads(printed.out) == {"error": message}
    assert printed.err == f"error: {message}\n"

    def fail(spec: Spec, store: Store) -> None:
        raise CheckpointError("last.npz is damaged")

    monkeypatch.setattr("engine.check.summarize", fail)
    assert main(["check", str(spec_file)]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "error: last.npz is damaged\n")


def test_an_error_of_the_system_and_an_interrupt_are_explained(spec_file, capsys, monkeypatch):
    def full(spec: Spec, store: Store) -> None:
        raise OSError(28, "No space left on device", "/data/x")

    monkeypatch.setattr("engine.check.summarize", full)
    assert main(["check", str(spec_file)]) == 1
    assert capsys.readouterr().err == "error: the disk is full (/data/x): free some space, then resume\n"

    def interrupt(spec: Spec, store: Store) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.check.summarize", interrupt)
    assert main(["check", str(spec_file)]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_runs_are_listed_the_newest_first(store, capsys):
    assert answer(capsys, "runs", "--store", store.folder) == {"runs": []}
    assert main(["runs", "--store", str(store.folder)]) == 0
    assert capsys.readouterr().out == f"no runs in {store.folder}\n"
    done, new = finished(store, "first"), waiting(store)
    rows = {row["run"]: row for row in answer(capsys, "runs", "--store", store.folder)["runs"]}
    assert rows[done.id] == {"run": done.id, "title": "first", "state": "done", "reason": "", "epoch": "3/9"}
    assert (rows[new.id]["state"], rows[new.id]["reason"], rows[new.id]["epoch"]) == ("queued", "not started yet", "")
    assert main(["runs", "--store", str(store.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [run.id for run in store.runs()]
    assert any(line.split()[1:] == ["done", "3/9", "first"] for line in lines)


def test_the_store_is_that_of_the_environment_if_none_is_given(store, capsys, monkeypatch):
    done = finished(store)
    monkeypatch.setenv("MESOSCOPE_STORE", str(store.folder))
    assert [row["run"] for row in answer(capsys, "runs")["runs"]] == [done.id]


def test_show_prints_state_options_and_scores(store, capsys):
    done = finished(store, "first")
    facts = answer(capsys, "show", "first", "--store", store.folder)
    assert (facts["state"], facts["latest"], facts["scores"]) == ("done", RECORD, scores(1.0))
    assert facts["spec"]["model"]["n_filters"] == 4
    assert main(["show", done.id, "--store", str(store.folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{done.id}: done\nin {done.folder}\n")
    assert "model.n_filters = 4\n" in text
    assert "training.epochs" not in text  # as by default
    assert "1.0 ± 0.1" in text


def test_the_log_of_a_run(store, capsys):
    run = waiting(store)
    assert answer(capsys, "logs", run.id, "--store", store.folder) == {"run": run.id, "log": ""}
    run.log.write_bytes(b"line \xff\n")
    assert main(["logs", run.id, "--store", str(store.folder)]) == 0
    assert capsys.readouterr().out == "line �\n"


def test_cancelling_what_has_not_begun(store, capsys):
    run = waiting(store)
    assert answer(capsys, "cancel", run.id, "--store", store.folder) == {"run": run.id, "state": "cancelled"}
    assert main(["cancel", run.id, "--store", str(store.folder)]) == 2
    assert "is cancelled: there is nothing to cancel" in capsys.readouterr().err


def table(capsys: pytest.CaptureFixture[str], store: Store, *flags: str) -> str:
    assert main(["scores", *[run.id for run in store.runs()], "--store", str(store.folder), *flags]) == 0
    return capsys.readouterr().out


def test_scores_as_json(store, capsys):
    first, second = finished(store, "a", 1.0), finished(store, "b", 2.0)
    got = answer(capsys, "scores", first.id, second.id, "--store", store.folder)
    assert got == {first.id: scores(1.0), second.id: scores(2.0)}


def test_scores_as_a_table(store, capsys):
    finished(store, "a", 1.0)
    finished(store, "longer", 2.0)
    lines = table(capsys, store).splitlines()
    assert lines[0].split() == ["MAE", "RMSE", "PearCorr", "SSIM", "PSNR", "(dB)", "bias"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert set(rows) == {"a", "longer", "interpolated"}  # the interpolated field is the same: one row
    assert " ".join(rows["a"].split()) == "a 1.0 ± 0.1 2.0 ± 0.1 3.0 ± 0.1 4.0 ± 0.1 – 6.0 ± 0.1"
    at = lines[0].index("RMSE")
    assert [row[at] for row in (rows["a"], rows["longer"])] == ["2", "3"]


def test_scores_as_csv(store, capsys):
    finished(store, 'UNet, "wide"')
    rows = list(csv.reader(io.StringIO(table(capsys, store, "--csv"))))
    assert rows[0][:3] == ["product", "MAE mean", "MAE std"]
    assert rows[1] == [
        'UNet, "wide"',
        *["1.0", "0.125", "2.0", "0.125", "3.0", "0.125", "4.0", "0.125"],
        "",
        "",
        "6.0",
        "0.125",
    ]
    assert rows[2][0] == "interpolated (bicubic)"


def test_scores_as_latex(store, capsys):
    finished(store, "50 % t_2m & {more} #1 $")
    lines = table(capsys, store, "--latex").splitlines()
    assert (lines[0], lines[-1]) == (r"\begin{tabular}{lrrrrrr}", r"\end{tabular}")
    assert lines[4].startswith(r"50 \% t\_2m \& \{more\} \#1 \$ & \bfseries 1.0 $\pm$ 0.1 & ")
    assert lines[4].endswith(r"6.0 $\pm$ 0.1 \\")


def test_runs_of_one_title_are_distinguished(store, capsys):
    ids = [finished(store, "twin", shift).id for shift in (1.0, 2.0)]
    rows = table(capsys, store).splitlines()[1:3]
    assert sorted(row.split("  ")[0] for row in rows) == sorted(f"twin ({run})" for run in ids)


def test_training_in_the_foreground_ends_with_the_scores(store, spec_file, capsys, monkeypatch):
    monkeypatch.setattr(progress, "POLL_INTERVAL_S", 0.01)
    started: list[Run] = []

    def start(run: Run, nice: int) -> None:
        started.append(run)
        run.record_launch("submitted", pid=os.getpid(), pid_started=psutil.Process().create_time(), host=os.uname()[1])

    def look(seconds: float) -> None:  # while the command waits, the run goes on and ends
        (run,) = started
        append_line(run.folder / "progress.jsonl", RECORD)
        write_whole(run.folder / "results" / "scores.json", to_json(scores(1.0)))
        write_whole(run.folder / "DONE", "{}")

    monkeypatch.setattr(api.local, "start", start)
    monkeypatch.setattr(progress.time, "sleep", look)
    flags = ["--processes", "2", "--set", "training.epochs=9", "--store", store.folder]
    facts = answer(capsys, "train", spec_file, *flags)
    assert (facts["state"], facts["scores"]) == ("done", scores(1.0))
    (run,) = store.runs()
    assert (facts["run"], run.spec.launch.processes, run.spec.training.epochs) == (run.id, 2, 9)
    started.clear()
    assert main(["train", str(spec_file), "--store", str(store.folder)]) == 0
    printed = capsys.readouterr()
    assert "resnet · spc · LCB      1.0 ± 0.1" in printed.out
    assert "epoch 3/9" in printed.err
    assert "loss 0.25" in printed.err


def test_training_that_fails_leaves_with_1_and_says_why(store, spec_file, capsys, monkeypatch):
    def start(run: Run, nice: int) -> None:
        run.record_launch("ended", rc=1, pid=1, host="here", reason="the loss is nan in epoch 1: lower it")

    monkeypatch.setattr(api.local, "start", start)
    assert main(["train", str(spec_file), "--store", str(store.folder), "--json"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["state"] == "failed"
    assert printed.err.endswith(" failed: the loss is nan in epoch 1: lower it\n")


def test_an_interrupt_asks_the_run_to_stop(store, spec_file, capsys, monkeypatch):
    def start(run: Run, nice: int) -> None:
        run.record_launch("submitted", pid=os.getpid(), pid_started=psutil.Process().create_time(), host=os.uname()[1])

    def interrupt(seconds: float) -> None:
        (run,) = store.runs()
        if not run.cancel_file.exists():
            raise KeyboardInterrupt
        facts = {"rc": 0, "cancelled": True, "reason": "cancelled: resume continues from here"}
        last = run.launches()[-1]
        run.record_launch("ended", pid=last.pid, pid_started=last.pid_started, host=last.host, **facts)

    monkeypatch.setattr(api.local, "start", start)
    monkeypatch.setattr(progress.time, "sleep", interrupt)
    assert main(["train", str(spec_file), "--store", str(store.folder)]) == 1
    assert " cancelled: cancelled: resume continues from here\n" in capsys.readouterr().err


def test_what_does_not_fit_into_this_machine_is_refused_before_it_starts(store, spec_file, capsys, monkeypatch):
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls: Machine(2, 0, 2**20)))
    for words in (["check"], ["train"], ["submit"]):
        assert main([*words, str(spec_file), "--store", str(store.folder)]) == 2
        assert "but local has 0.0 GiB: ask for fewer processes" in capsys.readouterr().err
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls: Machine(2, 0, 2**50)))
    assert main(["train", str(spec_file), "--processes", "4096", "--store", str(store.folder)]) == 2
    assert "takes at most 4 processes of a run" in capsys.readouterr().err
    assert store.runs() == []


def test_submit_returns_at_once(store, spec_file, capsys, monkeypatch):
    monkeypatch.setattr(api.local, "start", lambda run, nice: None)
    facts = answer(capsys, "submit", spec_file, "--target", "local", "--store", store.folder)
    (run,) = store.runs()
    assert facts == {"run": run.id, "folder": str(run.folder)}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_durations(seconds, words):
    assert progress.format_duration(seconds) == words


def test_listing_runs_does_not_wait_for_tensorflow(store):
    finished(store)
    code = (
        "import sys\nfrom engine.cli import main\n"
        f"assert main(['runs', '--store', {str(store.folder)!r}]) == 0\n"
        "assert not {'tensorflow', 'keras', 'horovod', 'xarray'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True, capture_output=True)


def test_a_reader_that_goes_away_ends_a_command_without_a_traceback(store):
    finished(store)
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "engine", "runs", "--store", str(store.folder)]
    ended = subprocess.run(command, cwd=CHECKOUT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")  # 128 + SIGPIPE


def test_a_terminal_without_unicode_shows_a_question_mark(store):
    run = finished(store, title="NO₂ ×8")
    command = [sys.executable, "-m", "engine", "runs", "--store", str(store.folder)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, env=environment)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert run.id.encode() in ended.stdout
    assert b"NO? ?8" in ended.stdout
