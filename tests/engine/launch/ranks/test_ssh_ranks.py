"""Ranks on several hosts over SSH."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from engine.launch.ranks.command import threads
from engine.launch.ranks.ssh_ranks import HERE, is_here, script, together
from engine.runs import Run, Store
from engine.spec import Spec
from tests.engine.launch.engine_processes import (
    CHECKOUT,
    end_of,
    no_processes_left,
    processes_of,
    rank_pid,
    wait,
)
from tests.engine.launch.servers import Sshd

SETTINGS = ("launch.processes=2", "training.batch_size=4", "training.epochs=40")


def test_what_a_host_is_told_goes_through_bash_unharmed(tmp_path):
    odd = "a 'b' \"c\" $(touch evil) `id` ; \\ \n end"
    run = Run(tmp_path / "it's; $(a) run")
    lines = script(run, {"ODD": odd}).splitlines(keepends=True)
    assert lines[-1].endswith(f"-m engine host {shlex.quote(str(run.folder))}\n")
    shown = "".join(lines[:-1]) + 'printf %s "$ODD"\n'
    ended = subprocess.run(["bash", "-s"], input=shown, capture_output=True, text=True, cwd=tmp_path)
    assert ended.stdout == odd
    assert not (tmp_path / "evil").exists()


def test_this_host_needs_no_ssh():
    assert is_here("localhost")
    assert not is_here("somewhere-else")


def test_the_first_that_fails_is_told_and_the_others_are_ended(capfd):
    def start(code: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code])

    good, bad = start("pass"), start("import sys; sys.exit(3)")
    stays = start("import time; time.sleep(3600)")
    assert together({"rank 0": good, "rank 1": bad, "rank 2": stays}, lambda process: process.terminate()) == 3
    assert capfd.readouterr().out == "rank 1 was the first to end: exit code 3\n"
    assert together({"rank 0": start("pass")}, lambda process: None) == 0
    killed = start("import os; os.kill(os.getpid(), 9)")
    assert together({"rank 4": killed}, lambda process: None) == -9
    assert capfd.readouterr().out == "rank 4 was the first to end: signal SIGKILL\n"


@pytest.fixture
def store(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store whose runs find an ssh that knows the server."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {sshd.config} "$@"\n')
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    for name, value in threads(1).items():
        monkeypatch.setenv(name, value)
    with no_processes_left(tmp_path):
        yield Store(tmp_path / "runs")


def start(store: Store, spec: Path, *hosts: str) -> Run:
    request = {"token": "a-token", "ranks": {"by": "ssh", "interface": "lo", "hosts": list(hosts)}}
    run = store.create(Spec.read(spec, SETTINGS), request)
    code = "import sys, pathlib, engine.launch.local as l, engine.runs as r; l.start(r.Run(pathlib.Path(sys.argv[1])))"
    subprocess.run([sys.executable, "-c", code, str(run.folder)], cwd=CHECKOUT, check=True)
    return run


@pytest.mark.slow
@pytest.mark.cluster
def test_two_ranks_on_two_hosts_end_with_the_same_weights(store, spec, sshd):
    run = start(store, spec, "localhost:1", f"{sshd.alias}:1")
    here, there = (psutil.Process(rank_pid(run, rank)) for rank in (0, 1))
    assert "MESOSCOPE_TEST_SERVER" not in here.environ()
    assert there.environ()["MESOSCOPE_TEST_SERVER"] == str(sshd.folder)  # started by the server
    assert json.loads(there.environ()[HERE]) == {"name": sshd.alias, "node": 1, "layout": [1, 1]}
    shown = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not any("HOROVOD_" in words or HERE in words for words in shown)
    assert any("StrictHostKeyChecking=yes" in words for words in shown)
    assert end_of(run).state == "done", run.log.read_text()
    beats = run.heartbeats()
    assert [(beat.rank, beat.size) for beat in beats] == [(0, 2), (1, 2)]
    assert beats[0].weights == beats[1].weights


@pytest.mark.slow
@pytest.mark.cluster
def test_a_rank_killed_there_is_named_and_nothing_stays(store, spec, sshd):
    run = start(store, spec, "localhost:1", f"{sshd.alias}:1")
    psutil.Process(rank_pid(run, 1)).kill()
    assert end_of(run).reason.startswith("rank 1 died without a word")


@pytest.mark.slow
@pytest.mark.cluster
def test_ranks_there_end_with_those_who_started_them(store, spec, sshd):
    run = start(store, spec, f"{sshd.alias}:2")
    rank_pid(run, 1)
    for process in processes_of(run.folder):
        with suppress(psutil.NoSuchProcess):  # one that ended meanwhile
            if "hosts" in process.cmdline():
                process.kill()
    wait(lambda: not processes_of(run.folder), "the end of the ranks", is_costly=True)


@pytest.mark.cluster
def test_a_host_that_shows_another_key_gets_nothing(store, spec, sshd):
    sshd.new_host_key()
    run = start(store, spec, "localhost:1", f"{sshd.alias}:1")
    state = end_of(run)
    assert state.state == "failed"
    assert "Host key verification failed" in run.log.read_text()
    assert f"host {sshd.alias} was the first to end: exit code 255" in run.log.read_text()
