"""Which runs are listed, and in which order."""

from __future__ import annotations

from app import session as tab
from app.services.run_selection import ORDERS, select_runs
from app.services.run_settings import differing_settings
from app.services.watcher import take_snapshot
from app.session import Listed
from engine.runs import RunNotes
from tests.app.fake import write_run


def titles(seen, *words):
    return [one.title for one in select_runs(seen, *words)]


def snapshots(store):
    """b has no score yet, c is archived; in the order of the watcher, the newest first."""
    runs = [write_run(store.folder, "a", skill=0.5), write_run(store.folder, "b", done=False)]
    runs += [write_run(store.folder, "c", skill=0.7), write_run(store.folder, "d", skill=0.6)]
    runs[0].write_notes(RunNotes(tags=("alps", "paper"), note="best in Winter"))
    runs[2].write_notes(RunNotes(archived=True))
    return [take_snapshot(run) for run in reversed(runs)]


def test_lists_words_and_orders(store):
    seen = snapshots(store)
    assert titles(seen, Listed.ALL) == ["d", "b", "a"]
    assert titles(seen, Listed.ARCHIVED) == ["c"]
    assert titles(seen, Listed.QUEUE) == ["b"]
    assert titles(seen, Listed.ALL, "PAPER winter") == ["a"]
    assert titles(seen, Listed.ALL, "paper summer") == []
    assert titles(seen, Listed.ALL, "", "RMSE") == ["d", "a", "b"]  # more skill, less RMSE; none comes last
    assert titles(seen, Listed.ALL, "", "title") == ["a", "b", "d"]


def test_only_settings_that_differ_are_told(store):
    first = write_run(store.folder, "a", model={"n_filters": 8})
    second = write_run(store.folder, "b", seed=3)
    assert differing_settings([first, second]) == {
        first.id: "n_filters 8 · seed default",
        second.id: "n_filters default · seed 3",
    }


def test_every_order_that_a_session_can_have_is_known():
    assert list(ORDERS) == tab.ORDERS
