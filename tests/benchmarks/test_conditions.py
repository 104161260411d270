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
CHOICES = {
    "Hour": ["06 h", "all hours", "12 h", "all hours"],
    "Months": ["Jan", "Feb", "all months"],
    "Steps": ["50 hardest steps", "500 hardest steps", "all steps"],
    "Surface": ["land", "sea", "land and sea"],
}
LIMITS = ["280", "283.5", ""]  # of HR
# Sets `changed`, which waits until the words above the tables and the colours of the error maps are others; the time
# counts from the next click on an option, or from Enter.
WATCH_JS = """maps => {
  const images = () => [...Bokeh.documents[0]._all_models.values()]
    .filter(model => model.type === "GlyphRenderer" && model.glyph.type === "Image")
    .map(model => (model.data_source.data[model.glyph.image.field] ?? [null])[0]);
  const headings = (root) => [...root.querySelectorAll("*")].map(each =>
    (each.classList.contains("heading") ? each.textContent : "") + (each.shadowRoot ? headings(each.shadowRoot) : "")
  ).join("");
  const before = new Set(images()), was = headings(document), shown = {};
  let begun = null;
  const begin = event => {
    const path = event.composedPath();
    const isOption = path.some(each => each.getAttribute?.("role") === "menuitem");
    if (event.type === "keydown" ? event.key === "Enter" : isOption) { begun ??= performance.now(); }
  };
  for (const type of ["click", "keydown"]) { document.addEventListener(type, begin, {capture: true}); }
  window.changed = new Promise(resolve => {
    const look = () => {
      const now = performance.now() - begun;
      if (begun !== null && !shown.table && headings(document) !== was) { shown.table = now; }
      if (begun !== null && !shown.maps && images().filter(image => !before.has(image)).length >= maps) {
        shown.maps = now;
      }
      if (shown.table && shown.maps) {
        for (const type of ["click", "keydown"]) { document.removeEventListener(type, begin, {capture: true}); }
        requestAnimationFrame(() => setTimeout(() => resolve(shown), 0));
      } else { requestAnimationFrame(look); }
    };
    requestAnimationFrame(look);
  });
}"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("runs", [1, 2])
def test_change_of_condition(runs: int, chromium: Browser, tmp_path: Path) -> None:
    server = start_server(tmp_path)
    sizes = {"ny": 96, "nx": 104, "n_times": 1000, "start": "2019-01-01"}
    ids = [write_run(server.store, f"run {n}", **sizes, skill=0.3 * n, surface=True).id for n in range(runs)]
    shown: dict[str, list[dict[str, float]]] = {}
    try:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{server.url}?page=compare&runs={','.join(ids)}")
        page.get_by_label("Scores", exact=True).wait_for(timeout=120_000)
        page.get_by_role("combobox", name="Score", exact=True).wait_for(timeout=120_000)  # that of the error maps
        page.wait_for_function(IDLE_JS)
        first, *_ = [_choose(page, "Hour", label, runs + 1) for label in ("03 h", "all hours")]  # reads the fields
        for name, labels in CHOICES.items():
            shown[name] = [_choose(page, name, label, runs + 1) for label in labels]
        shown["HR from"] = [_type(page, "HR from (K)", text, runs + 1) for text in LIMITS]
    finally:
        server.process.terminate()
        server.process.wait()
    figures: dict[str, object] = {"aim_ms": AIM_MS, "first_ms": round(first["maps"])}
    for name, changes in shown.items():
        for what in ("table", "maps"):
            figures[f"{name.lower()}, {what} (ms)"] = round(statistics.median(change[what] for change in changes))
    record(f"change of condition, {runs} runs of 1000 steps of 96 x 104 cells", figures)


def _choose(page: Page, name: str, label: str, maps: int) -> dict[str, float]:
    """Choose a label in a list, and measure."""
    page.get_by_role("combobox", name=name).click()
    option = page.get_by_role("option", name=label, exact=True).or_(
        page.get_by_role("menuitem", name=label, exact=True)
    )
    option.first.wait_for()
    page.evaluate(WATCH_JS, maps)
    option.first.click()
    return _shown(page)


def _type(page: Page, name: str, text: str, maps: int) -> dict[str, float]:
    """Type a limit of HR, and measure from Enter."""
    field = page.get_by_label(name)
    field.fill(text)
    page.evaluate(WATCH_JS, maps)
    field.press("Enter")
    return _shown(page)


def _shown(page: Page) -> dict[str, float]:
    shown = page.evaluate("() => window.changed")
    page.wait_for_timeout(1500)  # what is drawn after the maps
    return shown
