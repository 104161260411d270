"""How long the first import takes, each in a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys

import pytest

from tests.benchmarks.record import record

TIMED = "import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"


@pytest.mark.slow
@pytest.mark.parametrize("module", ["engine.spec", "engine.runs", "engine.cli", "engine.check"])
def test_import_time(module: str) -> None:
    runs = [
        subprocess.run([sys.executable, "-c", TIMED.format(module=module)], capture_output=True, check=True, text=True)
        for _ in range(5)
    ]
    seconds = statistics.median(float(run.stdout) for run in runs)
    record(f"import {module}", {"seconds": round(seconds, 3)})
    assert seconds < (1.0 if module == "engine.spec" else 5.0)
