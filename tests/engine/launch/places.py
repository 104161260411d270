"""Sites for tests, and runs that are sent there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.launch.remote.poll import Mirror
from engine.launch.sites import Sites
from engine.runs import Run, State, Store
from tests.engine.launch.command import end_of, wait
from tests.engine.launch.servers import Sshd

QUICK = Path(__file__).with_name("quick.py")


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


def mirror_of(run: Run) -> Mirror:
    return Mirror(Store(run.folder.parent), Sites.read().named(run.request["target"]))


def look(run: Run, mirror: Mirror | None = None) -> State:
    """The state after a look, and after a try to fetch what is done."""
    mirror = mirror or mirror_of(run)
    mirror.look(at_once=True)
    mirror.fetch()
    return run.state()


def follow(run: Run) -> State:
    """Look until the run has ended."""
    if not run.remote:
        return end_of(run)
    return look_until(run, lambda state: not state.active and state.word != "unknown", "the end")


def look_until(run: Run, condition: Any, what: str) -> State:
    """Look until a state is as it should be."""
    mirror = mirror_of(run)

    def seen() -> State | None:
        state = look(run, mirror)
        return state if condition(state) else None

    return wait(seen, f"{what} of {run.id}")


def quick_python(tmp_path: Path, *lines: str, site: str = "") -> str:
    """A Python for targets: a training's place is taken by quick.py, and data aren't checked.

    `lines` of sh come first; `site` is Python that each of its processes runs at its start.
    """
    path, sites = tmp_path / "quick_python", tmp_path / "site"
    sites.mkdir(exist_ok=True)
    (sites / "sitecustomize.py").write_text(f"import sys\nsys.executable = {str(path)!r}\n{site}\n")
    text = [
        "#!/bin/sh",
        *lines,
        f"export PYTHONPATH={sites}${{PYTHONPATH:+:$PYTHONPATH}}",
        'case "$*" in "-m engine check "*) echo "{}"; exit;; esac',
        f'case "$*" in "-m engine supervise "*) export PYTHONPATH="$PYTHONPATH:$PWD"; set -- {QUICK} "$4";; esac',
        f'exec {sys.executable} "$@"',
    ]
    path.write_text("\n".join(text) + "\n")
    path.chmod(0o700)
    return str(path)


def go(tmp_path: Path) -> None:
    """Let what quick.py stands in for end, with results."""
    (tmp_path / "go").touch()


def folder_there(tmp_path: Path, run: Run) -> Path:
    return tmp_path / "there" / "runs" / run.id


def assert_same_as_there(tmp_path: Path, run: Run) -> None:
    """Every file that a run has there is here too, to the byte, as far as it is copied at all."""
    there = folder_there(tmp_path, run)
    names = ["progress.jsonl", "log.txt", *(str(path.relative_to(there)) for path in results_in(there))]
    for name in names:
        assert content(run.folder / name) == content(there / name), name


def content(path: Path) -> bytes:
    """A file that was never written holds nothing."""
    return path.read_bytes() if path.exists() else b""


def results_in(folder: Path) -> list[Path]:
    return [path for part in ("checkpoints", "results") for path in (folder / part).iterdir()]
