"""What a user says of a run, and deleted runs."""

from __future__ import annotations

import pytest

from engine.errors import StoreError
from engine.runs import Run, RunNotes, Store
from engine.runs.trash import delete, deleted_runs, restore
from engine.spec import Spec

SPEC = Spec.from_plain(
    {"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}, "launch": {"title": "first"}}
)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "runs")


def ended(store: Store) -> Run:
    run = store.create(SPEC, {})
    run.record_launch("ended", rc=1, reason="why")
    return run


def test_notes_are_kept_and_their_title_is_the_run_s(store):
    run = ended(store)
    assert (run.notes, run.title) == (RunNotes(), "first")
    notes = RunNotes("second", ("paper", "alps"), "better in winter", archived=True)
    run.write_notes(notes)
    assert (Run(run.folder).notes, run.title, run.spec.launch.title) == (notes, "second", "first")
    assert store.run("second").id == run.id


def test_damaged_notes_hide_no_run(store):
    run = ended(store)
    run.notes_file.write_text('{"tags": 3}')
    assert (run.title, run.status().state) == ("first", "failed")


def test_a_deleted_run_is_restored_whole(store):
    run = ended(store)
    before = sorted(path.relative_to(run.folder) for path in run.folder.rglob("*") if path.name != ".launch")
    delete(run)
    assert (store.runs(), [one.id for one in deleted_runs(store)]) == ([], [run.id])
    back = restore(store, run.id)
    assert [one.id for one in store.runs()] == [run.id]
    assert sorted(path.relative_to(back.folder) for path in back.folder.rglob("*") if path.name != ".launch") == before
    assert deleted_runs(store) == []


def test_an_active_run_is_not_deleted(store):
    run = store.create(SPEC, {})  # queued
    with pytest.raises(StoreError, match="is queued: cancel it first, or wait for its end"):
        delete(run)
    assert store.runs() == [run]


def test_what_is_not_in_the_trash_is_not_restored(store):
    run = ended(store)
    with pytest.raises(StoreError, match="not in the trash"):
        restore(store, run.id)
    with pytest.raises(StoreError, match="not the id of a run"):
        restore(store, "../outside")
    delete(run)
    with pytest.raises(StoreError, match="is gone"):
        delete(run)
    run.folder.mkdir()
    with pytest.raises(StoreError, match="already"):
        restore(store, run.id)
