"""A change of condition on Compare in Chromium: until the table and the error maps of 10⁷ values show it."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.app.browser.conftest import IDLE_JS, chromium, start_server
from tests.app.fake import write_run
from tests.benchmarks.record import record

__all__ = ["chromium"]  # a fixture

AIM_MS = 300
HOURS = ["06 h", "all hours", "12 h", "18 h", "all hours", "03 h"]
MONTHS = ["Jan", "all months", "Feb", "all months"]
STEPS = ["50 hardest steps", "500 hardest steps", "all steps", "100 hardest steps"]
# Milliseconds from the click on an option of a list until the table's heading and three error maps are others.
CHANGE_JS = """
label => new Promise(resolve => {
  const images = () => [...Bokeh.documents[0]._all_models.values()]
    .filter(model => model.type === "GlyphRenderer" && model.glyph.type === "Image")
    .map(model => (model.data_source.data[model.glyph.image.field] ?? [null])[0]);
  const headings = (root) => [...root.querySelectorAll("*")].map(each =>
    (each.classList.contains("heading") ? each.textContent : "") + (each.shadowRoot ? headings(each.shadowRoot) : "")
  ).join("");
  const before = new Set(images()), was = headings(document), shown = {};
  const option = [...document.querySelectorAll("li")].find(each => each.textContent.trim() === label);
  const begun = performance.now();
  option.click();
  const look = () => {
    const now = performance.now() - begun;
    if (!shown.table && headings(document) !== was) { shown.table = now; }
    if (!shown.maps && images().filter(image => !before.has(image)).length >= 3) { shown.maps = now; }
    if (shown.table && shown.maps) {
      requestAnimationFrame(() => setTimeout(() => resolve(shown), 0));
    } else { requestAnimationFrame(look); }
  };
  requestAnimationFrame(look);
})"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("runs", [1, 2])
def test_change_of_condition(runs: int, chromium: Browser, tmp_path: Path) -> None:
    server = start_server(tmp_path)
    ids = [
        write_run(server.store, f"run {n}", ny=96, nx=104, n_times=1000, skill=0.3 * n, start="2019-01-01").id
        for n in range(runs)
    ]
    try:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{server.url}?page=compare&runs={','.join(ids)}")
        page.get_by_text("Effective resolution").first.wait_for(timeout=120_000)
        page.wait_for_function(IDLE_JS)
        first, *_ = _change(page, "Months", ["Jan", "all months"])  # reads the fields
        shown = _change(page, "Hour", HOURS) + _change(page, "Months", MONTHS) + _change(page, "Steps", STEPS)
    finally:
        server.process.terminate()
        server.process.wait()
    figures: dict[str, object] = {"first_ms": round(first["maps"]), "aim_ms": AIM_MS}
    for what in ("table", "maps"):
        times = [change[what] for change in shown]
        figures |= {f"{what}_median_ms": round(statistics.median(times)), f"{what}_most_ms": round(max(times))}
    record(f"change of condition, {runs} runs of 1000 steps of 96 x 104 cells", figures)


def _change(page: Page, name: str, labels: list[str]) -> list[dict[str, float]]:
    """Choose one label after the other in a list, and measure each."""
    times = []
    for label in labels:
        page.get_by_role("combobox", name=name).click()
        page.get_by_role("option", name=label, exact=True).wait_for()
        page.wait_for_timeout(400)  # the list has opened
        times.append(page.evaluate(CHANGE_JS, label))
        page.wait_for_timeout(1500)  # what is drawn after the maps
    return times
