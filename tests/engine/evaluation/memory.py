"""What an evaluation takes of the memory: `memory.py SPEC STORE` prints the bytes held before it, and its peak.

The network is not trained; the run is the one process there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from engine import run as story
from engine.data.pairs import pair
from engine.runs import Heartbeat, Store
from engine.spec import Spec
from engine.training.workers import join


def main(spec: Spec, store: Store) -> None:
    workers, run = join(), store.create(spec, {})
    story._set_up(spec)
    pairs = pair(spec.data)
    scaling = story._scaling(run, workers, pairs)
    network = story._network(spec, pairs, scaling)
    before = _resident("VmRSS")
    with Heartbeat(run, workers.rank, workers.size) as heartbeat:
        story._evaluate(run, heartbeat, network, pairs, scaling)
        heartbeat.end("done")
    sys.stdout.write("\n" + json.dumps({"before": before, "peak": _resident("VmHWM")}))


def _resident(word: str) -> int:
    """Now (VmRSS), or at most (VmHWM)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{word}:"))
    return 1024 * int(line.split()[1])


main(Spec.read(Path(sys.argv[1])), Store(Path(sys.argv[2])))
