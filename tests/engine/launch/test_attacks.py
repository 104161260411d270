"""What somebody might try, on a real shell with a real SSH server: it is refused, or does no harm."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from engine.errors import SiteError, SpecError
from engine.files import read_json
from engine.launch import api
from engine.launch.remote import client
from engine.launch.remote.poll import SitePoller
from engine.launch.remote.protocol import (
    DescribeSite,
    FindMissingInputs,
    ListResults,
    PlaceInput,
    Poll,
    RunQuery,
    StopRun,
)
from engine.launch.sites import Sites
from engine.runs import Run
from engine.runs.folder import site_file
from engine.spec import Spec
from tests.engine.data.mock import write_field
from tests.engine.launch.daemons import output
from tests.engine.launch.engine_processes import DATA, MODEL, TRAINING, wait, write_spec
from tests.engine.launch.site_runs import (
    declare,
    fake_training_python,
    go,
    poll_until,
    poll_until_ended,
    poller_of,
    remote_folder,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

CANARY = "canary"  # no file of that name may appear
TRICKS = [
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY};",
    f"' ; touch {CANARY} ; '",
    f'" ; touch {CANARY} ; "',
    f"\ntouch {CANARY}\n",
    f"\\'; touch {CANARY} #",
    f"| touch {CANARY}",
    "../../../" + CANARY,
    "-oProxyCommand=touch " + CANARY,
    "*?[a]{b,c}~ $HOME !! %h %%",
    "é ü 漢字",
]


@pytest.fixture
def place(tmp_path, sshd, store, monkeypatch) -> Iterator[Path]:
    """A folder with a targets file for the SSH server; no canary is in it at the end, nor anywhere near."""
    monkeypatch.setattr("engine.launch.remote.retry.POLL_INTERVAL_S", 0.2)
    declare(tmp_path, monkeypatch, sshd, python=fake_training_python(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    near = [tmp_path, Path.home(), Path("/tmp"), Path("/")]
    assert not [found for folder in near for found in folder.glob(CANARY)]
    assert not list(tmp_path.rglob(CANARY))


def submit(place: Path, store, *settings: str, **launch: str) -> Run:
    plain = yaml.safe_load(write_spec(place).read_text())
    plain["launch"] = {"site": "ssh", **launch}
    (place / "spec.yaml").write_text(yaml.safe_dump(plain))
    return api.submit(Spec.read(place / "spec.yaml", settings), store)


def training(place: Path, store, **launch: str) -> Run:
    run = submit(place, store, **launch)
    poll_until(run, lambda state: state.reason == "training" and run.latest(), "training")
    return run


def fingerprint(key: Path) -> str:
    found = re.search(r"SHA256:\S+", output(["ssh-keygen", "-l", "-f", str(key)]))
    assert found
    return found[0]


# Who answers


def test_a_host_that_is_not_known_is_refused_with_its_fingerprint(place, sshd, store):
    sshd.known_hosts.write_text("")
    with pytest.raises(SiteError) as error:
        submit(place, store)
    said = str(error.value)
    assert "is not known here" in said
    assert fingerprint(sshd.folder / "host_key.pub") in said
    assert f"ssh -F {sshd.config} target" in said  # what to type
    assert sshd.known_hosts.read_text() == ""  # nothing was learned by the way
    run = store.runs()[0]
    assert (run.status().state, run.status().reason) == ("failed", said)
    sshd.trust()
    api.resume(run)
    go(place)
    assert poll_until_ended(run).state == "done"


def test_a_host_with_another_key_is_refused_with_its_fingerprint(place, sshd, store):
    old = fingerprint(sshd.folder / "host_key.pub")
    sshd.new_host_key()
    with pytest.raises(SiteError) as error:
        submit(place, store)
    said = str(error.value)
    assert "has changed" in said
    assert "Somebody may be listening" in said
    assert fingerprint(sshd.folder / "host_key.pub") in said
    assert old not in said
    assert "ssh-keygen -R" in said


def test_a_login_that_is_refused_says_how_to_log_in(place, sshd, store):
    keys = sshd.folder / "authorized_keys"
    kept = keys.read_text()
    keys.write_text("")
    try:
        with pytest.raises(SiteError, match="refused the login") as error:
            submit(place, store)
    finally:
        keys.write_text(kept)
    assert "ControlMaster=yes" in str(error.value)


def test_one_login_in_a_terminal_is_enough(place, sshd, store):
    """As with a one-time password: the command that a refusal shows makes a connection, and the rest rides on it."""
    words = Sites.read().named("ssh").connection.login_command()
    keys = sshd.folder / "authorized_keys"
    kept = keys.read_text()
    subprocess.run(["bash", "-c", words], check=True, timeout=600, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    keys.write_text("")  # no further login works
    try:
        run = training(place, store)
        go(place)
        assert poll_until_ended(run).state == "done"
    finally:
        keys.write_text(kept)


# Words with a sting


@pytest.mark.parametrize("option", ["site", "partition", "account"])
@pytest.mark.parametrize("trick", TRICKS)
def test_words_that_name_something_are_refused_before_a_shell_sees_them(option, trick, place, store):
    path = write_spec(place)
    plain = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**plain, "launch": {"site": "ssh", option: trick}}))
    with pytest.raises(SpecError, match=f"launch.{option} is "):
        Spec.read(path)


def test_titles_may_hold_anything_and_do_nothing(place, store):
    runs = [submit(place, store, title=trick) for trick in TRICKS]
    go(place)
    for run, trick in zip(runs, TRICKS, strict=True):
        assert re.fullmatch(r"[a-z0-9-]+", run.id)
        assert run.title == trick
        assert poll_until_ended(run).state == "done"
        assert Run(remote_folder(place, run)).title == trick


def named(folder: Path, trick: str) -> Path:
    """An input file of that name, as far as a file name can hold it."""
    path = folder / "inputs" / f"{trick.replace('/', '_')}.nc"
    path.parent.mkdir(exist_ok=True)
    write_field(folder / "field.nc", ny=8, nx=12, times=40)
    (folder / "field.nc").rename(path)
    return path


def upload(place: Path, store, paths: list[Path]) -> Run:
    """A run whose inputs are sent."""
    data = {**DATA, "target": {"path": [str(path) for path in paths]}}
    plain = {"version": 1, "data": data, "model": MODEL, "training": TRAINING}
    (place / "spec.yaml").write_text(yaml.safe_dump({**plain, "launch": {"site": "ssh", "upload": True}}))
    return api.submit(Spec.read(place / "spec.yaml"), store)


def test_names_of_inputs_may_hold_anything_and_arrive_whole(place, store):
    paths = [named(place, trick) for trick in TRICKS if "*" not in trick]  # that is a pattern
    run = upload(place, store, paths)
    there = [Path(name) for name in Run(remote_folder(place, run)).spec.data.target.files()]
    assert len(there) == len(paths)
    for sent, path in zip(there, paths, strict=True):
        assert sent.parent.parent == place / "there" / "data"
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.nc", sent.name)
        assert sent.read_bytes() == path.read_bytes()
    go(place)
    assert poll_until_ended(run).state == "done"


@pytest.mark.parametrize("name", ["../x", "a/../../x", ".ssh", "a b", "a\n", "-rf", ""])
def test_names_are_checked_once_more_there(name, place):
    target = Sites.read().named("ssh")
    client.ask(target, DescribeSite())
    for request in [
        ListResults(name),
        StopRun(name, None, now=False, timeout_s=1.0),
        PlaceInput(name, "a/b"),
        FindMissingInputs((f"{name}/x",)),
        Poll({name: RunQuery({})}, None, 1.0),
    ]:
        with pytest.raises(SiteError, match="is no name of a file here"):
            client.ask(target, request)


# Results with a sting


def link_of_a_file(there: Path) -> None:
    (there / "results" / "secret.txt").symlink_to("/etc/passwd")


def link_of_a_folder(there: Path) -> None:
    (there / "results").rename(there / "elsewhere")
    (there / "results").symlink_to(there / "elsewhere")


def odd_name(there: Path) -> None:
    (there / "results" / "a\nput b").write_text("x")


def folder(there: Path) -> None:
    (there / "results" / "more").mkdir()


def pipe(there: Path) -> None:
    os.mkfifo(there / "results" / "pipe")


def done_there(place: Path, store) -> tuple[Run, SitePoller]:
    """A run of which nothing was fetched yet, and who fetches it."""
    run = training(place, store)
    watch = poller_of(run)
    go(place)
    wait(lambda: watch.poll(at_once=True) and (run.last_poll and run.last_poll.done), "the end there")
    return run, watch


def fetch_now(run: Run, watch: SitePoller) -> str:
    """What is said after a try to fetch, however many have failed before."""
    (run.folder / "status" / "fetch.json").unlink(missing_ok=True)
    watch.fetch()
    return run.status().reason


def test_results_that_are_no_plain_files_are_refused_and_nothing_is_fetched(place, store):
    run, watch = done_there(place, store)
    there = remote_folder(place, run)
    shutil.copytree(there, place / "kept")
    for prepare in (link_of_a_file, link_of_a_folder, odd_name, folder, pipe):
        prepare(there)
        said = fetch_now(run, watch)
        assert "results can't be fetched yet" in said, prepare
        assert "plain files" in said, prepare
        assert not (run.folder / "DONE").exists()
        assert not [path for part in ("checkpoints", "results") for path in (run.folder / part).iterdir()]
        shutil.rmtree(there)
        shutil.copytree(place / "kept", there)
    fetch_now(run, watch)
    assert run.status().state == "done"


def test_a_target_that_lies_about_its_results_writes_nothing_here(place, store, monkeypatch):
    """The list itself is not to be believed."""
    run, watch = done_there(place, store)
    before = set(store.folder.parent.rglob("*"))
    fetch_files = {run.folder / "status" / "fetch.json", run.folder / "status" / ".fetch"}
    for name in ("../../../.bashrc", "/etc/passwd", "results/../../x", "status/rank-0.json", "results/", "spec.yaml"):
        lie = {"folder": "/", "files": [{"name": name, "bytes": 4, "sha256": "0" * 64}]}
        monkeypatch.setattr(client, "exchange", lambda *_, lie=lie: lie)
        assert "outside of the results: nothing was fetched" in fetch_now(run, watch)
        assert set(store.folder.parent.rglob("*")) - before <= fetch_files
    for file in ({"name": "results/x"}, {"name": "results/x", "bytes": -1, "sha256": ""}, 7):
        monkeypatch.setattr(client, "exchange", lambda *_, file=file: {"folder": "/", "files": [file]})
        assert "isn't understood" in fetch_now(run, watch)


LIES: list[Callable[[dict[str, Any]], Any]] = [
    lambda answer: answer.clear(),
    lambda answer: answer.update(runs=[1]),
    lambda answer: answer.update(now="late"),
    lambda answer: [facts.update(beats=[1]) for facts in answer["runs"].values()],
    lambda answer: [facts.update(beats=[{"rank": "../../x"}]) for facts in answer["runs"].values()],
    lambda answer: [facts.update(tails={"../x": {}}) for facts in answer["runs"].values()],
    lambda answer: [facts.update(tails={"log.txt": {"content": 7}}) for facts in answer["runs"].values()],
]


def test_an_answer_that_makes_no_sense_ends_nothing(place, store, monkeypatch):
    run, exchange = training(place, store), client.exchange
    for number, change in enumerate(LIES, start=1):

        def changed(*given: Any, change: Callable[[dict[str, Any]], Any] = change) -> dict[str, Any]:
            answer = exchange(*given)
            change(answer)
            return answer

        with monkeypatch.context() as context:
            context.setattr(client, "exchange", changed)
            poller_of(run).poll(at_once=True)
        assert run.status().state == "running"
        assert read_json(site_file(store.folder, "ssh", "json"))["failures"] == number
    go(place)
    assert poll_until_ended(run).state == "done"


def test_a_log_that_is_a_link_is_not_followed(place, store):
    run = training(place, store)
    log = remote_folder(place, run) / "log.txt"
    log.unlink()
    log.symlink_to("/etc/passwd")
    state = poll_until(run, lambda state: state.state == "unknown", "a refusal")
    assert "it can't be read" in state.reason
    assert not run.log.exists()
    log.unlink()
    go(place)
    assert poll_until_ended(run).state == "done"


# Who may read


def open_to_others(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_nothing_is_readable_for_others_and_processes_show_nothing(place, store):
    before = os.umask(0o022)
    try:
        secret = "a-title-that-nobody-has-to-know"
        run = submit(place, store, "model.n_filters=7", title=f"{secret}; é")
        shown: set[str] = set()
        watch = poller_of(run)

        def trained() -> bool:
            shown.update(command_lines())
            watch.poll(at_once=True)
            return len(run.progress()[0]) > 20

        wait(trained, "training")
        go(place)
        assert poll_until_ended(run).state == "done"
    finally:
        os.umask(before)
    assert not open_to_others(place / "there")
    assert not open_to_others(store.folder)
    about_it = [line for line in shown if str(place) in line]
    assert about_it
    for line in shown:
        assert "n_filters" not in line
        assert "é" not in line
        assert "PRIVATE KEY" not in line


def command_lines() -> list[str]:
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return lines


def test_a_folder_of_sockets_that_others_may_enter_is_refused(place, store):
    sockets = Path(os.environ["XDG_RUNTIME_DIR"]) / f"mesoscope-{os.getuid()}"
    sockets.mkdir(mode=0o755)
    with pytest.raises(SiteError, match="is not yours alone"):
        submit(place, store)
    assert store.runs()[0].status().state == "failed"
    assert not list(sockets.iterdir())
