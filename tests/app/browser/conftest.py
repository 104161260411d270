"""A dashboard of its own on a free port, and a browser tab that remembers everything that went wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

CHECKOUT = Path(__file__).resolve().parents[3]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
HANG_S = 300  # far more than a busy machine needs: what takes so long hangs
VIEWPORT: ViewportSize = {"width": 1440, "height": 900}
expect.set_options(timeout=HANG_S * 1000)
IDLE_JS = "() => window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle"
# All is drawn, and nothing moves or fades any more, but for what does so for ever.
STILL_JS = """() => {
  const moves = (root) => root.getAnimations().some(
    one => one.playState === "running" && one.effect.getTiming().iterations !== Infinity
  ) || [...root.querySelectorAll("*")].some(one => one.shadowRoot && moves(one.shadowRoot));
  return Bokeh.documents[0].is_idle && !moves(document);
}"""


@dataclass
class Server:
    """A running dashboard and its folders."""

    url: str
    port: int
    store: Path
    data: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.store.with_name("server.log")


@dataclass
class Tab:
    """A browser tab; `faults` holds responses of 400 and above, console errors, and requests to other hosts."""

    page: Page
    server: Server
    faults: list[str] = field(default_factory=list)

    def open(self, query: str = "") -> Page:
        self.page.goto(self.server.url + query)
        self.page.wait_for_function(IDLE_JS)
        return self.page

    def sources(self) -> list[Any]:
        """Sum of the colours of each image on show: tells whether a map changed, better than pixels."""
        return self.page.evaluate(IMAGES_JS)


IMAGES_JS = """() => {
  const sums = [];
  for (const figure of Bokeh.documents[0]._all_models.values()) {
    if (!["Figure", "Plot"].includes(figure.type)) { continue; }
    const view = Bokeh.index.find_one(figure);
    if (view === null || view.el.offsetParent === null) { continue; }
    for (const renderer of figure.renderers) {
      if (!renderer.glyph || renderer.glyph.type !== "Image") { continue; }
      let sum = 0;
      for (const value of renderer.data_source.data[renderer.glyph.image.field][0]) { sum += value; }
      sums.push(sum);
    }
  }
  return sums;
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`panel serve app` on the loopback, with a store and a data folder of its own; ended by its process id."""
    server = start_server(tmp_path_factory.mktemp("dashboard"))
    yield server
    server.process.terminate()
    server.process.wait(timeout=HANG_S)


def start_server(
    folder: Path, port: int = 0, panel: Sequence[str] = ("-m", "panel"), options: Sequence[str] = ()
) -> Server:
    """Serve the dashboard with `folder` for its store and its data, on a free port unless one is given.

    Runs go to this machine only, unless the folder has a targets file. `panel` : Python's arguments that run it.
    """
    store, data, log, targets = folder / "runs", folder / "data", folder / "server.log", folder / "targets.yaml"
    data.mkdir(exist_ok=True)
    if not targets.exists():
        targets.write_text("version: 1\ntargets: {local: {}}\n")
    port = port or free_port()
    command = [sys.executable, *panel, "serve", "app", "--address", "127.0.0.1", "--port", str(port), *options]
    place = {
        **os.environ,
        "MESOSCOPE_STORE": str(store),
        "MESOSCOPE_DATA": str(data),
        "MESOSCOPE_TARGETS": str(targets),
        "MESOSCOPE_CATALOG": str(folder / "catalog.yaml"),
        "MESOSCOPE_SITE_CATALOG": str(folder / "site_catalog.yaml"),
    }
    with open(log, "wb") as file:
        process = subprocess.Popen(command, cwd=CHECKOUT, env=place, stdout=file, stderr=subprocess.STDOUT)
    server = Server(f"http://127.0.0.1:{port}/app", port, store, data, process)
    try:
        wait_for(server.url, process, log)
    except BaseException:
        process.kill()
        raise
    return server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(server: Server, chromium: Browser) -> Iterator[Tab]:
    """A fresh tab; the test fails if anything went wrong in it."""
    with open_tab(server, chromium) as tab:
        yield tab


@contextmanager
def open_tab(server: Server, browser: Browser | BrowserContext) -> Iterator[Tab]:
    """A tab that, when it is closed, fails the test if anything went wrong in it; in a context, with its cookies."""
    page = browser.new_page(viewport=VIEWPORT) if isinstance(browser, Browser) else browser.new_page()
    page.set_default_timeout(HANG_S * 1000)
    tab = Tab(page, server)
    _remember_faults(page, server, tab.faults.append)
    try:
        yield tab
    except Exception as error:
        error.add_note(f"at {page.url}, after {tab.faults}")
        if server.log.exists():
            error.add_note(f"The server said:\n{server.log.read_text()[-4000:]}")
        raise
    page.close()
    assert tab.faults == []


def _remember_faults(page: Page, server: Server, remember: Callable[[str], None]) -> None:
    own = (server.url.removesuffix("/app"), server.url.replace("http", "ws").removesuffix("/app"), "data:", "blob:")
    page.on("response", lambda r: remember(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("console", lambda m: remember(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: remember(f"error: {error}\n{error.stack}"))
    page.on("request", lambda r: None if r.url.startswith(own) else remember(f"request to {r.url}"))
    page.on("requestfailed", lambda r: remember(f"failed: {r.url}") if "ERR_ABORTED" not in str(r.failure) else None)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + HANG_S
    while not true():
        assert time.monotonic() < end, f"it didn't happen within {HANG_S} s"
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path | None = None) -> None:
    """Until the page answers."""
    end = time.monotonic() + HANG_S
    while time.monotonic() < end:
        assert process.poll() is None, log and log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=HANG_S) as answer:
                assert answer.status == 200
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.3)
    raise AssertionError(f"the dashboard didn't answer within {HANG_S} s:\n{log and log.read_text()}")
