"""A tab that is closed leaves nothing in the server."""

from __future__ import annotations

import signal

import pytest

from tests.app.browser.conftest import HANG_S, Server, open_tab, start_server, wait_until
from tests.app.browser.test_thread import wait_for_maps
from tests.app.fake import write_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]
# Appends to a file, at each SIGUSR1, how many sessions of the dashboard are in memory.
COUNTING_PANEL = """
import gc, os, signal, sys
from panel.command import main

def count(*_):
    gc.collect()
    with open(os.environ["SESSIONS"], "a") as file:
        print(sum(type(one).__name__ == "Session" for one in gc.get_objects()), file=file)

signal.signal(signal.SIGUSR1, count)
main(sys.argv)
"""
SOON = ("--unused-session-lifetime", "5000", "--check-unused-sessions", "200")  # ms; a new tab needs some to connect


def test_a_closed_tab_leaves_no_session_in_the_server(tmp_path, chromium, monkeypatch):
    counts = tmp_path / "sessions"
    monkeypatch.setenv("SESSIONS", str(counts))
    program = tmp_path / "counting_panel.py"
    program.write_text(COUNTING_PANEL)
    server = start_server(tmp_path, panel=[str(program)], options=SOON)
    assert server.process is not None
    try:
        run = write_run(server.store, "one")
        with open_tab(server, chromium) as tab:
            tab.open(f"?page=compare&runs={run.id}")
            wait_for_maps(tab, at_least=8)
            assert sessions(server, counts) >= 1
        wait_until(lambda: sessions(server, counts) == 0)
    finally:
        server.process.terminate()
        server.process.wait(timeout=HANG_S)


def sessions(server: Server, counts) -> int:
    """Ask the server how many it holds."""
    before = counts.read_text() if counts.exists() else ""
    assert server.process is not None
    server.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: counts.exists() and counts.read_text() != before)
    return int(counts.read_text().split()[-1])
