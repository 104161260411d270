"""A run folder that holds something else than its records is one run in a state of its own, and hides no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.cli import main
from engine.launch import api
from engine.runs import Run, RunState, Store
from engine.spec import Spec

SPEC = {"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}}
FOREIGN = {
    "garbage": b"\x00\xff{not json\n",
    "a list": b"[1, 2]\n",
    "a number": b"7\n",
    "text": b'"text"\n',
    "nothing that is known": b'{"name": "a package", "version": 3}\n',
    "nested too deep": b"[" * 100_000 + b"\n",
    "garbage without a line's end": b"\x00\xff{not json",
}
LINES = ["status/launcher.jsonl", "progress.jsonl"]
FILES = ["request.json", "spec.yaml", "results/scores.json", *LINES]
DONE = {product: {"rmse": {"mean": 1.0, "std": 0.1}} for product in ("downscaled", "interpolated")}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def create(store: Store) -> Run:
    return store.create(Spec.from_plain(SPEC), {"target": "local", "kind": "local"})


def damage(run: Run, name: str, content: bytes) -> None:
    (run.folder / name).write_bytes(content)


def listed(store: Store, capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    """State and reason of each run that `runs --json` lists."""
    assert main(["runs", "--store", str(store.folder), "--json"]) == 0
    return {row["run"]: (row["state"], row["reason"]) for row in json.loads(capsys.readouterr().out)["runs"]}


# Without any known key, request.json is that of a run which was never submitted.
CASES = [(name, kind) for name in FILES for kind in FOREIGN if (name, kind) != (FILES[0], "nothing that is known")]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_damaged_run_says_so_and_hides_no_other(name, kind, store, capsys):
    whole, damaged = create(store), create(store)
    damage(damaged, name, FOREIGN[kind])
    states = listed(store, capsys)
    assert states[whole.id] == ("queued", "not started yet")
    state, reason = states[damaged.id]
    assert (state, name in reason) == ("damaged", True)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_garbage_between_records_is_damage(place, name, store):
    run = create(store)
    record = b'{"time": 1.0, "event": "started"}\n' if name == LINES[0] else b'{"epoch": 1}\n'
    lines = [record] * 300  # more than the end of a file
    lines.insert({"first": 0, "middle": 150, "last": 300}[place], FOREIGN["garbage"])
    damage(run, name, b"".join(lines))
    status = run.status()
    assert (status.state, name in status.reason) == (RunState.DAMAGED, True)


def test_progress_is_looked_at_as_it_grows(store):
    run = create(store)
    damage(run, LINES[1], b'{"epoch": 1}\n{"epo')
    assert (run.status().state, run.latest()) == (RunState.QUEUED, {"epoch": 1})
    damage(run, LINES[1], b'{"epoch": 1}\n{"epoch": 2}\n')
    assert run.latest() == {"epoch": 2}
    damage(run, LINES[1], b'{"epoch": 1}\n{"epoch": 2}\ngarbage\n{"epoch": 3}\n')
    assert (run.status().state, RunState.DAMAGED) == (RunState.DAMAGED, run.status().state)
    run.progress_file.unlink()
    assert (run.status().state, run.latest()) == (RunState.QUEUED, {})


def break_spec(run: Run, how: str) -> None:
    """Make spec.yaml unusable in a way that isn't a matter of its JSON."""
    run.spec_file.unlink()
    if how == "a folder":
        run.spec_file.mkdir()
    elif how == "another version":
        run.spec_file.write_text("version: 2\n")
    elif how == "an option that is not known":
        run.spec_file.write_text(json.dumps({**SPEC, "model": {"color": "blue"}}))
    elif how == "not UTF-8":
        run.spec_file.write_bytes("version: 1  # für".encode("latin-1"))


BROKEN = {
    "missing": "is missing",
    "a folder": "can't be read",
    "another version": "version is 2",
    "an option that is not known": "model.color is not an option",
    "not UTF-8": "can't be read",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_run_without_a_usable_spec_is_damaged(how, store, capsys):
    whole, damaged = create(store), create(store)
    title = damaged.title
    break_spec(damaged, how)
    states = listed(store, capsys)
    assert states[whole.id] == ("queued", "not started yet")
    state, reason = states[damaged.id]
    assert (state, str(damaged.spec_file) in reason, BROKEN[how] in reason) == ("damaged", True, True)
    assert reason.endswith(": delete the run, or restore the file from a copy")
    assert (damaged.title, damaged.created > 0) == (title, True)


def test_a_done_run_without_its_spec_is_damaged_too(store, capsys):
    run = create(store)
    run.scores_file.write_text(json.dumps(DONE))
    run.done_file.touch()
    assert run.status().state is RunState.DONE
    break_spec(run, "missing")
    assert run.status().state is RunState.DAMAGED
    for command in ("scores", "resume"):
        assert main([command, run.id, "--store", str(store.folder)]) == 2
        assert f"{run.spec_file} is missing" in capsys.readouterr().err


def test_a_folder_that_is_gone_is_not_damaged(store):
    run = create(store)
    shutil.rmtree(run.folder)
    assert run.status().state is RunState.UNKNOWN


def test_other_folders_of_the_store_are_no_runs(store):
    run = create(store)
    for name in ("notes", ".targets", f".{run.id}x"):
        (store.folder / name).mkdir()
    (store.folder / f".{run.id}x" / "spec.yaml").touch()
    assert store.runs() == [run]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("request.json", {"token": 3}),
        ("request.json", {"stage": "lost"}),
        ("request.json", {"sender": {"host": "here"}}),
        ("request.json", {"ranks": {"hosts": [1]}}),
        ("status/launcher.jsonl", {"time": "now", "event": "started"}),
        ("status/launcher.jsonl", {"time": 1.0, "event": "exploded"}),
        ("status/launcher.jsonl", {"time": 1.0, "event": "started", "pid": True}),
        ("status/rank-0.json", {"rank": "first", "time": 1.0}),
        ("progress.jsonl", {"epoch": "one"}),
        ("results/scores.json", {"downscaled": {}, "interpolated": {"rmse": {"mean": "small"}}}),
    ],
)
def test_a_value_of_another_type_is_named(name, content, store):
    run = create(store)
    damage(run, name, json.dumps(content).encode() + b"\n")
    status = run.status()
    assert (status.state, name in status.reason) == (RunState.DAMAGED, True)


@pytest.mark.parametrize("name", ["request.json", "spec.yaml"])
@pytest.mark.parametrize("command", ["show", "cancel", "resume", "scores", "logs"])
def test_commands_on_a_damaged_run_say_why(command, name, store, capsys):
    run = create(store)
    run.log.touch()
    damage(run, name, b"[1, 2]")
    code = main([command, run.id, "--store", str(store.folder)])
    said = capsys.readouterr()
    assert code == (0 if command in ("show", "logs", "cancel") else 2)
    for words in ("damaged", f"{run.folder / name} "):
        assert (words in said.out + said.err) == (command in ("show", "resume", "scores"))
    assert run.cancel_file.exists() == (command == "cancel")


def test_a_damaged_run_is_not_started_again(store):
    run = create(store)
    damage(run, "status/launcher.jsonl", b'{"no": "record"}\n')
    with pytest.raises(api.StoreError, match=f"run {run.id} is damaged"):
        api.resume(run)


def test_keys_of_a_newer_version_are_left_alone(store):
    run = create(store)
    damage(run, "request.json", json.dumps({"target": "local", "color": "blue"}).encode())
    assert run.status().state is RunState.QUEUED
    run.update_request(reason="waits")
    assert json.loads(run.request_file.read_text()) == {"target": "local", "color": "blue", "reason": "waits"}
