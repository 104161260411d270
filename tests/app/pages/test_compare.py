"""The Compare page without a browser: what follows the session."""

import asyncio

import numpy as np
import param
import pytest
import xarray as xr
from bokeh.events import SelectionGeometry
from bokeh.models import BoxSelectTool, Column, PanTool

from app.pages import compare
from app.pages.compare import ComparePage
from app.session import Session
from engine.evaluation.conditions import Condition
from engine.runs import Store
from engine.spec import Region
from tests.app.fake import write_run
from tests.app.services.test_components import write_wind

SMALL = {"ny": 16, "nx": 24, "n_times": 30}


@pytest.fixture(autouse=True)
def one_loop(monkeypatch):
    """What a page reads in threads is done when its trigger returns, on one event loop that is closed."""
    loop = asyncio.new_event_loop()

    def run(work):
        task = loop.create_task(work())
        if not loop.is_running():
            loop.run_until_complete(task)
            while waiting := asyncio.all_tasks(loop):
                loop.run_until_complete(asyncio.gather(*waiting))

    monkeypatch.setattr(param.parameterized, "async_executor", run)
    monkeypatch.setattr(compare, "SHOWN_S", 0.0)  # no browser lays out the maps
    yield
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path, title, **SMALL, skill=skill) for title, skill in (("good", 0.8), ("poor", 0.2))]


def open_page(folder, runs, **session) -> ComparePage:
    page = ComparePage(Session(store=Store(folder), runs=[run.id for run in runs], page="compare", **session))
    page.view()
    return page


def assert_shown(page: ComparePage, number: int, expected: xr.DataArray) -> None:
    """The colours of a map are those of the expected values (y, x; north first), to half a colour."""
    board = page._maps.board
    low, high = board.clim
    colours = board.maps.source.data[board.frames[number].key][0]
    values = np.where(colours == 255, np.nan, low + colours / 254 * (high - low))
    np.testing.assert_allclose(values, np.clip(expected[::-1], low, high), atol=0.501 * (high - low) / 254)


def test_the_step_of_the_link_is_shown_and_a_new_one_redraws_every_map(tmp_path, runs):
    page = open_page(tmp_path, runs, time=2)
    with xr.open_dataset(runs[1].results) as stored:
        assert_shown(page, 4, stored["downscaled"][2])
        page.session.time = 7
        assert_shown(page, 4, stored["downscaled"][7])
        assert_shown(page, 0, stored["lr"][7])


def test_a_step_beyond_the_test_period_shows_its_end(tmp_path, runs):
    page = open_page(tmp_path, runs, time=999)
    with xr.open_dataset(runs[0].results) as stored:
        assert_shown(page, 2, stored["hr"][-1])


def test_all_maps_share_one_range_and_a_locked_one_stays(tmp_path, runs):
    page = open_page(tmp_path, runs)
    page.session.param.update(locked=True, low=270.0, high=290.0)
    page.session.time = 5
    assert page._maps.board.clim == (270.0, 290.0)
    with xr.open_dataset(runs[0].results) as stored:
        assert_shown(page, 2, stored["hr"][5])
    page.session.locked = False
    assert page._maps.board.clim != (270.0, 290.0)
    with xr.open_dataset(runs[0].results) as stored:
        assert_shown(page, 2, stored["hr"][5])


def test_typing_an_end_locks_and_a_range_upside_down_is_marked(tmp_path, runs):
    page = open_page(tmp_path, runs)
    page._maps.tools._high.value = 300.0
    assert page.session.locked
    assert page.session.high == 300.0
    page._maps.tools._low.value = 400.0
    assert page._maps.tools._low.error_state
    assert page.session.low < 300.0


def test_differences_are_about_zero(tmp_path, runs):
    page = open_page(tmp_path, runs, layout="difference")
    with xr.open_dataset(runs[0].results) as stored:
        assert_shown(page, 1, (stored["downscaled"] - stored["hr"])[0])
    assert page._maps.board.clim[0] == -page._maps.board.clim[1]
    assert len(page._maps.board.maps.figures) == 4  # interpolated, A, B minus HR, and A minus B


def test_swipe_shows_the_two_that_are_chosen(tmp_path, runs):
    page = open_page(tmp_path, runs)
    page.session.layout = "swipe"
    page._maps.tools.left.value = "hr"
    with xr.open_dataset(runs[0].results) as stored:
        assert_shown(page, 0, stored["hr"][0])
        assert_shown(page, 1, stored["downscaled"][0])


def test_rmse_maps_share_one_range_from_zero(tmp_path, runs):
    page = open_page(tmp_path, runs)
    low, high = page._analysis.errors.board.clim
    assert low == 0
    with xr.open_dataset(runs[0].results) as one, xr.open_dataset(runs[1].results) as other:
        maps = (one["rmse_interpolated"], one["rmse_downscaled"], other["rmse_downscaled"])
        assert high == pytest.approx(np.percentile([one.values for one in maps], 99.8))


def test_maps_are_linked(tmp_path, runs):
    page = open_page(tmp_path, runs)
    figures = [*page._maps.board.maps.figures, *page._analysis.errors.board.maps.figures]
    assert len({id(figure.x_range) for figure in figures}) == 1
    assert len({id(figure.y_range) for figure in figures}) == 1


def test_maps_share_all_but_their_images(tmp_path, runs):
    """What is made, sent and kept for each map is most of the time that the page takes to open."""
    page = open_page(tmp_path, runs)
    figures = [*page._maps.board.maps.figures, *page._analysis.errors.board.maps.figures]
    assert len(figures) == 8
    assert (
        len({one for figure in figures for one in figure.renderers}) == 8 + 5
    )  # lines, labels, two of the area, the clicked cell
    assert len({one for figure in figures for one in (figure.toolbar, *figure.center)}) == 2


def test_a_click_chooses_the_nearest_cell(tmp_path, runs):
    page = open_page(tmp_path, runs)
    page._maps._clicked(54.03, -4.1)
    y, x = page.session.cell
    assert (y, x) == page.comparison.nearest(54.03, -4.1)
    marked = page._maps.shared.cell.data
    assert (marked["x"], marked["y"]) == ([x, x], [y, y])


def test_the_pointer_reads_true_values_above_every_map(tmp_path, runs):
    page = open_page(tmp_path, runs, time=3)
    with xr.open_dataset(runs[0].results) as stored:
        place = stored["hr"][3, 4, 5]
        page._maps.shared.pointer.data = {"x": [float(place["x"])], "y": [float(place["y"])]}
        assert f"{float(place):.2f} K" in page._maps.board.facts.data["fact"][2]
        assert f"{float(stored['rmse_interpolated'][4, 5]):.3f} K" in page._analysis.errors.board.facts.data["fact"][0]
    shown = Column(children=page._maps.board.titles)
    assert page._maps.board.facts in shown.references()  # else the browser would not have them
    page._maps.shared.pointer.data = {"x": [], "y": []}
    assert page._maps.board.facts.data["fact"] == [frame.fact for frame in page._maps.board.frames]
    assert "RMSE" in page._maps.board.facts.data["fact"][3]


def test_a_projection_is_drawn_and_stays_while_time_moves(tmp_path, runs):
    page = open_page(tmp_path, runs)
    page.session.projection = "Lambert conformal"
    assert page._maps.shared.projection.name == "Lambert conformal"
    before = page._maps.board.maps.source.data["hr"][0]
    assert (before == 255).any()  # the corners of the map lie outside of the grid
    page.session.time = 4
    assert (page._maps.board.maps.source.data["hr"][0] != before).mean() > 0.2
    page.session.projection = "native"
    with xr.open_dataset(runs[0].results) as stored:
        assert_shown(page, 2, stored["hr"][4])


def test_without_runs_the_newest_done_one_is_taken(tmp_path, runs):
    page = ComparePage(Session(store=Store(tmp_path), page="compare"))
    page.view()
    assert page.session.runs == [Store(tmp_path).runs()[0].id]


def test_the_first_run_is_shown_once_it_is_done_and_a_removed_one_stays_away(tmp_path):
    page = open_page(tmp_path, [])
    page.refresh()
    assert not page.comparison
    run = write_run(tmp_path, "first", **SMALL)
    page.refresh()
    assert [result.run.id for result in page.comparison.results] == [run.id]
    page.session.runs = []
    page.refresh()
    assert (page.session.runs, bool(page.comparison)) == ([], False)


def test_an_empty_store_says_what_to_do(tmp_path):
    page = open_page(tmp_path, [])
    assert "No run to compare" in [getattr(one, "object", "") for one in page._page.select()]
    assert not page.comparison


def test_a_run_deleted_while_shown_is_told_and_the_rest_stays(tmp_path, runs):
    page = open_page(tmp_path, runs)
    runs[1].folder.rename(tmp_path / ".away")
    page.refresh()
    assert [result.letter for result in page.comparison.results] == ["A"]
    assert "no longer in the store" in page._notes[0].object


def test_a_typed_date_moves_the_time(tmp_path, runs):
    page = open_page(tmp_path, runs)
    page._time.view.typed = "2019-03-02 03:00"
    assert page.session.time == 27
    page._time.view.typed = "never"
    assert page._time.view.message == "not in 2019-03-01 00:00 to 2019-03-02 05:00"
    assert page.session.time == 27


def test_bias_is_coloured_about_zero_and_the_ratio_about_one(tmp_path, runs):
    page = open_page(tmp_path, runs, score="bias", condition=Condition.parse("MAM"))
    low, high = page._analysis.errors.board.clim
    assert low == -high
    with xr.open_dataset(runs[1].verification) as stored:
        expected = float(stored["bias"].sel(season="MAM", product="downscaled")[4, 5])
    assert page._analysis.errors.board.maps.fields["B"][4, 5] == pytest.approx(expected)
    page.session.score = "std_ratio"
    low, high = page._analysis.errors.board.clim
    assert (low + high) / 2 == pytest.approx(1)
    page._analysis.errors._score.value = "pearson"
    assert page.session.score == "pearson"
    assert page._analysis.errors.board.clim[1] == 1


def test_the_change_of_rmse_is_pale_where_it_may_be_chance(tmp_path, runs):
    page = open_page(tmp_path, runs, score="rmse_change")
    board = page._analysis.errors.board
    assert [frame.name for frame in board.frames] == ["− interpolated", "− interpolated", "A − B"]
    assert board.clim[0] == -board.clim[1]
    colours, clear = board.maps.source.data["B"][0], ~board.frames[1].faint[::-1]
    assert 0 < clear.mean() < 1
    np.testing.assert_array_equal(colours < 128, clear)
    assert f"{(clear & (colours < 63)).mean():.0%}".replace("%", " % better") in board.facts.data["fact"][1]
    page.session.condition = Condition(hardest=5)  # too few for a test
    assert board is page._analysis.errors.board
    assert (board.maps.source.data["B"][0] >= 128).all()
    page.session.score = "mean_difference"
    frames = page._analysis.errors.board.frames
    assert [frame.name for frame in frames] == ["interpolated − HR", "− HR", "− HR", "A − B"]
    assert frames[0].faint is not None
    page.session.score = "rmse"
    assert page._analysis.errors.board.frames[0].faint is None


def test_an_unverified_run_shows_rmse_and_keeps_the_choice_until_it_is_verified(tmp_path, runs):
    kept = runs[1].verification.read_bytes()
    runs[1].verification.unlink()
    page = open_page(tmp_path, runs, score="bias")
    assert page._analysis.errors.board.clim[0] == 0
    assert f"engine verify {runs[1].id}" in page._analysis.errors._body[0].object
    assert page.session.score == "bias"
    runs[1].verification.write_bytes(kept)
    page.refresh()
    assert page._analysis.errors.board.clim[0] < 0


def test_spectra_tell_the_effective_resolution(tmp_path, runs):
    page = open_page(tmp_path, runs)
    texts = " ".join(part.object for part in page._analysis.spectra._body if isinstance(part.object, str))
    assert "Effective resolution: interpolated" in texts
    page._analysis.spectra._kind.value = "coherence"
    assert page.session.spectrum == "coherence"
    assert page._analysis.spectra._body[1].object.y_range.end == pytest.approx(1.05)


def test_a_condition_changes_table_maps_and_series_and_all_steps_brings_them_back(tmp_path, runs):
    page = open_page(tmp_path, runs)
    of_all, board = page._analysis.scores._texts.data, page._analysis.errors.board
    page._analysis.condition._lists[1].value = "hours:6"
    assert page.session.condition == Condition(hours=(6,))
    assert "condition=hours:6" in page.session.query()
    assert "over 1 of 30 test steps" in page._analysis.scores._title.object
    assert page._analysis.scores._texts.data != of_all
    assert "1 of 30 test steps" in page._analysis.condition._fact.object
    assert page._analysis.errors.board is board  # the same maps show other values
    with xr.open_dataset(runs[1].results) as stored:
        error = np.abs(stored["downscaled"] - stored["hr"])[6]
        np.testing.assert_allclose(board.maps.fields["B"], error, rtol=1e-5)
    assert f"{float(error.mean()):.3f}"[:4] in board.facts.data["fact"][2]
    page._analysis.condition._all.clicks += 1
    assert page.session.query().count("condition") == 0
    assert page._analysis.scores._texts.data == of_all
    assert page._analysis.condition._lists[1].value == ""


def test_steps_that_there_are_not_give_a_message_in_place_of_maps(tmp_path, runs):
    page = open_page(tmp_path, runs, condition=Condition.parse("DJF"))
    assert "DJF" in page._analysis.errors._body[0].object
    assert page._analysis.errors.board is None
    assert "DJF" in page._analysis.condition._fact.object
    assert page._analysis.condition._lists[0].value == "DJF"  # the list has it, though no step is of it
    page.session.condition = Condition(hardest=5)
    assert len(page._analysis.errors.board.frames) == 3
    assert "5 of 30" in page._analysis.errors._title.object


def test_the_box_in_view_and_limits_of_hr_choose_cells_and_values(tmp_path, runs):
    page = open_page(tmp_path, runs)
    row, view = page._analysis.condition, page._maps.shared
    view.x_range.update(start=-6.1, end=-2.9)
    view.y_range.update(start=52.4, end=54.6)
    row._box.clicks += 1
    # Centres are 58 - 0.5 row and -10 + 0.5 column: rows 7 to 11, columns 8 to 14; their borders are half a cell away.
    assert page.session.condition.region == Region((52.25, 54.75), (-6.25, -2.75))
    shown = np.isfinite(page._analysis.errors.board.maps.fields["A"].values)
    assert np.argwhere(shown).min(axis=0).tolist() == [7, 8]
    assert np.argwhere(shown).max(axis=0).tolist() == [11, 14]
    assert "35 of 384 cells" in row._fact.object
    row._low.value = "281.5"
    assert page.session.condition.low == 281.5
    with xr.open_dataset(runs[0].results) as stored:
        hr, field = (stored[name][:, 9, 10] for name in ("hr", "downscaled"))
        expected = np.sqrt(float(((field - hr)[hr >= 281.5] ** 2).mean()))
    assert float(page._analysis.errors.board.maps.fields["A"][9, 10]) == pytest.approx(expected, rel=1e-5)
    row._high.value = "280"
    assert "can&#x27;t be used" in row._fact.object
    assert page.session.condition.high is None
    row._all.clicks += 1
    assert row._low.value == ""
    assert np.isfinite(page._analysis.errors.board.maps.fields["A"]).all()


def test_a_box_needs_the_native_projection_a_cell_and_less_than_all(tmp_path, runs):
    page = open_page(tmp_path, runs)
    row, view = page._analysis.condition, page._maps.shared
    row._box.clicks += 1
    assert "zoom" in row._fact.object
    view.x_range.update(start=-6.1, end=-6.05)
    row._box.clicks += 1
    assert "no cell" in row._fact.object
    page.session.projection = "Mercator"
    row._box.clicks += 1
    assert "native projection" in row._fact.object
    assert not page.session.condition


def drawn(kind: str, **geometry) -> SelectionGeometry:
    return SelectionGeometry(None, {"type": kind, **geometry}, final=True)


def test_a_drawn_box_or_area_is_the_condition_on_all_maps_until_it_is_removed(tmp_path, runs):
    page = open_page(tmp_path, runs)
    row, view = page._analysis.condition, page._maps.shared
    row._draw["box"].clicks += 1
    assert isinstance(view.toolbar.active_drag, BoxSelectTool)
    assert row._draw["box"].label == "Stop drawing"
    view.area.take(drawn("rect", x0=-2.9, x1=-6.1, y0=52.4, y1=54.6))
    assert page.session.condition.region == Region((52.25, 54.75), (-6.25, -2.75))
    assert isinstance(view.toolbar.active_drag, PanTool)
    assert max(view.area.border.data["y"]) == 54.75
    row._draw["line"].clicks += 1
    # A triangle around the centres of row 8 (54° N), columns 8 to 10 (6 to 5° W).
    view.area.take(drawn("poly", x=[-6.1, -4.9, -5.5], y=[53.9, 53.9, 54.9]))
    assert page.session.condition == Condition(polygon=((53.9, -6.1), (53.9, -4.9), (54.9, -5.5)))
    assert "condition=polygon:53.9,-6.1,53.9,-4.9,54.9,-5.5" in page.session.query()
    shown = np.isfinite(page._analysis.errors.board.maps.fields["A"].values)
    assert np.argwhere(shown).tolist() == [[7, 9], [8, 8], [8, 9], [8, 10]]
    page.session.projection = "Mercator"
    x, y = page._maps.shared.projection.to_lonlat(
        *(np.array(page._maps.shared.area.border.data[side]) for side in "xy")
    )
    assert (x.min(), x.max(), y.max()) == pytest.approx((-6.1, -4.9, 54.9))
    row._all.clicks += 1
    assert len(page._maps.shared.area.border.data["x"]) == 0


def test_land_is_offered_and_chosen_where_the_runs_know_it(tmp_path):
    run = write_run(tmp_path, "one", **SMALL, surface=True)
    page = open_page(tmp_path, [run])
    surfaces = page._analysis.condition._lists[3]
    assert list(surfaces.options)[:3] == ["land and sea", "land", "sea"]
    surfaces.value = "land"
    assert page.session.condition == Condition(surface="land")
    assert "cells, land" in page._analysis.condition._fact.object
    assert np.isnan(page._analysis.errors.board.maps.fields["A"]).any()


def test_a_range_of_hr_that_no_value_is_in_leaves_dashes_and_empty_maps(tmp_path, runs):
    page = open_page(tmp_path, runs, condition=Condition(low=1000.0), cell=(54.0, -4.0))
    assert page._analysis.scores._table.object.count("–</td>") == 3 * 6  # interpolated and two runs, six metrics
    assert np.isnan(page._analysis.errors.board.maps.fields["A"]).all()
    assert "mean –" in page._analysis.errors.board.facts.data["fact"][0]
    assert "No values in this cell" in page._analysis.cell._place[0].object


def test_both_components_are_drawn_as_one_field_with_arrows(tmp_path):
    run, single = write_wind(tmp_path), write_wind(tmp_path, "alone", second=False)
    page = open_page(tmp_path, [run, single], layout="vectors", time=4)
    with xr.open_dataset(run.results) as stored:
        u, v = (stored[name][4] for name in ("hr", "hr_v"))
        assert_shown(page, 2, np.hypot(u, v))
        assert [frame.key for frame in page._maps.board.frames] == ["lr", "interpolated", "hr", "A"]  # B has one
        assert {"hr arrows x", "A arrows y"} <= set(page._maps.board.maps.source.data)
        assert page._maps.board.clim[0] == 0
        error = np.hypot(*(stored[f"downscaled{end}"][4] - stored[f"hr{end}"][4] for end in ("", "_v")))
        assert page._maps.board.frames[3].fact == f"RMSE {np.sqrt((error**2).mean()):.3g} m s-1"
        page.session.layout = "grid"
        assert_shown(page, 2, u)
        page.session.component = "v"
        assert_shown(page, 2, v)


def test_runs_of_one_component_have_no_vectors(tmp_path, runs):
    page = open_page(tmp_path, runs, layout="vectors")
    assert page._maps.board.layout == page.session.layout == "grid"
    assert "vectors" not in page._maps.tools._layout.options
