"""Priority of runs: of a process and what it starts, and of its session."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.launch import priority

SHARE = "from engine.launch import priority; priority.share_with_session(); input()"


@pytest.mark.parametrize("nice", [0, 7])
def test_a_process_shares_its_priority_with_its_session(nice):
    before = os.getpriority(os.PRIO_PROCESS, 0)
    command = ["nice", "-n", str(nice), sys.executable, "-c", SHARE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, text=True) as process:
        session = Path(f"/proc/{process.pid}/autogroup")
        if priority.SESSION.exists():  # a kernel without priorities of sessions: nothing happens
            while not session.read_text().endswith(f"nice {before + nice}\n"):
                assert process.poll() is None
        process.communicate("\n")
        assert process.returncode == 0


def test_a_child_is_made_nicer_than_this_process_and_at_most_19():
    here = os.getpriority(os.PRIO_PROCESS, 0)
    for nice, expected in ((0, here), (5, min(here + 5, 19)), (40, 19)):
        with subprocess.Popen(["sleep", "1000"]) as child:
            priority.lower(child.pid, nice)
            assert os.getpriority(os.PRIO_PROCESS, child.pid) == expected
            child.kill()
    priority.lower(child.pid, 5)  # it has ended


def test_a_kernel_that_is_asked_too_often_is_asked_again(monkeypatch, tmp_path):
    answers = [BlockingIOError(11, "try again"), None, AssertionError("once it is done")]
    (tmp_path / "autogroup").touch()
    monkeypatch.setattr(priority, "SESSION", tmp_path / "autogroup")
    monkeypatch.setattr(priority, "AGAIN_S", 0)
    monkeypatch.setattr(priority.os, "getpriority", lambda *_: 10)

    def write(path: Path, text: str) -> None:
        assert text == "10"
        if answer := answers.pop(0):
            raise answer

    monkeypatch.setattr(Path, "write_text", write)
    priority.share_with_session()
    assert len(answers) == 1
