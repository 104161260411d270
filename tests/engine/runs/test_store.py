"""The store: ids and titles of its runs, how one is found, and stores that can't be used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import StoreError
from engine.files import read_json
from engine.runs import Store, check_run_id, default_store
from engine.spec import Spec


def spec(**launch: Any) -> Spec:
    return Spec.from_plain({"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}, "launch": launch})


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "runs")


@pytest.mark.parametrize("name", ["20261124-101500-resnet-spc-t2m-1a2b", "a", "my run", "Fluß", "é" * 127])
def test_the_name_of_a_folder_is_an_id(name):
    assert check_run_id(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "../a", "a/b", "/etc", "a\\b", "a,b", "a\0b", "a\nb", "a\n", "é" * 128, "\ud800" * 300],
)
def test_what_is_empty_hidden_or_elsewhere_is_not_an_id(name):
    with pytest.raises(StoreError, match="is not the id of a run: the name of a folder in the store"):
        check_run_id(name)


def test_the_store_lists_what_can_be_asked_for(tmp_path: Path):
    for name in ("a", ".a", "a,b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.yaml").touch()
    assert [run.id for run in Store(tmp_path).runs()] == ["a"]


def test_a_run_is_called_by_its_title_or_its_network(store):
    assert store.create(spec(), {}).title == "resnet · spc · LCB"
    assert store.create(spec(title="first"), {}).title == "first"
    assert store.create(spec(title="First: t2m × 4!"), {}).id[16:-5] == "first-t2m-4"
    assert store.create(spec(), {}).id[16:-5] == "resnet-spc-hr"
    assert store.create(spec(title="日本"), {}).id[16:-5] == "run"


def test_the_store_lists_the_newest_first(store, tmp_path):
    assert store.runs() == []
    made = [store.create(spec(), {}) for _ in range(2)]
    for number, run in enumerate(made):
        run.folder.rename(store.folder / f"2026010{number + 1}-000000-a")
    (store.folder / ".20260103-000000-a").mkdir()
    (store.folder / ".20260103-000000-a" / "request.json").touch()  # being made
    (store.folder / "notes").mkdir()
    (store.folder / "file").touch()
    assert [run.id for run in store.runs()] == ["20260102-000000-a", "20260101-000000-a"]


def test_two_runs_of_the_same_second_are_two(store):
    assert len({store.create(spec(), {}).id for _ in range(20)}) == 20
    assert len(store.runs()) == 20


def test_a_run_is_found_by_id_beginning_or_title(store):
    first, second = store.create(spec(title="first"), {}), store.create(spec(title="second"), {})
    assert store.run(first.id) == first
    assert store.run(second.id[:-2]) == second
    assert store.run("first") == first
    with pytest.raises(StoreError, match=rf"20 means 2 runs \({second.id}, {first.id}|{first.id}, {second.id}"):
        store.run("20")
    with pytest.raises(StoreError, match=f"no run {first.id[:-1]}x in {store.folder}: did you mean '{first.id}'?"):
        store.run(first.id[:-1] + "x")


def test_an_id_that_begins_another_is_not_ambiguous(store):
    run = store.create(spec(), {})
    store.create(spec(), {}).folder.rename(store.folder / f"{run.id}-b")
    assert store.run(run.id) == run


def test_an_empty_store_says_so(store):
    with pytest.raises(StoreError, match="the store is empty; give --store, or train a run"):
        store.run("first")


def test_a_run_whose_spec_cannot_be_read_leaves_the_others_usable(store):
    good, bad = store.create(spec(title="good"), {}), store.create(spec(title="bad"), {})
    (bad.folder / "spec.yaml").write_text("version: 1\nmodel: {no_longer: 3}\n")
    assert store.run("good") == good
    assert {run.title for run in store.runs()} == {"good", "bad"}
    (bad.folder / "request.json").write_text("{}")  # as earlier versions wrote it
    assert {run.title for run in store.runs()} == {"good", bad.id}


@pytest.fixture
def not_writable(tmp_path) -> Iterator[Path]:
    """A folder that this process may not write to, even if it began as root."""
    folder, user = tmp_path / "closed", os.geteuid()
    folder.mkdir(mode=0o555)
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(0o755)


def test_a_store_that_is_not_writable_says_how_to_fix_it(not_writable):
    with pytest.raises(StoreError) as caught:
        Store(not_writable / "runs").create(spec(), {})
    assert str(caught.value) == (
        f"the store {not_writable}/runs can't be written (Permission denied): it is not writable for you; give "
        "another folder with --store or MESOSCOPE_STORE"
    )


def test_a_store_that_is_a_file(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(StoreError, match=r"can't be written \(Not a directory\): give another folder with --store"):
        Store(tmp_path / "runs").create(spec(), {})
    assert Store(tmp_path / "runs").runs() == []


def test_a_full_disk_leaves_no_half_run(small_disk):
    store = Store(small_disk)
    kept = store.create(spec(), {"a": 1})
    with pytest.raises(StoreError, match=r"can't be written \((No space left on device|File too large)\): .*--store"):
        store.create(spec(), {"inputs": "x" * 2**20})
    assert [path.name for path in small_disk.iterdir()] == [kept.id]
    assert read_json(kept.request_file)["a"] == 1


def test_the_default_store(monkeypatch, tmp_path):
    monkeypatch.setenv("MESOSCOPE_STORE", str(tmp_path))
    assert default_store() == tmp_path
    monkeypatch.setenv("MESOSCOPE_STORE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_store() == tmp_path / ".local/share/mesoscope/runs"
