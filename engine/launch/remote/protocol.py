"""Requests to the agent on a site and its answers, as records that both sides share.

Both sides are of the same version, for the agent is the uploaded engine. Few imports: each request starts them there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Generic, TypeVar, get_args

from engine.errors import LaunchError

A = TypeVar("A")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # of a file on a site
COPIED = ("progress.jsonl", "log.txt", "status/launcher.jsonl")  # files of a run that grow, copied by each poll
RESULT_FOLDERS = ("checkpoints", "results")


@dataclass(frozen=True)
class Request(Generic[A]):
    """A request to the agent, answered by a record A."""


def answer_kind(request: Request[A]) -> type[A]:
    """Record that answers a request: the A of its base Request[A]."""
    (base,) = vars(type(request))["__orig_bases__"]
    kind: type[A] = get_args(base)[0]
    return kind


@dataclass(frozen=True)
class Done:
    """Answer without content."""


@dataclass(frozen=True)
class CommandResult:
    """Result of a command on the site; rc is None if it could not be run, or didn't end in time."""

    rc: int | None
    out: str
    err: str


@dataclass(frozen=True)
class SiteDescription:
    """Facts of a site; folder is absolute."""

    folder: str
    host: str
    python: str
    free_bytes: int


@dataclass(frozen=True)
class DescribeSite(Request[SiteDescription]):
    """Make the site's folders, try to write there, and remove uploads that were never used."""


@dataclass(frozen=True)
class InputNames:
    """Inputs on a site: 'checksum/file' each."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class FindMissingInputs(Request[InputNames]):
    """Find those of the inputs that the site lacks."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class PlaceInput(Request[Done]):
    """Put an uploaded input into its place, 'checksum/file', once its checksum is right.

    packed : it is a folder, which was uploaded as an archive.
    """

    incoming: str
    name: str
    packed: bool = False


@dataclass(frozen=True)
class ImportCheckpoint(Request[Done]):
    """Put uploaded files of another run, from which this one starts, into its folder.

    files : place in the run folder → name of the upload.
    """

    run: str
    files: dict[str, str]


@dataclass(frozen=True)
class LaunchOnSite:
    """Content of status/begun.json on the site: the newest launch, and the tokens of those before.

    said : answer of the scheduler's command; pid_started : in clock ticks since the host was booted.
    """

    token: str | None = None
    time: float | None = None
    past: tuple[str, ...] = ()
    said: CommandResult | None = None
    host: str | None = None
    pid: int | None = None
    pid_started: int | None = None


@dataclass(frozen=True)
class StartRun(Request[LaunchOnSite]):
    """Write the run's texts and start it: once for each token, however often or late this is asked.

    texts : place in the run folder → content.
    command : submits a job, {run} stands for the run folder; None starts the supervisor there and then.
    """

    run: str
    token: str
    texts: dict[str, str]
    command: tuple[str, ...] | None
    timeout_s: float


@dataclass(frozen=True)
class Revoke(Request[LaunchOnSite]):
    """Keep a launch from beginning, even if its request still arrives; answered by the newest launch.

    arrived : revoke it though its start was asked for, as of a job that a scheduler may yet start.
    """

    run: str
    token: str
    arrived: bool


@dataclass(frozen=True)
class RunQuery:
    """Question about one run: bytes of each file that are copied already, and whether its user cancelled it."""

    offsets: dict[str, int]
    cancel: bool = False


@dataclass(frozen=True)
class Tail:
    """Bytes of a file from an offset on, by base64, and its size."""

    size: int
    offset: int
    content: str


@dataclass(frozen=True)
class FolderFacts:
    """Facts of a run folder on the site.

    busy : somebody is just starting the run; full : its disk is; alive : the launcher, None if on another host.
    beats : heartbeats of the ranks, as written. trouble : why the folder couldn't be read.
    """

    busy: bool = False
    full: bool = False
    done: bool = False
    alive: bool | None = None
    begun: LaunchOnSite = field(default_factory=LaunchOnSite)
    beats: tuple[dict[str, object], ...] = ()
    tails: dict[str, Tail] = field(default_factory=dict)
    trouble: str | None = None


@dataclass(frozen=True)
class PollAnswer:
    """Facts of the runs that have a folder on the site, by id; now : the site's clock; listing : jobs as listed."""

    now: float
    listing: CommandResult | None
    runs: dict[str, FolderFacts]


@dataclass(frozen=True)
class Poll(Request[PollAnswer]):
    """Report the changes of runs, and the scheduler's list of jobs by a line of bash; {user} stands for the user."""

    runs: dict[str, RunQuery]
    listing: str | None
    timeout_s: float


@dataclass(frozen=True)
class StopAnswer:
    """Answer of the scheduler's command, if there was one."""

    said: CommandResult | None = None


@dataclass(frozen=True)
class StopRun(Request[StopAnswer]):
    """Ask a run to stop; with `now`, end its processes; with a command, run that of the scheduler."""

    run: str
    command: tuple[str, ...] | None
    now: bool
    timeout_s: float


@dataclass(frozen=True)
class ResultFile:
    """A result on the site: its name in the run folder, size in bytes and checksum."""

    name: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        part, _, name = self.name.partition("/")
        if part not in RESULT_FOLDERS or not NAME.fullmatch(name):
            raise LaunchError(f"the site lists {self.name!r}, which is outside of the results: nothing was fetched")
        if self.bytes < 0:
            raise ValueError(f"{self.name} has {self.bytes} bytes")


@dataclass(frozen=True)
class ResultList:
    """Results and checkpoints of a run, and its folder, absolute."""

    folder: str
    files: tuple[ResultFile, ...]


@dataclass(frozen=True)
class ListResults(Request[ResultList]):
    """List the results and checkpoints of a run that is done."""

    run: str


@dataclass(frozen=True)
class RunCommand(Request[CommandResult]):
    """Run a command in the site's environment."""

    command: tuple[str, ...]
    timeout_s: float
