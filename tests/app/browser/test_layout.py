"""Widths, colour schemes and keys: pages fold, follow the system's setting, and can be used without a mouse."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.app.browser.conftest import IDLE_JS, STILL_JS
from tests.app.fake import write_run

pytestmark = pytest.mark.browser
NEXT_FRAMES_JS = "() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
# What stands outside of the window, but for what scrolls within a surface of its own, as a wide table does.
OUTSIDE_JS = """() => {
  const found = [];
  const visit = (root, scrolls) => {
    for (const one of root.children) {
      const style = getComputedStyle(one), box = one.getBoundingClientRect();
      const inner = scrolls || (one.tagName !== "MAIN" && /auto|scroll|hidden/.test(style.overflowX));
      if (!scrolls && box.width > 1 && (box.right > innerWidth + 1 || box.left < -1)) {
        found.push(`${one.tagName} ${one.className} ${Math.round(box.left)} to ${Math.round(box.right)}`);
      }
      if (one.shadowRoot) { visit(one.shadowRoot, inner); }
      visit(one, inner);
    }
  };
  visit(document.body, false);
  return found;
}"""


LAST_OF_FORM = "Runs are processes of this machine"


@pytest.mark.parametrize("page", ["data", "design", "runs"])
def test_nothing_is_wider_than_the_window(tab, temperature_file, page):
    run = write_run(tab.server.store, "a run with a title that is longer than a narrow screen is wide")
    tab.page.set_viewport_size({"width": 390, "height": 900})
    query = {"data": f"&source_path={temperature_file}", "runs": f"&run={run.id}"}.get(page, "")
    shown = tab.open(f"?page={page}{query}")
    expect(shown.get_by_text({"data": "First, last", "design": "Summary", "runs": "Throughput"}[page])).to_be_visible()
    for width in (390, 768, 1280, 1920):
        shown.set_viewport_size({"width": width, "height": 900})
        shown.evaluate(NEXT_FRAMES_JS)
        shown.wait_for_function(STILL_JS)
        assert shown.evaluate(OUTSIDE_JS) == [], width
        if (page, width) == ("design", 390):
            above, below = (shown.get_by_text(text).bounding_box() for text in (LAST_OF_FORM, "Choose a target and a"))
            assert above["y"] + above["height"] < below["y"]  # the summary stands below the form, not on it


def test_the_scheme_is_the_system_s_until_one_is_chosen(tab):
    tab.page.emulate_media(color_scheme="dark")
    page = tab.open("?page=design")
    expect(page.locator(".mui-dark").first).to_be_visible()
    tab.page.emulate_media(color_scheme="light")
    expect(page.locator(".mui-dark")).to_have_count(0)
    page.get_by_role("button", name="Toggle theme").click()
    expect(page.locator(".mui-dark").first).to_be_visible()
    expect(page).to_have_url(re.compile("dark=yes"))
    tab.page.emulate_media(color_scheme="dark")
    tab.page.emulate_media(color_scheme="light")
    page.reload()
    page.wait_for_function(IDLE_JS)
    expect(page.locator(".mui-dark").first).to_be_visible()


def test_keys_open_pages_and_are_listed(tab):
    page = tab.open("?page=data")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_role("dialog")).to_contain_text("Dark or light")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("2")
    expect(page.get_by_role("tab", name="Design")).to_have_attribute("aria-selected", "true")
    epochs = page.get_by_role("textbox", name="Epochs")
    epochs.click()
    page.keyboard.type("1")  # in a text field it is a digit
    expect(page.get_by_role("tab", name="Design")).to_have_attribute("aria-selected", "true")


def test_the_focus_is_seen(tab):
    page = tab.open("?page=design")
    start = page.get_by_role("button", name="Start from")
    expect(start).to_be_visible()
    page.keyboard.press("Tab")
    start.focus()
    assert start.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"


def test_maps_time_bar_and_scores_of_two_runs_are_seen_together(tab):
    runs = [write_run(tab.server.store, title, baselines=True) for title in ("resnet", "unet")]
    page = tab.open(f"?page=compare&runs={','.join(run.id for run in runs)}")
    assert page.viewport_size == {"width": 1440, "height": 900}
    rows = page.get_by_label("Scores", exact=True).locator("tbody tr")
    expect(rows).to_have_count(5)  # interpolated, two simple methods, two runs
    page.wait_for_function(STILL_JS)
    last = rows.last.bounding_box()
    time_bar = page.get_by_role("slider", name="Time step").bounding_box()
    first_map = page.locator("canvas").first.bounding_box()
    more_methods = 4 * rows.first.bounding_box()["height"]  # a real run has six
    assert first_map["y"] > 0
    assert last["y"] + last["height"] + more_methods <= time_bar["y"] - 10
