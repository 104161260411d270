"""Requests to the agent, over bash on this machine: the engine is uploaded once a version, whole or not at all."""

from __future__ import annotations

import base64
import io
import sys
import tarfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

import pytest

from engine.errors import SiteError, UnreachableError
from engine.launch.remote import agent, bootstrap, client, protocol
from engine.launch.remote.client import ask
from engine.launch.remote.protocol import DescribeSite, FindMissingInputs, Poll, Request, RunCommand, answer_kind
from engine.launch.remote.staging import engine_archive
from engine.launch.sites import Site

CHECKSUM, _ = engine_archive()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site whose scheduler is on this machine."""
    return Site.called("big", {"kind": "slurm", "folder": str(tmp_path / "there"), "python": sys.executable})


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Standard input of every Python that was started on the site."""
    given: list[str] = []
    run = client.run_script

    def recorded(site: Site, command: str, text: str, patience_s: float = 60.0):
        given.append(text)
        return run(site, command, text, patience_s)

    monkeypatch.setattr(client, "run_script", recorded)
    return given


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.py")}


def test_the_engine_is_uploaded_once_and_answers_from_then_on(site, scripts, tmp_path):
    description = ask(site, DescribeSite())
    assert description.folder == str(tmp_path / "there")
    assert "archive" in scripts[1]
    assert ask(site, FindMissingInputs(("0/a", "1/b"))).names == ("0/a", "1/b")
    assert ask(site, Poll({}, None, 1.0)).runs == {}
    assert len(scripts) == 4  # one request and one script each, but for the upload
    assert len(scripts[-1]) < 6000  # of which each poll sends one
    (engine,) = (tmp_path / "there" / "engine").iterdir()
    assert engine.name == CHECKSUM
    assert files_of(engine / "engine") == files_of(Path(agent.__file__).parents[2])
    assert not list((tmp_path / "there" / "incoming").iterdir())


def test_another_version_is_uploaded_beside_it(site, monkeypatch, tmp_path):
    ask(site, DescribeSite())
    content = io.BytesIO(engine_archive()[1])
    with tarfile.open(fileobj=content, mode="a") as archive:
        archive.addfile(tarfile.TarInfo("engine/new.py"))
    checksum = sha256(content.getvalue()).hexdigest()
    monkeypatch.setattr(client, "engine_archive", lambda: (checksum, content.getvalue()))
    assert ask(site, Poll({}, None, 1.0)).runs == {}
    assert {path.name for path in (tmp_path / "there" / "engine").iterdir()} == {CHECKSUM, checksum}


def test_nothing_is_made_where_the_folder_is_away(site, tmp_path):
    """Its file system isn't mounted, say: only a submission or a check makes folders."""
    (tmp_path / "there").mkdir()
    with pytest.raises(SiteError, match="there/runs isn't there: mount its file system again"):
        ask(site, Poll({}, None, 1.0))
    assert not list((tmp_path / "there").iterdir())


def test_folders_besides_that_of_the_runs_are_made_again(site, tmp_path):
    (tmp_path / "there" / "runs").mkdir(parents=True)
    assert ask(site, Poll({}, None, 1.0)).runs == {}
    assert {path.name for path in (tmp_path / "there").iterdir()} == set(bootstrap.FOLDERS)


def test_several_who_upload_it_at_once_all_get_an_answer(site, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(site, DescribeSite()), range(4)))
    assert {answer.folder for answer in answers} == {str(tmp_path / "there")}
    assert [path.name for path in (tmp_path / "there" / "engine").iterdir()] == [CHECKSUM]
    assert not list((tmp_path / "there" / "incoming").iterdir())


def archive_of(*members: tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for member in members:
            archive.addfile(member)
    return content.getvalue()


def test_an_engine_that_arrives_damaged_is_not_taken(site, monkeypatch, tmp_path):
    for sent in (b"", engine_archive()[1][:-3000], b"x" + engine_archive()[1][1:]):
        monkeypatch.setattr(client, "engine_archive", lambda sent=sent: (CHECKSUM, sent))
        with pytest.raises(SiteError, match="the engine arrived damaged"):
            ask(site, DescribeSite())
    given = {"folder": site.folder, "checksum": CHECKSUM, "kind": "Poll", "fields": {}, "archive": "no base64!"}
    assert "damaged" in str(client._run(site, given, 60.0)["error"])
    for part in ("engine", "incoming"):
        assert not list((tmp_path / "there" / part).iterdir())


def link_out(member: tarfile.TarInfo) -> None:
    member.type, member.linkname = tarfile.SYMTYPE, "/etc"


def outside(member: tarfile.TarInfo) -> None:
    member.name = "../../canary"


@pytest.mark.parametrize("change", [link_out, outside])
def test_an_engine_of_more_than_plain_files_is_refused(change: Callable[[tarfile.TarInfo], None], site, tmp_path):
    member = tarfile.TarInfo("engine/x.py")
    change(member)
    content = archive_of(member)
    (tmp_path / "there" / "incoming").mkdir(parents=True)
    place = tmp_path / "there" / "engine" / "0"
    with pytest.raises(ValueError, match="which is no plain file"):
        bootstrap.install_engine(
            str(place), sha256(content).hexdigest(), base64.b64encode(zlib.compress(content)).decode()
        )
    assert {path.name for path in (tmp_path / "there").rglob("*")} == {"incoming"}


def test_what_the_environment_prints_is_no_answer(site):
    noisy = site.replace(prelude="echo hello; read -r line; echo mesoscope-answer")
    answer = ask(noisy, DescribeSite())
    assert answer.python == sys.version.split()[0]


def test_an_old_python_is_said(site, monkeypatch, tmp_path):
    source = tmp_path / "bootstrap.py"
    source.write_text(client.BOOTSTRAP.read_text().replace("OLDEST_PYTHON = (3, 11)", "OLDEST_PYTHON = (4, 0)"))
    monkeypatch.setattr(client, "BOOTSTRAP", source)
    with pytest.raises(SiteError, match=r"is Python 3\.\d+\.\d+\S*, but the engine needs"):
        ask(site, DescribeSite())
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("python", "error", "words"),
    [("/nowhere/python", SiteError, "fix prelude or python"), ("true", UnreachableError, "gave no answer")],
)
def test_a_python_that_does_not_answer_is_told_from_a_lost_connection(python, error, words, site):
    with pytest.raises(error, match=words):
        ask(site.replace(python=python), DescribeSite())


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(site):
    ask(site, DescribeSite())
    answer = ask(site, RunCommand(("/bin/sh", "-c", "sleep 1000 & wait"), 0.2))
    assert (answer.rc, answer.err) == (None, "/bin/sh didn't answer within 0.2 s")
    assert ask(site, RunCommand(("/nowhere/x",), 1.0)).err == "/nowhere/x can't be run: No such file or directory"


def test_each_request_has_an_action_and_an_answer():
    requests = {kind for kind in vars(protocol).values() if isinstance(kind, type) and issubclass(kind, Request)}
    assert set(agent.ACTIONS) == requests - {Request}
    for kind in agent.ACTIONS:
        assert fields(answer_kind(kind.__new__(kind))) is not None
