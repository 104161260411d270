"""Places of ranks: which ranks each host takes, and what each rank needs of it. Pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.errors import LaunchError

HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*):([1-9][0-9]{0,2})")
TASKS = re.compile(r"(\d+)(?:\(x(\d+)\))?")  # Slurm's 2(x3),1: three nodes with two tasks, one with one
STEP = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE")


@dataclass(frozen=True)
class Host:
    """A host and how many of the ranks it takes."""

    name: str
    ranks: int

    @classmethod
    def parse(cls, word: str) -> Host:
        """Read `name:ranks`; raises LaunchError for what might be an option of ssh, or worse."""
        found = HOST.fullmatch(word)
        if not found:
            raise LaunchError(
                f"ranks.hosts holds {word!r} in request.json", hint="expected a host and its ranks, as node1:4"
            )
        return cls(found[1], int(found[2]))


@dataclass(frozen=True)
class RankPlace:
    """Place of a rank among all, among those of its host, and among those with its local number on all hosts."""

    host: str
    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """All but the host, in the order in which Horovod's core reads them."""
        return (self.rank, self.size, self.local_rank, self.local_size, self.cross_rank, self.cross_size)

    def variables(self) -> dict[str, str]:
        """Variables in which Horovod looks for the place."""
        names = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE", "CROSS_RANK", "CROSS_SIZE")
        numbers = {f"HOROVOD_{name}": str(number) for name, number in zip(names, self.numbers, strict=True)}
        return {"HOROVOD_HOSTNAME": self.host, **numbers}


def place(rank: int, host: str, node: int, local: int, layout: Sequence[int]) -> RankPlace:
    """Place of a rank that is the `local`-th of `layout[node]` on its host.

    Ranks with the same local number on all hosts that have so many are across from each other.
    """
    across = [number for number, ranks in enumerate(layout) if ranks > local]
    return RankPlace(host, rank, sum(layout), local, layout[node], across.index(node), len(across))


def fill_hosts(hosts: Sequence[Host], processes: int) -> list[Host]:
    """Give each host its share of the processes: the first ones are filled first."""
    taken = []
    for host in hosts:
        if share := min(host.ranks, processes):
            taken.append(Host(host.name, share))
        processes -= share
    return taken


def places_on_host(name: str, node: int, layout: Sequence[int]) -> list[RankPlace]:
    """Places of the ranks of the host with that number; ranks count on from host to host."""
    first = sum(layout[:node])
    return [place(first + local, f"{node}-{name}", node, local, layout) for local in range(layout[node])]


def places_of_remaining(hosts: Mapping[int, str]) -> dict[int, RankPlace]:
    """New places of the ranks that are left, by the ranks they had first; those of a host follow each other.

    Parameters
    ----------
    hosts : host of each, by the rank it had first, whose order is kept.
    """
    layout = Counter(hosts[rank] for rank in sorted(hosts))
    names, taken = list(layout), Counter[str]()
    found = {}
    for rank, first in enumerate(sorted(hosts)):
        name = hosts[first]
        found[first] = place(rank, name, names.index(name), taken[name], list(layout.values()))
        taken[name] += 1
    return found


def place_in_step(slurm: Mapping[str, str]) -> RankPlace:
    """Place of a rank from what Slurm passes to each task of a step; raises LaunchError outside one."""
    if missing := [name for name in STEP if name not in slurm]:
        raise LaunchError(f"{missing[0]} is not set", hint="`rank` is started by srun, in a job")
    node, local = int(slurm["SLURM_NODEID"]), int(slurm["SLURM_LOCALID"])
    layout = tasks_per_node(slurm["SLURM_STEP_TASKS_PER_NODE"])
    return place(int(slurm["SLURM_PROCID"]), slurm.get("SLURMD_NODENAME", f"node-{node}"), node, local, layout)


def tasks_per_node(text: str) -> list[int]:
    """Slurm's "2(x3),1" → [2, 2, 2, 1]."""
    parts = [TASKS.fullmatch(part) for part in text.split(",")]
    if not all(parts):
        raise LaunchError(f"SLURM_STEP_TASKS_PER_NODE is {text!r}", hint="expected the like of 2(x3),1")
    return [int(part[1]) for part in parts if part for _ in range(int(part[2] or 1))]
