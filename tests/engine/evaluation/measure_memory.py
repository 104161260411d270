"""Memory that an evaluation takes: `measure_memory.py SPEC STORE` prints the bytes held before it, and its peak.

The network is not trained; the run is the one process there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from engine import run as engine_run
from engine.runs import Heartbeat, RankEnd, Store
from engine.spec import Spec
from tests.engine.memory_measurement import prepared, resident


def main(spec: Spec, store: Store) -> None:
    run, workers, pairs, _, network = prepared(spec, store)
    before = resident("VmRSS")
    with Heartbeat(run, workers.rank, workers.size) as heartbeat:
        engine_run.evaluate(run, heartbeat, [network], pairs)
        heartbeat.end(RankEnd.DONE)
    sys.stdout.write("\n" + json.dumps({"before": before, "peak": resident("VmHWM")}))


main(Spec.read(Path(sys.argv[1])), Store(Path(sys.argv[2])))
