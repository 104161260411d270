"""What is asked of OpenSSH, and what its words mean: the program itself is in test_attacks.py and faults."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import DataError, SiteError, UnreachableError
from engine.launch.remote import ssh
from engine.launch.remote.ssh import Completed, Connection


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of a short name for sockets."""
    with tempfile.TemporaryDirectory(prefix="ms") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def ended(err: str) -> Completed:
    return Completed(255, "", err)


def test_a_command_here_needs_no_server():
    done = Connection("").shell("echo one; echo two >&2; exit 3")
    assert done == Completed(3, "one\n", "two\n")


def test_files_move_here_too(tmp_path):
    Connection("").send([b"x" * 4, b"x" * 6], str(tmp_path / "b"))
    Connection("").get(str(tmp_path / "b"), tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"x" * 10


def test_a_file_goes_to_the_place_that_its_name_says_and_nowhere_else(tmp_path):
    name = "$(touch canary) `touch canary` ; 'x' \"y\" \n*?"
    Connection("").send([b"x"], str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(SiteError, match=r"couldn't take a file \(.*/gone/a.*\): .*free some space there, then resume"):
        Connection("").send((b"x" * 2**20 for _ in range(100)), str(tmp_path / "gone" / "a"))


def test_an_error_of_the_content_itself_ends_the_sending(tmp_path):
    def content() -> Iterator[bytes]:
        yield b"x"
        raise DataError("changed")

    with pytest.raises(DataError, match="changed"):
        Connection("").send(content(), str(tmp_path / "a"))


def test_a_command_that_does_not_end_is_given_up():
    with pytest.raises(UnreachableError, match="no answer within 1 s"):
        Connection("").shell("exec sleep 1000", timeout_s=1)


def test_host_keys_are_checked_and_nothing_is_asked(sockets):
    words = Connection("big", "/etc/my config")._ssh("ssh")
    assert words[:3] == ["ssh", "-F", "/etc/my config"]
    for option in ("StrictHostKeyChecking=yes", "BatchMode=yes", "ForwardAgent=no", f"ControlPath={sockets}"):
        assert any(word.startswith(option) for word in words)


def test_the_command_to_log_in_can_be_typed_as_it_is(sockets):
    words = shlex.split(Connection("big", "/etc/my config").login_command())
    assert words[:3] == ["ssh", "-F", "/etc/my config"]
    assert words[-2:] == ["-fN", "big"]


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("ssh: connect to host big port 22: Connection refused", UnreachableError, "Connection refused"),
        ("mux_client_read_packet: read header failed: Broken pipe", UnreachableError, "Broken pipe"),
        ("", UnreachableError, "it said nothing"),
        ("me@big: Permission denied (publickey).", SiteError, "set up a key or an agent"),
        ("Received disconnect: Too many authentication failures", SiteError, "set up a key or an agent"),
    ],
)
def test_what_ssh_says_when_it_fails(said, kind, words, sockets):
    with pytest.raises(kind, match=words):
        Connection("big")._checked(ended(said))


def test_a_failing_command_is_no_failing_connection():
    assert Connection("big")._checked(Completed(1, "", "Permission denied")).rc == 1


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/a/b", '"/a/b"'),
        ("/a b/'c'", "\"/a b/'c'\""),
        ('/a"b', r'"/a\"b"'),
        ("/a\\b", r'"/a\\b"'),
        ("/a*[b]?", r'"/a\*\[b\]\?"'),
    ],
)
def test_paths_for_sftp(path, word):
    assert ssh._quoted(path) == word


@pytest.mark.parametrize("path", ["/a\nrm /b", "/a\rb"])
def test_a_line_break_in_a_path_is_refused(path):
    with pytest.raises(SiteError, match="line break"):
        ssh._quoted(path)


def test_the_folder_of_sockets_is_made_for_this_user_alone(sockets):
    folder = Path(ssh._socket()).parent
    assert folder.parent == sockets
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(lambda folder: folder.mkdir(mode=0o755), id="open to others"),
        pytest.param(lambda folder: folder.symlink_to("/tmp"), id="a link"),
        pytest.param(lambda folder: folder.touch(mode=0o600), id="a file"),
    ],
)
def test_a_folder_of_sockets_that_is_not_ours_is_refused(prepare, sockets):
    prepare(sockets / f"mesoscope-{os.getuid()}")
    with pytest.raises(SiteError, match="set XDG_RUNTIME_DIR to a folder of mode 700"):
        ssh._socket()


def test_a_folder_of_sockets_that_another_user_made_is_refused(sockets, monkeypatch):
    other = os.getuid() + 1
    (sockets / f"mesoscope-{other}").mkdir(mode=0o700)  # ours, which for the other one is another's
    monkeypatch.setattr(os, "getuid", lambda: other)
    with pytest.raises(SiteError, match="set XDG_RUNTIME_DIR to a folder of mode 700"):
        ssh._socket()


def test_a_folder_of_sockets_that_cannot_be_made_is_said(sockets, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sockets / "gone"))
    with pytest.raises(SiteError, match="can't be made"):
        ssh._socket()


def test_a_name_that_is_too_long_for_a_socket_is_not_used(sockets, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sockets / ("long" * 20)))
    monkeypatch.setattr(tempfile, "tempdir", str(sockets))
    assert Path(ssh._socket()).parent.parent == sockets
