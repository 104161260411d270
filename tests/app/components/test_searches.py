"""Searches on Design: started with the chosen options, shown with their best trial, and led from to runs and spec."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from app.components.search_form import SearchForm
from app.components.searches_card import SearchesCard, text_of
from app.services.watcher import RunWatcher
from engine.files import to_json, write_whole
from engine.launch import local
from engine.launch.searches import searches, start
from engine.search import SPACE
from engine.spec import Spec

SPEC = Spec.from_plain({"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}})
BEST = {"number": 1, "state": "complete", "settings": {"model.backbone": "unet", "model.upsampling": "pin"},
        "run": "r1", "reason": "", "val_rmse": 0.34512, "training_s": 9.0}  # fmt: skip
PRUNED = {**BEST, "number": 0, "state": "pruned", "run": "r0", "val_rmse": 0.5}


@pytest.fixture(autouse=True)
def ended_at_once(monkeypatch):
    """Processes that do nothing in place of searches."""

    def detach(words, processes, log):
        log.write_bytes(b"error: the data are gone\n")
        process = subprocess.Popen([sys.executable, "-S", "-c", ""])
        process.wait()
        return process

    monkeypatch.setattr(local, "detach", detach)


def looked(store):
    watcher = RunWatcher(store)
    watcher.look()
    return watcher.searches


def test_the_form_starts_a_search_of_the_chosen_options(session):
    form = SearchForm(session, lambda: SPEC)
    form.minutes.value, form.options.value = 15, ["model.backbone", "training.learning_rate"]
    asyncio.run(form._start(None))
    assert (form.message.severity, form.message.object) == ("success", "Started: search-001")
    (search,) = searches(session.store)
    assert (search.request.minutes, search.request.options) == (15, ("model.backbone", "training.learning_rate"))
    assert (search.status().state, search.status().reason) == ("failed", "the data are gone")


@pytest.mark.parametrize(("spec", "options", "said"), [(None, list(SPACE), "fix the marked"), (SPEC, [], "no option")])
def test_without_a_spec_or_options_nothing_is_started(session, spec, options, said):
    form = SearchForm(session, lambda: spec)
    form.options.value = options
    asyncio.run(form._start(None))
    assert form.message.severity == "error"
    assert said in form.message.object
    assert searches(session.store) == []


def test_the_card_leads_to_the_trials_and_to_the_settings_of_the_best(session):
    card = SearchesCard(session)
    card.show(looked(session.store))
    assert not card.view.visible
    search = start(SPEC, session.store, 30, SPACE)
    best = search.folder / "best.yaml"
    best.write_text(SPEC.replace(model={"backbone": "unet", "upsampling": "pin"}).to_yaml())
    document = {"trials": [BEST, PRUNED], "best": str(best), "end": "out of time"}
    write_whole(search.folder / "trials.json", to_json(document))
    (seen,) = looked(session.store)
    assert text_of(seen) == (
        "out of time · 2 trials, 1 complete · validation RMSE 0.345: backbone unet, upsampling pin"
    )
    card.show([seen])
    (row,) = card._rows
    stop, trials, clone = row[1]
    assert (card.view.visible, stop.visible, trials.visible, clone.visible) == (True, False, True, True)
    clone.clicks += 1
    assert session.draft.get("model", "backbone") == "unet"
    trials.clicks += 1
    assert (session.page, session.found, session.run, session.charts) == ("runs", "search-001", "r1", True)


def test_a_damaged_search_hides_no_other(session):
    start(SPEC, session.store, 30, SPACE)
    damaged = start(SPEC, session.store, 30, SPACE)
    (damaged.folder / "search.json").write_text("[]")
    assert [one.search.id for one in looked(session.store)] == ["search-001"]
