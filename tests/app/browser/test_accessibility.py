"""Every page, light and dark, holds the rules of axe-core, but for faults of the libraries that are named here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.app.browser.screenshots import SETTLE_MS, open_page, prepare, queries

pytestmark = pytest.mark.browser
MOST_LOOKS = 20
# Rule → part of the HTML of the element, and whose fault it is: these can't be fixed from here.
UPSTREAM = {
    "aria-progressbar-name": ("MuiLinearProgress-root", "panel-material-ui: busy bar of its Page, hidden but there"),
    "empty-heading": ("MuiTypography-h5", "panel-material-ui: spacer of its Page that is a heading"),
    "heading-order": ("MuiTypography-h5", "the same spacer"),
    "aria-prohibited-attr": ('sx="[object Object]"', "panel-material-ui: tooltip mark of its fields"),
    "label": ("MuiInputBase-input", "panel-material-ui: folder of its FileSelector"),
    "aria-required-children": ('class="pnx-tabulator', "Tabulator: its grid scrolls in a part that can be focused"),
    "empty-table-header": ("tabulator-col", "Panel: column of its table that takes the width that is left"),
}
RUN_JS = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.flatMap(
  rule => rule.nodes.map(node => [rule.id, node.html, node.failureSummary]))"""


@pytest.fixture(scope="module")
def links(server):
    demo, runs = prepare(server.store.parent)
    return queries(demo, runs)


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core."""
    root = subprocess.run(["npm", "root", "--global"], check=True, capture_output=True, text=True).stdout.strip()
    script = Path(root) / "axe-core" / "axe.min.js"
    assert script.exists(), "axe-core is missing: npm install --global axe-core@4.14.1"
    return script.read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["data", "design", "runs", "compare"])
def test_a_page_is_accessible(tab, links, axe, page, scheme):
    open_page(tab.page, tab.server, page, links[page] + {"light": "&dark=no", "dark": "&dark=yes"}[scheme])
    tab.page.evaluate(axe)
    faults = faults_of(tab.page)
    for _ in range(MOST_LOOKS):
        if faults:  # on a busy machine colours may still fade
            tab.page.wait_for_timeout(SETTLE_MS)
            faults = faults_of(tab.page)
    assert faults == []


def faults_of(page: Page) -> list[list[str]]:
    """Violations of the page as it is now, but for those that can't be fixed from here."""
    return [fault for fault in page.evaluate(RUN_JS) if not is_upstream(*fault)]


def is_upstream(rule: str, html: str, _: str) -> bool:
    return rule in UPSTREAM and UPSTREAM[rule][0] in html
