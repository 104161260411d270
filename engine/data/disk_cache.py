"""Cache on disk of what was read from addresses, shared by all processes of a user, up to a limit of bytes.

An entry is a file that is named by the sha256 of its key and begins with the CRC-32 of its content; what is damaged
or cut off is no entry. The access time of a file is when it was last used, its modification time when it was written.
The total of bytes is kept in one file, under a lock; whoever would go beyond the limit first removes what was unused
for longest.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import math
import os
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.files import private, temporary_sibling

DEFAULT_GIB = 5.0
LARGEST = 1 / 8  # of the limit: what is larger isn't kept, so that it can't displace all else
DOWN_TO = 7 / 8  # of the limit, so that not each entry has to make room
CRC_BYTES = 4

logger = logging.getLogger(__name__)
_UNUSABLE: set[Path] = set()  # folders that couldn't be written
_NOTED: set[str] = set()
_LOCK = threading.Lock()


@dataclass(frozen=True)
class CacheState:
    """Where the cache is, how much it holds, and how much it may; a limit of 0: it is off."""

    folder: Path
    entries: int
    n_bytes: int
    limit_bytes: int

    def plain(self) -> dict[str, object]:
        """Content of `catalog cache --json`."""
        return {**vars(self), "folder": str(self.folder)}

    def __str__(self) -> str:
        if not self.limit_bytes:
            return "remote data are not cached (MESOSCOPE_CACHE_GIB is 0)"
        held = f"{self.n_bytes / 2**30:.2f} of at most {self.limit_bytes / 2**30:g} GiB"
        return f"remote data are cached in {self.folder}: {held}"


def folder() -> Path:
    """Folder of the entries, which need not be there yet."""
    given = os.environ.get("MESOSCOPE_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mesoscope"
    return base.absolute() / "remote"


def limit_bytes() -> int:
    """The most that the cache may hold: $MESOSCOPE_CACHE_GIB, else 5 GiB; 0 turns it off."""
    given = os.environ.get("MESOSCOPE_CACHE_GIB", "")
    try:
        gib = float(given) if given else DEFAULT_GIB
        return max(0, int(gib * 2**30))
    except (ValueError, OverflowError):  # no number, NaN, infinity
        _note(f"MESOSCOPE_CACHE_GIB is {given!r}, not a number: remote data aren't cached")
        return 0


def get(key: str, max_age_s: float = math.inf) -> bytes | None:
    """Read an entry; None where there is none, or it is older."""
    if not limit_bytes() or not _is_private(folder()):
        return None
    path = _path(key)
    try:
        with open(path, "rb") as file:
            written_ns = os.fstat(file.fileno()).st_mtime_ns
            content = file.read()
        if time.time() - written_ns / 1e9 > max_age_s or content[:CRC_BYTES] != _crc(content[CRC_BYTES:]):
            return None
        os.utime(path, ns=(time.time_ns(), written_ns))
    except OSError:  # another process may have removed it
        return None
    return content[CRC_BYTES:]


def put(key: str, content: bytes) -> None:
    """Keep an entry if it can be kept; where the folder can't be written, a note is logged once."""
    limit, at, path = limit_bytes(), folder(), _path(key)
    size = CRC_BYTES + len(content)
    if size > LARGEST * limit or at in _UNUSABLE:
        return
    try:
        at.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(at):
            raise PermissionError(errno.EPERM, "it is a link, or others may read it")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with _room(at, size, limit):
            _write(path, content)
    except OSError as error:
        _UNUSABLE.add(at)
        why = f"the cache of remote data in {at} can't be written ({error.strerror or error})"
        _note(f"{why}: data are read without it; set MESOSCOPE_CACHE to another folder")


def state() -> CacheState:
    """Count what the cache holds."""
    sizes = [size for _, size, _ in _entries(folder())]
    return CacheState(folder(), len(sizes), sum(sizes), limit_bytes())


def empty() -> None:
    """Remove all entries; raises OSError."""
    if folder().is_dir():
        with _room(folder(), 0, 0):
            pass


def _path(key: str) -> Path:
    name = hashlib.sha256(key.encode()).hexdigest()
    return folder() / name[:2] / name


def _crc(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(CRC_BYTES, "big")


def _is_private(at: Path) -> bool:
    """Check that a folder is one of this user's own, which no other can read."""
    try:
        found = at.lstat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and found.st_mode & 0o170077 == 0o040000  # a folder, nothing for others


@contextlib.contextmanager
def _room(at: Path, size: int, limit: int) -> Iterator[None]:
    """Make room for an entry and count it; no other process writes meanwhile."""
    with open(at / "total", "a+b", opener=private) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        total = int(text) if text.isdigit() else None  # else nothing was counted yet, or a process was killed here
        if total is None or total + size > limit:
            found = sorted(_entries(at))
            total = sum(each for _, each, _ in found)
            if total + size > limit:
                for _, each, path in found:
                    if total + size <= DOWN_TO * limit:
                        break
                    Path(path).unlink(missing_ok=True)
                    total -= each
        file.truncate(0)
        file.write(str(total + size).encode())
        file.flush()
        yield


def _write(path: Path, content: bytes) -> None:
    """Write an entry that appears whole; not synced, as it can be read again."""
    sibling = temporary_sibling(path)
    try:
        with open(sibling, "wb", opener=private) as file:
            file.write(_crc(content))
            file.write(content)
        os.replace(sibling, path)
    finally:
        sibling.unlink(missing_ok=True)


def _entries(at: Path) -> list[tuple[int, int, str]]:
    """When each entry was last used, its bytes, and its file; what a killed process left is among them."""
    found = []
    for part in at.glob("??"):
        with contextlib.suppress(FileNotFoundError), os.scandir(part) as files:
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    found.append((file.stat().st_atime_ns, file.stat().st_size, file.path))
    return found


def _note(text: str) -> None:
    """Log a note once in a process."""
    with _LOCK:
        is_new = text not in _NOTED
        _NOTED.add(text)
    if is_new:
        logger.warning(text)
