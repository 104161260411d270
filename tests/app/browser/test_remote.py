"""From the form to a host over SSH and back, in a browser, with a real SSH server and the real engine."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import expect

from engine.data.demo import write_demo
from engine.runs import Store
from tests.app.browser.conftest import HANG_S, Server, open_tab, start_server, wait_until
from tests.engine.launch import servers
from tests.engine.launch.conftest import need
from tests.engine.launch.engine_processes import no_processes_left
from tests.engine.launch.servers import Sshd

pytestmark = [pytest.mark.browser, pytest.mark.cluster, pytest.mark.slow]
SPEC = """
version: 1
data: {{target: {{path: {path}, variable: no2}}, scale: 4}}
model: {{n_filters: 4, n_blocks: 1}}
training: {{epochs: 12, early_stopping: false}}
launch: {{title: over there, upload: true}}
"""


@pytest.fixture
def station() -> Iterator[Sshd]:
    need(servers.SSH)
    with servers.sshd() as server:
        yield server


@pytest.fixture
def remote_server(tmp_path: Path, station: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A dashboard whose targets file names this machine and the SSH server."""
    target = {
        "kind": "ssh",
        "host": station.alias,
        "ssh_config": str(station.config),
        "folder": str(tmp_path / "there"),
        "python": sys.executable,
        "interface": "lo",
        "limits": {"processes": 2},
    }
    targets = {"version": 1, "targets": {"local": {}, "station": target}}
    (tmp_path / "targets.yaml").write_text(yaml.safe_dump(targets))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(station.folder))
    with no_processes_left(tmp_path):
        server = start_server(tmp_path)
        write_demo(server.data, days=20, size=(32, 32))
        yield server
        server.process.terminate()
        server.process.wait(timeout=HANG_S)


def test_a_run_goes_over_ssh_and_its_maps_come_back(remote_server, station, chromium, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.format(path=remote_server.data / "no2_regional.nc"))
    with open_tab(remote_server, chromium) as tab:
        page = tab.open("?page=design")
        page.locator("input[type=file]").first.set_input_files(spec)
        choose_target(page, "station · SSH")
        expect(page.get_by_text("at most 2", exact=True)).to_be_visible()
        expect(page.get_by_text("Ready to train on station.")).to_be_visible()

        station.known_hosts.write_text("")
        page.get_by_role("button", name="Train on station").click()
        expect(page.get_by_text("the host key of target is not known here").first).to_be_visible()
        expect(page.get_by_text(re.compile("SHA256:")).first).to_be_visible()

        station.trust()
        page.get_by_role("button", name="Train on station").click()
        expect(page.get_by_text("over there submitting to station").first).to_be_visible()
        expect(page).to_have_url(re.compile("page=runs"))
        page.get_by_role("button", name="Queue").click()
        expect(page.get_by_role("gridcell", name="station · SSH")).to_have_count(1)  # the refused one doesn't wait
        expect(page.locator(".state.done").first).to_be_visible()
        expect(page.get_by_text("No run is queued or running.")).to_be_visible()
        expect(page.get_by_role("row", name="Runs on station · SSH")).to_be_visible()
        expect(page.get_by_role("row", name="Epoch 12 of 12")).to_be_visible()
        page.get_by_role("button", name="Compare maps").click()
        # LR, interpolated, HR, downscaled, two of RMSE, and two colour bars.
        wait_until(lambda: len(tab.sources()) >= 8)
    done, refused = Store(remote_server.store).runs()
    assert (done.status().state, refused.status().state) == ("done", "failed")


def choose_target(page, label: str) -> None:
    page.get_by_role("combobox").filter(has_text="local · this machine").click()
    page.locator("li").filter(has_text=label).click()
