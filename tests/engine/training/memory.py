"""What a training takes of the memory: `memory.py SPEC STORE` prints bytes, held after each epoch and at the peak.

The store is new, and the run is the one process there; without its evaluation, which needs no more than its batches.
Run it with PYTHONMALLOC=malloc: only then are small objects of Python counted.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

from engine import run as engine_run
from engine.runs import Store
from engine.spec import Spec
from engine.training.progress import ProgressRecord
from tests.engine.memory_measurement import prepared, resident


class MallInfo(ctypes.Structure):
    """`struct mallinfo2` of the GNU C library (2.33)."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names)


def main(spec: Spec, store: Store) -> None:
    run, workers, pairs, normalizer, network = prepared(spec, store)
    training = engine_run.prepare_training(run, workers, network, pairs, normalizer)
    held: list[int] = []

    def report(record: ProgressRecord) -> None:
        if record.val_loss is not None:
            held.append(_held())

    training.report = report
    assert training.run()
    sys.stdout.write("\n" + json.dumps({"held": held, "peak": resident("VmHWM")}))


def _held() -> int:
    """What is allocated and not freed, by NumPy, TensorFlow and Python alike.

    Resident memory would also count what the allocator keeps for later, which comes and goes by megabytes.
    """
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = MallInfo
    found = ask()
    return found.uordblks + found.hblkhd


main(Spec.read(Path(sys.argv[1])), Store(Path(sys.argv[2])))
