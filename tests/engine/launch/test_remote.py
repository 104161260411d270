"""Runs on targets: a real SSH server, and a real Slurm behind it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.launch import launcher
from engine.launch.mirror import Mirror
from engine.launch.targets import Targets
from engine.runs import Run, State, Store
from engine.spec import Spec
from tests.engine.launch.command import nothing_left, wait, weights_of, write_spec
from tests.engine.launch.servers import Sshd

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SHORT = {"epochs": 3, "batch_size": 7, "early_stopping": False}


@pytest.fixture
def store(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sshd.folder))
    with nothing_left(tmp_path):
        yield Store(tmp_path / "here")


def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Sshd, **more: Any) -> None:
    """A targets file with the kinds ssh and slurm on one server."""
    common = {
        "host": server.alias,
        "ssh_config": str(server.config),
        "folder": str(tmp_path / "there"),
        "python": sys.executable,
        "interface": "lo",
        **more,
    }
    targets = {"local": {}, **{kind: {"kind": kind, **common} for kind in ("ssh", "slurm")}}
    path = tmp_path / "targets.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "targets": targets}))
    monkeypatch.setenv("MESOSCOPE_TARGETS", str(path))


def follow(run: Run) -> State:
    """Look until the run has ended."""
    mirror = Mirror(Store(run.folder.parent), Targets.read().named(run.request["target"]))

    def ended() -> State | None:
        mirror.look(at_once=True)
        mirror.fetch()
        state = run.state()
        return None if state.active or state.word == "unknown" else state

    return wait(ended, f"the end of {run.id}")


@pytest.mark.parametrize("kind", ["ssh", "slurm"])
def test_a_run_goes_to_a_target_and_comes_back(kind, login, store, tmp_path, monkeypatch):
    declare(tmp_path, monkeypatch, login)
    spec = Spec.read(write_spec(tmp_path, training=SHORT), [f"launch.target={kind}"])
    run = launcher.submit(spec, store)
    state = follow(run)
    assert state.word == "done", (state, run.log.read_text() if run.log.exists() else "")
    assert run.scores()["downscaled"]["rmse"]["mean"] > 0
    assert run.request["job"]
    assert weights_of(run)
