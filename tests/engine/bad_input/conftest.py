"""A right request, an empty store, and a command that is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from engine.launch import local
from tests.engine.bad_input.wrong_requests import Request


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

    def started(run: Any, *_: Any) -> None:
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
        as_json = capsys.readouterr()
        assert as_json.err == plain.err
        message = json.loads(as_json.out)
        assert list(message) == ["error"]
        assert plain.err == f"error: {message['error']}\n"
        return message["error"]

    return run
