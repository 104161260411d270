"""Fetch the results of a run that is done on its site: each file checked by size and sha256, DONE last."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict

from engine.errors import LaunchError, MesoscopeError, RecordError, UnreachableError
from engine.files import lock_at_once, sha256, size_of, to_json, write_whole
from engine.launch.remote.client import ask
from engine.launch.remote.protocol import ListResults, ResultFile
from engine.launch.remote.retry import is_due
from engine.launch.sites import Site
from engine.runs import Run, describe_error
from engine.runs.records import FetchRecord, read_record


def fetch_results(run: Run, site: Site, report: Callable[[str], None]) -> None:
    """Fetch the results unless another process does, or a try has just failed; a failure is recorded."""
    with lock_at_once(run.folder / "status" / ".fetch") as is_mine:
        last = FetchRecord()
        with suppress(RecordError):
            last = read_record(FetchRecord, run.fetch_file) or last
        if not is_mine or run.done_file.exists() or not is_due(last):
            return
        try:
            _fetch_all(run, site, last.failures, report)
        except (MesoscopeError, OSError) as error:
            _record(run, f"its results can't be fetched yet: {describe_error(error)}", last.failures + 1)


def _fetch_all(run: Run, site: Site, failures: int, report: Callable[[str], None]) -> None:
    listed = ask(site, ListResults(run.id))
    files = listed.files
    total, free = _total(files), shutil.disk_usage(run.folder).free
    if total > free:
        raise LaunchError(
            f"they take {_megabytes(total)}, but {run.folder} has room for {_megabytes(free)}", action="free some space"
        )
    report(f"{run.id}: fetching {_megabytes(total)}")
    for number, file in enumerate(files):
        _record(run, f"fetching results, {_megabytes(_total(files[:number]))} of {_megabytes(total)}", failures)
        _fetch_file(run, site, f"{listed.folder}/{file.name}", file)
    write_whole(run.done_file, to_json({"time": time.time()}))


def _fetch_file(run: Run, site: Site, remote_path: str, file: ResultFile) -> None:
    """Continue a part that was fetched before; one that turns out damaged is fetched once more."""
    path = run.folder / file.name
    part = path.with_name(f".{path.name}.part")
    if path.is_file() and sha256(path) == file.sha256:
        return
    for _ in range(2):
        if size_of(part) > file.bytes:
            part.unlink()
        if size_of(part) < file.bytes or not file.bytes:
            site.connection.get(remote_path, part)
        if size_of(part) == file.bytes and sha256(part) == file.sha256:
            os.chmod(part, 0o600)
            os.replace(part, path)
            return
        part.unlink()
    raise UnreachableError(f"{file.name} arrived damaged twice: its checksum is not the one it has on the site")


def _record(run: Run, reason: str, failures: int) -> None:
    with suppress(OSError):  # this machine's disk is full, say: the next try records it
        write_whole(run.fetch_file, to_json(asdict(FetchRecord(time.time(), failures, reason))))


def _total(files: Sequence[ResultFile]) -> int:
    return sum(file.bytes for file in files)


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB"
