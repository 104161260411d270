"""Programs that measure the memory of a run, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras

from engine import run as engine_run
from engine.data.normalizer import Normalizer
from engine.data.pairs import Pairs, pair
from engine.launch.local import ROOT, environment
from engine.runs import Run, Store
from engine.spec import Spec
from engine.training import assembly
from engine.training.workers import Workers, join
from tests.engine.launch.engine_processes import TIMEOUT_S


def measure(program: Path, spec: Path, **variables: str) -> dict[str, Any]:
    """Run a program on a spec and a new store beside it; returns the JSON on its last line."""
    ended = subprocess.run(
        [sys.executable, str(program), str(spec), str(spec.with_name("runs"))],
        cwd=ROOT,
        env=environment(os.environ, 1) | variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def prepared(spec: Spec, store: Store) -> tuple[Run, Workers, Pairs, Normalizer, keras.Model]:
    """A new run up to its network, as `engine.run` does it."""
    workers, run = join(), store.create(spec, {})
    assembly.make_reproducible(spec)
    pairs = pair(spec.data)
    normalizer = engine_run.share_normalizer(run, workers, pairs)
    return run, workers, pairs, normalizer, assembly.build_network(spec, pairs, normalizer)


def resident(word: str) -> int:
    """Bytes of this program alone, now (VmRSS) or at most (VmHWM): getrusage would count what it was forked from."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{word}:"))
    return 1024 * int(line.split()[1])
