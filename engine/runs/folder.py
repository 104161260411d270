"""The run folder: the only contract between engine and app."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import time
from collections.abc import Container, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from engine.errors import RecordError, StoreError
from engine.files import append_line, numbered, private, read_json, read_lines, sha256, to_json, write_whole
from engine.runs.description import field_of, title_of
from engine.runs.records import (
    FetchRecord,
    HeartbeatRecord,
    LastPoll,
    LaunchEvent,
    LaunchRecord,
    Progress,
    RunNotes,
    RunRequest,
    RunState,
    RunStatus,
    ScoresDocument,
    SiteContact,
    UploadRecord,
    check_progress,
    check_scores,
    parse_record,
    read_document,
    read_last_progress,
    read_record,
    read_records,
    read_spec,
)
from engine.runs.state import RunFacts, derive_status, is_uploading
from engine.spec import Spec

OTHER_STORE = "give another folder with --store or MESOSCOPE_STORE"


@dataclass(frozen=True)
class RunPaths:
    """Files of one run folder."""

    folder: Path

    @property
    def spec_file(self) -> Path:
        return self.folder / "spec.yaml"

    @property
    def notes_file(self) -> Path:
        return self.folder / "notes.json"

    @property
    def request_file(self) -> Path:
        return self.folder / "request.json"

    @property
    def launcher_file(self) -> Path:
        return self.folder / "status" / "launcher.jsonl"

    @property
    def upload_file(self) -> Path:
        """Sign of life of the process that submits the run to its site."""
        return self.folder / "status" / "sending.json"

    @property
    def last_poll_file(self) -> Path:
        return self.folder / "status" / "look.json"

    @property
    def fetch_file(self) -> Path:
        return self.folder / "status" / "fetch.json"

    @property
    def progress_file(self) -> Path:
        return self.folder / "progress.jsonl"

    @property
    def scores_file(self) -> Path:
        return self.folder / "results" / "scores.json"

    @property
    def results(self) -> Path:
        return self.folder / "results" / "test.nc"

    @property
    def baselines(self) -> Path:
        """Simple methods' fields of the test part; absent in runs made before there were any."""
        return self.folder / "results" / "baselines.nc"

    @property
    def verification(self) -> Path:
        """Scores of the results by cell, season and scale; absent in runs made before it existed."""
        return self.folder / "results" / "verification.nc"

    @property
    def stations(self) -> Path:
        """Scores at stations; absent unless they were asked for."""
        return self.folder / "results" / "stations.nc"

    @property
    def best(self) -> Path:
        """Checkpoint with the best weights so far, of the first network."""
        return self.best_of(0)

    @property
    def last(self) -> Path:
        """Checkpoint with all that a resume needs, of the first network."""
        return self.last_of(0)

    def best_of(self, number: int) -> Path:
        """Checkpoint with the best weights of a network of the ensemble, counted from 0."""
        return self.folder / "checkpoints" / numbered("best.npz", number)

    def last_of(self, number: int) -> Path:
        return self.folder / "checkpoints" / numbered("last.npz", number)

    @property
    def normalizer_file(self) -> Path:
        """Normalizer fitted before training, with the grid."""
        return self.folder / "checkpoints" / "scaling.nc"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def cancel_file(self) -> Path:
        return self.folder / "control" / "cancel"

    @property
    def pause_file(self) -> Path:
        return self.folder / "control" / "pause"

    @property
    def done_file(self) -> Path:
        return self.folder / "DONE"


class RunReader(RunPaths):
    """Records of one run folder. Reading is cheap and never changes it; records of others raise RecordError."""

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def spec(self) -> Spec:
        return read_spec(self.spec_file)

    @property
    def title(self) -> str:
        """Title that its user gave it, else as created, else that of its spec, else the id: it never fails."""
        with contextlib.suppress(RecordError, OSError):
            if title := self.notes.title:
                return title
        with contextlib.suppress(RecordError, OSError):
            return self.request.title or title_of(self.spec)
        return self.id

    @property
    def notes(self) -> RunNotes:
        return read_record(RunNotes, self.notes_file) or RunNotes()

    @property
    def field(self) -> str:
        """Variable and file of the target."""
        return self.request.field or field_of(self.spec)

    @property
    def created(self) -> float:
        return (self.spec_file if self.spec_file.exists() else self.folder).stat().st_mtime

    @property
    def request(self) -> RunRequest:
        return read_record(RunRequest, self.request_file) or RunRequest()

    @property
    def is_remote(self) -> bool:
        """True if it runs in a folder on a site, of which this one is the copy."""
        return self.request.kind != "local"

    @property
    def last_poll(self) -> LastPoll | None:
        """State at the last poll of its site, of whichever launch."""
        return read_record(LastPoll, self.last_poll_file)

    @property
    def is_last_poll_final(self) -> bool:
        """True if the newest launch had ended at the last poll."""
        poll = self.last_poll
        return poll is not None and poll.token == self.request.token and poll.word.is_final

    def scores(self) -> ScoresDocument | None:
        """Content of scores.json, or None before the run is evaluated."""
        document = read_document(self.scores_file)
        return None if document is None else check_scores(document, self.scores_file)

    def launches(self) -> list[LaunchRecord]:
        return read_records(LaunchRecord, self.launcher_file)

    def heartbeats(self) -> list[HeartbeatRecord]:
        """Newest heartbeat of each rank, by rank."""
        paths = (self.folder / "status").glob("rank-*.json")
        found = (parse_record(HeartbeatRecord, plain, str(path)) for path in paths if (plain := read_json(path)) != {})
        return sorted(found, key=lambda heartbeat: heartbeat.rank)

    def progress(self, offset: int = 0) -> tuple[list[Progress], int]:
        """Progress records from a byte offset on, and the offset to go on from."""
        records, end = read_lines(self.progress_file, offset)
        return [check_progress(record, self.progress_file) for record in records], end

    def latest(self) -> Progress:
        """Newest progress record, or {}; reads the end of the file only."""
        return read_last_progress(self.progress_file)

    def facts(self) -> RunFacts:
        """Facts that its state is derived from, those of a finished run without the rest."""
        if self.done_file.exists():
            return RunFacts(time.time(), socket.gethostname(), self.created, self._done_at(), self.request)
        request, launches, heartbeats = self.request, self.launches(), self.heartbeats()
        last, sender = launches[-1] if launches else None, request.sender
        return RunFacts(
            now=time.time(),
            this_host=socket.gethostname(),
            created=self.created,
            request=request,
            is_cancel_asked=self.cancel_file.exists(),
            launches=tuple(launches),
            heartbeats=tuple(heartbeats),
            is_launcher_alive=last is not None and process_alive(last.pid, last.pid_started),
            are_ranks_alive=bool(self.ranks_here()),
            is_sender_alive=sender is not None and process_alive(sender.pid, sender.pid_started),
            upload=read_record(UploadRecord, self.upload_file),
            last_poll=self.last_poll,
            contact=read_contact(self.folder.parent, request.target),
            fetch=read_record(FetchRecord, self.fetch_file) or FetchRecord(),
            done_at=self._done_at(),  # last: a run may end while the rest is read
        )

    def status(self) -> RunStatus:
        """State of the run from its files and its launcher's process; never fails on what the files hold."""
        try:
            self._check_spec()
            status = derive_status(self.facts())
            self.latest()
            self.scores()
        except RecordError as error:
            return RunStatus(RunState.DAMAGED, str(error))
        except OSError as error:
            return RunStatus(RunState.UNKNOWN, f"its folder can't be read ({error.strerror})")
        return status

    @property
    def is_uploading(self) -> bool:
        return is_uploading(self.facts())

    def ranks_here(self, ranks: Container[int] | None = None) -> list[int]:
        """Process ids of the ranks, or of some of them, that live on this host."""
        this_host = socket.gethostname()
        return [
            heartbeat.pid
            for heartbeat in self.heartbeats()
            if (ranks is None or heartbeat.rank in ranks)
            and (heartbeat.host, heartbeat.end) == (this_host, None)
            and heartbeat.pid is not None
            and process_alive(heartbeat.pid, heartbeat.pid_started)
        ]

    def _check_spec(self) -> None:
        """Raise RecordError for a spec that was changed since its creation and can't be used any more."""
        recorded = self.request.spec_sha256
        with contextlib.suppress(OSError):
            if recorded and sha256(self.spec_file) == recorded:
                return
        _ = self.spec  # takes 100 times as long, which a long list of runs can't afford

    def _done_at(self) -> float | None:
        with contextlib.suppress(FileNotFoundError):
            return self.done_file.stat().st_mtime
        return None


class Run(RunReader):
    """One run folder, to read and to write."""

    @contextlib.contextmanager
    def launch_lock(self) -> Iterator[None]:
        """Let one process at a time start the run, or record that it was started.

        Raises
        ------
        StoreError
            If the folder was deleted.
        """
        if not self.folder.is_dir():
            raise StoreError(f"run {self.id} is not there any more: its folder was deleted")
        with open(self.folder / "status" / ".launch", "ab", opener=private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def update_request(self, **changes: Any) -> None:
        """Write changed keys of request.json; others stay, those unknown to RunRequest too."""
        with refuse_unwritable(self.folder):
            write_whole(self.request_file, to_json({**read_json(self.request_file), **changes}))

    def write_notes(self, notes: RunNotes) -> None:
        with refuse_unwritable(self.folder):
            write_whole(self.notes_file, to_json(asdict(notes)))

    def record_launch(self, event: LaunchEvent, **facts: Any) -> None:
        """Append to the launcher's records; `facts` are keys of LaunchRecord."""
        append_line(self.launcher_file, {"time": time.time(), "event": event, **facts})

    def forget_heartbeats(self, *ranks: int) -> None:
        """Remove the heartbeats of these ranks, or of all."""
        for number in ranks or ("*",):
            for pattern in (f"rank-{number}.json", f".rank-{number}.json*"):
                for path in (self.folder / "status").glob(pattern):
                    path.unlink(missing_ok=True)

    def remove_partial_files(self) -> None:
        """Remove what a kill left half written (see write_whole), where rank 0 alone writes."""
        for folder in ("checkpoints", "results", "."):
            for path in (self.folder / folder).glob(".*"):
                with contextlib.suppress(OSError):  # not worth a failure
                    path.unlink()

    def ask_to_cancel(self) -> None:
        """Ask the run to stop after the step it is in, keeping what it has."""
        with refuse_unwritable(self.folder):
            write_whole(self.cancel_file, to_json({"time": time.time()}))

    def withdraw_cancel(self) -> None:
        self.cancel_file.unlink(missing_ok=True)

    def ask_to_pause(self, reason: str) -> None:
        """Ask the run to stop after the step it is in, to be started again later."""
        with refuse_unwritable(self.folder):
            write_whole(self.pause_file, to_json({"time": time.time(), "reason": reason}))

    def withdraw_pause(self) -> None:
        self.pause_file.unlink(missing_ok=True)

    def write_manifest(self, *renewed: Path) -> None:
        """Write results/manifest.json: size and sha256 of each result, or new ones of those that are renewed."""
        path = self.scores_file.with_name("manifest.json")
        files = renewed or sorted(file for file in path.parent.iterdir() if file != path)
        entries = {file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for file in files}
        write_whole(path, to_json({**(read_json(path) if renewed else {}), **entries}))


def site_file(store: Path, site: str, ending: str) -> Path:
    """File that all who poll a site share: its lock, or when it was polled."""
    return store / ".targets" / f"{site}.{ending}"


def read_contact(store: Path, site: str) -> SiteContact:
    return read_record(SiteContact, site_file(store, site, "json")) or SiteContact()


def process_alive(pid: int | None, started: float | None) -> bool:
    """True if that very process exists: a process id that was given again doesn't count."""
    if pid is None:
        return False
    try:
        process = psutil.Process(pid)
        same = started is None or abs(process.create_time() - started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # a damaged record may hold any number
        return False


@contextlib.contextmanager
def refuse_unwritable(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals into a message with how to fix them."""
    try:
        yield
    except OSError as error:
        hint, action = {
            errno.ENOSPC: ("the disk is full", "free some space, or give another folder with --store"),
            errno.EDQUOT: ("your quota is used up", "free some space, or give another folder with --store"),
            errno.EACCES: ("it is not writable for you", OTHER_STORE),
            errno.EROFS: ("it is on a read-only file system", OTHER_STORE),
        }.get(error.errno or 0, ("", OTHER_STORE))
        problem = f"the store {folder} can't be written ({error.strerror})"
        raise StoreError(problem, hint=hint, action=action) from error
