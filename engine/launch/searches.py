"""Searches of a store, each in a folder of its own: started detached, asked to stop, and read."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.files import to_json, write_whole
from engine.launch import local
from engine.runs import RunState, RunStatus, Store, process_alive
from engine.runs.folder import refuse_unwritable
from engine.runs.records import parse_record, read_document, read_record
from engine.spec import Spec


@dataclass(frozen=True)
class Trial:
    """One trial.

    state : complete, pruned (ended early) or fail; settings : option → value as in YAML.
    val_rmse : least validation RMSE, in the target's unit; None without a validated epoch.
    training_s : time of training until then.
    """

    number: int
    state: str
    settings: dict[str, str]
    run: str
    reason: str
    val_rmse: float | None
    training_s: float | None


@dataclass(frozen=True)
class Found:
    """Content of trials.json: trials that were trained, the best first; path of the best spec; why it ended."""

    trials: tuple[Trial, ...] = ()
    best: str | None = None
    end: str = ""


@dataclass(frozen=True)
class SearchRequest:
    """Content of search.json: minutes for all trials, options that are searched, and the process."""

    minutes: float
    options: tuple[str, ...]
    time: float
    host: str
    pid: int
    pid_started: float | None = None


@dataclass(frozen=True)
class Search:
    """The folder of one search: spec.yaml, search.json, journal.jsonl, trials.json, best.yaml, log.txt, stop."""

    folder: Path

    @property
    def id(self) -> str:
        """Its name, which also begins the titles of its runs."""
        return self.folder.name

    @property
    def request(self) -> SearchRequest:
        """What was asked for; raises RecordError if it is damaged."""
        return parse_record(SearchRequest, read_document(self.folder / "search.json"), str(self.folder))

    def found(self) -> Found:
        """Trials until now; raises RecordError if they are damaged."""
        return read_record(Found, self.folder / "trials.json") or Found()

    @property
    def stop_file(self) -> Path:
        return self.folder / "stop"

    def stop(self) -> None:
        """Ask the search to end, and its trial with it; raises StoreError."""
        with refuse_unwritable(self.folder):
            write_whole(self.stop_file, "")

    def status(self) -> RunStatus:
        """State as of now, from its files and its process; raises RecordError if they are damaged."""
        request, found = self.request, self.found()
        if found.end:
            return RunStatus(RunState.CANCELLED if found.end == "stopped" else RunState.DONE, found.end, request.time)
        if request.host != socket.gethostname():
            return RunStatus(RunState.UNKNOWN, f"it runs on {request.host}", request.time)
        if process_alive(request.pid, request.pid_started):
            return RunStatus(RunState.RUNNING, "stopping" if self.stop_file.exists() else "", request.time)
        return RunStatus(RunState.FAILED, self._last_line() or "its process is gone", request.time)

    def _last_line(self) -> str:
        """Error with which the command ended; '' where it was killed."""
        lines = (self.folder / "log.txt").read_text(errors="replace").splitlines()
        return lines[-1].removeprefix("error: ") if lines and lines[-1].startswith("error: ") else ""


def start(spec: Spec, store: Store, minutes: float, space: Mapping[str, str]) -> Search:
    """Start `engine search` in a process of its own, which outlives this one.

    Parameters
    ----------
    space : option → its values, as after `--search`.

    Raises
    ------
    StoreError, LaunchError
        If the store can't be written, or no process starts.
    """
    folder = store.folder / ".searches"
    with refuse_unwritable(store.folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        search = _new(folder)
        write_whole(search.folder / "spec.yaml", spec.to_yaml())
        words = [word for option, values in space.items() for word in ("--search", f"{option}={values}")]
        process = local.detach(
            ["search", str(search.folder / "spec.yaml"), "--minutes", f"{minutes:g}", "--output", str(search.folder),
             "--store", str(store.folder), *words], 1, search.folder / "log.txt",
        )  # fmt: skip
        request = SearchRequest(minutes, tuple(space), time.time(), **asdict(local.identity(process.pid)))
        write_whole(search.folder / "search.json", to_json(asdict(request)))
    return search


def searches(store: Store) -> list[Search]:
    """All searches of a store that were started, the newest first."""
    files = (store.folder / ".searches").glob("search-*/search.json")
    return sorted((Search(file.parent) for file in files), key=lambda search: search.id, reverse=True)


def _new(folder: Path) -> Search:
    """A folder with the next number, also where another search is started at the same time."""
    for number in itertools.count(1):
        search = Search(folder / f"search-{number:03}")
        try:
            search.folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return search
    raise AssertionError
