"""Files that a site needs before a run can start there: the engine's source, once a version, and inputs, once.

rsync isn't used for it: it has to exist on both hosts, and the checks of links, outside paths and checksums would stay,
as would the engine's archive under its checksum; what it could replace, sftp and its resume, is short.
"""

from __future__ import annotations

import dataclasses
import io
import re
import secrets
import tarfile
from collections.abc import Iterator
from functools import cache
from hashlib import sha256 as digest_of
from pathlib import Path

from engine.errors import DataError
from engine.files import files_below, sha256, tree_sha256
from engine.spec import Source, Spec, is_url

SOURCE = Path(__file__).resolve().parents[2]
BLOCK = 1 << 18  # bytes


@cache
def engine_archive() -> tuple[str, bytes]:
    """The engine's source as a tar archive, the same bytes for the same source, and its sha256."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(SOURCE.rglob("*.py")):
            member = tarfile.TarInfo(str(Path("engine") / path.relative_to(SOURCE)))
            member.size, member.mode = path.stat().st_size, 0o600
            with open(path, "rb") as file:
                archive.addfile(member, file)
    return digest_of(content.getvalue()).hexdigest(), content.getvalue()


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The spec as the target reads it, and what has to be there: 'checksum/name' → the file or folder here."""

    spec: Spec
    files: dict[str, Path]


def inputs_of(spec: Spec, folder: str) -> Inputs:
    """Place the inputs: with `launch.upload`, each goes below `folder` there; without, paths stay as they are.

    Raises
    ------
    DataError
        If an input doesn't exist here, or is a folder with links that lead out of it.
    """
    if not spec.launch.upload:
        return Inputs(spec, {})
    files: dict[str, Path] = {}

    def sent(source: Source | None) -> Source | None:
        if source is None:
            return None
        names = []
        for given in source.files():
            if is_url(given):
                names.append(given)
                continue
            path = Path(given)
            plain_name = re.sub(r"[^A-Za-z0-9._-]", "_", path.name)[-100:].lstrip(".-")  # its ending is its format
            name = f"{_checksum(path)}/{plain_name or 'input'}"
            files[name] = path
            names.append(f"{folder}/data/{name}")
        return dataclasses.replace(source, path=names[0] if len(names) == 1 else tuple(names))

    data = spec.data
    moved = {
        "target": sent(data.target),
        "target_v": sent(data.target_v),
        "lr": sent(data.lr),
        "lr_v": sent(data.lr_v),
        "predictors": tuple(map(sent, data.predictors)),
        "static": tuple(map(sent, data.static)),
        "stations": sent(data.stations),
    }
    return Inputs(spec.replace(data=moved), files)


def incoming_name() -> str:
    """A name for a file on its way in, which no other has."""
    return f"in-{secrets.token_hex(8)}"


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(file.stat().st_size for _, file in _files_of(path)) if path.is_dir() else path.stat().st_size


def content_of(path: Path) -> Iterator[bytes]:
    """A file's content in blocks, or a folder's as a tar archive of plain files."""
    if not path.is_dir():
        yield from _blocks(path)
        return
    for name, file in _files_of(path):
        member = tarfile.TarInfo(name)
        member.size, member.mode = file.stat().st_size, 0o600
        yield member.tobuf(tarfile.GNU_FORMAT)
        yield from _blocks(file, member.size)
        yield b"\0" * (-member.size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _blocks(path: Path, size: int | None = None) -> Iterator[bytes]:
    """A file in blocks; raises DataError if it hasn't got that size any more."""
    sent = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            sent += len(block)
            yield block
    if size not in (None, sent):
        raise DataError(f"{path} was changed while it was sent: wait until nobody writes to it, then resume")


def _files_of(folder: Path) -> list[tuple[str, Path]]:
    """Name below the folder and path of each of its files; raises DataError for what can't be sent."""
    try:
        names = files_below(folder)
    except ValueError as error:
        raise DataError(f"{error}: launch.upload sends plain files; put a copy in its place") from None
    if not names:
        raise DataError(f"{folder} is a folder without files", action="give a file or a Zarr store")
    return [(name, folder / name) for name in names]


def _checksum(path: Path) -> str:
    if path.is_dir():
        _files_of(path)
        return tree_sha256(path)
    if not path.is_file():
        raise DataError(
            f"{path} doesn't exist here, so it can't be sent", action="set launch.upload=false if the target has it"
        )
    return sha256(path)
