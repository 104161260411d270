"""Runs on targets as the Runs page shows them: the queue, the scheduler's words, and what isn't known."""

from __future__ import annotations

import pytest

from app.components import run_detail
from app.components.queue import doing, queue_table
from app.components.run_list import table_of
from app.components.run_text import failure_advice, status_text
from app.formatting import plain_text
from app.services.run_selection import select_runs
from app.services.watcher import take_snapshot
from app.session import Listed
from engine.errors import UnreachableError
from engine.launch.api import cancel
from tests.app.fake import write_remote_run, write_run
from tests.app.pages.test_runs import at_page

# Bokeh 3.9 makes a ColumnDataSource of a DataFrame in a way that pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning")
WAITS = "Priority: other jobs come first"


def seen_run(store, *words, **more):
    return take_snapshot(write_remote_run(store.folder, "far", *words, **more))


def test_the_queue_holds_what_waits_or_runs_the_running_first(store):
    write_run(store.folder, "done")
    write_remote_run(store.folder, "refused", "refused", "the login is refused")
    write_remote_run(store.folder, "waits", "queued", WAITS)
    write_remote_run(store.folder, "runs", "running", "training")
    queue = select_runs([take_snapshot(run) for run in store.runs()], Listed.QUEUE)
    rows = queue_table(queue, shown=queue[1].id)
    assert list(rows["title"]) == ["runs", "<b class='shown'>waits</b>"]
    assert list(rows["place"]) == ["hpc · Slurm"] * 2
    assert list(rows["job"]) == ["4711"] * 2
    assert WAITS in rows["reason"][1]
    assert list(rows["since"]) == ["12 min ago"] * 2  # as write_remote_run says


def test_a_reason_is_no_markup(store):
    seen = seen_run(store, "queued", "<script>'\"")
    assert "<script>" not in queue_table([seen])["reason"][0]


def test_the_list_tells_where_a_run_is(store):
    seen_run(store, "queued", WAITS)
    assert list(table_of([take_snapshot(run) for run in store.runs()])["place"]) == ["hpc"]


def test_a_waiting_run_says_so_in_the_scheduler_s_words(store):
    assert status_text(seen_run(store, "queued", WAITS)) == f"for 12 min · {WAITS}"


def test_a_handing_over_tells_what_it_does(store):
    seen = seen_run(store, "sending", "sends hr.nc, 1.0 MB")
    assert (seen.status.state, doing(seen)) == ("queued", "submitting to hpc: sends hr.nc, 1.0 MB")


def test_fetching_is_told_in_place_of_the_epoch(store):
    seen = seen_run(store, "running", "fetching results, 12.0 MB of 80.1 MB")
    assert (seen.status.state, status_text(seen)) == ("running", "fetching results, 12.0 MB of 80.1 MB")
    assert doing(seen) == status_text(seen)


def test_what_is_not_known_is_no_failure(session):
    run = write_remote_run(session.store.folder, "far", "running", "training", seen_s=720)
    session.run = run.id
    page = at_page(session)
    assert take_snapshot(run).status.state == "unknown"
    assert "since 12 min · the run itself goes on · hpc has not been polled since" in page.detail.status.object
    assert (page.detail.advice.visible, page.detail.cancel.visible, page.detail.cancel.disabled) == (False, True, False)


def test_a_refused_handing_over_says_why_and_how_to_go_on(session):
    run = write_remote_run(session.store.folder, "far", "refused", "the host key of hpc is not known here")
    session.run = run.id
    page = at_page(session)
    assert failure_advice(take_snapshot(run)).endswith("\n\nResume submits it again, once that is fixed.")
    assert page.detail.advice.object.startswith(plain_text("the host key of hpc is not known here"))
    assert page.detail.resume.visible


def test_a_wish_to_stop_that_can_not_be_passed_on_is_kept(session, monkeypatch):
    run = write_remote_run(session.store.folder, "far", "queued", WAITS)
    session.run = run.id

    def unreachable(run):
        run.ask_to_cancel()
        raise UnreachableError("login can't be reached")

    monkeypatch.setattr(run_detail.api, "cancel", unreachable)

    async def stop(page):
        page.detail.cancel.clicks += 1

    page = at_page(session, stop)
    assert (page.detail.fault.severity, page.detail.fault.visible) == ("info", True)
    assert "stopped as soon as its host can be reached" in page.detail.fault.object
    assert status_text(take_snapshot(run)).startswith("stopping")


def test_a_run_that_is_being_handed_over_can_be_cancelled(store):
    run = write_remote_run(store.folder, "far", "sending", "connects")
    cancel(run)
    assert run.cancel_file.exists()
    assert run.launches() == []  # its record is the target's to write
    run.update_request(stage="refused", reason="cancelled before it was submitted")  # as it does when it sees the wish
    assert (run.status().state, run.status().reason) == ("cancelled", "cancelled before it was submitted")


def test_the_queue_is_shown_when_the_link_says_so(session):
    write_remote_run(session.store.folder, "waits", "queued", WAITS)
    write_run(session.store.folder, "done")
    session.listed = Listed.QUEUE
    page = at_page(session)
    assert (page.list.queue.widget.visible, page.list.all.widget.visible) == (True, False)
    assert len(page.list.queue.rows) == 1
    assert session.query() == "?page=data&list=queue"

    async def all_runs(page):
        page.list.which.value = "All"

    page = at_page(session, all_runs)
    assert (page.list.queue.widget.visible, page.list.all.widget.visible, session.listed) == (False, True, "all")


def test_an_empty_queue_says_so(session):
    write_run(session.store.folder, "done")
    session.listed = Listed.QUEUE
    assert at_page(session).list.nothing.visible
