"""Places to run where things go wrong: a real SSH server, runs that go there, and programs that misbehave."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engine.launch import api
from engine.runs import Run, Store
from engine.spec import Spec
from tests.engine.launch.daemons import path_of
from tests.engine.launch.engine_processes import write_spec
from tests.engine.launch.servers import Sshd
from tests.engine.launch.site_runs import (
    assert_same_as_on_site,
    declare,
    fake_training_python,
    go,
    poll_until,
    poll_until_ended,
)


class Place:
    """A target, and runs that go there."""

    def __init__(self, folder: Path, server: Sshd, store: Store, monkeypatch: pytest.MonkeyPatch):
        self.folder, self.server, self.store, self._monkeypatch = folder, server, store, monkeypatch
        self.declare()

    def declare(self, *lines: str, site: str = "", **more: Any) -> None:
        python = fake_training_python(self.folder, *lines, site=site)
        declare(self.folder, self._monkeypatch, self.server, **{"python": python, **more})

    def create(self, kind: str, *settings: str) -> Run:
        spec = Spec.read(write_spec(self.folder), [f"launch.site={kind}", *settings])
        return api.create(spec, self.store)

    def submit(self, kind: str, *settings: str) -> Run:
        run = self.create(kind, *settings)
        api.start(run)
        return run

    def training(self, kind: str, *settings: str) -> Run:
        """A run that was seen to train."""
        run = self.submit(kind, *settings)
        poll_until(run, lambda state: state.reason == "training" and run.latest(), "training")
        return run

    def finish(self, run: Run) -> None:
        """Let it end; all that it has there comes here."""
        go(self.folder)
        state = poll_until_ended(run)
        assert state.state == "done", state
        assert_same_as_on_site(self.folder, run)
        sequence = [record["seq"] for record in run.progress()[0]]
        assert sequence == list(range(len(sequence)))

    def program(self, name: str, text: str) -> None:
        """A program that takes the place of one of that name on the server; "$real" is that one."""
        programs = self.folder / "programs"
        programs.mkdir(exist_ok=True)
        (programs / name).write_text(f"#!/bin/bash\nreal={path_of(name)}\n{text}\n")
        (programs / name).chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        self.server.set_environment({**self.server.environment, "PATH": path})


def logins(server: Sshd) -> int:
    return (server.folder / "sshd.err").read_text().count("Accepted publickey")
