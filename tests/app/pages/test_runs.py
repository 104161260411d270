"""Runs: the table, one run closely, and what can be asked of it."""

from __future__ import annotations

import asyncio
import shutil
import threading
from dataclasses import replace

import pytest

from app.components import run_detail, run_records
from app.components.run_list import table_of
from app.components.run_records import log_tail
from app.components.run_text import gain_of
from app.formatting import plain_text
from app.pages.runs import RunsPage
from app.services.run_settings import settings_of
from app.services.watcher import take_snapshot, watcher_of
from engine.errors import StoreError
from tests.app.fake import write_run
from tests.app.settled import settled

# Bokeh 3.9 makes a ColumnDataSource of a DataFrame in a way that pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning")

CHANGE = "Change it with 'Clone settings' and train again; see the log below."
CONTINUE = "Resume continues from the last checkpoint; see the log below."


def at_page(session, act=None):
    """The page after the watcher looked, with what was asked of it done."""

    async def scenario():
        page = RunsPage(session)
        for _ in ("all", "the chosen one closely"):
            watcher_of(session.store).look()
            page.refresh()
        await settled()
        if act is not None:
            await act(page)
            await settled()
        return page

    return asyncio.run(scenario())


def test_an_empty_store_leads_on(session):
    page = at_page(session)
    assert (page.empty.visible, page.list.view.visible, page.detail.view.visible) == (True, False, False)
    page._page_button("Choose data", "data")


def test_the_table_says_what_the_folders_say(session):
    done = write_run(session.store.folder, "wide")
    write_run(session.store.folder, "busy", done=False)
    rows = table_of([take_snapshot(run) for run in session.store.runs()]).set_index("title")
    assert rows.loc["wide", "id"] == done.id
    assert "width: 100%" in rows.loc["wide", "epoch"]
    assert "40/40" in rows.loc["wide", "epoch"]
    assert "17/40" in rows.loc["busy", "epoch"]
    assert rows.loc["wide", "rmse"] == f"{done.scores()['downscaled']['rmse']['mean']:.3f}"
    assert rows.loc["busy", "rmse"] == "–"
    assert "running" in rows.loc["busy", "state"]


def test_the_chosen_run_is_shown_closely(session):
    run = write_run(session.store.folder, "wide")
    session.run = run.id
    page = at_page(session)
    assert page.detail.view.visible
    assert page.detail.title.object == "wide"
    assert "scored the test period" in page.detail.records.log.object
    assert len(page.detail.records.curves.figure.renderers[0].data_source.data["loss"]) == len(run.progress()[0])
    assert "training.epochs" in page.detail.settings.object


def test_the_newest_run_is_shown_when_the_link_names_none(session):
    write_run(session.store.folder, "older", done=False).folder.rename(
        session.store.folder / "20000101-000000-older-0000"
    )
    newest = write_run(session.store.folder, "newest", done=False)
    page = at_page(session)
    assert (page.detail.title.object, session.run) == ("newest", "")
    assert list(page.list.all.rows["title"]) == ["<b class='shown'>newest</b>", "older"]
    assert f"epoch {newest.latest()['epoch']} of 40" in page.detail.status.object


def test_a_title_is_no_markup(session):
    write_run(session.store.folder, "<b>bold</b>", done=False)
    assert "&lt;b&gt;bold&lt;/b&gt;" in at_page(session).list.all.rows["title"][0]


@pytest.mark.parametrize(
    ("reason", "kind", "has_checkpoint", "advice"),
    [
        ("values fall to -0.1", "failed", False, CHANGE),
        (
            "the disk is full: then resume",
            "failed",
            True,
            CONTINUE,
        ),
        ("of an older version", None, True, CONTINUE),
    ],
)
def test_a_failed_run_says_why_and_what_to_do(session, reason, kind, has_checkpoint, advice):
    page = failed_page(session, reason, kind, has_checkpoint)
    assert page.detail.advice.visible
    assert page.detail.advice.object == plain_text(f"{reason}.\n\n{advice}")
    assert page.detail.resume.visible


def test_ranks_that_died_continue_as_the_reason_says(session):
    page = failed_page(session, "rank 1 died: go on", "died", has_checkpoint=True)
    assert page.detail.advice.object == "rank 1 died: go on"


def failed_page(session, reason, kind, has_checkpoint):
    """The page with a run that ended so."""
    run = write_run(session.store.folder, "failed", done=False)
    for beat in (run.folder / "status").iterdir():
        beat.unlink()
    run.record_launch("started", host="elsewhere", pid=1)
    run.record_launch("ended", host="elsewhere", pid=1, rc=1, reason=reason, kind=kind)
    if has_checkpoint:
        run.last.write_bytes(b"weights")
    return at_page(session)


def test_a_finished_run_leads_to_its_maps(session):
    first, run = write_run(session.store.folder, "other"), write_run(session.store.folder, "one")
    session.param.update(run=run.id, runs=[first.id])

    async def maps(page):
        page.detail.compare.clicks += 1

    page = at_page(session, maps)
    assert (session.page, session.runs) == ("compare", [first.id, run.id])
    assert not page.detail.advice.visible


def test_the_gain_is_the_fall_of_the_rmse(session):
    run = write_run(session.store.folder, "one")
    scores = {
        product: {"rmse": {"mean": mean, "std": 0}} for product, mean in {"downscaled": 3, "interpolated": 4}.items()
    }
    seen = replace(take_snapshot(run), scores=scores)
    assert gain_of(seen) == "−25 %"  # 3 / 4 - 1
    assert gain_of(replace(seen, scores={})) == "–"


def test_new_records_are_appended(session):
    run = write_run(session.store.folder, "busy", done=False)
    session.run = run.id

    async def train_on(page):
        page.before = len(page.detail.records.records)
        with open(run.folder / "progress.jsonl", "a") as file:
            file.write('{"seq": 999, "epoch": 20, "epochs": 40, "loss": 0.125}\n{"seq": 1000, "epo')
        page.refresh()

    page = at_page(session, train_on)
    assert len(page.detail.records.records) == page.before + 1
    assert page.detail.records.records[-1]["loss"] == 0.125


def test_what_is_written_while_the_log_is_being_read_is_read_too(session, monkeypatch):
    """The last look before a run is done may find the reading of the one before it under way."""
    run = write_run(session.store.folder, "wide")
    last, begun = "the last line\n", []

    def slow_tail(path):
        text = log_tail(path)
        if len(begun) == 1:
            path.write_text(text + "\n" + last)
            page_loop[0].call_soon_threadsafe(lambda: (pages[0].refresh(), refreshed.set()))
            refreshed.wait()
        begun.append(path)
        return text

    pages, page_loop, refreshed = [], [], threading.Event()

    async def again(page):
        pages.append(page)
        page_loop.append(asyncio.get_running_loop())
        page.refresh()

    monkeypatch.setattr(run_records, "log_tail", slow_tail)
    page = at_page(session, again)
    assert run.log.read_text().endswith(last)
    assert last.strip() in page.detail.records.log.object
    assert len(begun) == 3


def test_another_run_begins_with_its_own_curves(session):
    first, second = write_run(session.store.folder, "one"), write_run(session.store.folder, "two", done=False)
    session.run = first.id

    async def choose(page):
        session.run = second.id

    page = at_page(session, choose)
    assert page.detail.title.object == "two"
    assert page.detail.records.records == second.progress()[0]


def test_ticked_rows_are_compared_eight_at_most(session):
    for seed in range(9):
        write_run(session.store.folder, f"run {seed}", seed=seed, done=False)

    async def tick(page):
        page.list.all.widget.selection = list(range(8))
        page.first_eight = list(session.runs)
        page.list.all.widget.selection = list(range(9))

    session.page = "runs"
    page = at_page(session, tick)
    ids = list(page.list.all.rows["id"])
    assert page.first_eight == ids[:8]
    assert session.runs == ids[1:9]
    assert page.list.all.widget.selection == list(range(1, 9))
    assert page.list.compare.label == "Compare 8"


def test_a_hidden_table_removes_no_run_from_the_comparison(session):
    run = write_run(session.store.folder, "one", done=False)
    session.param.update(page="compare", runs=[run.id])

    async def report_nothing(page):
        page.list.all.widget.selection = []

    at_page(session, report_nothing)
    assert session.runs == [run.id]


def test_a_link_ticks_its_runs(session):
    run = write_run(session.store.folder, "one", done=False)
    session.runs = [run.id]
    assert at_page(session).list.all.widget.selection == [0]


@pytest.mark.parametrize(("done", "buttons"), [(True, []), (False, ["Cancel"])])
def test_only_what_can_be_asked_is_offered(session, done, buttons):
    session.run = write_run(session.store.folder, "one", done=done).id
    page = at_page(session)
    assert [b.label for b in (page.detail.cancel, page.detail.resume) if b.visible] == buttons


def test_cancel_goes_to_the_launcher(session, monkeypatch):
    asked = []
    run = write_run(session.store.folder, "busy", done=False)
    session.run = run.id
    monkeypatch.setattr(run_detail.api, "cancel", asked.append)

    async def cancel(page):
        page.detail.cancel.clicks += 1

    at_page(session, cancel)
    assert [one.id for one in asked] == [run.id]


def test_a_refused_resume_is_said(session, monkeypatch):
    def refuse(run):
        raise StoreError("run one is done: train a new one")

    monkeypatch.setattr(run_detail.api, "resume", refuse)
    session.run = write_run(session.store.folder, "one").id

    async def resume(page):
        page.detail.resume.clicks += 1

    page = at_page(session, resume)
    assert page.detail.fault.visible
    assert page.detail.fault.object == "run one is done: train a new one"


def test_a_run_deleted_while_it_is_shown(session):
    run = write_run(session.store.folder, "one")
    session.run = run.id

    async def delete(page):
        shutil.rmtree(run.folder)
        watcher_of(session.store).look()
        page.refresh()

    page = at_page(session, delete)
    assert not page.detail.view.visible
    assert page.empty.visible


def test_a_damaged_run_is_shown_with_its_fault(session):
    run = write_run(session.store.folder, "one")
    (run.folder / "spec.yaml").write_text("version: 2\n")
    session.run = run.id
    page = at_page(session)
    assert page.detail.fault.visible
    assert "version is 2: expected version: 1" in page.detail.fault.object
    assert not page.detail.clone.visible


def test_a_run_s_spec_becomes_the_draft(session):
    run = write_run(session.store.folder, "one")
    session.run = run.id

    async def again(page):
        page.detail.clone.clicks += 1

    at_page(session, again)
    assert session.draft.seal() == run.spec
    assert session.page == "design"


def test_settings_are_those_that_differ(session):
    run = write_run(session.store.folder, "one")
    settings = settings_of(run)
    assert settings["launch.title"] == "one"
    assert "training.seed" not in settings


def test_a_log_is_read_from_its_end(tmp_path):
    path = tmp_path / "log.txt"
    assert log_tail(path) == ""
    path.write_text("\n".join(f"line {i}" for i in range(100_000)))
    tail = log_tail(path).splitlines()
    assert (tail[-1], len(tail)) == ("line 99999", 300)
