"""The session: what stands in the link, what a link can and can't bring in, and the draft."""

import re

import pytest
from panel.io.location import Location

from app.session import Draft, Session
from engine.errors import SpecError
from engine.evaluation.conditions import Condition
from engine.runs import Store
from engine.spec import Source, Spec
from tests.app.fake import write_run


@pytest.fixture
def session(tmp_path):
    return Session(store=Store(tmp_path))


def test_the_link_of_a_new_session_names_its_page_only(session):
    assert session.query() == "?page=data"


def open_at(session, search) -> Location:
    """The browser's address, once it has shown what it says."""
    location = Location(search=search)
    refused, listen = session.follow(location)
    assert refused == []
    listen()
    return location


@pytest.mark.parametrize(("search", "page"), [("", "compare"), ("?token=x", "compare"), ("?find=x", "data")])
def test_an_address_that_names_no_view_shows_the_first_page_and_then_says_so(session, search, page):
    write_run(session.store.folder, "done")
    location = open_at(session, search)
    assert session.page == page
    assert location.search == (f"?page={page}" if page == "compare" else search)


def test_back_at_the_bare_address_is_the_first_view(session):
    location = open_at(session, "")
    assert (session.page, location.search) == ("data", "")
    session.page = "design"
    assert location.search == "?page=design"
    location.search = ""
    assert (session.page, location.search) == ("data", "")


def test_the_link_brings_the_same_view_to_another_tab(session, tmp_path):
    session.param.update(
        page="compare",
        runs=["a-1", "b-2"],
        time=7,
        layout="swipe",
        score="bias",
        condition=Condition(months=(6, 7, 8), hours=(0, 12), hardest=20),
        spectrum="coherence",
        thresholds=[1.0, 20.5],
    )
    session.param.update(locked=True, low=-1.5, high=3e-4)
    session.param.update(scheme="dark", cell=(54.25, -3.5), source_path="/data/a file.nc", source_variable="t2m")
    other = Session(store=Store(tmp_path))
    assert other.take_query(session.query()) == []
    linked = ["page", "runs", "time", "layout", "locked", "low", "high", "scheme", "dark", "cell"]
    linked += ["score", "condition", "spectrum", "thresholds"]
    for name in [*linked, "source_path", "source_variable"]:
        assert getattr(other, name) == getattr(session, name), name


def test_a_path_of_digits_stays_text(session):
    assert session.take_query("?source_path=2019&source_variable=1e3") == []
    assert (session.source_path, session.source_variable) == ("2019", "1e3")


@pytest.mark.parametrize(
    "query",
    [
        "page=nowhere",
        "time=-1",
        "time=x",
        "low=nan",
        "runs=1,2,3,4,5,6,7,8,9",
        "cell=1",
        "locked=perhaps",
        "time=1000000001",
        "runs=,,,",
        "runs=a,,b",
        "runs=../elsewhere",
        "runs=a,..",
        "run=.",
        "run=/etc",
    ],
)
def test_what_a_link_can_not_say_is_left_out_and_reported(session, query):
    name, word = query.split("=")
    before = getattr(session, name)
    refused = session.take_query(f"?{query}&layout=difference")
    assert refused == [f"The link says {name}={word}, which can't be used: left out."]
    assert getattr(session, name) == before
    assert session.layout == "difference"


def test_a_long_word_is_reported_short(session):
    assert session.take_query("?time=" + "9" * 5000) == [
        "The link says time=9999999999999999999999999999999999999999…, which can't be used: left out."
    ]
    assert session.take_query("?run=" + "a" * 300)[0].endswith("…, which can't be used: left out.")


def test_a_run_that_a_link_names_twice_is_compared_once(session):
    assert session.take_query("?runs=b,a,b") == []
    assert session.runs == ["b", "a"]


def test_going_back_clears_what_the_older_link_did_not_say(session):
    session.take_query("?page=compare&low=1&high=2")
    session.take_query("?page=compare")
    assert (session.low, session.high) == (None, None)


def test_a_blank_draft_says_what_is_missing(session):
    with pytest.raises(SpecError, match=r"data\.target is missing"):
        session.draft.seal()


def test_a_draft_seals_to_the_spec_it_was_made_of():
    spec = Spec.from_plain({"version": 1, "data": {"target": {"path": "hr.nc"}, "scale": 4}, "training": {"epochs": 3}})
    assert Draft.of(spec).seal() == spec


def test_a_refused_value_leaves_the_draft_as_it_was():
    draft = Draft()
    draft.set("training", "epochs", 7)
    with pytest.raises(SpecError, match=r"training\.epochs is 0: expected a whole number from 1 to 100000 \(epochs\)"):
        draft.set("training", "epochs", 0)
    assert draft.get("training", "epochs") == 7


def test_a_draft_parses_what_a_form_gives():
    draft = Draft()
    draft.set("data", "target", {"path": "hr.nc", "variable": "t2m"})
    assert draft.get("data", "target") == Source("hr.nc", "t2m")
    with pytest.raises(SpecError, match="expected the south edge first"):
        draft.set("data", "region", {"lat": [60, 50], "lon": [0, 10]})


def test_a_draft_that_is_no_spec_yet_comes_back_from_its_text(session, tmp_path):
    session.draft.set("data", "scale", 4)
    session.draft.set("data", "predictors", [{"path": "a.nc", "variable": "u10"}])
    session.draft.set("launch", "title", "yes: it's 'mine'")
    session.keep_draft()
    other = Session(store=Store(tmp_path))
    other.restore_draft(session.kept)
    assert other.draft.get("data", "predictors") == (Source("a.nc", "u10"),)
    assert other.draft.changed() == session.draft.changed() == other.draft.from_yaml(other.kept).changed()
    assert session.kept == other.kept


def test_a_blank_draft_is_not_kept(session):
    session.draft.set("training", "epochs", 7)
    session.draft_changed()
    assert session.kept == "version: 1\ntraining:\n  epochs: 7\n"
    session.draft = Draft()
    assert session.kept == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("training: {epochs: 0}", "training.epochs is 0"),
        ("training: {epoch: 3}", "training.epoch is not an option: did you mean 'epochs'"),
        ("trainings: {epochs: 3}", "trainings is not a section"),
        ("training: 3", "training is '3': expected a mapping"),
        ("just words", "the draft is 'just words'"),
        ("training: !!python/object/apply:os.system [true]", "is not YAML"),
        ("data: &a {lr: *a}", "is not YAML"),
        ("x" * 65_537, "65,537 characters"),
    ],
)
def test_a_kept_draft_of_another_kind_is_refused_and_leaves_the_draft(session, text, fault):
    session.draft.set("training", "epochs", 7)
    with pytest.raises(SpecError, match=re.escape(fault)):
        session.restore_draft(text)
    assert session.draft.get("training", "epochs") == 7


def test_two_sessions_share_no_draft(tmp_path):
    one, two = Session(store=Store(tmp_path)), Session(store=Store(tmp_path))
    one.draft.set("training", "epochs", 7)
    assert two.draft.get("training", "epochs") == 100
