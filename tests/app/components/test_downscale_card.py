"""Downscaling new data from the Runs page, by the real command."""

from __future__ import annotations

import sys

import pytest

from tests.app.fake import write_run
from tests.app.pages.test_runs import at_page

# Bokeh 3.9 makes a ColumnDataSource of a DataFrame in a way that pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning")


def test_what_is_missing_refused_or_broken_is_said(session, tmp_path, monkeypatch):
    write_run(session.store.folder, "one")

    async def ask(page):
        card = page.detail.downscale
        assert card.view.visible
        await card._downscale(None)
        assert card.message.object.startswith("Give the LR data and the output")
        card.input.value, card.output.value = str(tmp_path / "no.nc"), str(tmp_path / "out.nc")
        await card._downscale(None)
        assert (card.message.severity, card.map.visible) == ("error", False)
        assert "no trained weights" in card.message.object  # the run is made up
        card.output.value = "out.nc"
        await card._downscale(None)
        assert "by their full paths" in card.message.object
        card.output.value = str(tmp_path / "out.nc")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/bin/false")
            await card._downscale(None)
        assert card.message.object == "Nothing was written: the command ended with 1 (it said nothing)"
        assert not (tmp_path / "out.nc").exists()

    at_page(session, ask)
