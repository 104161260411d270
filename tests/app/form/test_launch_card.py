"""Where to run: what the targets file names is offered, and what a target refuses is said beside the option."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from app.components import spec_summary, submission
from app.form.launch_card import about, hint, options_for
from app.formatting import plain_text
from engine.errors import DataError, SiteError
from engine.launch.sites import Site
from engine.spec import Spec
from tests.app.pages.test_design import in_page
from tests.app.settled import settled

pytestmark = pytest.mark.filterwarnings("ignore:Both 'variant' and 'button_style':PendingDeprecationWarning")

TARGETS = """
version: 1
targets:
  local: {}
  station: {kind: ssh, host: station}
  hpc:
    {kind: slurm, host: login, partitions: [main, long], accounts: [climate], limits: {nodes: 2, processes: 4}}
"""
SPEC = {"version": 1, "data": {"target": {"path": "/nowhere/hr.nc"}, "scale": 4}}
CLUSTER = {"nodes", "partition", "account", "gpus", "threads", "upload"}


@pytest.fixture
def targets(store, monkeypatch) -> Path:
    """A targets file with all kinds; nothing is asked over the network, for no run was submitted."""
    path = Path(os.environ["MESOSCOPE_TARGETS"])
    path.write_text(TARGETS)
    monkeypatch.setattr(spec_summary, "PAUSE_S", 0.0)
    return path


@pytest.fixture
def asked(monkeypatch):
    """The specs that the engine was asked about; it refuses them."""
    specs = []

    async def check(spec, command):
        specs.append(spec)
        raise DataError("/nowhere/hr.nc does not exist")

    monkeypatch.setattr(spec_summary, "check", check)
    return specs


def spec_for(target, **launch):
    return Spec.from_plain({**SPEC, "launch": {"site": target, **launch}})


def shown_with(session, spec, then=None):
    async def show(page):
        session.use_spec(spec)
        await settled()
        if then is not None:
            await then(page)

    return in_page(session, show)


def visible(page):
    return {option for option, field in page.form.launch._fields.items() if field.view.visible}


def test_the_targets_of_the_file_are_offered_and_no_others(session, targets, asked):
    page = shown_with(session, spec_for("local"))
    offered = page.form.fields["launch.site"].view.options
    assert offered == {"local · this machine": "local", "station · SSH": "station", "hpc · Slurm": "hpc"}
    assert not visible(page) & CLUSTER


def test_a_cluster_offers_its_partitions_accounts_and_bounds(session, targets, asked):
    page = shown_with(session, spec_for("hpc"))
    assert visible(page) >= CLUSTER
    assert page.form.fields["launch.partition"].view.options == {"main (default)": "", "main": "main", "long": "long"}
    assert page.form.fields["launch.account"].view.options == {"climate (default)": "", "climate": "climate"}
    assert page.form.fields["launch.processes"].view.helper_text == "at most 4"
    assert page.summary.submission.button.label == "Train on hpc"


@pytest.mark.parametrize(
    ("target", "launch", "option", "words"),
    [
        ("hpc", {"processes": 8}, "processes", "is 8, but target hpc allows at most 4"),
        ("hpc", {"partition": "night"}, "partition", "is 'night', which target hpc doesn't allow"),
        ("station", {"nodes": 2, "processes": 2}, "nodes", "is 2, but target station is no cluster"),
        ("hcp", {}, "site", "is 'hcp', which is not known: did you mean 'hpc'?"),
    ],
)
def test_what_the_target_refuses_is_marked_and_stays(session, targets, asked, target, launch, option, words):
    page = shown_with(session, spec_for(target, **launch))
    field = page.form.fields[f"launch.{option}"]
    assert field.view.visible
    assert field.view.helper_text.startswith(words)
    assert field.raw() == launch.get(option, target)
    assert page.summary.submission.button.disabled
    assert asked == []


def test_data_that_only_the_target_has_hinder_nobody(session, targets, asked):
    page = shown_with(session, spec_for("hpc"))
    assert (page.summary.status.severity, page.summary.submission.button.disabled) == ("info", False)
    assert "The data are checked on hpc when the run is submitted." in page.summary.status.object
    assert plain_text("/nowhere/hr.nc is not on this machine") in page.summary.status.object
    assert asked == []


def test_data_that_are_to_be_sent_have_to_be_here(session, targets, asked):
    page = shown_with(session, spec_for("hpc", upload=True))
    assert (page.summary.status.severity, page.summary.submission.button.disabled) == ("error", True)
    assert len(asked) == 1


def test_what_is_wrong_with_the_copy_here_is_a_warning_only(session, targets, asked, tmp_path):
    (tmp_path / "hr.nc").write_text("no grid")
    here = {"target": {"path": str(tmp_path / "hr.nc")}, "scale": 4}
    page = shown_with(session, Spec.from_plain({**SPEC, "data": here, "launch": {"site": "hpc"}}))
    assert (page.summary.status.severity, page.summary.submission.button.disabled) == ("warning", False)
    assert len(asked) == 1


def test_a_file_that_can_not_be_used_is_said_and_this_machine_is_left(session, targets, asked, monkeypatch):
    targets.write_text("version: 1\ntargets: {hpc: {kind: slurn}}\n")
    started = []
    monkeypatch.setattr(submission.api, "start", started.append)

    async def submit(page):
        assert page.form.launch._trouble.visible
        assert plain_text("did you mean 'slurm'?") in page.form.launch._trouble.object
        await page.summary.submission.submit(None)

    page = shown_with(session, spec_for("local"), submit)
    assert page.form.fields["launch.site"].view.options == {"local · this machine": "local"}
    assert [run.request.target for run in started] == ["local"]
    assert "the targets file can't be used" in shown_with(session, spec_for("hpc")).summary.status.object


def test_a_file_that_is_fixed_counts_when_the_page_is_shown_again(session, targets, asked):
    targets.write_text("nonsense")

    async def fix(page):
        assert page.form.launch._trouble.visible
        targets.write_text(TARGETS)
        session.page = "design"
        await settled()

    page = shown_with(session, spec_for("local"), fix)
    assert not page.form.launch._trouble.visible
    assert "hpc · Slurm" in page.form.fields["launch.site"].view.options


def test_handing_over_tells_what_it_does_and_leads_to_the_run(session, targets, asked, monkeypatch):
    messages = []
    monkeypatch.setattr(submission, "LOOK_S", 0.01)

    async def submit(page):
        session.page = "design"
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def slow_start(run):
            """As engine.launch.remote.submit notes it; goes on once the page has shown it."""
            me = asdict(submission.api.remote.identity(os.getpid()))
            run.update_request(stage="sending", sender=me, reason="sends hr.nc, 1.0 MB", time=0.0)
            asyncio.run_coroutine_threadsafe(sent.wait(), loop).result(timeout=600)
            run.update_request(stage="sent", job="17")

        def remember(event):
            messages.append(event.new)
            if "sends" in event.new:
                sent.set()

        monkeypatch.setattr(submission.api, "start", slow_start)
        page.summary.submission.message.param.watch(remember, "object")
        await page.summary.submission.submit(None)

    shown_with(session, spec_for("hpc", title="far"), submit)
    assert any(plain_text("far submitting to hpc: sends hr.nc, 1.0 MB …") == text for text in messages)
    assert (session.page, session.run) == ("runs", session.store.runs()[0].id)


def test_a_refused_handing_over_is_said_and_keeps_run_and_form(session, targets, asked, monkeypatch):
    def refuse(run):
        raise SiteError("the host key of login is not known here: it is ED25519 SHA256:abc")

    monkeypatch.setattr(submission.api, "start", refuse)

    async def submit(page):
        session.page = "design"
        await page.summary.submission.submit(None)

    page = shown_with(session, spec_for("hpc", title="far"), submit)
    message = page.summary.submission.message
    assert (message.severity, message.visible, session.page) == ("error", True, "design")
    assert "SHA256:abc" in message.object
    assert "Resume on the Runs page" in message.object
    assert page.form.fields["launch.title"].view.value == "far"
    assert len(session.store.runs()) == 1
    assert not page.summary.submission.button.loading


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ({}, set(), "processes of this machine"),
        ({"kind": "ssh", "host": "station"}, {"upload"}, "over SSH on station, in ~/mesoscope"),
        ({"kind": "slurm"}, {"nodes", "gpus", "threads"}, "Jobs of Slurm, in"),
        ({"kind": "pbs", "host": "a", "partitions": ["q"]}, CLUSTER - {"account"}, "Jobs of PBS on a"),
    ],
)
def test_options_are_those_that_mean_something_there(given, options, words):
    target = Site.called("there", given)
    everywhere = {"title", "site", "processes", "time_limit", "restarts", "min_processes"}
    assert options_for(target) == everywhere | options
    assert words in about(target)


def test_hints_tell_what_zero_means():
    target = Site.called("hpc", {"kind": "slurm", "threads": 8, "limits": {"minutes": 720}})
    assert hint("threads", target) == "0 means 8"
    assert hint("time_limit", target) == "at most 720, which 0 means"
    assert hint("nodes", target) == ""
