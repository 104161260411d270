"""A store of a thousand runs, and fifty of them watched on a target."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from app.services.watcher import RunWatcher
from engine.files import append_line, to_json
from engine.launch.api import request_of
from engine.launch.remote.poll import SitePollers
from engine.launch.sites import Sites
from engine.runs import Run, Store
from engine.spec import Spec
from tests.benchmarks.record import record
from tests.engine.launch import servers
from tests.engine.launch.engine_processes import CHECKOUT, write_spec

RUNS, ACTIVE = 1000, 50
LIST_S, WATCH_SHARE = 1.0, 0.05
WATCHED_S = 60.0
TRIES = 5
SCORES = {word: {"mean": 0.5, "std": 0.1} for word in ("mae", "rmse", "pearson", "ssim", "psnr", "bias")}


@pytest.mark.slow
def test_a_thousand_runs_are_listed_at_once(tmp_path: Path) -> None:
    """The best of some tries of the whole command, start-up of Python included."""
    spec, store = Spec.read(write_spec(tmp_path)), Store(tmp_path / "runs")
    for _ in range(RUNS):
        _done(store.create(spec, request_of(spec, Sites.read().named("local"))))
    words = [sys.executable, "-m", "engine", "runs", "--store", str(store.folder)]
    took, listed = [], ""
    for _ in range(TRIES):
        began = time.monotonic()
        listed = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
        took.append(time.monotonic() - began)
    assert len(listed.splitlines()) == RUNS
    record("store", {"runs": RUNS, "list_s": round(min(took), 2)})
    assert min(took) < LIST_S


@pytest.mark.slow
@pytest.mark.cluster
def test_fifty_runs_on_a_target_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor's time of the server's watchers and of their ssh; runs there write a record a second each."""
    with servers.sshd() as server:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(server.folder))
        there = tmp_path / "there"
        target = {"kind": "ssh", "host": server.alias, "ssh_config": str(server.config), "folder": str(there)}
        path = tmp_path / "targets.yaml"
        path.write_text(yaml.safe_dump({"version": 1, "targets": {"box": {**target, "python": sys.executable}}}))
        monkeypatch.setenv("MESOSCOPE_TARGETS", str(path))
        spec, store = Spec.read(write_spec(tmp_path), ["launch.site=box"]), Store(tmp_path / "runs")
        runs = [store.create(spec, request_of(spec, Sites.read().named("box"))) for _ in range(ACTIVE)]
        writer = subprocess.Popen([sys.executable, "-c", WRITER, *(str(_begun(run, there)) for run in runs)])
        share = _share_while_watching(store)
        connections = len(_children(server.processes.live("sshd")))
        writer.kill()
        writer.wait()
    assert {run.status().state for run in runs} == {"running"}
    assert min(len(run.progress()[0]) for run in runs) > WATCHED_S / 2
    record("watching", {"active_runs": ACTIVE, "share_of_a_core": round(share, 3), "connections": connections})
    assert connections == 1
    assert share < WATCH_SHARE


WRITER = """
import json, sys, time
seq = 0
while True:
    seq += 1
    for folder in sys.argv[1:]:
        with open(folder + "/progress.jsonl", "a") as file:
            file.write(json.dumps({"seq": seq, "epoch": 1, "epochs": 9, "step": seq, "steps": 900}) + "\\n")
    time.sleep(1)
"""


def _share_while_watching(store: Store) -> float:
    watcher, mirrors = RunWatcher(store), SitePollers(store)
    watcher.start()
    mirrors.start()
    try:
        time.sleep(5)  # the first look reads all
        began, spent = time.monotonic(), _processor_s()
        while time.monotonic() - began < WATCHED_S:
            watcher.snapshots()  # as a page does that somebody looks at
            time.sleep(1)
        return (_processor_s() - spent) / (time.monotonic() - began)
    finally:
        mirrors.stop()
        watcher.stop()


def _processor_s() -> float:
    """Of this process and of those it started that have ended; the shared connection is one that lives on."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    masters = [p.cpu_times() for p in psutil.process_iter() if "[mux]" in " ".join(_words(p))]
    return sum(u.ru_utime + u.ru_stime for u in used) + sum(m.user + m.system for m in masters)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _children(process: psutil.Process | None) -> list[psutil.Process]:
    return process.children() if process else []


def _done(run: Run) -> None:
    append_line(run.folder / "progress.jsonl", {"seq": 1, "epoch": 9, "epochs": 9, "step": 5, "steps": 5, "loss": 0.5})
    (run.folder / "results" / "scores.json").write_text(to_json({"downscaled": SCORES, "interpolated": SCORES}))
    (run.folder / "DONE").write_text("{}")


def _begun(run: Run, there: Path) -> Path:
    """As if it had been submitted, and its launcher were this process."""
    run.update_request(stage="sent", token=f"token{run.id[-4:]}", time=time.time(), job=os.getpid())
    folder = there / "runs" / run.id
    (folder / "status").mkdir(parents=True)
    facts = {"token": run.request.token, "pid": os.getpid(), "pid_started": None, "host": os.uname().nodename}
    (folder / "status" / "begun.json").write_text(json.dumps(facts))
    beat = {"rank": 0, "time": time.time(), "phase": "training"}
    (folder / "status" / "rank-0.json").write_text(json.dumps(beat))
    return folder
