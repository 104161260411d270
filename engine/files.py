"""Whole files and lines: what is written appears whole, what is read is never half a record."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from engine.errors import RecordError

# Rest of a line of JSON from where the parser stops, if nothing but its end is missing: an open string, or the
# beginning of an escape, a number or a literal.
CUT_OFF = re.compile(r'"([^"\\]|\\.)*\\?|u[0-9a-f]{0,4}|[-+.eE]*|t|tr|tru|f|fa|fal|fals|n|nu|nul')


def private(path: str, flags: int) -> int:
    """An opener for `open`: what it makes is for this user alone."""
    return os.open(path, flags, 0o600)


def temporary_sibling(path: Path) -> Path:
    """Name a hidden file beside another that no other process or call names."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling to write to; without an error it is synced and takes the place of `path`."""
    sibling = temporary_sibling(path)
    try:
        yield sibling
        with open(sibling, "rb") as file:
            os.fsync(file.fileno())
        os.replace(sibling, path)
    finally:
        sibling.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a whole file or none, for this user alone."""
    with whole_file(path) as sibling, open(sibling, "wb", opener=private) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def to_json(value: Any) -> str:
    """JSON without NaN: a number that is none becomes null, as the standard wants."""
    return json.dumps(_finite(value), indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, object]:
    """A JSON object, or {} where there is none yet."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}


def append_line(path: Path, record: Mapping[str, object]) -> None:
    """One record as one line by one write; raises OSError if the disk takes only a part of it."""
    line = (json.dumps(_finite(record), allow_nan=False) + "\n").encode()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # what a full disk or a kill left
        line = b"\n" + line if torn else line
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def append_bytes(path: Path, content: bytes) -> None:
    """Append what a file has grown by elsewhere; raises OSError if the disk takes only a part of it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def read_lines(path: Path, offset: int = 0) -> tuple[list[dict[str, object]], int]:
    """Whole records from a byte offset on, and the offset to go on from.

    An unterminated tail waits for its end. Lines that a full disk or a kill cut short are left out; for anything else
    that is no record, RecordError is raised.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            *lines, tail = file.read().split(b"\n")
    except FileNotFoundError:
        return [], offset
    records = [record for line in lines if (record := _record(path, line)) is not None]
    _record(path, tail)
    return records, offset + sum(len(line) + 1 for line in lines)


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


@contextlib.contextmanager
def lock_at_once(path: Path) -> Iterator[bool]:
    """Take a lock without waiting; yields True if this process holds it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path, "ab", opener=private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(folder: Path) -> str:
    """The sha256 of a folder: of the paths of its files, in order, and of their contents."""
    total = hashlib.sha256()
    for name in files_below(folder):
        total.update(f"{len(os.fsencode(name))} ".encode() + os.fsencode(name))
        total.update(sha256(folder / name).encode())
    return total.hexdigest()


def files_below(folder: Path) -> list[str]:
    """The paths of a folder's files, below it and in order of their bytes; a link in it leads to a file in it.

    Raises
    ------
    ValueError
        If it holds anything else.
    """
    found, root = [], os.path.realpath(folder)
    for home, folders, names in os.walk(folder, onerror=_raise):
        for name in (*folders, *names):
            path = os.path.join(home, name)
            if os.path.islink(path) and not os.path.realpath(path).startswith(root + os.sep):
                raise ValueError(f"{path} is a link that leads out of {folder}")
            if name in names and not os.path.isfile(path):
                raise ValueError(f"{path} is no plain file")
            if name in folders and os.path.islink(path):
                raise ValueError(f"{path} is a link to a folder")
        found += [os.path.relpath(os.path.join(home, name), folder) for name in names]
    return sorted(found, key=os.fsencode)


def _raise(error: OSError) -> NoReturn:
    raise error


def _record(path: Path, line: bytes) -> dict[str, object] | None:
    """The record on a line; None for a line that was cut short; raises RecordError for all else."""
    try:
        record = json.loads(line.decode())
    except json.JSONDecodeError as error:
        if (line in (b"", b"{") or line.startswith(b'{"')) and CUT_OFF.fullmatch(error.doc, error.pos):
            return None
    except (ValueError, RecursionError):
        pass
    else:
        if isinstance(record, dict):
            return record
    raise RecordError(f"{path} holds a line that is no record ({line!r:.60})")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def numbered(name: str, number: int) -> str:
    """Name of one of several files of a kind, counted from 0: best.npz, best-2.npz, and so on."""
    return name.replace(".", f"-{number + 1}.") if number else name
