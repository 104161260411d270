"""A run folder that holds something else than its records is one run in a state of its own, and hides no other."""

from __future__ import annotations

import json
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
}
FILES = ["request.json", "status/launcher.jsonl", "progress.jsonl", "results/scores.json"]


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


@pytest.mark.parametrize("command", ["show", "cancel", "resume", "scores", "logs"])
def test_commands_on_a_damaged_run_say_why(command, store, capsys):
    run = create(store)
    run.log.touch()
    damage(run, "request.json", b"[1, 2]")
    code = main([command, run.id, "--store", str(store.folder)])
    said = capsys.readouterr()
    assert code == (0 if command in ("show", "logs", "cancel") else 2)
    assert ("damaged" in said.out + said.err) == (command in ("show", "resume", "scores"))
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
