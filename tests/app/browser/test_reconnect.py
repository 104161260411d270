"""A dashboard that is killed and started again: open pages say so, come back by themselves, and keep the form."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.app.browser.conftest import HANG_S, IDLE_JS, Server, open_tab, start_server

pytestmark = pytest.mark.browser
BEGUN_JS = "() => Bokeh.documents[0]._document_callbacks.get('connection_lost')?.[0]?.name === 'waitForServer'"


def fill(page: Page, name: str, value: str) -> None:
    box = page.get_by_role("textbox", name=name).first
    box.fill(value)
    box.press("Enter")


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[list[Server]]:
    """A dashboard that a test may kill and replace; the last one is ended."""
    servers = [start_server(tmp_path)]
    yield servers
    servers[-1].process.terminate()
    servers[-1].process.wait(timeout=HANG_S)


def test_the_page_and_its_form_come_back_with_the_server(own_server, tmp_path, chromium):
    with open_tab(own_server[0], chromium) as tab:
        page = tab.open("?page=design&dark=yes")
        for name, value in {"path": "/data/hr.nc", "Scale": "4", "Epochs": "17", "Title": "kept: ‘as it was’"}.items():
            fill(page, name, value)
        expect(page.locator("pre", has_text="epochs: 17")).to_contain_text("kept")
        assert tab.faults == []
        own_server[0].process.send_signal(signal.SIGKILL)
        own_server[0].process.wait()
        expect(page.get_by_role("alert").filter(has_text="Connection lost; trying again…")).to_be_visible()
        own_server.append(start_server(tmp_path, own_server[0].port))
        expect(page.locator("#connection-lost")).to_have_count(0)
        page.wait_for_function(IDLE_JS)
        for name, value in {"path": "/data/hr.nc", "Scale": "4", "Epochs": "17", "Title": "kept: ‘as it was’"}.items():
            expect(page.get_by_role("textbox", name=name).first).to_have_value(value)
        expect(page).to_have_url(re.compile(r"\?page=design&dark=yes$"))
        expect(page.locator(".mui-dark").first).to_be_visible()
        # While the server was away, the browser wrote of every request that it failed; nothing else was wrong.
        others = [fault for fault in tab.faults if "ERR_CONNECTION" not in fault and not fault.startswith("failed:")]
        tab.faults.clear()
        assert others == []


def test_a_kept_form_of_another_kind_is_refused_in_words(tab):
    kept = "version: 1\ntraining: {epochs: 17, seed: !!python/name:os.system }"
    page = tab.open("?page=design")
    page.wait_for_function(BEGUN_JS)  # until then it would take what is kept
    page.evaluate("kept => sessionStorage.setItem(`mesoscope draft ${location.pathname}`, kept)", kept)
    page.reload()
    expect(page.get_by_text("The form that this browser has kept can't be used: left out.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Epochs")).to_have_value("100")
    page.reload()
    page.wait_for_function(IDLE_JS)
    expect(page.get_by_text("can't be used")).to_have_count(0)
