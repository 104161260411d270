"""Servers for tests: each starts once, and is put right again after each test that took it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from engine.launch.ranks.command import threads
from engine.runs import Store
from tests.engine.launch import servers
from tests.engine.launch.engine_processes import no_processes_left, write_spec
from tests.engine.launch.servers import Slurm, Sshd


@pytest.fixture(scope="session")
def shared_sshd() -> Iterator[Sshd]:
    need(servers.SSH)
    with servers.sshd() as server:
        yield server


@pytest.fixture(scope="session")
def shared_slurm() -> Iterator[Slurm]:
    need(servers.SLURM)
    with servers.slurm() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spec of a small training, with its data beside it."""
    return write_spec(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def usual_threads() -> Iterator[None]:
    """Let runs that are started from here have their share of the cores as threads; `make test` gives each only one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in threads(1):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def checkpoint_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs that are started from here write a checkpoint after every epoch."""
    monkeypatch.setenv("MESOSCOPE_CHECKPOINT_S", "0")


@pytest.fixture
def sshd(shared_sshd: Sshd) -> Iterator[Sshd]:
    """An SSH server: `ssh -F sshd.config target` gets in."""
    yield shared_sshd
    shared_sshd.restore()


@pytest.fixture
def slurm(shared_slurm: Slurm) -> Iterator[Slurm]:
    """A Slurm of two idle nodes; `slurm.environment` is what its commands need."""
    yield shared_slurm
    shared_slurm.restore()


@pytest.fixture
def login(sshd: Sshd, slurm: Slurm) -> Sshd:
    """An SSH server whose commands reach the Slurm of the fixture `slurm`."""
    sshd.set_environment(slurm.environment)
    return sshd


@pytest.fixture
def store(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store for runs on targets; nothing of them is left at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="ms") as sockets,
        no_processes_left(tmp_path),
    ):  # a short name: see servers.py
        monkeypatch.setenv("XDG_RUNTIME_DIR", sockets)  # not the server's folder: what has that one is ended with it
        yield Store(tmp_path / "here")
        sshd.cut()


@pytest.fixture
def forgetful_slurm() -> Iterator[Slurm]:
    """A Slurm of its own, whose queue forgets a job some 10 s after its end."""
    need(servers.SLURM)
    with servers.slurm(min_job_age_s=5) as cluster:
        yield cluster


def need(programs: Mapping[str, str]) -> None:
    """Skip a test without its programs; where all tests have to run, fail."""
    if packages := servers.missing(programs):
        reason = f"programs are missing: apt-get install --no-install-recommends {' '.join(packages)}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
