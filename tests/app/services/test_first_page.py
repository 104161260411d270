"""The page that an address without a view opens: by what the store holds."""

from __future__ import annotations

import pytest

from app.services import first_example
from app.services.first_page import first_page, newest_done
from engine.runs import RunNotes
from engine.runs.records import LaunchEvent
from tests.app.fake import write_run


def make_example(store, *, done: bool):
    write_run(store.folder, "example", done=done).write_notes(RunNotes(tags=("example",)))


def test_an_empty_store_opens_data(store):
    assert (first_page(store), newest_done(store)) == ("data", None)


def test_where_the_example_is_made_trained_or_done_compare_shows_it(store, monkeypatch):
    monkeypatch.setattr(first_example, "_making", {store.folder})
    assert first_page(store) == "compare"
    monkeypatch.undo()
    make_example(store, done=False)
    assert first_page(store) == "compare"
    make_example(store, done=True)
    assert first_page(store) == "compare"


def test_own_runs_open_the_newest_that_is_done_unless_one_is_in_training(store):
    make_example(store, done=True)
    done = write_run(store.folder, "mine")
    assert (first_page(store), newest_done(store)) == ("compare", done.id)
    training = write_run(store.folder, "next", done=False)
    assert (first_page(store), newest_done(store)) == ("runs", done.id)
    training.record_launch(LaunchEvent.ENDED, host="elsewhere", rc=1, reason="the disk is full")
    assert first_page(store) == "compare"


def test_where_nothing_but_a_failed_run_is_its_reason_is_seen(store):
    failed = write_run(store.folder, "mine", done=False)
    failed.record_launch(LaunchEvent.ENDED, host="elsewhere", rc=1, reason="the disk is full")
    assert first_page(store) == "runs"


@pytest.mark.parametrize("notes", ["no JSON", '{"tags": 3}'])
def test_damaged_notes_do_not_stand_in_the_way(store, notes):
    write_run(store.folder, "mine", done=False).notes_file.write_text(notes)
    assert first_page(store) == "runs"
