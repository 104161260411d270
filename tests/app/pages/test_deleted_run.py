"""A run that is deleted while pages show it, before the watcher has looked again: a message, and never an exception."""

from __future__ import annotations

import shutil

import pytest

from tests.app.fake import write_run
from tests.app.pages.test_runs import at_page
from tests.app.settled import settled

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning")


@pytest.mark.parametrize("button", ["cancel", "resume", "clone", "compare"])
@pytest.mark.parametrize("done", [True, False])
def test_a_button_of_the_run(session, button, done):
    run = write_run(session.store.folder, "one", done=done)
    session.run = run.id

    async def press(page):
        shutil.rmtree(run.folder)
        page.refresh()
        await settled()
        getattr(page.detail, button).clicks += 1

    page = at_page(session, press)
    assert page.detail.fault.visible or button == "compare"  # which says so itself
    assert not run.folder.exists()
