"""Sites for tests, and runs that are sent there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.launch.remote.poll import SitePoller
from engine.launch.sites import Sites
from engine.runs import Run, RunStatus, Store
from tests.engine.launch.engine_processes import end_of, wait
from tests.engine.launch.servers import Sshd

FAKE_TRAINING = Path(__file__).with_name("fake_training.py")


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


def poller_of(run: Run) -> SitePoller:
    return SitePoller(Store(run.folder.parent), Sites.read().named(run.request.target))


def poll_run(run: Run, mirror: SitePoller | None = None) -> RunStatus:
    """Poll the site of a run and try to fetch its results; returns the state after that."""
    mirror = mirror or poller_of(run)
    mirror.poll(at_once=True)
    mirror.fetch()
    return run.status()


def poll_until_ended(run: Run) -> RunStatus:
    """Poll until the run has ended."""
    if not run.is_remote:
        return end_of(run)
    return poll_until(run, lambda state: not state.state.is_active and state.state != "unknown", "the end")


def poll_until(run: Run, condition: Any, what: str) -> RunStatus:
    """Poll until a state meets a condition."""
    mirror = poller_of(run)

    def seen() -> RunStatus | None:
        state = poll_run(run, mirror)
        return state if condition(state) else None

    return wait(seen, f"{what} of {run.id}", is_costly=True)


def fake_training_python(tmp_path: Path, *lines: str, site: str = "") -> str:
    """A Python for targets: a training's place is taken by fake_training.py, and data aren't checked.

    `lines` of sh come first; `site` is Python that each of its processes runs at its start.
    """
    path, sites = tmp_path / "fake_training_python", tmp_path / "site"
    sites.mkdir(exist_ok=True)
    (sites / "sitecustomize.py").write_text(f"import sys\nsys.executable = {str(path)!r}\n{site}\n")
    text = [
        "#!/bin/sh",
        *lines,
        f"export PYTHONPATH={sites}${{PYTHONPATH:+:$PYTHONPATH}}",
        'case "$*" in "-m engine check "*) echo "{}"; exit;; esac',
        'case "$*" in "-m engine supervise "*)',
        f'export PYTHONPATH="$PYTHONPATH:$PWD"; set -- {FAKE_TRAINING} "$4";; esac',
        f'exec {sys.executable} "$@"',
    ]
    path.write_text("\n".join(text) + "\n")
    path.chmod(0o700)
    return str(path)


def go(tmp_path: Path) -> None:
    """Let what fake_training.py stands in for end, with results."""
    (tmp_path / "go").touch()


def remote_folder(tmp_path: Path, run: Run) -> Path:
    return tmp_path / "there" / "runs" / run.id


def assert_same_as_on_site(tmp_path: Path, run: Run) -> None:
    """Every file that a run has there is here too, to the byte, as far as it is copied at all."""
    there = remote_folder(tmp_path, run)
    names = ["progress.jsonl", "log.txt", *(str(path.relative_to(there)) for path in results_in(there))]
    for name in names:
        assert content(run.folder / name) == content(there / name), name


def content(path: Path) -> bytes:
    """A file that was never written holds nothing."""
    return path.read_bytes() if path.exists() else b""


def results_in(folder: Path) -> list[Path]:
    return [path for part in ("checkpoints", "results") for path in (folder / part).iterdir()]
