"""The one run watcher of the server process: looks at the store, bumps a version when something changed.

Sessions compare versions and pull a snapshot; nothing is pushed, so a slow tab holds up no other. Beside it, threads of
the engine bring what happens on targets into the store.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Self

from engine.errors import MesoscopeError, RecordError, SiteError
from engine.launch.remote.poll import SitePollers
from engine.launch.searches import Found, Search, SearchRequest, searches
from engine.runs import Run, RunNotes, RunState, RunStatus, Stage, Store
from engine.runs.records import Progress, ScoresDocument

PERIOD_S = 1.0
IDLE_PERIOD_S = 5.0  # when no tab has asked for a while
ATTENTION_S = 10.0
FIRST_PART_S = 0.5  # until the runs seen so far are shown; the parts after it take longer and longer


@dataclass(frozen=True)
class RunSite:
    """Site of a run: name and kind, job or process, stage of the submission."""

    name: str = "local"
    kind: str = "local"
    job: str = ""
    stage: Stage | None = None
    fetching: bool = False  # finished on the site
    cancelling: bool = False  # it was asked to stop

    @classmethod
    def of(cls, run: Run) -> Self:
        request, poll = run.request, run.last_poll
        return cls(
            request.target,
            request.kind,
            str(request.job or ""),
            request.stage,
            bool(request.kind != "local" and poll and poll.done and poll.token == request.token),
            run.cancel_file.exists(),
        )


@dataclass(frozen=True)
class RunSnapshot:
    """Facts about one run for a list of runs. `fault` : why a folder can't be read; '' when it can."""

    run: Run
    status: RunStatus
    title: str
    created: float  # seconds since the epoch
    target: str = ""  # variable and file
    latest: Progress = field(default_factory=Progress)  # newest progress record
    scores: ScoresDocument = field(default_factory=dict)
    fault: str = ""
    site: RunSite = RunSite()
    notes: RunNotes = field(default_factory=RunNotes)
    notes_time: float = 0.0  # when they were written
    previous_val_loss: float | None = None  # of an earlier look: only the last record of an epoch has one
    closely: bool = True

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def share(self) -> float:
        """Share of the training that is done, from 0 to 1."""
        if self.status.state is RunState.DONE:
            return 1.0
        epochs, steps = self.latest.get("epochs") or 0, self.latest.get("steps") or 1
        done = max((self.latest.get("epoch") or 1) - 1, 0) + min((self.latest.get("step") or 0) / steps, 1.0)
        return min(done / epochs, 1.0) if epochs else 0.0

    @property
    def val_loss(self) -> float | None:
        return self.latest.get("val_loss") or self.previous_val_loss

    def rmse(self, product: str) -> float | None:
        """Mean test RMSE of 'downscaled' or 'interpolated', in the target's unit."""
        return ((self.scores.get(product) or {}).get("rmse") or {}).get("mean")


def take_snapshot(run: Run, *, closely: bool = True) -> RunSnapshot:
    """Look at one run folder; a folder that is broken, half written or just deleted is said to be so.

    closely : read its spec too, which takes longer than all else.
    """
    state = RunState.UNKNOWN
    try:
        if closely:
            _ = run.spec
        status = run.status()
        if status.state is RunState.DAMAGED:
            return RunSnapshot(run, status, run.title, run.created, fault=status.reason, closely=closely)
        site = RunSite.of(run)
        records = (run.field, run.latest(), run.scores() or {})
        seen = RunSnapshot(run, status, run.title, run.created, *records, site=site, closely=closely)
        with suppress(MesoscopeError):  # damaged notes are none, so that they hide no run
            seen = replace(seen, notes=run.notes)
        seen = replace(seen, notes_time=_notes_time(run))
        seen.share, seen.rmse("downscaled"), seen.rmse("interpolated")  # so that damaged numbers show here
        return seen
    except MesoscopeError as error:
        fault = str(error)
    except OSError as error:
        fault = f"{run.folder} can't be read ({error.strerror}): it was just deleted, or isn't yours to read"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        state = RunState.DAMAGED
        fault = f"{run.folder} is damaged ({type(error).__name__}: {error}): delete it, or restore it from a copy"
    return RunSnapshot(run, RunStatus(state, "the run folder can't be read"), run.id, 0.0, fault=fault, closely=closely)


def _notes_time(run: Run) -> float:
    with suppress(OSError):
        return run.notes_file.stat().st_mtime
    return 0.0


@dataclass(frozen=True)
class SearchSnapshot:
    """State and trials of one search."""

    search: Search
    status: RunStatus
    request: SearchRequest
    found: Found

    @classmethod
    def of(cls, search: Search) -> Self:
        return cls(search, search.status(), search.request, search.found())


class RunWatcher:
    """Looks at a store in a thread of its own, at most once a period."""

    def __init__(self, store: Store, look: Callable[..., RunSnapshot] = take_snapshot, period_s: float = PERIOD_S):
        self.store = store
        self.version = 0
        self._look_at, self._period_s = look, period_s
        self._snapshots: tuple[RunSnapshot, ...] = ()
        self.searches: tuple[SearchSnapshot, ...] = ()  # the newest first; damaged ones are left out
        self._asked = -ATTENTION_S
        self._chosen: set[str] = set()
        self._lock, self._wake, self._stopping = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look; a second call changes nothing."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._stopping.clear()
                self._thread = threading.Thread(target=self._watch, name="run watcher", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def nudge(self) -> None:
        """Look again at once, as after a submission."""
        self._wake.set()

    def snapshots(self) -> tuple[RunSnapshot, ...]:
        """The newest look, newest run first. Cheap: reads nothing from disk."""
        now = time.monotonic()
        if now - self._asked > ATTENTION_S:
            self._wake.set()  # the first to ask for a while: what is known may be old
        self._asked = now
        return self._snapshots

    def find(self, run_id: str) -> RunSnapshot | None:
        """The newest look at one run, closely from the next one on."""
        if run_id not in self._chosen:
            self._chosen.add(run_id)
            self._wake.set()
        return next((seen for seen in self.snapshots() if seen.id == run_id), None)

    def look(self) -> None:
        """Look once, in the caller's thread."""
        known = {seen.id: seen for seen in self._snapshots}
        found: list[RunSnapshot] = []
        publish_at = time.monotonic() + FIRST_PART_S
        try:
            self._look_at_searches()
            for run in self.store.runs():
                found.append(self._look_again(run, known.get(run.id)))
                if not known and time.monotonic() > publish_at:  # the first look at a large store takes long
                    self._publish(found)
                    publish_at += 2 * (time.monotonic() - publish_at + FIRST_PART_S)
        except OSError:
            return  # the store can't be listed just now: what was seen still stands
        self._publish(found)

    def _look_at_searches(self) -> None:
        seen, ended = [], {one.search.id: one for one in self.searches if one.found.end}
        for search in searches(self.store):
            with suppress(RecordError):
                seen.append(ended.get(search.id) or SearchSnapshot.of(search))
        if tuple(seen) != self.searches:
            self.searches = tuple(seen)
            self.version += 1

    def _publish(self, found: Sequence[RunSnapshot]) -> None:
        if tuple(found) != self._snapshots:
            self._snapshots = tuple(found)
            self.version += 1

    def _look_again(self, run: Run, seen: RunSnapshot | None) -> RunSnapshot:
        """Look at a run, reading no more than can have changed: a spec never does, a done run neither."""
        closely = run.id in self._chosen
        if seen is None or seen.fault:
            return self._look_at(run, closely=closely)
        if seen.status.state is RunState.DONE and seen.closely >= closely and seen.notes_time == _notes_time(run):
            return seen
        return replace(self._look_at(seen.run, closely=closely), previous_val_loss=seen.val_loss)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self.look()
            attended = time.monotonic() - self._asked < ATTENTION_S
            self._wake.wait(self._period_s if attended else max(self._period_s, IDLE_PERIOD_S))
            self._wake.clear()


_watchers: dict[str, tuple[RunWatcher, SitePollers]] = {}
_watchers_lock = threading.Lock()


def watcher_of(store: Store) -> RunWatcher:
    """The process's watcher of that store, started; every target that the targets file names by now is looked at."""
    with _watchers_lock:
        watcher, pollers = _watchers.setdefault(str(store.folder.absolute()), (RunWatcher(store), SitePollers(store)))
        with suppress(SiteError):  # the Design page shows it, and runs here continue
            pollers.start()
    watcher.start()
    return watcher


def stop_all() -> None:
    """Stop every watcher of this process."""
    with _watchers_lock:
        watched = list(_watchers.values())
        _watchers.clear()
    for watcher, pollers in watched:
        watcher.stop()
        pollers.stop()
