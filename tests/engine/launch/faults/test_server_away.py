"""A server that is away, a connection that is cut or hangs: users see the truth, and nothing is lost."""

from __future__ import annotations

import pytest

from engine.errors import UnreachableError
from engine.launch import api
from engine.launch.remote import ssh
from tests.engine.launch.engine_processes import wait
from tests.engine.launch.faults.place import logins
from tests.engine.launch.site_runs import (
    go,
    poll_run,
    poll_until,
    poller_of,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_a_server_that_is_down_at_submission(host):
    run = host.create("ssh")
    host.server.stop()
    with pytest.raises(UnreachableError, match="Connection refused"):
        api.start(run)
    state = run.status()
    assert state.state == "failed"
    assert "target can't be reached" in state.reason
    assert "resume submits it again" in state.reason
    host.server.start()
    api.resume(run)
    host.finish(run)


def test_a_server_that_is_down_while_a_run_is_watched(host, monkeypatch):
    run = host.training("ssh")
    host.server.stop()
    assert poll_run(run).state == "running"  # as it was seen last
    monkeypatch.setattr("engine.runs.state.SITE_SILENCE_S", 0.0)
    state = poll_run(run)
    assert state.state == "unknown"
    assert "can't be reached" in state.reason
    assert state.since < run.last_poll_file.stat().st_mtime + 60  # of the last contact, not now
    monkeypatch.setattr("engine.runs.state.SITE_SILENCE_S", 120.0)
    host.server.start()
    assert poll_run(run).state == "running"
    host.finish(run)


def test_a_server_that_is_down_when_results_are_fetched(host):
    run = host.training("ssh")
    go(host.folder)
    watch = poller_of(run)
    wait(lambda: watch.poll(at_once=True) and (run.last_poll and run.last_poll.done), "the end there")
    host.server.stop()
    watch.fetch()
    state = run.status()
    assert state.state == "running"
    assert "results can't be fetched yet" in state.reason
    host.server.start()
    host.finish(run)


def test_a_connection_that_is_cut_while_a_run_is_followed(host):
    run = host.training("ssh")
    for _ in range(3):
        host.server.cut()
        assert poll_run(run).state == "running"
    host.finish(run)


def test_a_connection_that_hangs_is_given_up(host, monkeypatch):
    monkeypatch.setattr(ssh, "ALIVE_S", 1)
    run = host.training("ssh")
    sessions = host.server._sessions()
    for session in sessions:
        session.suspend()
    before = logins(host.server)
    poll_until(run, lambda state: logins(host.server) > before, "a new connection")
    assert run.status().state == "running"
    for session in sessions:
        session.kill()
    host.finish(run)


def test_a_folder_that_is_away_for_a_while_is_no_failure(host, monkeypatch):
    """Its file system isn't mounted, say."""
    run = host.training("ssh")
    monkeypatch.setattr("engine.runs.state.SITE_SILENCE_S", 0.0)
    monkeypatch.setattr("engine.launch.remote.poll.GONE_S", 0.0)
    host.declare(folder=str(host.folder / "away"))
    for _ in range(3):
        state = poll_run(run)
        assert state.state == "unknown"
        assert "runs isn't there: mount its file system again" in state.reason
    host.declare()
    monkeypatch.setattr("engine.runs.state.SITE_SILENCE_S", 120.0)
    assert poll_run(run).state == "running"
    host.finish(run)
