"""Pictures of every page, light and dark, at the widths of a phone, a tablet, a laptop and a desk: `make screenshots`.

The dashboard that is shown has the demonstration set, finished runs, and one in training.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine.data.demo import write_demo
from engine.runs import Run
from tests.app.browser.conftest import CHROMIUM, IDLE_JS, Server, start_server
from tests.app.fake import write_run

WIDTHS = {390: 844, 768: 1024, 1280: 800, 1920: 1080}  # px: width → height
PAGES = ["data", "design", "runs", "compare"]
SETTLE_MS = 2500
SHOWN = {"data": "First, last", "design": "Ready to train.", "runs": "Throughput", "compare": "Per-pixel RMSE"}
# Height of all that the page holds; it scrolls within <main>, which is in a shadow root.
CONTENT_JS = """() => {
  let height = 0;
  const visit = (root) => root.querySelectorAll("*").forEach((one) => {
    height = Math.max(height, one.scrollHeight || 0);
    if (one.shadowRoot) { visit(one.shadowRoot); }
  });
  visit(document);
  return height;
}"""


def prepare(folder: Path) -> tuple[Path, list[Run]]:
    """Write the demonstration set and runs; returns a file of the set and the finished runs."""
    demo = next(path for path in write_demo(folder / "demonstration", days=30, size=(64, 64)) if path.suffix == ".nc")
    titles = {"resnet spc": 0.6, "unet pin, trained for longer than the others": 0.75, "convnext rc": 0.5}
    runs = [write_run(folder / "runs", title, skill=skill, sea=True, baselines=True) for title, skill in titles.items()]
    write_run(folder / "runs", "in training", done=False)
    return demo, runs


def queries(demo: Path, runs: list[Run]) -> dict[str, str]:
    """Page → its link."""
    ids = ",".join(run.id for run in runs)
    return {
        "data": f"?source_path={demo}",
        "design": "?page=design",
        "runs": f"?page=runs&run={runs[0].id}",
        "compare": f"?page=compare&runs={ids}",
    }


def open_page(tab: Page, server: Server, name: str, query: str) -> None:
    """Open a page and wait until nothing moves; the form of Design is filled, the charts of Runs are open."""
    tab.goto(server.url + query)
    tab.wait_for_function(IDLE_JS, timeout=60_000)
    if name == "design":
        tab.get_by_role("button", name="Start from").click()
        tab.get_by_role("menuitem").nth(1).click()
    if name == "runs":
        tab.get_by_role("button", name="show more").click()
        tab.get_by_text("One dot and one line").wait_for(timeout=60_000)
    tab.get_by_text(SHOWN[name]).first.wait_for(timeout=60_000)
    if name == "compare":  # its cards are drawn when they come into view, or when it is printed
        tab.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
        tab.get_by_label("Scorecard", exact=True).wait_for(timeout=60_000)
        tab.get_by_label("Station file").wait_for(timeout=60_000)
    expect(tab.locator(".MuiCircularProgress-root")).to_have_count(0, timeout=60_000)  # of parts that are loading
    tab.wait_for_timeout(SETTLE_MS)


def take(
    browser: Browser, server: Server, links: dict[str, str], out: Path, pages: list[str], widths: list[int]
) -> None:
    for name, width, scheme in itertools.product(pages, widths, ("light", "dark")):
        context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
        tab = context.new_page()
        open_page(tab, server, name, links[name])
        tab.screenshot(path=out / f"{name}-{width}-{scheme}.png")
        tab.set_viewport_size({"width": width, "height": min(tab.evaluate(CONTENT_JS) + 80, 6000)})
        tab.wait_for_timeout(600)
        tab.screenshot(path=out / f"{name}-{width}-{scheme}-whole.png")
        context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument("--pages", nargs="+", default=PAGES, choices=PAGES)
    parser.add_argument("--widths", nargs="+", type=int, default=list(WIDTHS), choices=list(WIDTHS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        demo, runs = prepare(Path(folder))
        server = start_server(Path(folder))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            take(browser, server, queries(demo, runs), given.out, given.pages, given.widths)
        finally:
            browser.close()
            server.process.terminate()
            server.process.wait(timeout=20)


if __name__ == "__main__":
    main()
