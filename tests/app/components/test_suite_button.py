"""The suite's button: eight queued runs ticked for Compare, or the reason why not; and meanwhile what it does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.components import suite_button
from app.components.suite_button import SuiteButton
from app.formatting import plain_text
from engine import suite
from engine.errors import LaunchError, StoreError
from engine.launch.local import ROOT
from engine.spec import Spec

PLAIN = {"version": 1, "data": {"target": {"path": "hr.nc"}, "pairing": "mos", "lr": {"path": "lr.nc"}, "scale": 2}}

# Stands in for `engine conduct`: hands the runs over one by one, each when a file GO.<its letter> is there.
CONDUCT = """
import os, sys, time
from dataclasses import asdict
from pathlib import Path
from engine.launch.local import identity
from engine.runs import Run
go, act = Path(sys.argv[1]), sys.argv[2]
for folder in sys.argv[3:]:
    run = Run(Path(folder))
    letter = run.title[0]
    sender = asdict(identity(os.getpid()))
    run.update_request(stage="sending", sender=sender, time=time.time(), reason=f"sends {letter}.nc")
    while not Path(f"{go}.{letter}").exists():
        time.sleep(0.02)
    if letter == "C" and act == "is killed":
        os.kill(os.getpid(), 9)
    refused = letter == "C" and act == "is refused"
    end = {"stage": "refused", "reason": "the disk is full"} if refused else {"stage": "sent", "job": "7"}
    run.update_request(**end)
"""


@pytest.fixture
def station(tmp_path, store, monkeypatch) -> Path:
    """A targets file with a host that no connection leads to; returns where CONDUCT looks for files."""
    (tmp_path / "ssh_config").write_text("Host *\n    ProxyCommand false\n")
    host = f"{{kind: ssh, host: station, ssh_config: {tmp_path}/ssh_config}}"
    Path(os.environ["MESOSCOPE_TARGETS"]).write_text(f"version: 1\ntargets: {{local: {{}}, station: {host}}}\n")
    monkeypatch.setattr(suite_button, "LOOK_S", 0.05)
    return tmp_path / "go"


def conducted(session, go, monkeypatch, act="hands over"):
    """The button after a click, and all its messages; each run is submitted once its message was shown."""
    processes = []

    def start(runs):
        words = [sys.executable, "-c", CONDUCT, str(go), act, *(str(run.folder) for run in runs)]
        processes.append(subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}))
        return processes[0]

    def let_go(text):
        for letter in "ABCDEFGH":
            if plain_text(f"sends {letter}.nc") in text:
                Path(f"{go}.{letter}").touch()

    monkeypatch.setattr(suite, "start", start)
    try:
        return clicked(session, Spec.from_plain({**PLAIN, "launch": {"site": "station"}}), let_go)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def clicked(session, spec, listen=lambda text: None):
    """The button after a click, and all its messages."""
    button, messages = SuiteButton(session, lambda: spec), []

    def hear(event):
        messages.append(event.new)
        listen(event.new)

    button.message.param.watch(hear, "object")
    asyncio.run(button._submit(None))
    assert not button.button.loading
    assert not button.button.disabled
    return button, messages


class Alive:
    """A process that goes on."""

    def poll(self):
        return None


def test_eight_runs_are_queued_and_ticked(session, monkeypatch):
    started = []
    monkeypatch.setattr(suite, "start", lambda runs: started.extend(runs) or Alive())
    button, messages = clicked(session, Spec.from_plain(PLAIN))
    assert [run.title[0] for run in started] == list("ABCDEFGH")
    assert session.runs == [run.id for run in started]
    assert (session.page, session.run) == ("runs", started[0].id)
    assert {run.status().state for run in session.store.runs()} == {"queued"}
    assert [text[:19] for text in messages[:8]] == [f"Creating run {number} of 8" for number in range(1, 9)]
    assert messages[8] == "Submitting 8 runs …"
    assert button.message.object == plain_text(f"Submitted: {', '.join(run.title for run in started)}")
    assert (button.message.severity, button.message.visible) == ("success", True)


def test_the_page_goes_on_while_runs_are_made(session, monkeypatch):
    made, go_on = suite.create, threading.Event()

    def slow(specs, store):
        assert go_on.wait(timeout=600)
        return made(specs, store)

    monkeypatch.setattr(suite, "create", slow)
    monkeypatch.setattr(suite, "start", lambda runs: Alive())

    async def click():
        button = SuiteButton(session, lambda: Spec.from_plain(PLAIN))
        submitting = asyncio.ensure_future(button._submit(None))
        while not button.message.visible:
            await asyncio.sleep(0)
        assert button.button.loading
        assert button.button.disabled
        assert button.message.object.startswith("Creating run 1 of 8: A ")
        session.page = "compare"  # as a click does
        go_on.set()
        await submitting

    asyncio.run(click())
    assert (session.page, session.runs) == ("compare", [])  # where its user is by now
    assert len(session.store.runs()) == 8


def test_what_is_refused_is_said_and_nothing_is_begun(session):
    alone = {**PLAIN, "data": {**PLAIN["data"], "pairing": "perfect-prog", "lr": None}}
    button, _ = clicked(session, Spec.from_plain(alone))
    assert (button.message.severity, button.message.visible) == ("error", True)
    assert "the suite compares networks that learn from a given LR field" in button.message.object
    assert session.store.runs() == []
    assert session.page == "data"
    assert "not complete" in clicked(session, None)[0].message.object


def test_where_not_all_can_be_made_none_is_left_waiting(session, monkeypatch):
    made = suite.create

    def create(specs, store):
        if specs[0].launch.title.startswith("C"):
            raise StoreError("the disk is full")
        return made(specs, store)

    monkeypatch.setattr(suite, "create", create)
    button, _ = clicked(session, Spec.from_plain(PLAIN))
    assert (button.message.severity, button.message.object) == ("error", "the disk is full")
    assert [(run.title[0], run.status().state) for run in session.store.runs()] == [
        ("B", "cancelled"),
        ("A", "cancelled"),
    ]
    assert session.page == "data"


def test_a_process_that_cannot_be_started_is_said(session, monkeypatch):
    def start(runs):
        raise LaunchError("python can't be started")

    monkeypatch.setattr(suite, "start", start)
    button, _ = clicked(session, Spec.from_plain(PLAIN))
    assert (button.message.severity, "python can't be started" in button.message.object) == ("error", True)
    assert {run.status().state for run in session.store.runs()} == {"cancelled"}


def test_handing_over_to_a_target_tells_how_far_it_is(session, station, monkeypatch):
    button, messages = conducted(session, station, monkeypatch)
    for number, letter in enumerate("ABCDEFGH"):
        line = f"{number} of 8 runs are submitted; {letter} "
        (found,) = {text for text in messages if text.startswith(line) and plain_text(f"sends {letter}.nc") in text}
        assert plain_text("submitting to station") in found
    assert button.message.severity == "success"
    assert {run.request.stage for run in session.store.runs()} == {"sent"}
    assert (session.page, len(session.runs)) == ("runs", 8)


def test_a_run_that_the_target_refuses_is_said_with_its_reason(session, station, monkeypatch):
    button, _ = conducted(session, station, monkeypatch, "is refused")
    assert button.message.severity == "error"
    assert button.message.object.startswith("1 of 8 runs were not submitted.\n\nC ")
    assert "the disk is full\n\nThe runs are kept" in button.message.object
    assert session.page == "data"


def test_a_hand_over_that_is_killed_is_said_and_no_run_waits_for_it(session, station, monkeypatch):
    button, _ = conducted(session, station, monkeypatch, "is killed")
    assert button.message.severity == "error"
    assert button.message.object.startswith("6 of 8 runs were not submitted.")
    assert "its submission was interrupted" in button.message.object
    words = {run.title[0]: run.status().state for run in session.store.runs()}
    assert {letter: words[letter] for letter in "CDEFGH"} == {"C": "failed", **dict.fromkeys("DEFGH", "cancelled")}
