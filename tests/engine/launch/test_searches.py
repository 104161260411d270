"""Searches in a store: each is started in a folder of its own, can be stopped, and is read after any end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from engine.cli.parser import make_parser
from engine.files import to_json, write_whole
from engine.launch import local
from engine.launch.searches import Search, searches, start
from engine.runs import Store
from engine.spec import Spec

SPACE = {"model.backbone": "resnet,unet", "training.learning_rate": "3e-4:1e-2"}
TRIAL = {"number": 0, "state": "complete", "settings": {"model.backbone": "unet"}, "run": "r", "reason": "",
         "val_rmse": 0.5, "training_s": 9.0, "pareto": True}  # fmt: skip


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[subprocess.Popen[bytes], Sequence[str]]]]:
    """Processes that wait, in place of searches, and the commands that would have been run."""
    found: list[tuple[subprocess.Popen[bytes], Sequence[str]]] = []

    def detach(words: Sequence[str], processes: int, log: Path) -> subprocess.Popen[bytes]:
        log.write_bytes(b"")
        found.append((subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE), words))
        return found[-1][0]

    monkeypatch.setattr(local, "detach", detach)
    yield found
    for process, _ in found:
        process.communicate(b"\n")


def begin(tmp_path: Path) -> Search:
    spec = Spec.from_plain({"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 2}})
    return start(spec, Store(tmp_path / "runs"), 30, SPACE)


def test_each_search_is_one_command_with_its_own_folder(tmp_path, started):
    first, second = begin(tmp_path), begin(tmp_path)
    assert [search.id for search in searches(Store(tmp_path / "runs"))] == ["search-002", "search-001"]
    args = make_parser().parse_args(list(started[1][1]))
    assert (args.minutes, args.output, args.store) == (30.0, second.folder, tmp_path / "runs")
    assert args.search == ["model.backbone=resnet,unet", "training.learning_rate=3e-4:1e-2"]
    assert Spec.read(args.spec).data.scale == 2
    assert first.request.options == tuple(SPACE)
    assert Store(tmp_path / "runs").runs() == []  # a search is no run


def test_a_search_is_running_until_its_process_ends_and_then_says_why(tmp_path, started):
    search = begin(tmp_path)
    assert (search.status().state, search.status().reason, search.found().trials) == ("running", "", ())
    search.stop()
    assert (search.status().state, search.status().reason) == ("running", "stopping")
    started[0][0].kill()
    started[0][0].wait()
    assert (search.status().state, search.status().reason) == ("failed", "its process is gone")
    (search.folder / "log.txt").write_text("left out: model.backbone=fno\nerror: the disk is full\n")
    assert search.status().reason == "the disk is full"


@pytest.mark.parametrize(("end", "state"), [("stopped", "cancelled"), ("out of time", "done")])
def test_a_search_that_ended_has_its_trials(tmp_path, started, end, state):
    search = begin(tmp_path)
    write_whole(search.folder / "trials.json", to_json({"trials": [TRIAL], "best": "best.yaml", "end": end}))
    assert (search.status().state, search.status().reason) == (state, end)
    (trial,) = search.found().trials
    assert (trial.settings, trial.val_rmse) == ({"model.backbone": "unet"}, 0.5)
    assert json.loads((search.folder / "search.json").read_text())["minutes"] == 30
