"""Who goes on when ranks are lost: the supervisor's side, with a real server, and heartbeats that are written here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.files import to_json, write_whole
from engine.launch.ranks import elastic
from engine.launch.ranks.elastic import ElasticCoordinator, describe
from engine.launch.ranks.rendezvous import Keys, rendezvous
from engine.runs import RankEnd, Run, Store
from engine.runs.records import HeartbeatRecord
from engine.spec import Spec
from tests.engine.launch.engine_processes import wait


@dataclass
class Scene:
    """ElasticCoordinator of three ranks, of which two are enough, and what became of them."""

    run: Run
    keys: Keys
    losses: list[Any] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def rounds(self) -> ElasticCoordinator:
        meet = partial(rendezvous, "127.0.0.1")
        return ElasticCoordinator(self.run, self.keys, meet, lambda *loss: self.losses.append(loss), self.ended.set)

    def arrive(self, number: int, *ranks: int, host: str = "here") -> None:
        self.keys.put(f"arrived-{number}", {str(rank): host.encode() for rank in ranks})

    def place(self, number: int, rank: int) -> dict[str, str]:
        """As the rank reads it, once it is there."""
        wait(lambda: str(rank) in self.keys.of(f"place-{number}"), f"the place of rank {rank}")
        return json.loads(self.keys.of(f"place-{number}")[str(rank)])

    def beat(self, rank: int, **facts: Any) -> None:
        me = {"pid": os.getpid(), "pid_started": psutil.Process().create_time(), "host": os.uname().nodename}
        beat = {"rank": rank, "time": time.time(), **me, **facts}
        write_whole(self.run.folder / "status" / f"rank-{rank}.json", to_json(beat))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    launch = {"processes": 3, "min_processes": 2}
    plain = {"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}, "launch": launch}
    run = Store(tmp_path).create(Spec.from_plain(plain), {})
    with rendezvous("127.0.0.1") as keys:
        yield Scene(run, keys)


def numbers(place: dict[str, str]) -> tuple[str, ...]:
    return tuple(place[f"HOROVOD_{word}"] for word in ("HOSTNAME", "RANK", "SIZE", "LOCAL_RANK", "CROSS_RANK"))


def test_at_first_all_are_waited_for(scene):
    with scene.rounds.coordinating():
        scene.arrive(0, 0, 2)
        time.sleep(5 * elastic.POLL_INTERVAL_S)
        assert not scene.keys.of("place-0")
        scene.arrive(0, 1)
        assert [scene.place(0, rank)["HOROVOD_RANK"] for rank in (0, 1, 2)] == ["0", "1", "2"]
        assert len({scene.place(0, rank)["HOROVOD_GLOO_RENDEZVOUS_PORT"] for rank in (0, 1, 2)}) == 1
    assert not scene.losses


def test_who_lives_is_waited_for_and_who_is_dead_is_not(scene):
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    with scene.rounds.coordinating():
        scene.arrive(0, 0, 1, 2)
        first = scene.place(0, 0)
        scene.beat(0)
        scene.beat(1, pid=dead.pid, pid_started=0.0)
        scene.beat(2)
        scene.arrive(1, 0)
        time.sleep(5 * elastic.POLL_INTERVAL_S)
        assert not scene.keys.of("place-1")  # rank 2 lives
        scene.arrive(1, 2)
        assert [numbers(scene.place(1, rank)) for rank in (0, 2)] == [
            ("here", "0", "2", "0", "0"),
            ("here", "1", "2", "1", "0"),
        ]
        assert scene.place(1, 0)["HOROVOD_GLOO_RENDEZVOUS_PORT"] != first["HOROVOD_GLOO_RENDEZVOUS_PORT"]
        assert scene.place(1, 1) == {}  # should it come back
    assert scene.losses == [([1], 2, "rank 1 was lost (without a word)")]
    assert [beat.rank for beat in scene.run.heartbeats()] == [0, 2]


def test_a_rank_elsewhere_is_lost_when_it_says_nothing_for_long(scene, monkeypatch):
    monkeypatch.setattr(elastic, "SILENCE_S", 1.0)
    with scene.rounds.coordinating():
        scene.arrive(0, 0, 1, 2)
        scene.place(0, 0)
        scene.arrive(1, 0, 1)
        for _ in range(20):
            scene.beat(2, host="elsewhere", pid=1)
            time.sleep(0.1)
        assert not scene.keys.of("place-1")
        assert scene.place(1, 0)["HOROVOD_SIZE"] == "2"


def test_when_too_few_are_left_all_end_and_why_is_known(scene):
    scene.beat(0)
    scene.beat(1, end="failed", reason="no space is left")
    scene.beat(2, end="failed", reason="no space is left")
    kept = scene.rounds
    with kept.coordinating():
        scene.arrive(0, 0, 1, 2)
        scene.place(0, 0)
        scene.arrive(1, 0)
        assert scene.ended.wait(10)
    lost = "ranks 1, 2 were lost (no space is left), and launch.min_processes is 2"
    assert kept.too_few == f"{lost}: resume continues from the last checkpoint"
    assert not scene.losses


def test_what_is_done_needs_nobody(scene):
    scene.beat(1, end="done")
    scene.beat(2, end="done")
    kept = scene.rounds
    with kept.coordinating():
        scene.arrive(0, 0, 1, 2)
        scene.place(0, 0)
        (scene.run.folder / "DONE").touch()
        scene.arrive(1, 0)
        assert scene.ended.wait(10)
    assert not kept.too_few


def test_of_ranks_that_said_why_it_is_told_once():
    failed = {"time": 0.0, "end": RankEnd.FAILED, "reason": "x"}
    beats = [HeartbeatRecord(1, **failed), HeartbeatRecord(3, **failed), HeartbeatRecord(2, 0.0)]
    assert describe([1, 2, 3], beats) == "ranks 1, 2, 3 were lost (x)"
    assert describe([2], beats) == "rank 2 was lost (without a word)"
