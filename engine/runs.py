"""The run folder and the store of runs: the only contract between engine and app.

A run's state is derived from its files and its launcher's process, never stored: what can't be found
out is "unknown", and a failed look never turns a run into a failed one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psutil

from engine.errors import MesoscopeError, SpecError, StoreError
from engine.files import append_line, last_line, private, read_json, read_lines, sha256, to_json, write_whole
from engine.options import did_you_mean
from engine.spec import Spec

ACTIVE = ("queued", "running")
STATES = ("queued", "running", "done", "failed", "cancelled", "unknown")
HEARTBEAT_S = 2.0
SILENCE_S = 60.0  # a rank on another host that has been silent for so long is in an unknown state
SENDER_SILENCE_S = 180.0  # a hand-over by another host that was silent for so long has ended without a word
UNSEEN_S = 120.0  # a target that nobody could look at for so long: its runs are in an unknown state
FINAL = ("done", "failed", "cancelled")
TRACE_HEADS = ("Graph execution error:", "in user code:")
HASHED_BYTES = 2**30  # larger inputs are recorded by size and time alone


@dataclass(frozen=True)
class State:
    """What a run is doing: one of STATES, why, and since when (seconds since the epoch)."""

    word: str
    reason: str = ""
    since: float = 0.0

    @property
    def active(self) -> bool:
        return self.word in ACTIVE


def default_store() -> Path:
    """$MESOSCOPE_STORE, else ~/.local/share/mesoscope/runs."""
    return Path(os.environ.get("MESOSCOPE_STORE") or Path.home() / ".local/share/mesoscope/runs")


@dataclass(frozen=True)
class Store:
    """A folder of runs."""

    folder: Path

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [Run(path) for path in self.folder.iterdir() if (path / "spec.yaml").is_file()]
        return sorted(found, key=lambda run: run.id, reverse=True)

    def run(self, name: str) -> Run:
        """The run of that id, or of an unmistakable beginning or title of it.

        Raises
        ------
        StoreError
            If no run, or more than one, is meant.
        """
        runs = self.runs()
        exact = [run for run in runs if run.id == name]
        meant = exact or [run for run in runs if run.id.startswith(name) or run.title == name]
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise StoreError(
                f"{name} means {len(meant)} runs ({', '.join(r.id for r in meant[:3])}, …): give more of the id"
            )
        if not runs:
            raise StoreError(f"no run {name} in {self.folder}: the store is empty; give --store, or train a run")
        raise StoreError(f"no run {name} in {self.folder}: {did_you_mean(name, [r.id for r in runs[:10]])}")

    def target_file(self, target: str, ending: str) -> Path:
        """What those who look at a target share: its lock, and when it was looked at."""
        return self.folder / ".targets" / f"{target}.{ending}"

    def start_run(self, spec: Spec) -> Run | None:
        """The run that `training.start_from` names; raises StoreError if there is none or it has no weights."""
        if not spec.training.start_from:
            return None
        run = self.run(spec.training.start_from)
        if not run.best.exists():
            raise StoreError(
                f"training.start_from is {run.id}, which is {run.state().word} and has no trained weights: give a run "
                "that is done, or leave it empty"
            )
        return run

    def create(self, spec: Spec, request: dict[str, Any]) -> Run:
        """A new run folder, complete or not there at all; raises StoreError if it can't be written."""
        told = {"title": title_of(spec), "field": field_of(spec)}
        with _writing(self.folder):
            run = Run(self.folder / _new_id(spec))
            while run.folder.exists():  # another of the same name in the same second
                run = Run(self.folder / _new_id(spec))
            nursery = self.folder / f".{run.id}"
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
            nursery.mkdir(mode=0o700)
            try:
                for name in ("status", "control", "checkpoints", "results"):
                    (nursery / name).mkdir(mode=0o700)
                write_whole(nursery / "request.json", to_json({**told, **request}))
                write_whole(nursery / "spec.yaml", spec.to_yaml())
                nursery.rename(run.folder)
            except OSError:
                _remove_tree(nursery)
                raise
        return run


@dataclass(frozen=True)
class Run:
    """One run folder. Reading is cheap and never changes it."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @cached_property
    def spec(self) -> Spec:
        return Spec.read_recorded(self.folder / "spec.yaml")

    @property
    def title(self) -> str:
        """As `title_of` its spec, which need not be read for it; the id if that can't be done."""
        if told := self.request.get("title"):
            return str(told)
        try:
            return title_of(self.spec)
        except SpecError:  # of another version, say: the list of runs has to go on
            return self.id

    @property
    def field(self) -> str:
        """As `field_of` its spec; raises SpecError where that can't be read."""
        return str(self.request.get("field") or field_of(self.spec))

    @property
    def created(self) -> float:
        return (self.folder / "spec.yaml").stat().st_mtime

    @property
    def request(self) -> dict[str, Any]:
        return read_json(self.folder / "request.json")

    @property
    def remote(self) -> bool:
        """Whether it runs in a folder on a target, of which this one is the copy."""
        return self.request.get("kind", "local") != "local"

    @property
    def sending_file(self) -> Path:
        """The sign of life of who hands it over to a target: see engine/launch/sending.py."""
        return self.folder / "status" / "sending.json"

    @property
    def look_file(self) -> Path:
        return self.folder / "status" / "look.json"

    @property
    def look(self) -> dict[str, Any]:
        """What was last seen of it on its target, or {}."""
        return read_json(self.look_file)

    @property
    def look_is_final(self) -> bool:
        """Whether this launch was seen to have ended there."""
        look = self.look
        return look.get("token") == self.request.get("token") and look.get("word") in FINAL

    @property
    def results(self) -> Path:
        return self.folder / "results" / "test.nc"

    @property
    def best(self) -> Path:
        """Checkpoint with the best weights so far."""
        return self.folder / "checkpoints" / "best.npz"

    @property
    def last(self) -> Path:
        """Checkpoint with all that a resume needs."""
        return self.folder / "checkpoints" / "last.npz"

    @property
    def normalizer_file(self) -> Path:
        """What was learned of the data before training, with the grid."""
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

    def scores(self) -> dict[str, Any] | None:
        """The content of scores.json, or None before the run is evaluated."""
        path = self.folder / "results" / "scores.json"
        return read_json(path) if path.exists() else None

    def launches(self) -> list[dict[str, Any]]:
        """The launcher's records."""
        return read_lines(self.folder / "status" / "launcher.jsonl")[0]

    def heartbeats(self) -> list[dict[str, Any]]:
        """The newest heartbeat of each rank, by rank."""
        beats = [read_json(path) for path in (self.folder / "status").glob("rank-*.json")]
        return sorted((beat for beat in beats if beat), key=lambda beat: beat["rank"])

    def progress(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Progress records from a byte offset on, and the offset to go on from."""
        return read_lines(self.folder / "progress.jsonl", offset)

    def latest(self) -> dict[str, Any]:
        """The newest progress record, or {}; reads the end of the file only."""
        return last_line(self.folder / "progress.jsonl")

    def state(self) -> State:
        """What the run is doing, from its files and its launcher's process."""
        done = self.folder / "DONE"
        if done.exists():
            return State("done", since=done.stat().st_mtime)
        if self.remote:
            return self._state_there()
        launches = self.launches()
        if not launches:
            return State("queued", "not started yet", self.created)
        last = launches[-1]
        for record in launches:
            if record["event"] == "ended" and _same_process(record, last):
                return end_of_launch(record)
        if last["event"] == "paused" and last.get("job"):
            return State("queued", f"{last['reason']}: queued again", last["time"])
        if last.get("host") == socket.gethostname():
            return self._local_state(last)
        return self._remote_state(last)

    def ranks_here(self, ranks: Container[int] | None = None) -> list[int]:
        """Process ids of the ranks, or of some of them, that live on this host."""
        beats = (beat for beat in self.heartbeats() if ranks is None or beat["rank"] in ranks)
        here = (beat for beat in beats if beat.get("host") == socket.gethostname() and "end" not in beat)
        return [beat["pid"] for beat in here if process_alive(beat.get("pid"), beat.get("pid_started"))]

    def _local_state(self, last: dict[str, Any]) -> State:
        if process_alive(last.get("pid"), last.get("pid_started")) or self.ranks_here():
            phase = next((beat.get("phase", "") for beat in self.heartbeats()), "")
            word = "running" if phase else "queued"
            return State(word, phase or "starting", last["time"])
        if (self.folder / "DONE").exists():  # written between the two looks
            return self.state()
        return State("failed", "its launcher was killed: resume continues from the last checkpoint", last["time"])

    def _state_there(self) -> State:
        """Of a run on a target: how far its handing over is, or what was last seen, as long as that is not too old."""
        request, look = self.request, self.look
        name, asked = request.get("target"), request.get("time", self.created)
        if request.get("stage") in (None, "sending"):
            return self._being_sent(request)
        if request["stage"] == "refused":
            return State("cancelled" if self.cancel_file.exists() else "failed", request.get("reason", ""), asked)
        seen = look.get("token") == request.get("token")
        if seen and look["word"] in FINAL:
            return State(look["word"], look["reason"], look["since"])
        glance = read_json(Store(self.folder.parent).target_file(str(name), "json"))
        heard = max(glance.get("time", 0), asked)
        if time.time() - heard > UNSEEN_S:
            return State("unknown", glance.get("why") or f"nobody has looked at {name} since", heard)
        if not seen:
            return State(
                "queued" if request["stage"] == "sent" else "unknown", request.get("reason") or "handed over", asked
            )
        fetching = read_json(self.folder / "status" / "fetch.json").get("reason") if look.get("done") else ""
        return State(look["word"], fetching or look["reason"], look["since"])

    @property
    def is_being_sent(self) -> bool:
        """Whether somebody is handing it over to its target, as far as can be known from here."""
        request = self.request
        sender = request.get("sender")
        if not sender or request.get("stage") != "sending":
            return False
        if sender.get("host") == socket.gethostname():
            return process_alive(sender["pid"], sender["pid_started"])
        return time.time() - self._heard_of_sender(request) < SENDER_SILENCE_S

    def _sending(self, request: dict[str, Any]) -> dict[str, Any]:
        """The last sign of life of who hands it over now."""
        sign = read_json(self.sending_file)
        return sign if sign.get("token") == request.get("token") else {}

    def _heard_of_sender(self, request: dict[str, Any]) -> float:
        """When, by its own clock."""
        return float(max(request["time"], self._sending(request).get("time", 0)))

    def _being_sent(self, request: dict[str, Any]) -> State:
        sender = request.get("sender")
        if not sender:
            return State("queued", "not started yet", self.created)
        if self.is_being_sent:
            how_far = self._sending(request).get("how_far")
            doing = ", ".join(filter(None, [request.get("reason"), how_far]))
            return State(
                "queued", f"is being handed over to {request['target']}{': ' if doing else ''}{doing}", request["time"]
            )
        if sender.get("host") == socket.gethostname():
            return State("failed", "its handing over was interrupted: resume hands it over again", request["time"])
        silent = f"its handing over by {sender.get('host')} ended without a word: resume hands it over again"
        return State("failed", silent, self._heard_of_sender(request))

    def _remote_state(self, last: dict[str, Any]) -> State:
        heard = max((beat["time"] for beat in self.heartbeats()), default=last["time"])
        if time.time() - heard < SILENCE_S:
            return State("running", since=last["time"])
        return State("unknown", f"no word from {last.get('host', 'its host')}", heard)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One at a time, over all processes: to start a run, or to say that it was."""
        with open(self.folder / "status" / ".launch", "ab", opener=private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def note(self, **facts: Any) -> None:
        """Put facts of its launch into request.json."""
        with _writing(self.folder):
            write_whole(self.folder / "request.json", to_json({**self.request, **facts}))

    def forget_heartbeats(self, *ranks: int) -> None:
        """What these ranks said is over, or all of the last launch."""
        for number in ranks or ("*",):
            for pattern in (f"rank-{number}.json", f".rank-{number}.json*"):
                for path in (self.folder / "status").glob(pattern):
                    path.unlink(missing_ok=True)

    def clear_remains(self) -> None:
        """Remove what a kill left half written (see write_whole), where rank 0 alone writes."""
        for folder in ("checkpoints", "results", "."):
            for path in (self.folder / folder).glob(".*"):
                with contextlib.suppress(OSError):  # not worth a failure
                    path.unlink()

    def ask_to_cancel(self) -> None:
        """Ask the run to stop after the step it is in, keeping what it has."""
        with _writing(self.folder):
            write_whole(self.cancel_file, to_json({"time": time.time()}))

    def withdraw_cancel(self) -> None:
        self.cancel_file.unlink(missing_ok=True)

    def ask_to_pause(self, reason: str) -> None:
        """Ask the run to stop after the step it is in, to be started again later."""
        with _writing(self.folder):
            write_whole(self.pause_file, to_json({"time": time.time(), "reason": reason}))

    def withdraw_pause(self) -> None:
        self.pause_file.unlink(missing_ok=True)

    def record_launch(self, event: str, **facts: Any) -> None:
        """Append to the launcher's records."""
        append_line(self.folder / "status" / "launcher.jsonl", {"time": time.time(), "event": event, **facts})

    def write_manifest(self) -> None:
        """results/manifest.json: size and sha256 of each result."""
        files = sorted(p for p in (self.folder / "results").iterdir() if p.name != "manifest.json")
        entries = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in files}
        write_whole(self.folder / "results" / "manifest.json", to_json(entries))


class Heartbeat:
    """A rank's sign of life: status/rank-<n>.json, written anew every few seconds until the rank ends."""

    def __init__(self, run: Run, rank: int, size: int):
        self.path = run.folder / "status" / f"rank-{rank}.json"
        self.facts: dict[str, Any] = {
            "rank": rank,
            "size": size,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "pid_started": psutil.Process().create_time(),
            "phase": "starting",
        }
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._over.set()
        self._thread.join()
        if error is not None and "end" not in self.facts:
            self.facts |= {"end": "failed", "reason": describe_error(error)}
        with contextlib.suppress(OSError):  # a full disk must not hide the error that is on its way up
            self._write()

    def phase(self, words: str) -> None:
        """What this rank is doing, in words for the user."""
        self.facts["phase"] = words

    def end(self, word: str, **facts: Any) -> None:
        """How this rank ended: done or stopped, and what else is worth knowing."""
        self.facts |= {"end": word, **facts}

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):
                self._write()

    def _write(self) -> None:
        self.facts["time"] = time.time()
        write_whole(self.path, to_json(dict(self.facts)))


def describe_error(error: BaseException) -> str:
    """One line for the user: our own errors in their own words, others with their kind."""
    if isinstance(error, MesoscopeError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({error.filename or 'in the run folder'}): free some space, then resume"
    if isinstance(error, MemoryError):
        return "not enough memory: choose a smaller training.batch_size, data.patch_size or data.region"
    kind = type(error).__name__
    return f"{kind}: {_main_line(str(error)).removeprefix(f'{kind}: ')}"


def _main_line(message: str) -> str:
    """The first line, or, where TensorFlow puts a trace of its own first, the last that says something."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [""]
    if lines[0] not in TRACE_HEADS:
        return lines[0]
    return [line for line in lines if not line.startswith(("[[", "File "))][-1]


def process_alive(pid: int | None, started: float | None) -> bool:
    """Whether that very process lives: a process id that was given again doesn't count."""
    if pid is None:
        return False
    try:
        process = psutil.Process(pid)
        same = started is None or abs(process.create_time() - started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def title_of(spec: Spec) -> str:
    """The user's title, else what tells networks apart: 'resnet · spc · LCB'."""
    local = " · LCB" if spec.model.localized else ""
    return spec.launch.title or f"{spec.model.backbone} · {spec.model.upsampling}{local}"


def field_of(spec: Spec) -> str:
    """Variable and file of the target: 't2m · era5_uk_t2m.grib'."""
    target = spec.data.target
    return " · ".join(filter(None, [target.variable, Path(target.files()[0]).name]))


def describe_inputs(spec: Spec) -> list[dict[str, Any]]:
    """Path, size, time and, up to 1 GiB, sha256 of each input file."""
    return [_describe_input(Path(name)) for name in spec.data.files()]


def _same_process(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two records are of one process: a process id may be given again after a while."""
    if (one.get("host"), one.get("pid")) != (other.get("host"), other.get("pid")):
        return False
    began, other_began = one.get("pid_started"), other.get("pid_started")
    return began is None or other_began is None or abs(began - other_began) < 1.0


def end_of_launch(last: dict[str, Any]) -> State:
    """What a launcher's record of the end says."""
    word = "cancelled" if last.get("cancelled") else "failed"
    return State(word, last.get("reason") or f"exit code {last.get('rc')}", last["time"])


def _new_id(spec: Spec) -> str:
    """Time first, so that ids sort by age; then what a person would recognise."""
    words = (
        spec.launch.title or f"{spec.model.backbone}-{spec.model.upsampling}-{Path(spec.data.target.files()[0]).stem}"
    )
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:40]
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug or 'run'}-{secrets.token_hex(2)}"


def _describe_input(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"path": str(path)}
    stat = path.stat()
    facts: dict[str, Any] = {"path": str(path), "bytes": stat.st_size, "modified": stat.st_mtime}
    return {**facts, "sha256": sha256(path)} if stat.st_size <= HASHED_BYTES else facts


def _remove_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals into a message that says how to mend them."""
    try:
        yield
    except OSError as error:
        mend = {
            errno.ENOSPC: "the disk is full; free some space, or give another folder with --store",
            errno.EDQUOT: "your quota is used up; free some space, or give another folder with --store",
            errno.EACCES: "it is not writable for you; give another folder with --store or MESOSCOPE_STORE",
            errno.EROFS: "it is on a read-only file system; give another folder with --store or MESOSCOPE_STORE",
        }.get(error.errno or 0, "give another folder with --store or MESOSCOPE_STORE")
        raise StoreError(f"the store {folder} can't be written ({error.strerror}): {mend}") from error
