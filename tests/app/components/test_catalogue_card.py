"""The catalogue on the Data page: searched, opened with a click, added to; and chosen from on the Design page."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import xarray as xr

from app.pages.data import DataPage
from app.pages.design import DesignPage
from engine.data.catalogue import Catalogue, Entry, Role, add
from engine.spec import Source
from tests.app.settled import settled

# panel-material-ui 0.16 sets Panel's older name beside its own when it makes a download button.
pytestmark = pytest.mark.filterwarnings("ignore:Both 'variant' and 'button_style':PendingDeprecationWarning")


@pytest.fixture
def levels_file(tmp_path):
    """q (level 2: 500 and 850, time 3, lat 4, lon 5): 500 or 850 everywhere, without a unit."""
    coords = {"level": [500.0, 850.0], "time": xr.date_range("2001-01-01", periods=3)}
    coords |= {"lat": np.arange(50.0, 54), "lon": np.arange(5.0)}
    values = np.broadcast_to(np.array([500.0, 850.0])[:, None, None, None], (2, 3, 4, 5))
    xr.DataArray(values, coords, list(coords), "q").to_netcdf(tmp_path / "q.nc")
    return tmp_path / "q.nc"


def in_page(session, kind, act):
    async def scenario():
        page = kind(session)
        await settled()
        await act(page)
        await settled()
        return page

    return asyncio.run(scenario())


def test_a_variable_is_added_found_and_opened_as_it_was(session, levels_file):
    async def scenario(page):
        session.choose_source(str(levels_file), "q", "level: 850", "g kg-1")
        await settled()
        form = page.file.adding
        form.button.clicks += 1
        assert (form.view.visible, form.name.value, form.role.value) == (True, "q", "target")
        form.name.value, form.role.value = "q850", "predictor"
        form.save.clicks += 1
        await settled()
        assert not form.view.visible
        session.choose_source(str(levels_file), "q", "level: 500")
        await settled()
        page.catalogue.search.value = "PRED kg"
        assert [item["label"] for item in page.catalogue.list.items] == ["q850"]
        page._look(page.catalogue.catalogue.named("q850"))

    page = in_page(session, DataPage, scenario)
    (entry,) = Catalogue.read().entries
    assert entry.source == Source(str(levels_file), "q", "g kg-1", (("level", 850),))
    assert page.file.preview.source == entry.source
    assert float(page.file.preview.read(0).mean()) == 850
    assert session.query() == (
        f"?page=data&source_path={levels_file}&source_variable=q&source_select=level:+850&source_units=g+kg-1"
    )


def test_a_name_that_is_taken_is_refused_and_the_form_stays(session, temperature_file):
    add(Entry("t2m", Source("/other.nc"), Role.LR))

    async def scenario(page):
        session.choose_source(str(temperature_file))
        await settled()
        page.file.adding.button.clicks += 1
        page.file.adding.save.clicks += 1

    form = in_page(session, DataPage, scenario).file.adding
    assert form.view.visible
    assert "t2m is in" in form.fault.object


def test_damage_is_told_and_the_others_are_listed(session, tmp_path):
    add(Entry("good", Source("/good.nc"), Role.LR))
    (tmp_path / "site_catalog.yaml").write_text("torn: {path: [\n")

    async def nothing(page):
        pass

    card = in_page(session, DataPage, nothing).catalogue
    assert [item["label"] for item in card.list.items] == ["good"]
    assert card.damages.visible
    assert "torn is not YAML" in card.damages.object


def test_each_part_of_the_draft_is_chosen_from_the_catalogue(session):
    """Data sets of a field's role come first; the spec gets path, variable and the rest, no name."""
    hr, static = Source("/hr.nc", "t2m"), Source("/z.nc", "z", "m", (("level", 1),))
    for name, source, role in (("z", static, Role.STATIC), ("hr", hr, Role.TARGET)):
        add(Entry(name, source, role, title=f"The {name}"))

    async def choose(page):
        dialog = page.form.catalogue
        for option, first in {"target": "hr", "lr": "z", "predictors": "z", "static": "z"}.items():
            page.form.fields[f"data.{option}"].catalogue.clicks += 1
            await settled()
            assert dialog.view.open
            assert dialog.list.list.items[0]["label"] == first
            dialog.list.list._handle_msg({"type": "click", "item": [0]})
            await settled()
            assert not dialog.view.open

    in_page(session, DesignPage, choose)
    chosen = [session.draft.get("data", option) for option in ("target", "lr", "predictors", "static")]
    assert chosen == [hr, static, (static,), (static,)]  # no data set is for LR or predictors: the first of the file


def test_nothing_is_offered_where_there_is_no_catalogue(session):
    async def nothing(page):
        pass

    page = in_page(session, DesignPage, nothing)
    assert not page.form.fields["data.target"].catalogue.visible
