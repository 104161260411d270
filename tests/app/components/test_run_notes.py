"""Words of the user about a run, as the Runs page takes them."""

from __future__ import annotations

import pytest

from engine.runs import Run, RunNotes
from engine.runs.trash import deleted_runs
from tests.app.fake import write_run
from tests.app.pages.test_runs import at_page
from tests.app.settled import settled

# Bokeh 3.9 makes a ColumnDataSource of a DataFrame in a way that pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning")


def test_what_is_typed_is_written_and_listed(session):
    run = write_run(session.store.folder, "one")

    async def type_in(page):
        page.detail.notes.title.value = "two"
        page.detail.notes.tags.value = "alps, paper ,alps,"
        page.detail.notes.note.value = "better in winter"

    page = at_page(session, type_in)
    assert Run(run.folder).notes == RunNotes("two", ("alps", "paper"), "better in winter")
    again = at_page(session)
    assert "two" in again.list.all.rows["title"][0]
    assert "<span class='tag'>alps</span>" in again.list.all.rows["title"][0]
    assert page.detail.notes.delete.disabled is False


def test_an_archived_run_leaves_the_list(session):
    write_run(session.store.folder, "one")
    session.run = write_run(session.store.folder, "two").id

    async def archive(page):
        page.detail.notes.archive.clicks += 1

    at_page(session, archive)
    assert list(at_page(session).list.all.rows["title"]) == ["one"]


def test_a_deleted_run_can_be_restored(session):
    run = write_run(session.store.folder, "one")
    session.param.update(run=run.id, runs=[run.id])

    async def delete(page):
        page.detail.notes.delete.clicks += 1
        await settled()
        assert (session.run, session.runs) == ("", [])
        assert [one.id for one in deleted_runs(session.store)] == [run.id]
        assert page.list.trash.visible
        page.list._restore(page.list.trash.items[0])

    at_page(session, delete)
    assert [one.id for one in session.store.runs()] == [run.id]
    assert session.run == run.id


def test_an_active_run_offers_no_delete(session):
    session.run = write_run(session.store.folder, "busy", done=False).id
    assert at_page(session).detail.notes.delete.disabled


def test_damaged_notes_are_refused_and_not_replaced(session):
    run = write_run(session.store.folder, "one")
    run.notes_file.write_text("garbage")
    session.run = run.id

    async def type_in(page):
        page.detail.notes.title.value = "two"
        assert "notes.json" in page.detail.fault.object

    at_page(session, type_in)
    assert run.notes_file.read_text() == "garbage"
