"""What a training takes of the memory: `memory.py SPEC STORE` prints bytes, resident after each epoch and at the peak.

The store is new, and the run is the one process there; without its evaluation, which needs no more than its batches.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import psutil

from engine import run as story
from engine.data.pairs import pair
from engine.runs import Store
from engine.spec import Spec
from engine.training.workers import join


def main(spec: Spec, store: Store) -> None:
    workers, run = join(), store.create(spec, {})
    story._set_up(spec)
    pairs = pair(spec.data)
    scaling = story._scaling(run, pairs)
    network = story._network(spec, pairs, scaling)
    training = story._training(run, workers, network, pairs, scaling)
    resident: list[int] = []

    def report(record: dict[str, object]) -> None:
        if "val_loss" in record:
            ctypes.CDLL(None).malloc_trim(0)  # what is free but not given back would hide a leak
            resident.append(psutil.Process().memory_info().rss)

    training.report = report
    assert training.run()
    sys.stdout.write("\n" + json.dumps({"resident": resident, "peak": _peak()}))


def _peak() -> int:
    """Of this program alone: getrusage would also count the process that it was forked from."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


main(Spec.read(Path(sys.argv[1])), Store(Path(sys.argv[2])))
