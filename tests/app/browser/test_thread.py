"""The whole thread in a browser with the real engine: from a file to the comparison, and a dashboard that is killed."""

from __future__ import annotations

import json
import operator
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from playwright.sync_api import Page, expect

from engine.data.demo import write_demo
from engine.evaluation.animation import MOST_FRAMES
from engine.runs import Run, Store
from tests.app.browser.conftest import HANG_S, Server, Tab, open_tab, start_server, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LONG_SPEC = """
version: 1
data: {{target: {{path: {path}, variable: no2}}, scale: 4}}
model: {{n_filters: 4, n_blocks: 1}}
training: {{epochs: 20000, early_stopping: false}}
launch: {{title: outlives the dashboard}}
"""
LOOK_MS = 500  # while a run trains; by default it would be at every frame
LOSSES_JS = """() => {
  for (const model of Bokeh.documents[0]._all_models.values()) {
    if (model.type === "ColumnDataSource" && model.data.loss !== undefined) { return model.data.loss.length; }
  }
  return 0;
}"""


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[list[Server]]:
    """A dashboard that a test may kill and replace; the last one is ended."""
    servers = [start_server(tmp_path)]
    write_demo(servers[0].data, days=20, size=(32, 32))
    yield servers
    servers[-1].process.terminate()
    servers[-1].process.wait(timeout=HANG_S)


def test_from_a_file_to_the_comparison(own_server, chromium):
    with open_tab(own_server[0], chromium) as tab:
        link = from_the_file_to_the_comparison(tab)
        shown = tab.sources()
        downscale_the_test_part_again(tab, own_server[0].store.parent)
    with open_tab(own_server[0], chromium) as other:
        other.open(link.removeprefix(own_server[0].url))
        wait_until(lambda: sorted(other.sources()) == pytest.approx(sorted(shown), rel=1e-6))
        assert other.page.url == link


def from_the_file_to_the_comparison(tab: Tab) -> str:
    """Design, train and compare with the demonstration set; returns the link of the comparison."""
    choose_the_file(tab)
    design(tab.page)
    tab.page.get_by_role("button", name="Train").click()
    compare(tab, watch_it_train(tab))
    return tab.page.url


def choose_the_file(tab: Tab) -> None:
    page = tab.open("?page=data")
    page.get_by_text("no2_regional.nc", exact=True).click()
    expect(page.get_by_text("32 × 32 cells").first).to_be_visible()
    wait_until(lambda: tab.sources() != [])
    page.get_by_role("button", name="Use as target").click()


def design(page: Page) -> None:
    page.get_by_role("tab", name="Design").click()
    expect(page.get_by_role("textbox", name="path").first).to_have_value(re.compile(r"no2_regional\.nc$"))
    for name, value in {"Scale": "4", "Epochs": "60", "Filters": "4", "Blocks": "1", "Title": "thread"}.items():
        box = page.get_by_role("textbox", name=name).first
        box.fill(value)
        box.press("Enter")
    expect(page.get_by_text("Ready to train.")).to_be_visible()
    # 20 days every 3 hours are 160 samples: 112, 24 and 24 of them by the default split.
    expect(page.get_by_role("row", name=re.compile("^Train samples 112"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^LR grid 8 × 8"))).to_be_visible()


def watch_it_train(tab: Tab) -> Run:
    page = tab.page
    expect(page.get_by_role("gridcell", name="thread")).to_be_visible()
    page.wait_for_function(f"({LOSSES_JS})() > 0", polling=LOOK_MS)
    expect(page.locator(".state.running").first).to_be_visible()
    expect(page.locator(".state.done").first).to_be_visible()
    expect(page.get_by_role("row", name="Epoch 60 of 60")).to_be_visible()
    (run,) = Store(tab.server.store).runs()
    assert page.evaluate(LOSSES_JS) >= 60
    return run


def compare(tab: Tab, run: Run) -> None:
    page = tab.page
    page.locator(".tabulator-row input[type=checkbox]").first.click()
    page.get_by_role("button", name="Compare 1").click()
    wait_for_maps(tab, at_least=8)  # LR, interpolated, HR, downscaled, two of RMSE, and two colour bars
    expect(page).to_have_url(re.compile(rf"page=compare.*runs={run.id}"))
    before = tab.sources()
    page.get_by_role("button", name="One step forward").click()
    expect(page).to_have_url(re.compile(r"time=1\b"))
    wait_until(lambda: len(now := tab.sources()) == len(before) and sum(map(operator.ne, now, before)) >= 4)
    scores = json.loads((run.folder / "results" / "scores.json").read_text())
    table = page.get_by_label("Scores")
    for product in ("interpolated", "downscaled"):
        rmse = scores[product]["rmse"]
        expect(table).to_contain_text(f"{rmse['mean']:.2f} ± {rmse['std']:.2f}")
    for _ in range(2):  # the same report can be had again
        with page.expect_download() as report:
            page.get_by_role("button", name="report").click()
        assert report.value.suggested_filename == "report.html"
        assert run.id in Path(report.value.path()).read_text(encoding="utf-8")
    with page.expect_download(timeout=1000 * HANG_S) as animation:
        page.get_by_role("button", name="animation").click()
    with Image.open(animation.value.path()) as image, xr.open_dataset(run.results, engine="netcdf4") as results:
        assert (image.format, image.n_frames) == ("GIF", min(MOST_FRAMES, len(results["time"])))


def downscale_the_test_part_again(tab: Tab, folder: Path) -> None:
    """On the Runs page, with LR of the results as new data; the map on the Data page shows the same field."""
    (run,), page = Store(tab.server.store).runs(), tab.page
    with xr.open_dataset(run.results, engine="netcdf4") as results:
        results["lr"].rename(y_lr="y", x_lr="x").rename("new").to_netcdf(folder / "new.nc")
        expected = results["downscaled"].load()
    page.get_by_role("tab", name="Runs").click()
    for name, value in {"LR data": "new.nc", "Variable": "new", "Output": "out.nc"}.items():
        box = page.get_by_role("textbox", name=name, exact=True)
        box.fill(value if name == "Variable" else str(folder / value))
        box.press("Enter")
    page.get_by_role("button", name="Downscale").click()
    expect(page.get_by_text(f"Wrote {folder / 'out.nc'}")).to_be_visible()
    with xr.open_dataset(folder / "out.nc", engine="netcdf4") as found:
        np.testing.assert_allclose(found["downscaled"], expected, rtol=1e-5, atol=1e-5)
    page.get_by_role("button", name="Show on the map").click()
    expect(page.get_by_text("out.nc", exact=True).first).to_be_visible()


def test_a_run_outlives_a_dashboard_that_is_killed(own_server, chromium, tmp_path):
    spec = tmp_path / "long.yaml"
    spec.write_text(LONG_SPEC.format(path=own_server[0].data / "no2_regional.nc"))
    with open_tab(own_server[0], chromium) as tab:
        page = tab.open("?page=design")
        page.locator("input[type=file]").first.set_input_files(spec)
        expect(page.get_by_text("Ready to train.")).to_be_visible()
        page.get_by_role("button", name="Train").click()
        page.wait_for_function(f"({LOSSES_JS})() > 0", polling=LOOK_MS)
    (run,) = Store(own_server[0].store).runs()
    seen = run.latest()["seq"]
    own_server[0].process.send_signal(signal.SIGKILL)
    own_server[0].process.wait()
    wait_until(lambda: run.latest()["seq"] > seen + 20)
    own_server.append(start_server(tmp_path, own_server[0].port))
    with open_tab(own_server[1], chromium) as tab:
        page = tab.open(f"?page=runs&run={run.id}")
        expect(page.locator(".state.running").first).to_be_visible()
        page.wait_for_function(f"({LOSSES_JS})() > {seen}", polling=LOOK_MS)
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".state.cancelled").first).to_be_visible()
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert run.status().state == "cancelled"


def wait_for_maps(tab: Tab, at_least: int = 1) -> None:
    """Until so many images are drawn and none changes any more."""
    wait_until(lambda: len(tab.sources()) >= at_least)
    seen: list[float] = []
    while seen != (seen := tab.sources()):
        tab.page.wait_for_timeout(700)
