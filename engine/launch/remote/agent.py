"""Answers requests on a site. It is a part of the uploaded engine; bootstrap.py, which is sent, starts it.

Nothing here depends on the scheduler: commands are given, and their output is returned. Every path is made of the
site's folder and of names that were checked. Few imports, for each request starts them anew: CPU time of an empty poll
is in docs/architecture.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import shlex
import shutil
import signal
import socket
import stat
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from engine.errors import MesoscopeError
from engine.files import lock_at_once, private, read_json, sha256, tree_sha256, write_whole
from engine.launch.remote import processes
from engine.launch.remote.bootstrap import extract, refusal, reply
from engine.launch.remote.protocol import (
    COPIED,
    NAME,
    RESULT_FOLDERS,
    CommandResult,
    DescribeSite,
    Done,
    FindMissingInputs,
    FolderFacts,
    ImportCheckpoint,
    InputNames,
    LaunchOnSite,
    ListResults,
    PlaceInput,
    Poll,
    PollAnswer,
    Request,
    ResultFile,
    ResultList,
    Revoke,
    RunCommand,
    RunQuery,
    SiteDescription,
    StartRun,
    StopAnswer,
    StopRun,
    Tail,
)
from engine.parsing import parse_record

ENGINE = Path(__file__).resolve().parents[3]
MOST_BYTES = 1 << 20  # of one file in one answer; the next poll goes on from there
MOST_BYTES_IN_ALL = 8 << 20
FULL_BYTES = 1 << 20  # a disk with less room than this is full
LOCK = ".begin"  # in status: held while a run is started
UPLOADS_KEPT_S = 86_400  # so long an upload that was never put in its place is kept


def main(folder: str, kind: str, fields: dict[str, object]) -> None:
    """Answer a request, a record of that kind, by one line on standard output."""
    try:
        request: Request[Any] = parse_record({each.__name__: each for each in ACTIONS}[kind], fields, kind)
        answer = asdict(ACTIONS[type(request)](Path(folder), request))
    except (OSError, ValueError, MesoscopeError) as error:
        answer = refusal(error)
    reply(answer)


def describe_site(folder: Path, request: DescribeSite) -> SiteDescription:
    """Describe the site, once it is certain that files can be written there."""
    for path in (folder / "incoming").iterdir():  # uploads that were never used: their sender was cut off
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > UPLOADS_KEPT_S:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    probe = folder / "incoming" / f".probe.{os.getpid()}"
    try:
        probe.write_bytes(b"\0" * 4096)
    finally:
        probe.unlink(missing_ok=True)
    return SiteDescription(str(folder), socket.gethostname(), sys.version.split()[0], shutil.disk_usage(folder).free)


def find_missing_inputs(folder: Path, request: FindMissingInputs) -> InputNames:
    return InputNames(tuple(name for name in request.names if not _inside(folder, "data", *name.split("/")).exists()))


def place_input(folder: Path, request: PlaceInput) -> Done:
    checksum, _ = request.name.split("/")
    upload, goal = _inside(folder, "incoming", request.incoming), _inside(folder, "data", *request.name.split("/"))
    try:
        if request.packed:
            _place_folder(upload, goal, checksum)
        else:
            _check_sum(sha256(upload), checksum)
            goal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(upload, goal)
    finally:
        upload.unlink(missing_ok=True)
    return Done()


def _place_folder(archive: Path, goal: Path, checksum: str) -> None:
    staging_dir = archive.with_name(f"{archive.name}.d")
    staging_dir.mkdir(0o700)
    try:
        with open(archive, "rb") as content:
            extract(content, str(staging_dir))
        _check_sum(tree_sha256(staging_dir), checksum)
        goal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            staging_dir.rename(goal)
        except OSError:
            if not goal.is_dir():  # else somebody else was faster
                raise
    finally:
        shutil.rmtree(staging_dir, ignore_errors=True)


def _check_sum(found: str, expected: str) -> None:
    if found != expected:
        raise ValueError("an upload arrived damaged: its checksum is not the one it was sent with")


def import_checkpoint(folder: Path, request: ImportCheckpoint) -> Done:
    home = _inside(folder, "runs", request.run)
    for name, upload in request.files.items():
        path = _inside(home, *name.split("/"))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.replace(_inside(folder, "incoming", upload), path)
    return Done()


def start_run(folder: Path, request: StartRun) -> LaunchOnSite:
    """Start a run once for each token, however often or late this is asked."""
    home = _inside(folder, "runs", request.run)
    with _launch_lock(home):
        last = read_launch(home)
        if request.token in last.past:
            raise ValueError("this launch was revoked before it arrived")
        if last.token == request.token:
            return last
        if (home / "DONE").exists():
            raise ValueError(f"run {request.run} is done there")
        if _is_alive_here(last):
            raise ValueError(f"run {request.run} is active there (process {last.pid}): cancel it first")
        for path in (home / "control" / "cancel", home / "control" / "pause", *(home / "status").glob("rank-*")):
            path.unlink(missing_ok=True)
        for name, text in request.texts.items():
            write_whole(_inside(home, *name.split("/")), text)
        past = last.past if last.token is None else (*last.past, last.token)
        launch = LaunchOnSite(request.token, time.time(), past)
        _write_launch(home, launch)  # before the start: a poll at this moment sees that it is on its way
        launch = _start(home, request, launch)
        with contextlib.suppress(OSError):  # a full disk, now that it has begun: it is found by its token
            _write_launch(home, launch)
        return launch


def _start(home: Path, request: StartRun, launch: LaunchOnSite) -> LaunchOnSite:
    """A scheduler's command is waited for; a supervisor is left alone."""
    if request.command:
        words = [word.replace("{run}", str(home)) for word in request.command]
        return replace(launch, said=processes.run(words, request.timeout_s, cwd=home))
    words = [sys.executable, "-m", "engine", "supervise", str(home), "--token", request.token]
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ENGINE)}
    with open(home / "log.txt", "ab", opener=private) as log:
        pid = processes.detach(words, log, cwd=ENGINE, variables=variables)
    return replace(launch, pid=pid, pid_started=processes.start_ticks(pid), host=socket.gethostname())


def revoke(folder: Path, request: Revoke) -> LaunchOnSite:
    home = _inside(folder, "runs", request.run)
    with _launch_lock(home):
        launch = read_launch(home)
        if (request.arrived or launch.token != request.token) and request.token not in launch.past:
            launch = replace(launch, past=(*launch.past, request.token))
            _write_launch(home, launch)
        return launch


def poll(folder: Path, request: Poll) -> PollAnswer:
    """Report runs that have a folder; one that can't be read doesn't hide the others."""
    listing = None
    if request.listing:
        line = request.listing.replace("{user}", shlex.quote(getpass.getuser()))
        listing = processes.run(["/bin/bash", "-c", line], request.timeout_s)
    homes = {run: _inside(folder, "runs", run) for run in request.runs}
    homes = {run: home for run, home in homes.items() if home.is_dir()}
    most = min(MOST_BYTES, MOST_BYTES_IN_ALL // (len(COPIED) * max(1, len(homes))))
    facts = {}
    for run, home in homes.items():
        try:
            facts[run] = _observe(home, request.runs[run], most)
        except OSError as error:
            facts[run] = FolderFacts(trouble=f"{error.strerror}: {error.filename}")
        except MesoscopeError as error:
            facts[run] = FolderFacts(trouble=error.problem)
    return PollAnswer(time.time(), listing, facts)


def _observe(home: Path, query: RunQuery, most: int) -> FolderFacts:
    cancel = home / "control" / "cancel"
    if query.cancel and not cancel.exists():
        with contextlib.suppress(OSError):  # on a full disk, say, its name alone can be written
            cancel.touch(0o600)
    with lock_at_once(home / "status" / LOCK) as is_free:
        pass
    done = (home / "DONE").exists()  # these three before the rest: what is read after them is complete
    launch = read_launch(home)
    beats = [read_json(path) for path in sorted((home / "status").glob("rank-*.json"))]
    return FolderFacts(
        busy=not is_free,
        full=shutil.disk_usage(home).free < FULL_BYTES,
        done=done,
        alive=_is_alive_here(launch) if launch.host in (None, socket.gethostname()) else None,
        begun=launch,
        beats=tuple(beat for beat in beats if beat and isinstance(beat, dict)),
        tails={name: _tail(home / name, query.offsets.get(name, 0), most) for name in COPIED},
    )


def _tail(path: Path, offset: int, most: int) -> Tail:
    """Bytes that a file has grown by; a link is refused, and a pipe isn't waited for."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except FileNotFoundError:
        return Tail(0, 0, "")
    with file:
        size = os.fstat(file.fileno()).st_size
        offset = offset if offset <= size else 0  # it was written anew
        file.seek(offset)
        return Tail(size, offset, b64encode(file.read(min(most, size - offset))).decode())


def stop_run(folder: Path, request: StopRun) -> StopAnswer:
    home = _inside(folder, "runs", request.run)
    if home.is_dir():
        write_whole(home / "control" / "cancel", json.dumps({"time": time.time()}))
    if request.command:
        return StopAnswer(processes.run(list(request.command), request.timeout_s))
    if request.now and home.is_dir():
        launch = read_launch(home)
        if launch.pid is not None and _is_alive_here(launch):
            os.kill(launch.pid, signal.SIGTERM)  # the supervisor ends its ranks
    return StopAnswer()


def list_results(folder: Path, request: ListResults) -> ResultList:
    home, files = _inside(folder, "runs", request.run), []
    for part in RESULT_FOLDERS:
        if home.is_symlink() or (home / part).is_symlink():
            raise ValueError(f"{part} is a link: results are plain files in the run's folder")
        for path in sorted((home / part).iterdir()):
            name = f"{part}/{path.name}"
            if path.name.startswith("."):
                continue
            if not NAME.fullmatch(path.name) or not stat.S_ISREG(path.lstat().st_mode):
                raise ValueError(f"{name} is a link, a folder or has a name that isn't ours: results are plain files")
            files.append(ResultFile(name, path.stat().st_size, sha256(path)))
    return ResultList(str(home), tuple(files))


def run_command(folder: Path, request: RunCommand) -> CommandResult:
    return processes.run(list(request.command), request.timeout_s, cwd=Path.home())


def is_revoked(home: Path, token: str) -> bool:
    """True if the launch with that token must not begin any more; for one that was started late."""
    return token in read_launch(home).past


def read_launch(home: Path) -> LaunchOnSite:
    """Record of the newest launch in a run folder."""
    path = home / "status" / "begun.json"
    return parse_record(LaunchOnSite, read_json(path), str(path))


def _write_launch(home: Path, launch: LaunchOnSite) -> None:
    write_whole(home / "status" / "begun.json", json.dumps(asdict(launch)))


@contextlib.contextmanager
def _launch_lock(home: Path) -> Iterator[None]:
    """Make the run folder, and let one at a time start it, over all who ask."""
    for part in ("status", "control", *RESULT_FOLDERS):
        (home / part).mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(home / "status" / LOCK, "ab", opener=private) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _inside(folder: Path, *names: str) -> Path:
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a file here: expected letters, digits, dot, dash and underscore")
    return folder.joinpath(*names)


def _is_alive_here(launch: LaunchOnSite) -> bool:
    same_host = launch.host == socket.gethostname()
    return same_host and launch.pid is not None and processes.is_alive(launch.pid, launch.pid_started)


ACTIONS: dict[type, Callable[[Path, Any], Any]] = {
    DescribeSite: describe_site,
    FindMissingInputs: find_missing_inputs,
    PlaceInput: place_input,
    ImportCheckpoint: import_checkpoint,
    StartRun: start_run,
    Revoke: revoke,
    Poll: poll,
    StopRun: stop_run,
    ListResults: list_results,
    RunCommand: run_command,
}
