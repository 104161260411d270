"""What runs on a target are doing, brought into their folders here: one look for all of them, shared by all who watch.

Whoever holds the target's lock looks, at most once every LOOK_S; others read what it wrote. Files that grow are copied
from the byte where the copy ends. A look that fails changes nothing but the time since when nothing is known.
"""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engine.errors import LaunchError, MesoscopeError, RunError, SiteError, UnreachableError
from engine.files import append_bytes, private, read_json, sha256, to_json, write_whole
from engine.launch.remote.agent import NAME
from engine.launch.remote.state import Seen, judge
from engine.launch.remote.submit import ask, scheduler
from engine.launch.sites import Site, Sites
from engine.runs import Run, State, Store, describe_error

LOOK_S = 5.0
LONGEST_PAUSE_S = 60.0  # between looks at a host that doesn't answer
GONE_S = 20.0  # a job that has left the queue may still be writing its end
GROWING = ("progress.jsonl", "log.txt", "status/launcher.jsonl")
BATCH = 100  # runs in one look
MOST_RANKS = 100_000
RESULT_PARTS = ("checkpoints", "results")

Note = Callable[[str], None]


class Mirror:
    """All runs of a store on one target."""

    def __init__(self, store: Store, target: Site, note: Note = lambda line: None):
        self.store, self.target, self.note = store, target, note
        self._gone: dict[str, float] = {}  # token → since when its launch seems to have ended without a word
        self._over: set[str] = set()

    def look(self, *, at_once: bool = False) -> bool:
        """Look at the target unless that was done a moment ago; returns whether it was looked at."""
        if not (at_once or _due(read_json(self._file), LOOK_S)):
            return False
        runs = self._watched()
        if not runs:
            return False
        with _held(self.store.target_file(self.target.name, "lock")) as mine:
            if not (mine and (at_once or _due(read_json(self._file), LOOK_S))):
                return False
            self._look(runs)
        return True

    def fetch(self) -> None:
        """Bring the results of runs that are done there; what can't be brought now is tried again at the next call."""
        for run in self._watched():
            if run.look.get("done"):
                with _held(run.folder / "status" / ".fetch") as mine:
                    if mine and not (run.folder / "DONE").exists() and _due(_fetching(run)):
                        self._fetch(run)

    def _watched(self) -> list[Run]:
        """Runs that were handed over and may still change."""
        found = []
        for run in self.store.runs():
            if run.id in self._over:
                continue
            request = run.request
            if request.get("target") != self.target.name or (run.folder / "DONE").exists():
                self._over.add(run.id)  # for good: no run changes its target
            elif request.get("stage") in ("asked", "sent") and not run.look_is_final:
                found.append(run)
        return found

    @property
    def _file(self) -> Path:
        return self.store.target_file(self.target.name, "json")

    def _look(self, runs: list[Run]) -> None:
        last, now = read_json(self._file), time.time()
        self._gone = last.get("gone", {})
        facts: dict[str, Any] = {"tried": now, "time": now, "failures": 0}
        try:
            for start in range(0, len(runs), BATCH):
                behind = runs[start : start + BATCH]
                while behind:
                    behind = self._look_at(behind)
        except (MesoscopeError, OSError) as error:
            since = last.get("since") if last.get("failures") else now
            failed = {"failures": last.get("failures", 0) + 1, "since": since, "why": describe_error(error)}
            facts |= {"time": last.get("time", 0), **failed}
        tokens = {run.request.get("token") for run in runs}
        facts["gone"] = {token: since for token, since in self._gone.items() if token in tokens}
        write_whole(self._file, to_json(facts))

    def _look_at(self, runs: list[Run]) -> list[Run]:
        """One look at some runs; returns those of which there is more to copy."""
        tokens = {run.id: run.request["token"] for run in runs}  # before the look: a later launch isn't seen by it
        asked = {
            run.id: {
                "offsets": {name: _size(run.folder / name) for name in GROWING},
                "cancel": run.cancel_file.exists(),
            }
            for run in runs
        }
        kind = self.target.kind
        listing = scheduler.list_command(kind) if self.target.scheduled else None
        answer = ask(self.target, "look", runs=asked, listing=listing)
        behind = []
        with _understood(self.target):
            jobs, silence = self._jobs(answer.get("listing"))
            for run in runs:
                token, facts = tokens[run.id], answer["runs"].get(run.id)
                if facts and not _taken(run, facts):
                    behind.append(run)
                    continue
                seen = Seen(facts, jobs.get(scheduler.job_name(token)), silence, float(answer["now"]), self.target)
                with _held(run.folder / "status" / ".launch") as mine:
                    if mine and run.request.get("token") == token:
                        self._settle(run, token, seen)
        return behind

    def _jobs(self, said: Mapping[str, Any] | None) -> tuple[dict[str, scheduler.Job], str]:
        """The user's jobs by name, and why they aren't known."""
        if said is None:
            return {}, ""
        try:
            return scheduler.jobs(self.target.kind, said), ""
        except UnreachableError as error:
            return {}, str(error)

    def _settle(self, run: Run, token: str, seen: Seen) -> None:
        """Note the state; that it has ended without a word is believed when it was so for a while."""
        state: State | None = judge(run, seen)
        if state and state.word == "failed" and not state.since:
            state = self._confirmed(run, token, state, seen)
        else:
            self._gone.pop(token, None)
        if not state:
            return
        old = run.look if run.look.get("token") == token else {}
        job = seen.job.id if seen.job else old.get("job")
        since = old["since"] if old.get("word") == state.word else time.time()
        facts = {"word": state.word, "reason": state.reason, "since": since, "job": job, "done": seen.done}
        if (new := {"token": token, **facts}) != old:
            write_whole(run.look_file, to_json(new))
        if job and run.request.get("job") != job:
            run.note(stage="sent", job=job, reason="")

    def _confirmed(self, run: Run, token: str, state: State, seen: Seen) -> State | None:
        """How a launch went that has ended without a word; None as long as that isn't certain."""
        since = self._gone.setdefault(token, time.time())
        if time.time() < since:  # this machine's clock was set back
            self._gone[token] = time.time()
            return None
        if time.time() - since < GONE_S:
            return None
        if not self._can_begin_no_more(run, token, arrived=seen.arrived(token)):
            return None
        return self._how_it_went(run, state)

    def _can_begin_no_more(self, run: Run, token: str, *, arrived: bool) -> bool:
        """A launch that never began is crossed out there, lest it begin later; False if it has just arrived after all.

        arrived : whether its start was asked for there when that was looked at.
        """
        if any(record.get("token") == token for record in run.launches()):
            return True
        begun = ask(self.target, "give_up", run=run.id, token=token, arrived=arrived)
        return arrived or begun.get("token") != token

    def _how_it_went(self, run: Run, state: State) -> State:
        """With the scheduler's own word for the end, while it remembers it."""
        if run.cancel_file.exists():
            return State("cancelled", "cancelled: resume continues from the last checkpoint")
        job = run.request.get("job")
        if not (self.target.scheduled and job):
            return state
        command = ["/bin/bash", "-c", scheduler.end_command(self.target.kind, job)]
        word = scheduler.ended(self.target.kind, ask(self.target, "ask", command=command)["said"])
        if not word:
            return state
        if word == "CANCELLED":
            return State("cancelled", f"job {job} was cancelled: resume continues from the last checkpoint")
        return State("failed", f"job {job} ended as {word}: resume continues from the last checkpoint")

    def _fetch(self, run: Run) -> None:
        """Results and checkpoints, each checked by size and sha256; DONE last."""
        try:
            answer = ask(self.target, "listing", run=run.id)
            with _understood(self.target):
                home, files = str(answer["folder"]), _checked(answer["files"])
            _check_room(run, files)
            self.note(f"{run.id}: fetching {_megabytes(sum(file['bytes'] for file in files))}")
            for number, file in enumerate(files):
                self._told(run, files, number)
                self._fetch_file(run, f"{home}/{file['name']}", file)
            write_whole(run.folder / "DONE", to_json({"time": time.time()}))
        except (MesoscopeError, OSError) as error:
            failures = _fetching(run).get("failures", 0) + 1
            self._tell(run, f"its results can't be fetched yet: {describe_error(error)}", failures)

    def _told(self, run: Run, files: list[dict[str, Any]], number: int) -> None:
        done, all_ = (sum(file["bytes"] for file in some) for some in (files[:number], files))
        self._tell(
            run, f"fetching results, {_megabytes(done)} of {_megabytes(all_)}", _fetching(run).get("failures", 0)
        )

    def _tell(self, run: Run, reason: str, failures: int) -> None:
        facts = {"tried": time.time(), "failures": failures, "reason": reason}
        with suppress(OSError):  # this machine's disk is full, say: the next try tells
            write_whole(run.folder / "status" / "fetch.json", to_json(facts))

    def _fetch_file(self, run: Run, there: str, file: dict[str, Any]) -> None:
        """Goes on with a part that was fetched before; one that turns out damaged is fetched once more."""
        goal = run.folder / file["name"]
        part = goal.with_name(f".{goal.name}.part")
        if goal.is_file() and sha256(goal) == file["sha256"]:
            return
        for attempt in (1, 2):
            if _size(part) > file["bytes"]:
                part.unlink()
            if _size(part) < file["bytes"] or not file["bytes"]:
                self.target.connection.get(there, part)
            if _size(part) == file["bytes"] and sha256(part) == file["sha256"]:
                os.chmod(part, 0o600)
                os.replace(part, goal)
                return
            part.unlink()
            if attempt == 2:
                raise UnreachableError(
                    f"{file['name']} arrived damaged twice: its checksum is not the one it has there"
                )


class Mirrors:
    """Looks at every target of a store, in a thread for each, until stopped."""

    def __init__(self, store: Store):
        self.store = store
        self._stopping = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    def start(self) -> None:
        """Begin to look; raises SiteError if the targets file can't be used."""
        for target in Sites.read().all:
            if target.remote and target.name not in self._threads:
                thread = threading.Thread(target=self._watch, args=(target,), name=f"mirror {target.name}", daemon=True)
                self._threads[target.name] = thread
                thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads.values():
            thread.join(timeout=5)

    def _watch(self, target: Site) -> None:
        mirror = Mirror(self.store, target)
        while not self._stopping.is_set():
            with suppress(OSError):  # the store can't be written just now: the next look may
                if mirror.look():
                    mirror.fetch()
            self._stopping.wait(1.0)


def refresh(store: Store, note: Note = lambda line: None, *, name: str = "") -> None:
    """Look once at each target, or at the one of that name, and bring what is done."""
    try:
        targets = Sites.read().all
    except SiteError as error:  # what can be told without them is still told
        note(str(error))
        return
    for target in targets:
        if target.remote and name in ("", target.name):
            mirror = Mirror(store, target, note)
            mirror.look()
            mirror.fetch()


def _due(last: Mapping[str, Any], pause_s: float = 0.0) -> bool:
    """Whether it is time for another try, which comes the later the more have failed."""
    failures = last.get("failures", 0)
    pause_s = min(LOOK_S * 2**failures, LONGEST_PAUSE_S) if failures else pause_s
    return not 0 <= time.time() - last.get("tried", 0) < pause_s


def _fetching(run: Run) -> dict[str, Any]:
    return read_json(run.folder / "status" / "fetch.json")


@contextmanager
def _understood(target: Site) -> Iterator[None]:
    """An answer that lacks something, or holds something else: a fault of the target, not of this process."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{target.name} gave an answer that isn't understood ({type(error).__name__}: {error})"
        ) from error


def _taken(run: Run, facts: Mapping[str, Any]) -> bool:
    """Copy what is new; returns whether that was all of it."""
    if "trouble" in facts:
        return True
    _take_beats(run, facts["beats"])
    more = [_take_tail(run, name, tail) for name, tail in facts["tails"].items()]
    return not any(more)


def _take_tail(run: Run, name: str, tail: Mapping[str, Any]) -> bool:
    """Returns whether there is more to come."""
    if name not in GROWING:
        raise RunError(f"the target sent {name!r}, which nobody asked for")
    content, path = base64.b64decode(tail["bytes"]), run.folder / name
    if not content:
        return False
    if tail["from"] == _size(path):
        append_bytes(path, content)
    elif tail["from"] == 0:  # written anew there
        write_whole(path, content)
    return bool(tail["from"] + len(content) < tail["size"])


def _take_beats(run: Run, beats: list[Any]) -> None:
    """Signs of life, without their time, which is another clock's; written when they say something new."""
    for beat in beats:
        rank = beat["rank"]
        if not isinstance(rank, int) or not 0 <= rank < MOST_RANKS:
            raise ValueError(f"a rank is {rank!r}")
        path = run.folder / "status" / f"rank-{rank}.json"
        lasting = {name: value for name, value in beat.items() if name != "time"}
        if lasting != {name: value for name, value in read_json(path).items() if name != "time"}:
            write_whole(path, to_json(beat))


def _checked(files: list[Any]) -> list[dict[str, Any]]:
    """A list of results, none of which lies elsewhere."""
    for file in files:
        part, _, name = file["name"].partition("/")
        if part not in RESULT_PARTS or not NAME.fullmatch(name):
            raise LaunchError(
                f"the target lists {file['name']!r}, which is outside of the results: nothing was fetched"
            )
        if not isinstance(file["bytes"], int) or file["bytes"] < 0 or not isinstance(file["sha256"], str):
            raise ValueError(f"{file['name']} has no size or no checksum")
    return files


def _check_room(run: Run, files: list[dict[str, Any]]) -> None:
    needed, free = sum(file["bytes"] for file in files), shutil.disk_usage(run.folder).free
    if needed > free:
        raise LaunchError(
            f"they take {_megabytes(needed)}, but {run.folder} has room for {_megabytes(free)}: free some"
        )


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether this process holds the lock; never waits."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path, "ab", opener=private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
