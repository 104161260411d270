"""Places of ranks: by Slurm's words, on hosts over SSH, and among those that are left."""

from __future__ import annotations

import pytest

from engine.errors import LaunchError
from engine.launch.ranks.topology import (
    Host,
    RankPlace,
    fill_hosts,
    place_in_step,
    places_of_remaining,
    places_on_host,
    tasks_per_node,
)
from tests.engine.launch.ranks.test_command import task


def test_a_task_of_slurm_knows_its_place():
    # Four nodes with 2, 2, 2 and 1 tasks: task 5 is the second on the third node, and across from it are those on the
    # first and second; task 6 is the first on the fourth, with three across.
    fifth, sixth = (place_in_step(task(*where, "2(x3),1")) for where in ((5, 2, 1), (6, 3, 0)))
    assert fifth.variables() == {
        "HOROVOD_HOSTNAME": "gpu2",
        "HOROVOD_RANK": "5",
        "HOROVOD_SIZE": "7",
        "HOROVOD_LOCAL_RANK": "1",
        "HOROVOD_LOCAL_SIZE": "2",
        "HOROVOD_CROSS_RANK": "2",
        "HOROVOD_CROSS_SIZE": "3",
    }
    assert (sixth.local_rank, sixth.local_size, sixth.cross_rank, sixth.cross_size) == (0, 1, 3, 4)


@pytest.mark.parametrize(
    ("text", "expected"), [("1", [1]), ("2(x3),1", [2, 2, 2, 1]), ("8(x2)", [8, 8]), ("1,2,1", [1, 2, 1])]
)
def test_tasks_per_node(text, expected):
    assert tasks_per_node(text) == expected


def test_outside_a_step_there_is_no_rank():
    with pytest.raises(LaunchError, match="SLURM_PROCID is not set: `rank` is started by srun, in a job"):
        place_in_step({})
    with pytest.raises(LaunchError, match="SLURM_STEP_TASKS_PER_NODE is 'two': expected the like of 2"):
        place_in_step(task(0, 0, 0, "two"))


@pytest.mark.parametrize(
    ("processes", "expected"),
    [(6, [("a", 4), ("b", 2)]), (4, [("a", 4)]), (1, [("a", 1)]), (9, [("a", 4), ("b", 4), ("c", 1)])],
)
def test_the_first_hosts_are_filled_first(processes, expected):
    hosts = [Host("a", 4), Host("b", 4), Host("c", 4)]
    assert [(host.name, host.ranks) for host in fill_hosts(hosts, processes)] == expected


def test_ranks_count_on_from_host_to_host():
    first, second = places_on_host("a", 0, [2, 1]), places_on_host("b", 1, [2, 1])
    assert [place.rank for place in first + second] == [0, 1, 2]
    assert {place.size for place in first + second} == {3}
    assert [place.local_rank for place in first + second] == [0, 1, 0]
    assert [place.cross_size for place in first + second] == [2, 1, 2]
    assert first[0].host == first[1].host != second[0].host


def test_those_left_keep_their_order_and_their_hosts():
    # Of a with ranks 0 and 1, b with 2 and 3, and c with 4, ranks 1 and 2 are lost: three are left, one a host, which
    # are across from each other.
    found = places_of_remaining({4: "c", 0: "a", 3: "b"})
    assert found == {
        0: RankPlace("a", 0, 3, 0, 1, 0, 3),
        3: RankPlace("b", 1, 3, 0, 1, 1, 3),
        4: RankPlace("c", 2, 3, 0, 1, 2, 3),
    }
    assert places_of_remaining({1: "a", 0: "a", 2: "b"}) == {
        0: RankPlace("a", 0, 3, 0, 2, 0, 2),
        1: RankPlace("a", 1, 3, 1, 2, 0, 1),
        2: RankPlace("b", 2, 3, 0, 1, 1, 2),
    }
