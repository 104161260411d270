"""Downscaling new data from the Runs page, by the real command."""

from __future__ import annotations

import pytest

from tests.app.fake import write_run
from tests.app.pages.test_runs import at_page

# Bokeh 3.9 makes a ColumnDataSource of a DataFrame in a way that pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning")


def test_what_is_missing_or_refused_is_said(session, tmp_path):
    write_run(session.store.folder, "one")

    async def ask(page):
        card = page.detail.downscale
        assert card.view.visible
        await card._downscale(None)
        assert card.message.object.startswith("Give the LR data and the output")
        card.input.value, card.output.value = str(tmp_path / "no.nc"), str(tmp_path / "out.nc")
        await card._downscale(None)
        assert (card.message.severity, card.map.visible) == ("error", False)
        assert "no trained weights" in card.message.object or "no.nc" in card.message.object
        assert not (tmp_path / "out.nc").exists()

    at_page(session, ask)
