"""Heartbeat of a submission, and what others make of it, on this host and on another."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from engine.errors import LaunchError
from engine.files import read_json, to_json, write_whole
from engine.launch.local import identity
from engine.launch.remote import submit, upload_heartbeat
from engine.launch.remote.upload_heartbeat import UploadHeartbeat, how_far
from engine.runs import Run, Store
from engine.runs.state import SENDER_SILENCE_S
from engine.spec import Spec
from tests.engine.launch.engine_processes import wait

SPEC = {"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}}
ELSEWHERE = {"host": "another", "pid": 1, "pid_started": 1.0}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_heartbeat, "BEAT_S", 0.02)


def being_sent(folder: Path, **more: Any) -> Run:
    """A run that this process submits since just now, unless given otherwise."""
    given = {"target": "hpc", "kind": "slurm", "token": "t", "stage": "sending", "time": time.time()}
    return Store(folder).create(Spec.from_plain(SPEC), {**given, "sender": asdict(identity(os.getpid())), **more})


def signed(run: Run, age_s: float, token: str = "t", **more: Any) -> None:
    write_whole(run.upload_file, to_json({"token": token, "time": time.time() - age_s, **more}))


def test_a_sign_is_renewed_until_the_end(tmp_path):
    run = being_sent(tmp_path)
    with UploadHeartbeat(run, "t"):
        first = read_json(run.upload_file)
        wait(lambda: read_json(run.upload_file)["time"] > first["time"], "another sign")
    assert first["token"] == "t"
    assert not run.upload_file.exists()


def test_what_was_sent_is_counted_and_told(tmp_path):
    run = being_sent(tmp_path, reason="sends hr.nc")
    with UploadHeartbeat(run, "t") as sign:
        assert run.status().reason == "submitting to hpc: sends hr.nc"
        sign.expect(4_000_000)
        content = sign.count([b"x" * 1_000_000] * 5)
        for _ in range(2):
            next(content)  # what is asked for next was sent before
        words = "submitting to hpc: sends hr.nc, 1.0 of 4.0 MB (25 %)"
        wait(lambda: run.status().reason == words, words)
        assert sum(map(len, content)) == 3_000_000
        words = "submitting to hpc: sends hr.nc, 4.0 of 4.0 MB (100 %)"
        wait(lambda: run.status().reason == words, words)
        sign.expect(0)
        wait(lambda: run.status().reason == "submitting to hpc: sends hr.nc", "the end of what is sent")


@pytest.mark.parametrize(
    ("sent", "total", "words"),
    [
        (0, 0, ""),
        (0, 2_000_000, "0.0 of 2.0 MB (0 %)"),
        (999_999, 1_000_000, "1.0 of 1.0 MB (99 %)"),
        (1_010_240, 1_000_000, "1.0 of 1.0 MB (100 %)"),  # with what an archive adds
    ],
)
def test_how_far_that_is(sent, total, words):
    assert how_far(sent, total) == words


def test_content_is_not_wanted_any_more_once_the_run_is_cancelled_or_taken_over(tmp_path):
    run = being_sent(tmp_path)
    content = UploadHeartbeat(run, "t").count([b"x"] * 3)
    next(content)
    run.ask_to_cancel()
    with pytest.raises(LaunchError, match="cancelled before it was submitted"):
        next(content)
    run.withdraw_cancel()
    run.update_request(token="another")
    with pytest.raises(LaunchError, match="is submitted by another process"):
        UploadHeartbeat(run, "t").check()


def test_the_sign_of_another_hand_over_is_left_alone(tmp_path):
    run = being_sent(tmp_path)
    with UploadHeartbeat(run, "t"):
        run.update_request(token="u")
        signed(run, 0.0, "u")
        theirs = run.upload_file.read_bytes()
    assert run.upload_file.read_bytes() == theirs


def test_a_hand_over_by_another_host_goes_on_as_long_as_it_gives_signs(tmp_path):
    run = being_sent(tmp_path, sender=ELSEWHERE, time=time.time() - 3600, reason="sends hr.nc")
    signed(run, SENDER_SILENCE_S - 30, how_far="1.0 of 4.0 MB (25 %)")
    assert run.is_uploading
    assert run.status().state == "queued"
    assert run.status().reason == "submitting to hpc: sends hr.nc, 1.0 of 4.0 MB (25 %)"
    signed(run, -3600)  # its clock is ahead of this one's
    assert run.status().state == "queued"


def test_one_that_has_just_begun_needs_no_sign_yet(tmp_path):
    run = being_sent(tmp_path, sender=ELSEWHERE)
    assert run.status().state == "queued"
    signed(run, 3600, "of-an-earlier-one", how_far="1.0 of 4.0 MB (25 %)")
    assert run.status().reason == "submitting to hpc"


def test_one_that_has_fallen_silent_has_ended_and_the_run_can_be_handed_over_again(tmp_path):
    run = being_sent(tmp_path, sender=ELSEWHERE, time=time.time() - 3600)
    signed(run, SENDER_SILENCE_S + 1)
    state = run.status()
    assert not run.is_uploading
    assert state.state == "failed"
    assert state.reason == "its submission by another gave no more sign of life: resume submits it again"
    assert abs(time.time() - SENDER_SILENCE_S - 1 - state.since) < 30  # of the last sign of life
    run.upload_file.unlink()
    assert run.status().state == "failed"
    submit.withdraw(run)
    assert run.status().state == "cancelled"
