"""Cost of tabs for the server: the share of a core that an open one takes, the memory that closed ones leave."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from playwright.sync_api import sync_playwright

from tests.app.browser.conftest import CHROMIUM, VIEWPORT, open_tab, start_server
from tests.app.fake import write_run
from tests.benchmarks.record import record
from tests.benchmarks.test_compare_page import IMAGES_JS, OPENED_JS, STEP_JS

SETTLED_S, WATCHED_S = 10, 10
TABS, SETTLED_TABS, STEPS, MAPS = 40, 5, 3, 11
DRAWN_S, RELEASED_S = 1.5, 1.5  # cards in view below the maps; most of the end of the session before
SOON = ("--unused-session-lifetime", "1000", "--check-unused-sessions", "200")  # ms


@pytest.mark.slow
def test_idle_tab(tmp_path: Path) -> None:
    server = start_server(tmp_path)
    try:
        for number in range(10):
            write_run(server.store, f"run {number}", seed=number)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            with open_tab(server, browser) as tab:
                tab.open("?page=runs").wait_for_timeout(1000 * SETTLED_S)
                process = psutil.Process(server.process.pid)
                before = sum(process.cpu_times()[:2])
                tab.page.wait_for_timeout(1000 * WATCHED_S)
                share = (sum(process.cpu_times()[:2]) - before) / WATCHED_S
            browser.close()
    finally:
        server.process.terminate()
        server.process.wait()
    record("server, one idle tab", {"share_of_a_core": round(share, 3)})
    assert share < 0.1


@pytest.mark.slow
def test_memory_of_closed_tabs(tmp_path: Path) -> None:
    """Tabs one after the other, each of which opens Compare with eight runs, steps and closes."""
    server = start_server(tmp_path, options=SOON)
    process = psutil.Process(server.process.pid)
    try:
        runs = [write_run(server.store, f"run {n}", ny=100, nx=100, n_times=12, skill=0.1 * n).id for n in range(8)]
        sizes = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            context = browser.new_context(viewport=VIEWPORT)  # scripts are fetched and compiled once
            for _ in range(TABS):
                with open_tab(server, context) as tab:
                    page = tab.open("?page=compare&runs=" + ",".join(runs))
                    page.wait_for_function(OPENED_JS, arg=MAPS, timeout=60_000)
                    page.evaluate(IMAGES_JS)
                    forward = page.get_by_role("button", name="One step forward").element_handle()
                    for _ in range(STEPS):
                        page.evaluate(f"([count, ...buttons]) => ({STEP_JS})(buttons, count)", [MAPS, forward])
                    page.wait_for_timeout(1000 * DRAWN_S)
                time.sleep(RELEASED_S)
                sizes.append(process.memory_info().rss / 2**20)
            browser.close()
    finally:
        server.process.terminate()
        server.process.wait()
    growth = float(np.polyfit(range(SETTLED_TABS, TABS), sizes[SETTLED_TABS:], 1)[0])
    aim = {"growth_mib_per_tab": 0.3}
    figures = {"growth_mib_per_tab": round(growth, 2), "mib": [round(size) for size in sizes], "aim": aim}
    record(f"server, {TABS} tabs with eight runs, one after the other", figures)
