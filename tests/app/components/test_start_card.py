"""Three ways to begin: each leads somewhere, or says why not."""

from __future__ import annotations

import asyncio

import pytest

from app.components import start_card
from app.components.start_card import StartCard
from app.services.watcher import watcher_of
from app.session import Session, demo_folder
from engine.errors import DataError
from engine.runs import Store
from engine.spec import Source
from tests.app.fake import write_run


@pytest.fixture
def card(session):
    session.page = "compare"
    return StartCard(session, "No run to compare")


def open_link(card, text):
    card.link.value_input = text
    card.open.clicks += 1


def test_the_example_is_generated_and_opened_as_the_design(card, session, monkeypatch):
    def write(folder):
        folder.mkdir(parents=True)
        spec = folder / "demo_mos.yaml"
        spec.write_text("version: 1\ndata: {target: {path: hr.nc}, scale: 4}\n")
        return [folder / "hr.nc", folder / "demo_perfect_prog.yaml", spec]

    monkeypatch.setattr(start_card, "write_demo", write)
    asyncio.run(card._generate(None))
    assert session.page == "design"
    assert session.draft.get("data", "target") == Source(str(demo_folder() / "hr.nc"))
    assert not card.message.visible
    assert not card.example.loading


def test_an_example_that_can_not_be_written_says_why(card, session, monkeypatch):
    def refuse(folder):
        raise DataError("the disk is full", action="free some space")

    monkeypatch.setattr(start_card, "write_demo", refuse)
    asyncio.run(card._generate(None))
    assert (card.message.visible, session.page) == (True, "compare")
    assert "the disk is full: free some space" in card.message.object
    assert not card.example.loading


def test_a_run_in_training_is_named(session):
    write_run(session.store.folder, "Example: NO₂", done=False)
    assert not StartCard(Session(store=Store(session.store.folder / "other")), "No run").waiting.visible
    watcher_of(session.store).look()
    waiting = StartCard(session, "No run to compare").waiting
    assert waiting.visible
    assert "In training: Example" in waiting.object


def test_own_files_are_chosen_on_the_data_page(card, session):
    card.files.clicks += 1
    assert session.page == "data"


def test_a_link_of_any_host_is_opened(card, session):
    open_link(card, " https://hub.example.org/user/ann/mesoscope/app?page=runs&sort=title ")
    assert (session.page, session.order) == ("runs", "title")
    assert not card.message.visible


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is no link of a view"),
        ("colleague.example.org", "this is no link of a view"),
        ("http://localhost/app?topic=4", "the link names no page, file or run"),
        ("http://localhost/app?page=nowhere", "The link says page=nowhere"),
    ],
)
def test_a_link_that_can_not_be_used_is_explained(card, text, message):
    open_link(card, text)
    assert card.message.visible
    assert message in card.message.object.replace("\\", "")
