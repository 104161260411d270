"""The example of the first start: made once, for an empty store, where it isn't switched off."""

import threading

import numpy as np
import pytest
import xarray as xr

from app.services import first_example
from app.services.first_example import begin_example, is_being_made
from engine.launch import local
from engine.runs import Run
from engine.runs.trash import delete
from tests.app.fake import write_run


@pytest.fixture
def started(monkeypatch):
    """Runs that were started, without their processes; the example is wanted."""
    monkeypatch.delenv("MESOSCOPE_EXAMPLE", raising=False)
    runs: list[Run] = []
    monkeypatch.setattr(local, "start", lambda run, nice=0: runs.append(run))
    return runs


def test_an_empty_store_gets_one_example(store, started):
    begin_example(store).join()
    (run,) = store.runs()
    assert started == [run]
    assert (run.title, run.notes.tags) == ("Example: NO₂ over an imaginary land", ("example",))
    assert run.spec.launch.site == "local"
    with xr.open_dataset(run.spec.data.target.files()[0]) as data:
        assert data.no2.shape == (40 * 8, 64, 96)
        assert np.isfinite(data.no2[0]).all()
    assert begin_example(store) is None


def test_a_page_can_tell_that_it_is_being_made(store, started, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(first_example, "make_example", lambda store: go.wait())
    thread = begin_example(store)
    assert is_being_made(store)
    go.set()
    thread.join()
    assert not is_being_made(store)


def test_a_deleted_example_does_not_come_back(store, started, monkeypatch):
    monkeypatch.setattr(first_example, "make_example", lambda store: write_run(store.folder, "example"))
    begin_example(store).join()
    (run,) = store.runs()
    delete(run)
    assert begin_example(store) is None
    (store.folder / ".trash" / run.id).rename(store.folder.parent / "away")
    assert begin_example(store) is None


@pytest.mark.parametrize("word", ["off", "0", "No"])
def test_it_can_be_switched_off(store, started, monkeypatch, word):
    monkeypatch.setenv("MESOSCOPE_EXAMPLE", word)
    assert begin_example(store) is None
    assert not store.folder.exists()


def test_a_store_in_use_gets_none(store, started):
    write_run(store.folder, "mine", done=False)
    assert begin_example(store) is None


def test_an_example_that_can_not_be_made_is_logged(store, started, monkeypatch, caplog):
    (store.folder.parent / "example").write_text("a file in its place")
    begin_example(store).join()
    assert "was not made" in caplog.text
    assert store.runs() == []
