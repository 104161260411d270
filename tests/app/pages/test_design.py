"""Design: values stay when refused, the newest check wins, and what is submitted is what the form shows."""

from __future__ import annotations

import asyncio

import pytest

from app.components import spec_summary, submission
from app.components.spec_summary import facts_of
from app.pages.design import DesignPage
from app.services.checker import Answer
from app.session import demo_folder
from engine.errors import RequestError, StoreError
from engine.spec import Source, Spec
from tests.app.settled import settled

# panel-material-ui 0.16 sets Panel's older name beside its own when it makes a download button.
pytestmark = pytest.mark.filterwarnings("ignore:Both 'variant' and 'button_style':PendingDeprecationWarning")

ANSWER = Answer.of(
    {
        "grids": {"hr": {"shape": [32, 48], "text": "32 × 48 cells"}, "lr": {"shape": [8, 12], "text": "8 × 12 cells"}},
        "samples": {"train": 1520, "validation": 74, "test": 150},
        "periods": {"train": ["2019-03-01T00:00", "2019-03-22T15:00"]},
        "parameters": 123456,
        "memory_bytes": 1536,
        "network": [
            {"name": "inputs", "does": "1 channel", "y": 8, "x": 12, "channels": 1, "parameters": 0, "times": 1}
            | {"sees": 1, "sees_km": 27.8}
        ],
        "notes": ["HR cropped <to> 32 × 48"],
    }
)
SPEC = Spec.from_plain(
    {"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}, "launch": {"title": "mine"}}
)


@pytest.fixture
def asked(monkeypatch):
    """The specs that the engine was asked about; it answers at once."""
    specs = []

    async def check(spec, command):
        specs.append(spec)
        return ANSWER

    monkeypatch.setattr(spec_summary, "check", check)
    monkeypatch.setattr(spec_summary, "PAUSE_S", 0.0)
    return specs


def in_page(session, act):
    """Make the page in a running loop, act on it, let its tasks come to their end."""

    async def scenario():
        page = DesignPage(session)
        await act(page)
        await settled()
        return page

    return asyncio.run(scenario())


def type_in(page, key, text):
    page.form.fields[key].view.value = text


def test_an_empty_form_asks_for_a_target_and_marks_nothing(session, asked):
    async def nothing(page):
        await settled()

    page = in_page(session, nothing)
    assert (page.summary.status.severity, page.summary.submission.button.disabled) == ("info", True)
    assert page.summary.status.object.startswith("Choose a target and a scale")
    assert not any(getattr(field.view, "error_state", False) for field in page.form.fields.values())
    assert asked == []


def test_a_complete_spec_is_checked_and_summed_up(session, asked):
    async def fill(page):
        session.use_spec(SPEC)

    page = in_page(session, fill)
    assert asked[-1] == SPEC
    assert (page.summary.status.severity, page.summary.status.object) == ("success", "Ready to train.")
    assert "<td>1\u202f520\n2019-03-01 00:00 to 2019-03-22 15:00</td>" in page.summary.facts.object
    assert "HR cropped &lt;to&gt; 32 × 48" in page.summary.facts.object
    assert not page.summary.submission.button.disabled
    assert "<svg" in page.summary.network.object


def test_a_refused_value_stays_in_the_form_and_not_in_the_draft(session, asked):
    async def mistype(page):
        session.use_spec(SPEC)
        type_in(page, "training.epochs", "many")

    page = in_page(session, mistype)
    line = page.form.fields["training.epochs"].view
    assert (line.value, line.error_state) == ("many", True)
    assert line.helper_text == "is 'many': expected a whole number from 1 to 100000 (epochs)"
    assert session.draft.get("training", "epochs") == 100
    assert page.summary.submission.button.disabled
    assert page.summary.status.severity == "error"


def test_a_fixed_value_clears_its_mark(session, asked):
    async def fix(page):
        session.use_spec(SPEC)
        type_in(page, "training.epochs", "many")
        type_in(page, "training.epochs", "12")

    page = in_page(session, fix)
    assert not page.form.fields["training.epochs"].view.error_state
    assert asked[-1].training.epochs == 12


def test_options_at_odds_mark_the_one_that_is_named(session, asked):
    async def even(page):
        session.use_spec(SPEC)
        type_in(page, "data.time_window", "4")

    page = in_page(session, even)
    assert page.form.fields["data.time_window"].view.helper_text.startswith("is 4: expected an odd number")
    assert page.summary.spec is None


def test_the_engine_s_refusal_is_shown_and_nothing_can_be_submitted(session, asked, monkeypatch):
    async def refuse(spec, command):
        raise RequestError("data.scale is 4, but the grid has 3 × 3 cells")

    monkeypatch.setattr(spec_summary, "check", refuse)

    async def fill(page):
        session.use_spec(SPEC)

    page = in_page(session, fill)
    assert (page.summary.status.severity, page.summary.submission.button.disabled) == ("error", True)
    assert page.summary.status.object == "data.scale is 4, but the grid has 3 × 3 cells"
    assert page.form.fields["data.scale"].view.value == "4"


def test_a_newer_spec_ends_the_older_check(session, monkeypatch):
    begun, go_on, ended = asyncio.Queue(), asyncio.Event(), []

    async def slow(spec, command):
        begun.put_nowait(spec.training.epochs)
        await go_on.wait()
        ended.append(spec.training.epochs)
        return ANSWER

    monkeypatch.setattr(spec_summary, "check", slow)
    monkeypatch.setattr(spec_summary, "PAUSE_S", 0.0)

    async def two(page):
        session.use_spec(SPEC)
        assert await begun.get() == 100
        type_in(page, "training.epochs", "7")
        assert await begun.get() == 7
        go_on.set()

    in_page(session, two)
    assert begun.empty()
    assert ended == [7]


def test_the_lr_field_is_there_when_it_is_due(session, asked):
    async def mos(page):
        assert not page.form.fields["data.lr"].view.visible
        type_in(page, "data.pairing", "mos")

    assert in_page(session, mos).form.fields["data.lr"].view.visible


def test_folded_options_are_counted_and_unfold_where_one_is_wrong(session, asked):
    async def fill(page):
        session.use_spec(SPEC)
        assert page.form.folded["data"].button.label == "More options"
        type_in(page, "data.time_window", "3")
        assert page.form.folded["data"].button.label == "More options (1 set)"
        assert not page.form.folded["data"].view.visible
        type_in(page, "data.time_window", "4")

    folded = in_page(session, fill).form.folded
    assert [folded[section].view.visible for section in ("data", "model", "training")] == [True, False, False]
    assert folded["data"].button.label == "Fewer options"


def test_submission_opens_the_run(session, asked, monkeypatch):
    started = []
    monkeypatch.setattr(submission.api, "start", started.append)

    async def submit(page):
        session.page = "design"
        session.use_spec(SPEC)
        await page.summary.submission.submit(None)

    in_page(session, submit)
    (run,) = session.store.runs()
    assert (started, run.spec) == ([run], SPEC)
    assert (session.page, session.run) == ("runs", run.id)


def test_a_refused_submission_keeps_the_form(session, asked, monkeypatch):
    def refuse(spec, store):
        raise StoreError("the store can't be written")

    monkeypatch.setattr(submission.api, "create", refuse)

    async def submit(page):
        session.use_spec(SPEC)
        await page.summary.submission.submit(None)

    page = in_page(session, submit)
    assert (page.summary.submission.message.severity, page.summary.submission.message.visible) == ("error", True)
    assert "the store can't be written" in page.summary.submission.message.object
    assert (session.page, page.form.fields["launch.title"].view.value) == ("data", "mine")
    assert not page.summary.submission.button.loading


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe\x00", "the file is not text"),
        (b"version: 1\ndata: {scale: [}", "is not YAML"),
        (b"version: 1\ndata: {scail: 4}", "did you mean 'scale'"),
    ],
)
def test_a_refused_file_leaves_the_form_as_it_is(session, asked, content, words):
    async def upload(page):
        type_in(page, "training.epochs", "7")
        page.files.upload.value = content

    page = in_page(session, upload)
    assert words in page.files.refusal.object
    assert page.files.refusal.visible
    assert page.form.fields["training.epochs"].view.value == "7"


def test_what_is_downloaded_can_be_uploaded(session, asked):
    async def round_trip(page):
        session.use_spec(SPEC)
        text = page.yaml_text()
        type_in(page, "training.epochs", "7")
        page.files.upload.value = text.encode()

    in_page(session, round_trip)
    assert session.draft.seal() == SPEC


def test_one_can_start_from_the_demonstration_set_and_from_an_empty_form(session, asked):
    demo_folder().mkdir(parents=True)
    (demo_folder() / "demo.yaml").write_text(
        "# A demonstration.\nversion: 1\ndata: {target: {path: hr.nc}, scale: 2}\n"
    )
    (demo_folder() / "other_one.yaml").write_text("version: 1\n")

    async def start(page):
        offered = [item["label"] for item in page.files.start.items]
        assert offered[:3] == ["An empty form", "A demonstration", "other one"]
        page.files.start_from({"label": "A demonstration"})
        page.filled = page.form.fields["data.scale"].view.value
        page.files.start_from({"label": "An empty form"})

    page = in_page(session, start)
    assert (page.filled, page.form.fields["data.scale"].view.value) == ("2", "")


def test_a_ready_made_spec_says_where_to_get_its_data(session, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def start(page):
        page.files.start_from({"label": "2 m temperature ×8 (perfect-prog)"})
        page.shown = (page.files.about.visible, page.files.about.object)
        page.target = session.draft.get("data", "target")
        page.files.start_from({"label": "An empty form"})

    page = in_page(session, start)
    assert page.shown[0]
    assert "Data: ERA5 hourly data on single levels" in page.shown[1]
    assert page.target == Source(str(tmp_path / "era5_t2m.nc"), "t2m")
    assert not page.files.about.visible


def test_facts_leave_out_what_the_engine_does_not_say():
    assert facts_of(Answer(parameters=12)) == {"Parameters": "12"}


def test_facts_have_the_values_of_each_input():
    said = {
        "name": "data.lr",
        "unit": "K",
        "lowest": 270.123,
        "highest": 300.0,
        "mean": 280,
        "std": 9,
        "missing": 0.125,
    }
    assert facts_of(Answer.of({"inputs": [said]})) == {"Values of lr": "270.1 to 300 K, 12 % missing"}
