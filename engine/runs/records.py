"""Records of a run folder: what its JSON files hold, checked as it is read.

Unknown keys are left out, so that folders of older and newer versions open; a key of another type,
or one that is missing, raises RecordError.
"""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TypedDict, TypeVar, cast

from engine.errors import RecordError, SpecError
from engine.files import read_lines
from engine.parsing import parse_record
from engine.spec import Spec

R = TypeVar("R")
ScoresDocument = dict[str, dict[str, dict[str, float | None]]]  # scores.json: product → score → mean, std


class Progress(TypedDict, total=False):
    """A line of progress.jsonl, as `ProgressRecord` of engine.training.progress makes it; more may stand beside."""

    seq: int
    time: float
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None
    loss_adversarial: float | None
    loss_discriminator: float | None
    val_loss: float | None
    val_rmse: float | None
    samples_per_s: float | None
    learning_rate: float | None
    elapsed_s: float | None
    eta_s: float | None


COUNTS = ("seq", "epoch", "epochs", "step", "steps")
_read_before: dict[Path, tuple[int, int, Progress]] = {}  # progress.jsonl: inode, offset, newest record


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # it may well go on
    DAMAGED = "damaged"  # its folder holds something else than the records of a run

    @property
    def is_active(self) -> bool:
        return self in (RunState.QUEUED, RunState.RUNNING)

    @property
    def is_final(self) -> bool:
        return self in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)

    @property
    def may_be_active(self) -> bool:
        return self.is_active or self is RunState.UNKNOWN


class Stage(StrEnum):
    """Progress of the submission of a run to a site."""

    SENDING = "sending"
    ASKED = "asked"  # its start was asked for, and the answer isn't known
    SENT = "sent"
    REFUSED = "refused"

    @property
    def is_submitted(self) -> bool:
        return self in (Stage.ASKED, Stage.SENT)


class LaunchEvent(StrEnum):
    SUBMITTED = "submitted"
    STARTED = "started"
    RESTARTED = "restarted"
    LOST = "lost"
    PAUSED = "paused"
    ENDED = "ended"


class RankEnd(StrEnum):
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class ExitKind(StrEnum):
    """End of the ranks of a launch."""

    DONE = "done"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    FAILED = "failed"  # a rank said why
    DIED = "died"  # a rank ended without a word
    PAUSED = "paused"  # its job is queued again
    REPLACED = "replaced"  # another launch has the run folder now


@dataclasses.dataclass(frozen=True)
class RunStatus:
    """State of a run as of now, why, and since when (seconds since the epoch, where it is known).

    exit : how its ranks ended, where they did and it is known.
    is_confirmed : False where a launch seems to have ended without a word, which a later poll has to confirm.
    """

    state: RunState
    reason: str = ""
    since: float | None = None
    is_confirmed: bool = True
    exit: ExitKind | None = None


@dataclasses.dataclass(frozen=True)
class ProcessIdentity:
    """A process and no other: a process id may be given again."""

    host: str
    pid: int
    pid_started: float | None = None


@dataclasses.dataclass(frozen=True)
class RanksRequest:
    """Start of the ranks on the site, as request.json has it."""

    by: str = "horovodrun"
    interface: str = ""
    hosts: tuple[str, ...] = ()
    warning_s: float | None = None


@dataclasses.dataclass(frozen=True)
class RunRequest:
    """Content of request.json: the site that was asked to run it, and how far the submission is.

    job : the scheduler's id, or the id of the process on the site.
    token : of the newest launch.
    spec_sha256 : of spec.yaml as it was created.
    """

    target: str = "local"
    kind: str = "local"
    job: str | int | None = None
    token: str | None = None
    title: str | None = None
    field: str | None = None
    spec_sha256: str | None = None
    stage: Stage | None = None
    time: float | None = None
    reason: str = ""
    sender: ProcessIdentity | None = None
    ranks: RanksRequest | None = None

    @property
    def is_submitted(self) -> bool:
        return self.stage is not None and self.stage.is_submitted


@dataclasses.dataclass(frozen=True)
class RunNotes:
    """Content of notes.json: the words of its user about a run.

    title : in place of the title that it was created with, unless it is empty.
    archived : left out of lists, unless they are asked for such runs.
    """

    title: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    archived: bool = False


@dataclasses.dataclass(frozen=True)
class LaunchRecord:
    """A line of status/launcher.jsonl."""

    time: float
    event: LaunchEvent
    host: str | None = None
    pid: int | None = None
    pid_started: float | None = None
    token: str | None = None
    job: str | None = None
    rc: int | None = None
    cancelled: bool = False
    kind: ExitKind | None = None
    reason: str | None = None
    requeues: int | None = None
    number: int | None = None  # of a restart
    ranks: tuple[int, ...] = ()  # that were lost
    left: int | None = None  # ranks that continue
    epoch: int | None = None
    step: int | None = None

    def is_of_process(self, other: LaunchRecord) -> bool:
        """Compare the processes that wrote two records."""
        if (self.host, self.pid) != (other.host, other.pid):
            return False
        began, other_began = self.pid_started, other.pid_started
        return began is None or other_began is None or abs(began - other_began) < 1.0


@dataclasses.dataclass(frozen=True)
class HeartbeatRecord:
    """Content of status/rank-<n>.json: the newest sign of life of a rank."""

    rank: int
    time: float
    size: int | None = None  # ranks in all
    host: str | None = None
    pid: int | None = None
    pid_started: float | None = None
    phase: str = ""
    end: RankEnd | None = None
    reason: str | None = None
    weights: str | None = None


@dataclasses.dataclass(frozen=True)
class LastPoll:
    """Content of status/look.json: the state of a run when its site was polled.

    is_done : its results wait there to be fetched (`done` in the file).
    """

    token: str
    word: RunState
    reason: str = ""
    since: float | None = None
    job: str | int | None = None
    done: bool = False


@dataclasses.dataclass(frozen=True)
class SiteContact:
    """Content of .targets/<site>.json: when a site was polled, and why not since.

    time : of the last poll that succeeded; tried : of the last one.
    gone : by token, since when a launch seems to have ended without a word.
    """

    tried: float = 0.0
    time: float = 0.0
    failures: int = 0
    since: float | None = None
    why: str = ""
    gone: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FetchRecord:
    """Content of status/fetch.json: the last try to fetch the results."""

    tried: float = 0.0
    failures: int = 0
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class UploadRecord:
    """Content of status/sending.json: the sign of life of an upload to a site."""

    token: str
    time: float
    how_far: str = ""


def read_spec(path: Path) -> Spec:
    """Read the spec.yaml of a run folder, once as long as it doesn't change.

    Raises
    ------
    RecordError
        If it is missing, or isn't a spec.
    OSError
        If the folder is gone, or can't be read.
    """
    try:
        stat = path.stat()
        return _read_spec(path, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        if not path.parent.exists():  # just deleted
            raise
        raise RecordError(f"{path} is missing") from None
    except SpecError as error:
        reason = ": ".join(filter(None, [error.problem, error.hint]))
        raise RecordError(f"{path} can't be used ({reason})") from None


def read_document(path: Path) -> object:
    """Read a JSON document; None where there is no file. Raises RecordError if it isn't JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is not JSON ({error})") from None


def read_record(kind: type[R], path: Path) -> R | None:
    """Read a file that holds one record; None where there is no file.

    Raises
    ------
    RecordError
        If it holds something else.
    """
    document = read_document(path)
    if document is None:
        return None
    return parse_record(kind, document, str(path))


def read_records(kind: type[R], path: Path) -> list[R]:
    """Read all whole lines of a file; raises RecordError if one holds something else."""
    return [parse_record(kind, line, str(path)) for line in read_lines(path)[0]]


def read_last_progress(path: Path) -> Progress:
    """Read the newest record of progress.jsonl, or {}; of a file read before, only what was appended since."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return Progress()
    inode, offset, latest = _read_before.get(path, (0, 0, Progress()))
    if inode != stat.st_ino or offset > stat.st_size:  # written anew
        offset, latest = 0, Progress()
    lines, offset = read_lines(path, offset)
    for line in lines:
        latest = check_progress(line, path)
    _read_before[path] = (stat.st_ino, offset, latest)
    return latest.copy()


def check_progress(record: object, path: Path) -> Progress:
    """Return a progress record: numbers by name, the epoch among them; raises RecordError for all else."""
    if not isinstance(record, dict) or not {"seq", "epoch"} & set(record):
        raise RecordError(f"{path} holds {record!r:.60}")
    for name, value in record.items():
        if type(value) not in ((int,) if name in COUNTS else (int, float, type(None))):
            raise RecordError(f"{path}: {name} holds {value!r:.60}")
    return cast(Progress, record)


def check_scores(document: object, path: Path) -> ScoresDocument:
    """Return scores: for each product, scores with mean and std; raises RecordError for all else."""
    for product in ("downscaled", "interpolated"):
        scores = document.get(product) if isinstance(document, dict) else None
        if not isinstance(scores, dict) or not all(isinstance(score, dict) for score in scores.values()):
            raise RecordError(f"{path} holds no scores of the {product} field")
        for name, score in scores.items():
            for key, value in score.items():
                if type(value) not in (int, float, type(None)):
                    raise RecordError(f"{path}: {product}.{name}.{key} holds {value!r:.60}")
    assert isinstance(document, dict)
    return document


@lru_cache(maxsize=2048)
def _read_spec(path: Path, mtime_ns: int, size: int) -> Spec:
    return Spec.read_recorded(path)
