"""What a training takes of the memory: `memory.py SPEC STORE` prints bytes, resident after each epoch and at the peak.

The store is new, and the run is the one process there; without its evaluation, which needs no more than its batches.
"""

from __future__ import annotations

import json
import resource
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
            resident.append(psutil.Process().memory_info().rss)

    training.report = report
    assert training.run()
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write("\n" + json.dumps({"resident": resident, "peak": peak}))


main(Spec.read(Path(sys.argv[1])), Store(Path(sys.argv[2])))
