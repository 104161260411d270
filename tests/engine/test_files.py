"""Whole files, whole lines: what a crash, a full disk or a reader at the wrong moment can't spoil."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.errors import RecordError
from engine.files import append_line, read_json, read_lines, sha256, to_json, write_whole

CHECKOUT = Path(__file__).parents[2]


def test_a_whole_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "old")
    write_whole(path, b"n\xc3\xa9w")
    assert path.read_text(encoding="utf-8") == "néw"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_process_killed_between_writing_and_replacing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "old")
    code = (
        "import os, signal, sys, pathlib\n"
        "from engine import files\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_whole(pathlib.Path(sys.argv[1]), 'new')"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], cwd=CHECKOUT)
    assert ended.returncode == -9
    assert path.read_text() == "old"
    siblings = [p for p in tmp_path.iterdir() if p != path]
    assert [p.read_text() for p in siblings] == ["new"]
    assert all(p.name.startswith(".a.json.") for p in siblings)  # no reader looks for such a name
    write_whole(path, "newer")
    assert path.read_text() == "newer"


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_whole(path, "old")

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_leaves_the_old_file_and_no_rest(small_disk):
    path = small_disk / "a.json"
    write_whole(path, "old")
    with pytest.raises(OSError, match=r"No space left on device|File too large"):
        write_whole(path, b"x" * 2**20)
    assert path.read_text() == "old"
    assert [p.name for p in small_disk.iterdir()] == ["a.json"]


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "a.json"
    sizes = (10, 100_000)
    write_whole(path, "x" * sizes[0])
    over = threading.Event()

    def write() -> None:
        for number in range(100):
            write_whole(path, "x" * sizes[number % 2])
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not over.is_set():
        seen.add(len(path.read_text()))
    writer.join()
    assert seen <= set(sizes)


def test_numbers_that_are_none_become_null():
    value = {"a": float("nan"), "b": [float("inf"), (1.5, -float("inf"))], "c": {"d": 2}}
    assert json.loads(to_json(value)) == {"a": None, "b": [None, [1.5, None]], "c": {"d": 2}}


def test_a_missing_or_torn_json_file_is_empty(tmp_path):
    assert read_json(tmp_path / "none.json") == {}
    (tmp_path / "torn.json").write_text('{"a": 1')
    assert read_json(tmp_path / "torn.json") == {}
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x81")
    assert read_json(tmp_path / "bytes.json") == {}


def test_lines_are_read_on_from_an_offset(tmp_path):
    path = tmp_path / "a.jsonl"
    assert read_lines(path) == ([], 0)
    append_line(path, {"n": 1})
    append_line(path, {"n": "zwei ü", "loss": float("nan")})
    records, offset = read_lines(path)
    assert records == [{"n": 1}, {"n": "zwei ü", "loss": None}]
    assert offset == path.stat().st_size
    assert read_lines(path, offset) == ([], offset)
    append_line(path, {"n": 3})
    assert read_lines(path, offset) == ([{"n": 3}], path.stat().st_size)


def test_an_unterminated_tail_waits_for_its_end(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2')
    assert read_lines(path) == ([{"n": 1}], 9)
    with path.open("ab") as file:
        file.write(b"2}\n")
    assert read_lines(path, 9) == ([{"n": 22}], 19)


WHOLE = json.dumps({"n": -1.5e-07, "text": 'a "ü" \\', "flags": [True, False, None], "part": {"x": 10}})


@pytest.mark.parametrize("length", range(len(WHOLE)))
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_line_cut_short_anywhere_is_left_out(length, end, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\n' + WHOLE[:length] + end)
    assert read_lines(path)[0] == [{"n": 1}]


@pytest.mark.parametrize(
    "garbage",
    [b"[2]", b"7", b"null", b"\xff\xfe", b"{\x00", b"\x00" * 9, b"{n", b'{"n": 1}}', b'{"n": x', b"[" * 10**5],
)
@pytest.mark.parametrize("place", ["alone", "first", "middle", "last", "tail"])
def test_a_line_that_is_no_record_is_damage(place, garbage, tmp_path):
    path = tmp_path / "a.jsonl"
    lines = {
        "alone": garbage,
        "first": garbage + b'\n{"n": 1}\n',
        "middle": b'{"n": 1}\n' + garbage + b'\n{"n": 3}\n',
        "last": b'{"n": 1}\n' + garbage + b"\n",
        "tail": b'{"n": 1}\n' + garbage,
    }
    path.write_bytes(lines[place])
    with pytest.raises(RecordError, match=r"a\.jsonl holds a line that is no record"):
        read_lines(path)


def test_a_record_after_a_torn_one_is_not_lost(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2')  # what a full disk or a kill leaves
    append_line(path, {"n": 3})
    assert read_lines(path)[0] == [{"n": 1}, {"n": 3}]


def test_a_line_on_a_full_disk_is_refused_and_spoils_nothing(small_disk):
    path = small_disk / "a.jsonl"
    written: list[int] = []

    def write_on() -> None:
        for n in range(10_000):
            append_line(path, {"n": n, "filler": "x" * 90})
            written.append(n)

    with pytest.raises(OSError, match=r"No space left on device|File too large"):
        write_on()
    assert 100 < len(written) < 10_000
    assert [record["n"] for record in read_lines(path)[0]] == written


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's own")
def test_the_device_that_is_always_full(tmp_path):
    (tmp_path / "a.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        append_line(tmp_path / "a.jsonl", {"n": 1})


def test_checksums(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()
