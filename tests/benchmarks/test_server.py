"""What an open tab that nobody touches costs the server: its share of one core."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from playwright.sync_api import sync_playwright

from tests.app.browser.conftest import CHROMIUM, open_tab, start_server
from tests.app.fake import write_run
from tests.benchmarks.record import record

SETTLED_S, WATCHED_S = 10, 10


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
