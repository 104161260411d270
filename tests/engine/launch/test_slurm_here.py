"""Slurm on this host without SSH, as a server behind a centre's JupyterHub finds it (docs/portals.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from engine.runs import Run
from tests.engine.launch.engine_processes import CHECKOUT, CommandLine, no_processes_left, write_spec
from tests.engine.launch.servers import Slurm

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SHORT = {"epochs": 2, "batch_size": 4}


@pytest.fixture
def engine(tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line with a site that names no host, where every call of `ssh` leaves a trace."""
    target = {"kind": "slurm", "folder": str(tmp_path / "there"), "python": sys.executable, "interface": "lo"}
    limits = {"nodes": 2, "processes": 2, "minutes": 10}
    targets = tmp_path / "targets.yaml"
    targets.write_text(yaml.safe_dump({"version": 1, "targets": {"cluster": {**target, "limits": limits}}}))
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f"#!/bin/sh\ntouch {tmp_path}/ssh-was-called\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("MESOSCOPE_TARGETS", str(targets))
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    return CommandLine(tmp_path / "runs")


def test_a_run_goes_to_the_nodes_and_its_results_come_back_without_ssh(engine, slurm, tmp_path):
    command = [sys.executable, "-m", "engine", "targets", "check", "cluster", "--json"]
    checked = json.loads(subprocess.check_output(command, cwd=CHECKOUT, text=True))["steps"]
    names = ["folder and Python", "packages", "Horovod", "scheduler", "engine"]
    assert [(step["step"], step["works"]) for step in checked] == [(name, True) for name in names]
    asked = ("launch.site=cluster", "launch.nodes=2", "launch.processes=2")
    with no_processes_left(tmp_path):
        spec = str(write_spec(tmp_path, training=SHORT))
        ended = engine.json("train", spec, *[word for setting in asked for word in ("--set", setting)])
    run = Run(Path(ended["folder"]))
    assert (ended["state"], run.request.kind) == ("done", "slurm")
    assert slurm.job(run.request.job) == "COMPLETED"
    assert run.results.exists()
    assert not (tmp_path / "ssh-was-called").exists()
