"""Data: a file is shown or refused in words, and takes its part in the draft with one click."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from bokeh.events import SelectionGeometry
from bokeh.models import BoxSelectTool, PanTool

from app.components import demonstration
from app.components.file_browser import folders
from app.pages.data import DataPage
from app.session import demo_folder
from engine.data import disk_cache
from engine.spec import Region, Source
from tests.app.settled import settled


def shown(session, path, act=None, variable=""):
    """The page after opening a file and acting on it."""

    async def scenario():
        page = DataPage(session)
        session.choose_source(str(path), variable)
        await settled()
        if act is not None:
            await act(page)
            await settled()
        return page

    return asyncio.run(scenario())


def test_a_file_is_shown_with_its_first_variable(session, temperature_file):
    page = shown(session, temperature_file)
    assert list(page.file.variable.options.values()) == ["t2m", "topography"]
    assert "t2m.nc" in page.file.facts.object
    assert (page.file.step.end, page.file.moment.object) == (5, "2001-01-01 00:00")
    assert session.source_variable == "t2m"
    assert page.file.map.object is not None


def test_another_time_step_changes_the_map_and_keeps_the_figure(session, temperature_file):
    async def step(page):
        page.first = page.file.map.object
        page.file.step.value = 3
        await settled()

    page = shown(session, temperature_file, step)
    maps = page.file.drawn.maps
    assert page.file.map.object is page.first
    assert page.file.moment.object == "2001-01-01 18:00"
    y, x = page.file.preview.grid.y, page.file.preview.grid.x
    value = maps.values_at(y.max(), x.max())["field"]  # the north-eastern cell: 280 + 3 + 19 / 100
    assert value == pytest.approx(283.19, abs=1e-4)
    low, high = maps.clim
    assert maps.source.data["field"][0][3, 4] == np.clip(round((value - low) / (high - low) * 254), 0, 254)


def test_a_file_that_is_no_field_is_refused_and_the_last_one_stays(session, temperature_file, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no grid here")

    async def other(page):
        session.choose_source(str(text))

    page = shown(session, temperature_file, other)
    assert page.fault.visible
    assert "neither NetCDF nor GRIB" in page.fault.object
    assert page.file.preview.source == Source(str(temperature_file), "t2m")
    assert not page.surface.loading


def test_a_missing_file_is_named(session, tmp_path):
    page = shown(session, tmp_path / "nowhere.nc")
    assert "doesn't exist" in page.fault.object
    assert page.empty.visible


def test_a_variable_takes_its_part_in_the_draft(session, temperature_file):
    drafts = []
    session.param.watch(drafts.append, "draft", onlychanged=False)
    source = Source(str(temperature_file), "t2m")

    async def use(page):
        for part in ("target", "predictors", "predictors"):
            page.file.uses[part].clicks += 1

    shown(session, temperature_file, use)
    assert session.draft.get("data", "target") == source
    assert session.draft.get("data", "predictors") == (source,)
    assert len(drafts) == 3


def test_an_lr_field_makes_the_pairing_mos(session, temperature_file):
    async def use(page):
        page.file.uses["lr"].clicks += 1

    shown(session, temperature_file, use)
    assert session.draft.get("data", "pairing") == "mos"
    assert session.draft.get("data", "lr") == Source(str(temperature_file), "t2m")


def test_only_a_field_without_time_can_be_static(session, temperature_file):
    with_time = shown(session, temperature_file)
    assert [part for part, button in with_time.file.uses.items() if button.disabled] == ["static"]
    without = shown(session, temperature_file, variable="topography")
    assert [part for part, button in without.file.uses.items() if not button.disabled] == ["static"]
    assert not without.file.step.visible


def test_the_demonstration_set_leads_to_an_experiment(session, temperature_file, monkeypatch, tmp_path):
    spec = tmp_path / "demo_mos.yaml"
    spec.write_text("version: 1\ndata: {target: {path: t2m.nc}, scale: 2}\n")
    monkeypatch.setattr(demonstration, "write_demo", lambda folder: [temperature_file, spec])

    async def make(page):
        await page.demonstration.generate(None)
        await settled()
        page.demonstration.offered.objects[0][0].clicks += 1

    page = shown(session, "", make)
    assert page.file.preview.source.path == str(temperature_file)
    assert session.draft.get("data", "target") == Source(str(tmp_path / "t2m.nc"))
    assert session.page == "design"


def test_a_demonstration_set_made_before_is_offered_at_once(session):
    demo_folder().mkdir(parents=True)
    for name in ("demo_perfect_prog.yaml", "demo_mos.yaml"):
        (demo_folder() / name).write_text("version: 1\ndata: {target: {path: hr.nc}, scale: 2}\n")
    page = shown(session, "")
    assert page.demonstration.button.label == "Generate again"
    assert [button.label for button in page.demonstration.offered.objects[0]] == ["Design with it", "as perfect-prog"]


def test_a_click_on_a_spec_opens_it_as_the_design(session, tmp_path, monkeypatch):
    monkeypatch.setenv("MESOSCOPE_DATA", str(tmp_path))
    spec = tmp_path / "mine.yaml"
    spec.write_text("version: 1\ndata: {target: {path: hr.nc}, scale: 3}\n")

    async def click(page):
        page.files.browser.value = [str(spec)]

    page = shown(session, "", click)
    assert (session.page, session.draft.get("data", "scale")) == ("design", 3)
    assert page.files.browser.value == []


def test_a_click_enters_a_folder_and_chooses_a_zarr_store(session, tmp_path, monkeypatch):
    monkeypatch.setenv("MESOSCOPE_DATA", str(tmp_path))
    (tmp_path / "inner").mkdir()
    (tmp_path / "field.zarr").mkdir()

    async def browse(page):
        page.files.browser.value = [str(tmp_path / "inner")]
        assert page.files.browser.directory == str(tmp_path / "inner")
        page.files.browser.value = [str(tmp_path / "field.zarr")]

    page = shown(session, "", browse)
    assert session.source_path == str(tmp_path / "field.zarr")
    assert "no Zarr store" in page.fault.object


def test_the_browser_starts_in_sensible_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("MESOSCOPE_DATA", f"{tmp_path}:{tmp_path / 'missing'}")
    monkeypatch.setenv("MESOSCOPE_STORE", str(tmp_path / "runs"))
    assert folders() == {str(tmp_path): str(tmp_path), "Working folder": str(Path.cwd()), "Home": str(Path.home())}


def drawn(page, x, y):
    """Draw a box on the map, as the browser reports it."""
    figure = page.file.map.object
    geometry = {"type": "rect", "x0": x[0], "x1": x[1], "y0": y[0], "y1": y[1]}
    figure._trigger_event(SelectionGeometry(figure, geometry=geometry, final=True))


def numbers(page):
    return [page.region.lines[side].value for side in ("south", "north", "west", "east")]


def test_a_drawn_box_becomes_the_region(session, temperature_file):
    async def draw(page):
        page.region.draw.clicks += 1
        assert isinstance(page.file.map.object.toolbar.active_drag, BoxSelectTool)
        drawn(page, (0.6, 4.4), (53.4, 49.6))
        assert not page.region.is_drawing
        assert isinstance(page.file.map.object.toolbar.active_drag, PanTool)
        assert numbers(page) == ["49.5", "53.5", "0.5", "4.5"]
        assert session.draft.get("data", "region") is None
        page.region.use.clicks += 1

    page = shown(session, temperature_file, draw)
    assert session.draft.get("data", "region") == Region((49.5, 53.5), (0.5, 4.5))
    assert page.region.message.object == "4 × 4 of 4 × 5 cells; the region of the design."
    assert page.region.use.disabled


def test_a_box_that_is_too_small_is_refused_and_drawn_again(session, temperature_file):
    session.draft.set("data", "scale", 2)

    async def draw(page):
        page.region.draw.clicks += 1
        drawn(page, (0.6, 4.4), (50.6, 53.4))  # 3 × 4 cells; 2 × 2 LR cells need 4 × 4

    page = shown(session, temperature_file, draw)
    assert page.region.message.object.startswith("this region holds 3 × 4 cells: expected at least 4 a side")
    assert page.region.message.color == "error"
    assert page.region.is_drawing
    assert page.region.use.disabled
    assert numbers(page) == [""] * 4


def test_typed_sides_and_the_box_agree(session, temperature_file):
    async def type_sides(page):
        for side, text in zip(("south", "north", "west", "east"), ("49.5", "53.5", "-0.5", "4.5"), strict=True):
            page.region.lines[side].value = text

    page = shown(session, temperature_file, type_sides)
    xs, ys = (source.data for source in (page.region._sides, page.region._cells))
    for line in (xs, ys):
        assert (min(line["x"]), max(line["x"]), min(line["y"]), max(line["y"])) == (-0.5, 4.5, 49.5, 53.5)
    assert page.region.message.object == "4 × 5 of 4 × 5 cells; not yet used in the design."


def test_a_region_typed_on_the_design_page_is_shown_and_cleared(session, temperature_file):
    async def typed(page):
        session.page = "design"
        session.draft.set("data", "region", {"lat": [49.5, 53.5], "lon": [-0.5, 4.5]})
        session.page = "data"
        assert numbers(page) == ["49.5", "53.5", "-0.5", "4.5"]
        page.region.clear.clicks += 1

    page = shown(session, temperature_file, typed)
    assert session.draft.get("data", "region") is None
    assert numbers(page) == [""] * 4
    assert page.region.clear.disabled


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (("60", "50", "0", "4"), "data.region.lat is [60, 50]"),
        (("north", "53", "0", "4"), "expected two numbers"),
        (("10", "20", "0", "4"), "but the data cover lat 50 to 53"),
    ],
)
def test_sides_that_can_not_be_used_are_explained(session, temperature_file, sides, message):
    async def type_sides(page):
        for line, text in zip(page.region.lines.values(), sides, strict=True):
            line.value = text

    page = shown(session, temperature_file, type_sides)
    assert message in page.region.message.object.replace("\\", "")
    assert page.region.message.color == "error"
    assert page.region.use.disabled


def test_stations_are_shown_on_a_map_and_a_field_takes_their_place(session, temperature_file, tmp_path):
    path = tmp_path / "stations.csv"
    path.write_text("id,lat,lon,date,tas_degC\na,47,11,2001-01-01,1\na,47,11,2001-01-02,3\nb,48,12,2001-01-01,5\n")
    page = shown(session, path)
    assert page.stations.view.visible
    assert not page.fault.visible
    assert page.stations.map.object.renderers[-1].data_source.data["value"].tolist() == [2, 5]  # means
    assert all(word in page.stations.facts.object for word in ("tas", "25.0 %", "verify RUN --stations"))

    async def field(page):
        session.choose_source(str(temperature_file))

    page = shown(session, path, field)
    assert (page.stations.view.visible, page.file.view.visible) == (False, True)
    path.write_text(path.read_text().replace("tas_degC", "tas"))
    assert "tas in" in shown(session, path).fault.object  # it has no unit


def test_what_is_cached_of_remote_data_is_shown_and_can_be_emptied(session, temperature_file, tmp_path, monkeypatch):
    monkeypatch.setenv("MESOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MESOSCOPE_CACHE_GIB", "1")

    async def empty(page):
        assert not page.cache.view.visible
        disk_cache.put("a chunk", bytes(2**20))
        session.choose_source(str(temperature_file), "topography")
        await settled()
        assert page.cache.view.visible
        assert "0.00 of at most 1 GiB" in page.cache.text.object
        page.cache.button.clicks += 1

    assert not shown(session, temperature_file, empty).cache.view.visible
    assert disk_cache.state().entries == 0
