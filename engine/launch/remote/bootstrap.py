"""Starts the uploaded engine on a site, to answer one request. Sent by standard input: standard library only.

It is sent and run anew for each request, so what only an upload needs is imported there.
"""

from __future__ import annotations

import json
import os
import sys
from typing import IO

MARK = "mesoscope-answer:"  # opens the line that holds the answer: the environment may print others
FOLDERS = ("runs", "engine", "data", "incoming")
OLDEST_PYTHON = (3, 11)


def main(
    folder: str, checksum: str, kind: str, fields: dict[str, object], archive: str = "", is_first: bool = False
) -> None:
    """Let the engine of that checksum answer a request, a record of that kind, and unpack it first if that is needed.

    Parameters
    ----------
    folder : the site's, '~' stands for the home there.
    archive : the engine as a tar archive, by zlib and base64; without one, the answer is that it is missing.
    is_first : make the site's folder where there is none.
    """
    os.umask(0o077)
    folder = os.path.expanduser(folder)
    engine = os.path.join(folder, "engine", checksum)
    try:
        if sys.version_info < OLDEST_PYTHON:
            raise ValueError(f"{sys.executable} is Python {sys.version.split()[0]}, but the engine needs 3.11 or newer")
        if not (is_first or os.path.isdir(os.path.join(folder, "runs"))):
            raise ValueError(f"{folder}/runs isn't there: mount its file system again, or put the folder back")
        if is_first or not os.path.isdir(engine):
            for part in ("", *FOLDERS):
                os.makedirs(os.path.join(folder, part), mode=0o700, exist_ok=True)
        if not os.path.isdir(engine):
            if not archive:
                reply({"lacks_engine": True})
                return
            install_engine(engine, checksum, archive)
    except (OSError, ValueError) as error:
        reply(refusal(error))
        return
    sys.path.insert(0, engine)
    from engine.launch.remote import agent

    agent.main(folder, kind, fields)


def install_engine(place: str, checksum: str, archive: str) -> None:
    """Unpack the engine's source, whole or not at all."""
    import base64
    import hashlib
    import io
    import shutil
    import tempfile
    import zlib

    try:
        content = zlib.decompress(base64.b64decode(archive))
    except zlib.error:
        content = b""
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError("the engine arrived damaged: its checksum is not the one it was sent with")
    staging_dir = tempfile.mkdtemp(dir=os.path.join(os.path.dirname(os.path.dirname(place)), "incoming"))
    try:
        extract(io.BytesIO(content), staging_dir)
        os.rename(staging_dir, place)
    except OSError:
        if not os.path.isdir(place):  # else somebody else was faster
            raise
    finally:
        shutil.rmtree(staging_dir, ignore_errors=True)


def extract(archive: IO[bytes], folder: str) -> None:
    """Unpack plain files alone, all below the folder; raises ValueError for an archive that holds anything else."""
    import tarfile

    try:
        with tarfile.open(fileobj=archive) as content:
            for member in content.getmembers():
                if not member.isfile() or ".." in member.name.split("/") or member.name.startswith("/"):
                    raise ValueError(f"the archive holds {member.name}, which is no plain file")
            content.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise ValueError(f"an archive arrived damaged ({error})") from None


def refusal(error: Exception) -> dict[str, object]:
    """Answer for a request that failed."""
    if isinstance(error, OSError):
        return {"error": f"{error.strerror}: {error.filename}", "full": error.errno in (28, 122)}  # ENOSPC, EDQUOT
    return {"error": str(error), "full": False}


def reply(answer: dict[str, object]) -> None:
    sys.stdout.write("\n" + MARK + json.dumps(answer) + "\n")
