"""Sites for tests of faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.launch.faults.place import Place


@pytest.fixture
def place(tmp_path, login, store, monkeypatch) -> Place:
    monkeypatch.setattr("engine.launch.remote.retry.POLL_INTERVAL_S", 0.2)
    monkeypatch.setattr("engine.launch.remote.poll.GONE_S", 0.5)
    return Place(tmp_path, login, store, monkeypatch)


@pytest.fixture
def jobs(slurm) -> Callable[[], list[str]]:
    """Gives the names of all jobs that Slurm has been given since."""

    def all_jobs() -> list[str]:
        return slurm.command("squeue", "--noheader", "--states=all", "--format=%j").split()

    before = all_jobs()
    return lambda: [name for name in all_jobs() if name not in before]


@pytest.fixture
def host(tmp_path, sshd, store, monkeypatch) -> Place:
    """A target without a scheduler."""
    monkeypatch.setattr("engine.launch.remote.retry.POLL_INTERVAL_S", 0.2)
    monkeypatch.setattr("engine.launch.remote.poll.GONE_S", 0.5)
    return Place(tmp_path, sshd, store, monkeypatch)
