"""What travels to a target before a run can begin there: the engine's source, once a version, and inputs, once."""

from __future__ import annotations

import dataclasses
import io
import re
import secrets
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256 as digest_of
from pathlib import Path
from typing import Any

from engine.errors import DataError
from engine.files import sha256
from engine.spec import Source, Spec

SOURCE = Path(__file__).resolve().parents[1]


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


@contextmanager
def engine_file() -> Iterator[Path]:
    """The archive as a file, for as long as it is sent."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        file.write(engine_archive()[1])
        file.flush()
        yield Path(file.name)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The spec as the target reads it, and which files have to be there: 'checksum/name' → the file here."""

    spec: Spec
    files: dict[str, Path]


def inputs_of(spec: Spec, folder: str) -> Inputs:
    """With `launch.upload`, each input goes to a place below `folder` there; without, paths stay as they are.

    Raises
    ------
    DataError
        If an input doesn't exist here, or is a folder.
    """
    if not spec.launch.upload:
        return Inputs(spec, {})
    files: dict[str, Path] = {}

    def sent(source: Source | None) -> Source | None:
        if source is None:
            return None
        names = []
        for path in map(Path, source.files()):
            name = f"{_checksum(path)}/{_plain_name(path.name)}"
            files[name] = path
            names.append(f"{folder}/data/{name}")
        return dataclasses.replace(source, path=names[0] if len(names) == 1 else tuple(names))

    data = spec.data
    moved: dict[str, Any] = {
        "target": sent(data.target),
        "lr": sent(data.lr),
        "predictors": tuple(map(sent, data.predictors)),
        "static": tuple(map(sent, data.static)),
    }
    return Inputs(spec.replace(data=moved), files)


def incoming_name() -> str:
    """A name for a file on its way in, which no other has."""
    return f"in-{secrets.token_hex(8)}"


def _checksum(path: Path) -> str:
    if path.is_dir():
        raise DataError(
            f"{path} is a folder (a Zarr store): launch.upload sends files; put it on the target yourself and give its "
            "path there with launch.upload=false, or write it as NetCDF"
        )
    if not path.is_file():
        raise DataError(f"{path} doesn't exist here, so it can't be sent: set launch.upload=false if the target has it")
    return sha256(path)


def _plain_name(name: str) -> str:
    """Letters, digits, dot, dash and underscore only; the ending tells what kind of file it is, so it stays."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:].lstrip(".-") or "input"
