"""Elastic training with real ranks: what is left of them comes to the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.runs import Run
from tests.engine.launch.engine_processes import (
    CommandLine,
    end_of,
    kill,
    kill_after_a_checkpoint,
    no_processes_left,
    rank_pid,
    resumed_epoch,
    wait,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("checkpoint_each_epoch")]

THREE = ("launch.processes=3", "training.batch_size=3", "training.epochs=40")  # 28 samples: 3 steps; of two ranks, 4


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    monkeypatch.setenv("HOROVOD_GLOO_TIMEOUT_SECONDS", "5")
    with no_processes_left(tmp_path):
        yield CommandLine(tmp_path / "runs")


def events(run: Run) -> list[str]:
    return [record.event for record in run.launches()]


def test_two_go_on_without_the_first(engine, spec):
    run = engine.submit(spec, *THREE, "launch.min_processes=2")
    kill_after_a_checkpoint(run, 0)
    assert end_of(run).state == "done", run.log.read_text()
    assert events(run) == ["submitted", "started", "lost", "ended"]
    assert (run.launches()[2].ranks, run.launches()[2].left, run.launches()[3].rc) == ((0,), 2, 0)
    beats = run.heartbeats()
    assert [(beat.rank, beat.end) for beat in beats] == [(1, "done"), (2, "done")]
    assert beats[0].weights == beats[1].weights
    assert resumed_epoch(run) > 1
    assert "rank 2 goes on as rank 1 of 2" in run.log.read_text()
    records = run.progress()[0]
    assert [records[0]["steps"], records[-1]["steps"]] == [3, 4]
    assert {record["epoch"] for record in records} == set(range(1, 41))


def test_with_too_few_left_all_start_again_if_they_may(engine, spec):
    run = engine.submit(spec, *THREE, "launch.min_processes=2", "launch.restarts=1")
    pid = rank_pid(run, 2)
    kill_after_a_checkpoint(run, 1)
    kill(pid)
    wait(lambda: "restarted" in events(run), "the restart")
    reason = "ranks 1, 2 were lost (without a word), and launch.min_processes is 2"
    assert run.launches()[-1].reason.startswith(reason)
    wait(lambda: [beat.rank for beat in run.heartbeats()] == [0, 1, 2], "all three")
    engine("cancel", run.id, "--now")
    assert end_of(run).state == "cancelled"
