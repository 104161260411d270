"""Compare in Chromium: a time step and the way to the first maps, beside a bare Panel page with as many images."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.app.browser.conftest import CHECKOUT, Server, chromium, free_port, start_server, wait_for
from tests.app.fake import write_run
from tests.benchmarks.record import record

__all__ = ["chromium"]  # a fixture

STEPS, WARM_UP = 24, 4
IMAGES_JS = """
() => window.mesoscopeImages = () => [...Bokeh.documents[0]._all_models.values()]
  .filter(model => model.type === "GlyphRenderer" && model.glyph.type.startsWith("Image"))
  .map(model => model.data_source.data[model.glyph.image.field])"""
# Milliseconds from a click until that many images hold other values and the browser has painted them.
STEP_JS = """
(buttons, count) => new Promise(resolve => {
  const before = window.mesoscopeImages();
  const begun = performance.now();
  const look = () => {
    const now = window.mesoscopeImages();
    const changed = now.filter((image, at) => image !== before[at]).length;
    if (changed >= count && Bokeh.documents[0].is_idle) {
      requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begun), 0));
    } else { requestAnimationFrame(look); }
  };
  if (window.mesoscopeAt === undefined || buttons[window.mesoscopeAt].disabled) {
    window.mesoscopeAt = buttons.findIndex(button => !button.disabled);
  }
  buttons[window.mesoscopeAt].click();
  requestAnimationFrame(look);
})"""
OPENED_JS = """count => window.Bokeh && Bokeh.documents.length > 0 &&
  [...Bokeh.documents[0]._all_models.values()].filter(model => {
    if (!["Figure", "Plot"].includes(model.type) || !(model.name || "").startsWith("map_")) { return false; }
    const view = Bokeh.index.find_one(model);
    return view !== null && view.el.offsetParent !== null && view.has_finished();
  }).length >= count"""


@dataclass(frozen=True)
class Case:
    """A comparison: its runs and size, the maps that a step changes, and the aims in milliseconds (None: none)."""

    runs: int
    ny: int
    nx: int
    step_ms: float
    open_s: float | None

    @property
    def maps(self) -> int:
        return 3 + self.runs


CASES = [Case(2, 500, 500, 200, 1.5), Case(8, 100, 100, 250, 2.0), Case(2, 1500, 2000, 400, None)]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.runs}x{case.ny}x{case.nx}")
def test_time_step_and_opening(case: Case, chromium: Browser, tmp_path: Path) -> None:
    n_times = 5 if case.nx > 1000 else 12
    server = start_server(tmp_path)
    names = [
        write_run(server.store, f"run {n}", ny=case.ny, nx=case.nx, n_times=n_times, skill=0.1 * n).id
        for n in range(case.runs)
    ]
    query = "?page=compare&runs=" + ",".join(names)
    try:
        opened = [_open_s(chromium, server, query, case.maps) for _ in range(4)]
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.goto(server.url + query)
        page.wait_for_function(OPENED_JS, arg=case.maps, timeout=60_000)
        page.wait_for_timeout(1500)  # what is drawn after the maps
        mesoscope = _steps_ms(page, case.maps)
        page.close()
    finally:
        server.process.terminate()
        server.process.wait()
    with _bare_page(chromium, case) as page:
        bare = _steps_ms(page, case.maps)
    figures = {
        "step_median_ms": round(statistics.median(mesoscope)),
        "step_p95_ms": round(_p95(mesoscope)),
        "bare_median_ms": round(statistics.median(bare)),
        "bare_p95_ms": round(_p95(bare)),
        "p95_ratio": round(_p95(mesoscope) / _p95(bare), 2),
        "open_first_s": round(opened[0], 2),
        "open_warm_s": round(statistics.median(opened[1:]), 2),
        "aim": {"step_ms": case.step_ms, "open_s": case.open_s},
    }
    record(f"compare, {case.runs} runs of {case.ny} x {case.nx} cells", figures)


def _steps_ms(page: Page, count: int) -> list[float]:
    """Milliseconds of steps forward, and back again from the end."""
    page.evaluate(IMAGES_JS)
    buttons = [button.element_handle() for button in page.get_by_role("button", name="One step").all()]
    call = f"([count, ...buttons]) => ({STEP_JS})(buttons.reverse(), count)"
    return [page.evaluate(call, [count, *buttons]) for _ in range(STEPS)][WARM_UP:]


def _open_s(browser: Browser, server: Server, query: str, count: int) -> float:
    """Seconds from the request of the page until its maps are shown, in a tab that knows the site's scripts."""
    context = browser.contexts[0] if browser.contexts else browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(server.url + query, wait_until="commit")
    page.wait_for_function(OPENED_JS, arg=count, timeout=60_000)
    seconds = page.evaluate("() => performance.now() / 1000")
    page.close()
    return float(seconds)


@contextmanager
def _bare_page(browser: Browser, case: Case) -> Iterator[Page]:
    port = free_port()
    script = Path(__file__).with_name("bare_page.py")
    command = [sys.executable, "-m", "panel", "serve", str(script), "--address", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/bare_page?maps={case.maps}&rows={case.ny}&columns={case.nx}"
        wait_for(url, process)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.wait_for_function("() => window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")
        page.wait_for_timeout(1000)
        yield page
        page.close()
    finally:
        process.terminate()
        process.wait()


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]
