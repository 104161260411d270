"""How long Compare takes on the server: the first draw of two runs, and a step of time on five maps."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
from tests.app.pages.test_compare_page import one_loop, open_page  # noqa: F401 - a fixture that every test here uses

from tests.app.fake import write_run
from tests.benchmarks.record import record


@pytest.mark.slow
def test_first_draw_and_time_step(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, title, ny=100, nx=152, n_times=30) for title in ("one", "two")]
    begun = time.perf_counter()
    page = open_page(tmp_path, runs)
    first = time.perf_counter() - begun
    seconds = []
    for step in range(1, 12):
        begun = time.perf_counter()
        page.session.time = step
        seconds.append(time.perf_counter() - begun)
    figures = {"first_draw_s": round(first, 2), "time_step_ms": round(1000 * statistics.median(seconds))}
    record("compare, two runs of 100 x 152 cells", figures)
    assert statistics.median(seconds) < 0.2
