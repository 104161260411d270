"""A search in a browser with the real engine: it outlives its tab and the dashboard, and leads to its runs."""

from __future__ import annotations

import re
import signal

import pytest
from playwright.sync_api import expect

from engine.launch.searches import searches
from engine.runs import Store
from tests.app.browser.conftest import HANG_S, open_tab, start_server, wait_until
from tests.engine.data.mock import write_field

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SPEC = """
version: 1
data: {{target: {{path: {path}}}, scale: 2}}
model: {{n_filters: 4, n_blocks: 1}}
training: {{epochs: 20000, early_stopping: false}}
"""


def test_a_search_outlives_its_tab_and_the_dashboard_and_is_stopped(tmp_path, chromium):
    server, spec = start_server(tmp_path), tmp_path / "spec.yaml"
    store = Store(server.store)
    write_field(tmp_path / "hr.nc", ny=8, nx=12, times=40)
    spec.write_text(SPEC.format(path=tmp_path / "hr.nc"))
    try:
        with open_tab(server, chromium) as tab:
            page = tab.open("?page=design")
            page.locator("input[type=file]").first.set_input_files(spec)
            expect(page.get_by_text("Ready to train.")).to_be_visible()
            page.get_by_role("button", name="Search", exact=True).click()
            page.get_by_role("checkbox", name="learning rate").uncheck()
            page.get_by_role("button", name="Start the search").click()
            expect(page.get_by_text("Started: search-001")).to_be_visible()
        wait_until(lambda: bool(store.runs()))
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        server = start_server(tmp_path, server.port)
        with open_tab(server, chromium) as tab:
            page = tab.open("?page=design")
            expect(page.get_by_text(re.compile(r"^running.*search-001", re.DOTALL))).to_be_visible()
            page.get_by_role("button", name="Stop").click()
            expect(page.get_by_text(re.compile(r"^cancelled.*stopped", re.DOTALL))).to_be_visible()
            page.get_by_role("button", name="Trials").click()
            expect(page).to_have_url(re.compile("page=runs.*find=search-001.*charts=yes"))
            expect(page.get_by_role("gridcell", name=re.compile("search-001 0: "))).to_be_visible()
    finally:
        server.process.terminate()
        server.process.wait(timeout=HANG_S)
    (search,), (run,) = searches(store), store.runs()
    assert search.request.options == ("model.backbone", "model.upsampling", "model.n_filters", "model.n_blocks")
    assert [trial.run for trial in search.found().trials] == [run.id]
    assert run.status().state == "cancelled"
