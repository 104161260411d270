"""The run watcher: one look for all tabs, and no run folder that can bring it down."""

import shutil
import threading
import time

import pytest

from app.services.watcher import RunWatcher, stop_all, take_snapshot, watcher_of
from engine.files import append_line, write_whole
from engine.runs import Store
from tests.app.fake import write_run


def test_the_version_moves_only_when_something_changed(store):
    watcher = RunWatcher(store)
    watcher.look()
    assert (watcher.version, watcher.snapshots()) == (0, ())
    write_run(store.folder, "first")
    watcher.look()
    watcher.look()
    assert watcher.version == 1
    assert [seen.title for seen in watcher.snapshots()] == ["first"]


def test_a_finished_run_is_done_with_its_scores(store):
    run = write_run(store.folder, "first")
    seen = take_snapshot(run)
    assert (seen.status.state, seen.share, seen.fault) == ("done", 1.0, "")
    assert seen.rmse("downscaled") == run.scores()["downscaled"]["rmse"]["mean"]
    assert seen.rmse("downscaled") < seen.rmse("interpolated")


def test_the_share_of_a_run_in_training(store):
    run = write_run(store.folder, "busy", done=False)
    latest = {"epoch": 3, "epochs": 10, "step": 5, "steps": 20}
    seen = take_snapshot(run)
    object.__setattr__(seen, "latest", latest)
    assert seen.share == pytest.approx((2 + 5 / 20) / 10)  # two whole epochs and a quarter of ten


def test_a_validation_loss_stays_through_the_next_epoch(store):
    run = write_run(store.folder, "busy", done=False)
    watcher = RunWatcher(store)
    for record in ({"epoch": 3, "loss": 0.5, "val_loss": 0.25}, {"epoch": 4, "loss": 0.4}):
        append_line(run.folder / "progress.jsonl", record)
        watcher.look()
    assert (watcher.find(run.id).latest["epoch"], watcher.find(run.id).val_loss) == (4, 0.25)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("spec.yaml", "version: 1\nnonsense: {}\n", "nonsense is not a section"),
        ("spec.yaml", b"\xff\xfe", "can't be read"),
        ("status/launcher.jsonl", '{"no_event": 1}\n', "launcher.jsonl holds no 'time'"),
        ("results/scores.json", "[1, 2]", "scores.json holds no scores of the downscaled field"),
    ],
)
def test_a_broken_folder_is_said_to_be_broken_and_hides_no_other(store, name, content, words):
    broken = write_run(store.folder, "broken", done=name.startswith("results"))
    write_run(store.folder, "whole", seed=1)
    write_whole(broken.folder / name, content)
    watcher = RunWatcher(store)
    watcher.look()
    watcher.find(broken.id)  # what nobody has chosen is looked at without its spec
    watcher.look()
    found = watcher.find(broken.id)
    assert len(watcher.snapshots()) == 2
    assert words in found.fault
    assert found.rmse("downscaled") is None


def test_a_run_deleted_between_two_looks_is_gone(store):
    run = write_run(store.folder, "short-lived")
    watcher = RunWatcher(store)
    watcher.look()
    shutil.rmtree(run.folder)
    watcher.look()
    assert watcher.snapshots() == ()


def test_a_run_deleted_while_it_is_looked_at(store):
    run = write_run(store.folder, "short-lived")
    shutil.rmtree(run.folder)
    seen = take_snapshot(run)
    assert (seen.status.state, seen.title) == ("unknown", run.id)
    assert seen.fault.startswith(f"{run.folder} can't be read")


def test_one_thread_looks_for_all_sessions(store):
    stop_all()  # those of other tests
    try:
        assert watcher_of(store) is watcher_of(Store(store.folder))
        assert len(watching()) == 1
    finally:
        stop_all()
    assert not watching()


def watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "run watcher"]


def test_targets_are_looked_at_once_a_process_and_new_ones_too(store, tmp_path, monkeypatch):
    def pollers():
        return sorted(t.name for t in threading.enumerate() if t.name.startswith("poll of "))

    path = tmp_path / "targets.yaml"
    monkeypatch.setenv("MESOSCOPE_TARGETS", str(path))
    path.write_text("nonsense")
    try:
        watcher_of(store)
        assert pollers() == []  # and the watcher looks at the store all the same
        for targets in ("{a: {kind: slurm}}", "{a: {kind: slurm}, b: {kind: ssh, host: b}}"):
            path.write_text(f"version: 1\ntargets: {targets}\n")
            watcher_of(store)
            watcher_of(store)
        assert pollers() == ["poll of a", "poll of b"]
    finally:
        stop_all()
    assert pollers() == []


def test_a_nudge_makes_it_look_at_once(store):
    watcher = RunWatcher(store, period_s=3600)
    watcher.start()
    try:
        write_run(store.folder, "new")
        watcher.nudge()
        while not watcher.snapshots():
            time.sleep(0.02)
        assert [seen.title for seen in watcher.snapshots()] == ["new"]
    finally:
        watcher.stop()
