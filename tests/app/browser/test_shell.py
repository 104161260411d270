"""The dashboard in a browser: every page loads cleanly, the link holds the state, and pages show what happens."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, expect

from engine.runs.records import LaunchEvent
from tests.app.browser.conftest import STILL_JS, wait_until
from tests.app.fake import write_run

pytestmark = pytest.mark.browser
FIRST_WORDS = {
    "data": "No file chosen yet",
    "design": "Summary",
    "runs": "No runs yet: choose data and design an experiment.",
    "compare": "No run to compare",
}
RESOURCES_JS = "() => performance.getEntriesByType('resource').map(one => one.name)"
READING = re.compile(r"([\d.]+) K at \d")


@pytest.mark.parametrize("page", FIRST_WORDS)
def test_each_page_of_an_empty_store_loads_without_a_fault(tab, page):
    shown = tab.open(f"?page={page}")
    expect(shown.get_by_role("tab", name=page.capitalize())).to_have_attribute("aria-selected", "true")
    expect(shown.get_by_text(FIRST_WORDS[page], exact=True)).to_be_visible()
    shown.wait_for_function(STILL_JS)
    modules = {name for name in shown.evaluate(RESOURCES_JS) if re.search("bundle.js|es-module-shims", name)}
    assert len(modules) == 1  # the page names the address by which components are loaded then


def test_the_link_follows_the_page_and_back_goes_back(tab):
    page = tab.open("?page=data")
    page.get_by_role("tab", name="Design").click()
    expect(page.get_by_text("Summary", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?page=design$"))
    page.get_by_role("tab", name="Runs").click()
    expect(page).to_have_url(re.compile(r"\?page=runs$"))
    page.go_back()
    expect(page.get_by_role("tab", name="Design")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("Summary", exact=True)).to_be_visible()


def box_of_map(page) -> FloatRect:
    """Where the map is, once it keeps its place and nothing covers it."""
    shown = page.locator(".bk-Plot, .bk-Figure").first
    shown.hover()
    return shown.bounding_box()


def value_under_pointer(page, before: float = float("nan")) -> float:
    """The value below the map when the pointer is in the middle of it, once it is another one than `before`."""
    values: list[float] = []

    def has_another_value() -> bool:
        page.mouse.move(0, 0)
        box_of_map(page)
        values[:] = [float(re.match(READING, text)[1]) for text in page.get_by_text(READING).all_inner_texts()]
        return values not in ([], [before])

    wait_until(has_another_value)
    return values[0]


def test_a_file_is_shown_and_becomes_the_target(tab, temperature_file):
    path = Path(shutil.copy(temperature_file, tab.server.data / "t2m.nc"))
    page = tab.open("?page=data")
    page.get_by_role("button", name="reload").click()
    page.get_by_text("t2m.nc", exact=True).click()
    expect(page.get_by_text("2001-01-01 00:00 2001-01-02 06:00")).to_be_visible()
    value = value_under_pointer(page)
    before = sorted(tab.sources())
    page.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("2001-01-01 06:00")).to_be_visible()
    # One step on, each cell is 1 K warmer.
    assert value_under_pointer(page, before=value) - value == pytest.approx(1, abs=0.011)
    after = sorted(tab.sources())
    assert sum(one != other for one, other in zip(after, before, strict=True)) == 1  # the map; the colour bar stays
    page.get_by_role("button", name="Use as target").click()
    page.get_by_role("tab", name="Design").click()
    expect(page.get_by_role("textbox", name="path").first).to_have_value(str(path))


def test_a_data_set_of_the_catalogue_is_chosen_and_the_pair_is_shown(tab, temperature_file):
    path = Path(shutil.copy(temperature_file, tab.server.data / "hr.nc"))
    page = tab.open(f"?source_path={path}")
    page.get_by_role("button", name="Add to catalogue").click()
    page.get_by_role("textbox", name="Name").fill("my_hr")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("button", name="my_hr").click()  # in the list
    page.get_by_role("tab", name="Design").click()
    for label in ("From the catalogue", "Add from the catalogue"):
        page.get_by_role("button", name=label).first.click()
        page.get_by_role("dialog").get_by_role("textbox", name="Search").fill("MY_")
        item = page.get_by_role("dialog").get_by_role("button", name="my_hr")
        expect(item).to_contain_text("target · 2 metre temperature (K) · 2001-01-01")
        expect(item.locator(".MuiAvatar-root")).to_have_css("background-image", re.compile("data:image/png"))
        item.click()
        expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("textbox", name="path").first).to_have_value(str(path))
    for row in ("target t2m", "predictor t2m"):
        expect(page.get_by_role("row", name=row)).to_contain_text("4 × 5 cells, K, 5 % missing")
    expect(page.get_by_role("row", name="in common")).to_contain_text("2001-01-01 00:00 to 2001-01-02 06:00")


def test_a_box_drawn_on_the_map_is_the_region_of_the_design(tab, temperature_file):
    page = tab.open(f"?source_path={temperature_file}")
    expect(page.get_by_text("2001-01-01 00:00 2001-01-02 06:00")).to_be_visible()
    wait_until(lambda: tab.sources() != [])
    page.get_by_role("button", name="Draw a box").click()
    expect(page.get_by_role("button", name="Stop drawing")).to_be_visible()
    shown = box_of_map(page)
    west, east = shown["x"] + 0.2 * shown["width"], shown["x"] + 0.98 * shown["width"]
    north, south = shown["y"] + 0.02 * shown["height"], shown["y"] + 0.97 * shown["height"]
    page.mouse.move(west, north)
    page.mouse.down()
    page.mouse.move(east, south, steps=6)
    page.mouse.up()
    # The map reaches from 0.5° west to 4.5° east, and a fifth of that is 0.5° east: the box holds the centres 1 to 4.
    # From 53.5° to 49.5° north it holds all four.
    for side, number in {"south": "49.5", "north": "53.5", "west": "0.5", "east": "4.5"}.items():
        expect(page.get_by_role("textbox", name=side)).to_have_value(number)
    expect(page.get_by_role("button", name="Draw a box")).to_be_visible()
    page.get_by_role("button", name="Use as region").click()
    expect(page.get_by_text("4 × 4 of 4 × 5 cells; the region of the design.")).to_be_visible()
    page.get_by_role("tab", name="Design").click()
    expect(page.get_by_role("textbox", name="east")).to_have_value("4.5")


def test_a_file_that_is_none_is_refused_in_words(tab):
    (tab.server.data / "notes.txt").write_text("no grid here")
    page = tab.open(f"?source_path={tab.server.data / 'notes.txt'}")
    expect(page.get_by_text("neither NetCDF nor GRIB")).to_be_visible()


@pytest.mark.parametrize("link", ["", "?page=compare"])
def test_a_link_without_runs_shows_the_newest(tab, link):
    run = write_run(tab.server.store, "newest of all", ny=16, nx=24, n_times=6)
    page = tab.open(link)
    expect(page).to_have_url(re.compile(f"page=compare&runs={run.id}"))
    expect(page.get_by_label("Scores", exact=True)).to_contain_text("newest of all")


def test_a_link_that_can_not_be_used_says_so(tab):
    page = tab.open("?page=nowhere&time=-3")
    expect(page.get_by_text("The link says page=nowhere, which can't be used: left out.")).to_be_visible()
    expect(page.get_by_role("tab", name="Data")).to_have_attribute("aria-selected", "true")


def test_a_refused_value_stays_and_is_explained(tab):
    page = tab.open("?page=design")
    epochs = page.get_by_role("textbox", name="Epochs")
    epochs.fill("many")
    epochs.press("Enter")
    expect(page.get_by_text("is 'many': expected a whole number from 1 to 100000 (epochs)").first).to_be_visible()
    expect(epochs).to_have_value("many")
    expect(page.get_by_role("button", name="Train")).to_be_disabled()


@pytest.mark.slow
def test_the_engine_s_account_appears_beside_the_form(tab, shared_data):
    page = tab.open("?page=design")
    page.get_by_role("textbox", name="path").first.fill(str(shared_data / "era5_uk_t2m.grib"))
    page.get_by_role("textbox", name="variable").first.fill("t2m")
    scale = page.get_by_role("textbox", name="Scale")
    scale.fill("4")
    scale.press("Enter")
    expect(page.get_by_text("Ready to train.")).to_be_visible()
    expect(page.get_by_text("HR cropped from 33 × 49 to 32 × 48")).to_be_visible()


def test_a_run_in_training_is_followed_live(tab):
    run = write_run(tab.server.store, "busy", done=False)
    page = tab.open(f"?page=runs&run={run.id}")
    expect(page.get_by_text("running").first).to_be_visible()
    record = {"seq": 9999, "epoch": 30, "epochs": 40, "step": 1, "steps": 2, "loss": 0.012345, "samples_per_s": 777.0}
    with open(run.folder / "progress.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")
    expect(page.get_by_text("0.01235")).to_be_visible()
    expect(page.get_by_text("epoch 30 of 40 · 777 samples/s")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_enabled()


def test_the_end_of_a_run_is_told_on_another_page(tab):
    write_run(tab.server.store, "ended long ago", seed=6)
    run = write_run(tab.server.store, "ends soon", done=False, seed=7)
    page = tab.open("?page=runs")
    expect(page.get_by_role("gridcell", name="ends soon")).to_be_visible()
    page.get_by_role("tab", name="Design").click()
    expect(page.get_by_text("Summary", exact=True)).to_be_visible()
    run.record_launch(LaunchEvent.ENDED, host="elsewhere", rc=1, reason="the disk is full")
    expect(page.get_by_role("alert").filter(has_text="ends soon")).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="ended long ago")).to_have_count(0)
    page.get_by_role("button", name="Open the run").click()
    expect(page).to_have_url(re.compile(f"page=runs&run={run.id}"))
    expect(page.get_by_role("button", name="Open the run")).to_have_count(0)


def test_runs_that_come_and_go_while_the_page_is_open(tab):
    page = tab.open("?page=runs")
    run = write_run(tab.server.store, "comes and goes", seed=3)
    expect(page.get_by_role("gridcell", name="comes and goes")).to_be_visible()
    page.get_by_role("gridcell", name="comes and goes").click()
    expect(page).to_have_url(re.compile(f"run={run.id}"))
    expect(page.get_by_text("scored the test period")).to_be_visible()
    shutil.rmtree(run.folder)
    expect(page.get_by_role("gridcell", name="comes and goes")).to_have_count(0)
    expect(page.get_by_text("scored the test period")).not_to_be_visible()


def test_a_damaged_run_shows_its_fault_and_the_others(tab, tmp_path):
    write_run(tab.server.store, "sound", seed=4)
    damaged = write_run(tmp_path, "damaged", seed=5).folder
    (damaged / "spec.yaml").write_text("version: 2\n")
    damaged.rename(tab.server.store / damaged.name)
    page = tab.open(f"?page=runs&run={damaged.name}")
    expect(page.get_by_text("version is 2: expected version: 1")).to_be_visible()
    expect(page.get_by_role("gridcell", name="sound")).to_be_visible()


def test_cards_are_drawn_when_they_come_into_view_or_are_printed(tab):
    run = write_run(tab.server.store, "seen", ny=16, nx=24, n_times=6)
    page = tab.open(f"?page=compare&runs={run.id}")
    expect(page.get_by_role("combobox", name="Score", exact=True)).to_be_visible()  # that of the first card
    card, table = page.get_by_role("heading", name="Scorecard"), page.get_by_label("Scorecard", exact=True)
    expect(card).to_have_count(1)
    expect(table).to_have_count(0)
    card.scroll_into_view_if_needed()
    expect(table).to_be_visible()
    page.get_by_role("heading", name="Per-pixel RMSE").scroll_into_view_if_needed()
    page.reload()
    expect(page.get_by_role("combobox", name="Score", exact=True)).to_be_visible()
    expect(table).to_have_count(0)
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    expect(table).to_have_count(1)


def test_a_station_file_gives_a_compared_run_its_scores(tab):
    run = write_run(tab.server.store, "at stations", ny=16, nx=24, n_times=6)
    path = tab.server.data / "stations.csv"
    rows = [f"{name},{lat},{lon},2019-03-01T00:00,280" for name, lat, lon in (("mid", 54, -4), ("end", 50.5, 1.5))]
    path.write_text("\n".join(["id,lat,lon,time,t2m_K", *rows]) + "\n")
    page = tab.open(f"?page=compare&runs={run.id}")
    page.get_by_role("heading", name="Stations").scroll_into_view_if_needed()
    line = page.get_by_role("textbox", name="Station file")
    line.fill(str(path))
    line.press("Enter")
    table = page.get_by_label("Scores at stations", exact=True)
    expect(table).to_contain_text("all stations")
    page.get_by_role("combobox", name="Station", exact=True).click()
    page.locator("li").filter(has_text="end").click()
    expect(table).to_contain_text("end")
    assert run.stations.is_file()
