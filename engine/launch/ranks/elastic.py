"""Coordinate the rounds of an elastic training, as its supervisor: which ranks take part, from one loss to the next.

A round begins when the first rank reports that it lost the others. Those that live are waited for; then each is given
its place among those that are left, which continue from the last checkpoint. engine/training/elastic.py is the side of
the ranks.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.launch.local import end_tree
from engine.launch.ranks.topology import places_of_remaining
from engine.runs import RankEnd, Run, process_alive
from engine.runs.records import HeartbeatRecord
from engine.runs.state import FROM_CHECKPOINT, SILENCE_S

if TYPE_CHECKING:
    from engine.launch.ranks.rendezvous import Keys

POLL_INTERVAL_S = 0.2
GATHER_S = 300.0  # so long a round's first rank waits for its last


@dataclass
class ElasticCoordinator:
    """Ranks that take part, by the numbers they had first.

    keys : where ranks say that they are there, and read their places.
    meet : one more server, where the ranks of a round find each other.
    report_loss : called with the ranks that were lost, how many are left, and why in words.
    end : ends all ranks.
    too_few : why training can't go on, once it can't.
    """

    run: Run
    keys: Keys
    meet: Callable[[], contextlib.AbstractContextManager[Keys]]
    report_loss: Callable[[list[int], int, str], None]
    end: Callable[[], None]
    too_few: str = ""
    _members: list[int] = field(default_factory=list)
    _last_signs: dict[int, tuple[Any, float]] = field(default_factory=dict)

    @contextlib.contextmanager
    def coordinating(self) -> Iterator[None]:
        """Coordinate the ranks in a thread while the body runs."""
        over = threading.Event()
        thread = threading.Thread(target=self._keep, args=(over,), name="elastic coordinator", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _keep(self, over: threading.Event) -> None:
        self._members, number = list(range(self.run.spec.launch.processes)), 0
        with contextlib.ExitStack() as servers:
            while self._members and (arrived := self._gather(number, over)):
                self._members = self._open(number, arrived, servers)
                number += 1
            over.wait()

    def _gather(self, number: int, over: threading.Event) -> dict[int, str]:
        """Host of each member that has arrived, once no other is worth waiting for; {} if it's over before."""
        began = None
        while not over.wait(POLL_INTERVAL_S):
            said = self.keys.of(f"arrived-{number}")
            if not (arrived := {rank: said[str(rank)].decode() for rank in self._members if str(rank) in said}):
                continue
            began = began or time.monotonic()
            missing = [rank for rank in self._members if rank not in arrived]
            hopeless = number > 0 and not any(map(self._may_arrive, missing))  # at first, ranks have given no sign yet
            if not missing or hopeless or time.monotonic() - began > GATHER_S:
                return arrived
        return {}

    def _may_arrive(self, rank: int) -> bool:
        """True if a rank may still arrive: its process runs here, or it sent a heartbeat elsewhere."""
        heartbeat = next((one for one in self.run.heartbeats() if one.rank == rank), None)
        if heartbeat and heartbeat.end:
            return False
        if heartbeat and heartbeat.host == socket.gethostname():
            return process_alive(heartbeat.pid, heartbeat.pid_started)
        sign, now = heartbeat.time if heartbeat else None, time.monotonic()
        if rank not in self._last_signs or self._last_signs[rank][0] != sign:
            self._last_signs[rank] = (sign, now)
        return now - self._last_signs[rank][1] < SILENCE_S

    def _open(self, number: int, hosts: Mapping[int, str], servers: contextlib.ExitStack) -> list[int]:
        """Begin a round with those that have arrived; returns them, or nobody if it can't be."""
        if self.run.done_file.exists():  # lost when there was nothing left to do
            self.end()
            return []
        if lost := [rank for rank in self._members if rank not in hosts]:
            why = describe(lost, self.run.heartbeats())
            for pid in self.run.ranks_here(lost):  # those that hang
                end_tree(pid)
            self.run.forget_heartbeats(*lost)
            self.keys.put(f"place-{number}", {str(rank): b"{}" for rank in lost})
            least = self.run.spec.launch.min_processes
            if len(hosts) < least:
                self.too_few = f"{why}, and launch.min_processes is {least}: {FROM_CHECKPOINT}"
                self.end()
                return []
            self.report_loss(lost, len(hosts), why)
        keys, places = servers.enter_context(self.meet()), places_of_remaining(hosts)
        for place in places.values():  # in the words of Horovod's elastic driver, which its core requests
            numbers = ",".join(map(str, place.numbers)).encode()
            keys.put("rank_and_size", {f"{place.host}:{place.local_rank}": numbers})
        port = {"HOROVOD_GLOO_RENDEZVOUS_PORT": str(keys.port)}
        assigned = {str(rank): json.dumps({**place.variables(), **port}).encode() for rank, place in places.items()}
        self.keys.put(f"place-{number}", assigned)
        return list(hosts)


def describe(lost: list[int], heartbeats: list[HeartbeatRecord]) -> str:
    """Which ranks were lost, and why, as far as they could say."""
    words = f"rank{'s' if len(lost) > 1 else ''} {', '.join(map(str, lost))} {'were' if len(lost) > 1 else 'was'} lost"
    said = {one.reason or "": None for one in heartbeats if one.rank in lost and one.end is RankEnd.FAILED}
    return f"{words} ({'; '.join(said) or 'without a word'})"
