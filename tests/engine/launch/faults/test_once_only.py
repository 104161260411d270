"""What is watched, submitted or resumed by several, or late, happens once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.errors import LaunchError, MesoscopeError, SiteError, UnreachableError
from engine.files import read_json
from engine.launch import api
from engine.launch.remote import submit
from engine.launch.remote.client import ask
from engine.launch.remote.protocol import Revoke
from engine.launch.remote.upload_heartbeat import UploadHeartbeat
from engine.launch.sites import Sites
from engine.runs import Store
from tests.engine.launch.engine_processes import CHECKOUT, wait
from tests.engine.launch.faults.place import logins
from tests.engine.launch.servers import NODES
from tests.engine.launch.site_runs import (
    go,
    remote_folder,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_two_who_watch_one_store_share_one_connection_and_write_each_line_once(host):
    run = host.submit("ssh")
    before = logins(host.server)
    watchers = [watching(host.store) for _ in range(2)]
    try:
        wait(lambda: len(run.progress()[0]) > 50, "progress")
        go(host.folder)
        wait(lambda: run.status().state == "done", "the end")
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.wait()
    host.finish(run)
    assert logins(host.server) == before


def watching(store: Store) -> subprocess.Popen[bytes]:
    """A dashboard, as far as it looks at targets."""
    return subprocess.Popen([sys.executable, "-m", "tests.engine.launch.poll_sites", str(store.folder)], cwd=CHECKOUT)


def test_a_dashboard_that_is_killed_and_started_again(place, slurm, jobs):
    for node in NODES:
        slurm.drain(node)
    run = place.submit("slurm")
    seen: list[Callable[[], bool]] = [
        lambda: run.status().state == "queued" and bool(run.last_poll),
        lambda: len(run.progress()[0]) > 5,
        lambda: (run.last_poll is not None and run.last_poll.done) or run.status().state == "done",
        lambda: run.status().state == "done",
    ]
    between = [lambda: [slurm.undrain(node) for node in NODES], lambda: go(place.folder), lambda: None, lambda: None]
    for condition, action in zip(seen, between, strict=True):
        watcher = watching(place.store)
        try:
            wait(condition, "what is to be seen")
        finally:
            watcher.kill()
            watcher.wait()
        action()
    place.finish(run)
    assert len(jobs()) == 1


def test_who_hands_a_run_over_is_killed(place, tmp_path):
    waits = f'case "$*" in "-m engine check"*) touch {tmp_path}/checking; exec sleep 1000;; esac'
    place.declare(waits)
    run = place.create("slurm")
    words = [sys.executable, "-m", "tests.engine.launch.start_run", str(run.folder)]
    starter = subprocess.Popen(words, cwd=CHECKOUT)
    wait((tmp_path / "checking").exists, "the submission")
    assert "submitting to" in run.status().reason
    starter.kill()
    starter.wait()
    state = run.status()
    assert (state.state, "submission was interrupted" in state.reason) == ("failed", True)
    place.server.cut()
    place.declare()
    api.resume(run)
    place.finish(run)


def test_who_was_taken_for_dead_does_not_go_on(host, tmp_path):
    """It was asleep, say, and somebody on another host has handed the run over again."""
    host.declare(f'case "$*" in "-m engine check"*) touch {tmp_path}/checking; while [ ! -e {tmp_path}/on ]; do '
                 'sleep 0.1; done;; esac')  # fmt: skip
    run = host.create("ssh")
    said: list[str] = []

    def start() -> None:
        with pytest.raises(LaunchError) as error:
            api.start(run)
        said.append(str(error.value))

    starter = threading.Thread(target=start)
    starter.start()
    wait((tmp_path / "checking").exists, "the submission")
    taken = {"token": "0" * 16, "stage": "sending", "sender": {"host": "another", "pid": 1, "pid_started": 1.0}}
    run.update_request(**taken)
    (tmp_path / "on").touch()
    starter.join()
    assert said == [f"run {run.id} is submitted by another process, which took this one for dead"]
    request = read_json(run.request_file)
    assert {name: request[name] for name in taken} == taken
    assert not remote_folder(tmp_path, run).exists()


def test_two_who_resume_at_once_start_it_once(host):
    run = host.create("ssh")
    host.server.stop()
    with pytest.raises(UnreachableError):
        api.start(run)
    host.server.start()
    said: list[str] = []

    def resume() -> None:
        try:
            api.resume(run)
            said.append("started")
        except MesoscopeError as error:
            said.append(str(error))

    both = [threading.Thread(target=resume) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(word == "started" for word in said) == [False, True], said
    host.finish(run)
    assert len([record for record in run.launches() if record.event == "started"]) == 1


def test_a_start_that_was_given_up_cannot_come_late(host):
    run = host.create("ssh")
    target = Sites.read().named("ssh")
    token = "0" * 16
    request = submit._prepare(run, target, token, UploadHeartbeat(run, token))
    assert ask(target, Revoke(run.id, token, arrived=False)).past == (token,)
    with pytest.raises(SiteError, match="this launch was revoked before it arrived"):
        ask(target, request)
    api.start(run)  # with a token of its own
    with pytest.raises(SiteError, match="this launch was revoked"):
        ask(target, request)
    host.finish(run)
    assert len([record for record in run.launches() if record.event == "started"]) == 1


def test_a_start_that_is_asked_for_twice_happens_once(host):
    run = host.create("ssh")
    target = Sites.read().named("ssh")
    request = submit._prepare(run, target, "0" * 16, UploadHeartbeat(run, "0" * 16))
    assert ask(target, request) == ask(target, request)
    with pytest.raises(SiteError, match="is active there"):
        ask(target, replace(request, token="1" * 16))
    go(host.folder)


def test_a_run_that_is_cancelled_before_it_is_handed_over(host):
    run = host.create("ssh")
    api.cancel(run)
    assert run.status().state == "cancelled"
    with pytest.raises(LaunchError, match="cancelled before it was submitted"):
        api.start(run)
    api.resume(run)
    host.finish(run)
