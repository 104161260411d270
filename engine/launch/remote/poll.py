"""State and records of the runs on a site, copied into their folders here: one poll for all of them.

Whoever holds the site's lock polls, at most once every POLL_INTERVAL_S; others read what it wrote. Files that grow are
copied from the byte where the copy ends. A poll that fails changes nothing but the time since when nothing is known.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace

from engine.errors import MesoscopeError, RecordError, RunError, SiteError, UnreachableError
from engine.files import append_bytes, lock_at_once, read_json, size_of, to_json, write_whole
from engine.launch.remote import scheduler
from engine.launch.remote.client import ask, checking_answer
from engine.launch.remote.fetch import fetch_results
from engine.launch.remote.protocol import (
    COPIED,
    CommandResult,
    FolderFacts,
    Poll,
    Revoke,
    RunCommand,
    RunQuery,
    Tail,
)
from engine.launch.remote.retry import is_poll_due
from engine.launch.remote.state import Observation, status_on_site
from engine.launch.sites import Site, Sites
from engine.parsing import parse_record
from engine.periodic import PeriodicThread
from engine.runs import Run, RunState, RunStatus, Stage, Store, describe_error
from engine.runs.folder import read_contact, site_file
from engine.runs.records import HeartbeatRecord, LastPoll, RunRequest, SiteContact
from engine.runs.state import FROM_CHECKPOINT

GONE_S = 20.0  # a job that has left the queue may still be writing its end
BATCH = 100  # runs in one poll
LOOK_INTERVAL_S = 1.0  # between looks whether a poll is due
MOST_RANKS = 100_000

Report = Callable[[str], None]


class SitePoller:
    """Polls one site for all runs of a store, and fetches the results of those that are done."""

    def __init__(self, store: Store, site: Site, report: Report = lambda line: None):
        self.store, self.site, self.report = store, site, report
        self._gone: dict[str, float] = {}  # token → since when its launch seems to have ended without a word
        self._over: set[str] = set()

    def poll(self, *, at_once: bool = False) -> bool:
        """Poll the site unless that was done a moment ago; returns True if it was polled."""
        if not (at_once or is_poll_due(self._contact)):
            return False
        runs = self._active_runs()
        if not runs:
            return False
        with lock_at_once(site_file(self.store.folder, self.site.name, "lock")) as is_mine:
            if not (is_mine and (at_once or is_poll_due(self._contact))):
                return False
            self._poll(runs)
        return True

    def poll_and_fetch(self) -> None:
        """Poll the site if that is due, and fetch what it has."""
        if self.poll():
            self.fetch()

    def fetch(self) -> None:
        """Fetch the results of runs that are done; those that can't be fetched now are tried again at the next call."""
        for run in self._active_runs():
            if run.last_poll and run.last_poll.done:
                fetch_results(run, self.site, self.report)

    def _active_runs(self) -> list[Run]:
        """Runs that were submitted to this site and may still change."""
        found = []
        for run in self.store.runs():
            if run.id in self._over:
                continue
            try:
                request = run.request
                if request.target != self.site.name or run.done_file.exists():
                    self._over.add(run.id)  # for good: no run changes its site
                elif request.is_submitted and not run.is_last_poll_final:
                    found.append(run)
            except RecordError:  # it shows as damaged in the list of runs
                continue
        return found

    @property
    def _contact(self) -> SiteContact:
        """Last contact with the site; a damaged record is one that was never written."""
        with suppress(RecordError):
            return read_contact(self.store.folder, self.site.name)
        return SiteContact()

    def _poll(self, runs: list[Run]) -> None:
        last, now = self._contact, time.time()
        self._gone = dict(last.gone)
        contact = SiteContact(tried=now, time=now)
        try:
            for start in range(0, len(runs), BATCH):
                behind = runs[start : start + BATCH]
                while behind:
                    behind = self._poll_runs(behind)
        except (MesoscopeError, OSError) as error:
            since = last.since if last.failures else now
            contact = SiteContact(now, last.time, last.failures + 1, since, describe_error(error))
        tokens = {run.request.token for run in runs}
        gone = {token: since for token, since in self._gone.items() if token in tokens}
        path = site_file(self.store.folder, self.site.name, "json")
        write_whole(path, to_json(asdict(replace(contact, gone=gone))))

    def _poll_runs(self, runs: list[Run]) -> list[Run]:
        """Poll some runs; returns those of which there is more to copy."""
        requests = {run.id: run.request for run in runs}  # before the poll, which doesn't see a later launch
        queries = {
            run.id: RunQuery({name: size_of(run.folder / name) for name in COPIED}, run.cancel_file.exists())
            for run in runs
        }
        kind = self.site.kind
        listing = scheduler.list_command(kind) if self.site.scheduled else None
        answer = ask(self.site, Poll(queries, listing, scheduler.TIMEOUT_S))
        behind = []
        with checking_answer(self.site):
            jobs, scheduler_error = _jobs(kind, answer.listing)
            for run in runs:
                token, folder = str(requests[run.id].token), answer.runs.get(run.id)
                beats = [parse_record(HeartbeatRecord, beat, run.id) for beat in folder.beats] if folder else []
                if folder and folder.trouble is None and not _copy_records(run, folder, beats):
                    behind.append(run)
                    continue
                job = jobs.get(scheduler.job_name(token))
                observation = Observation(self.site, answer.now, token, folder, beats, job, scheduler_error)
                with lock_at_once(run.folder / "status" / ".launch") as is_mine:
                    if is_mine and run.request.token == token:
                        self._settle(run, observation)
        return behind

    def _settle(self, run: Run, observation: Observation) -> None:
        """Record the state; an end without a record counts once it was seen for a while."""
        token, last = observation.token, run.last_poll
        if last and last.token != token:
            last = None
        records = [record for record in run.launches() if record.token == token]
        observation = replace(observation, was_seen_before=last is not None, records=records)
        status: RunStatus | None = status_on_site(observation)
        if status and not status.is_confirmed:
            status = self._confirm(run, observation, status)
        else:
            self._gone.pop(token, None)
        if not status:
            return
        job = observation.job.id if observation.job else last.job if last else None
        since = last.since if last and last.word is status.state else time.time()
        poll = LastPoll(token, status.state, status.reason, since, job, observation.is_done)
        if poll != last:
            write_whole(run.last_poll_file, to_json(asdict(poll)))
        if job and run.request.job != job:
            run.update_request(stage=Stage.SENT, job=job, reason="")

    def _confirm(self, run: Run, observation: Observation, status: RunStatus) -> RunStatus | None:
        """Final status of a launch that seems to have ended without a word; None as long as that isn't certain."""
        since = self._gone.setdefault(observation.token, time.time())
        if time.time() < since:  # this machine's clock was set back
            self._gone[observation.token] = time.time()
            return None
        if time.time() - since < GONE_S:
            return None
        if not observation.records:  # keep a launch that never began from beginning later
            has_arrived = observation.has_arrived
            launch = ask(self.site, Revoke(run.id, observation.token, has_arrived))
            if launch.token == observation.token and not has_arrived:  # it has just arrived after all
                return None
        return self._final_status(run, run.request, status)

    def _final_status(self, run: Run, request: RunRequest, status: RunStatus) -> RunStatus:
        """Add the scheduler's own word for the end, while it has a record of it."""
        if run.cancel_file.exists():
            return RunStatus(RunState.CANCELLED, f"cancelled: {FROM_CHECKPOINT}")
        if not (self.site.scheduled and request.job):
            return status
        command = ("/bin/bash", "-c", scheduler.end_command(self.site.kind, str(request.job)))
        word = scheduler.ended(self.site.kind, ask(self.site, RunCommand(command, scheduler.TIMEOUT_S)))
        if not word:
            return status
        if word == "CANCELLED":
            return RunStatus(RunState.CANCELLED, f"job {request.job} was cancelled: {FROM_CHECKPOINT}")
        return RunStatus(RunState.FAILED, f"job {request.job} ended as {word}: {FROM_CHECKPOINT}")


class SitePollers:
    """Polls every site of a store, in a thread for each, until stopped."""

    def __init__(self, store: Store):
        self.store = store
        self._threads: dict[str, PeriodicThread] = {}

    def start(self) -> None:
        """Begin to poll; raises SiteError if the targets file can't be used."""
        for site in Sites.read().all:
            if site.remote and site.name not in self._threads:
                action = SitePoller(self.store, site).poll_and_fetch
                self._threads[site.name] = PeriodicThread(f"poll of {site.name}", LOOK_INTERVAL_S, action)
                self._threads[site.name].start()

    def stop(self) -> None:
        for timeout_s in (0.0, 5.0):  # all are asked to stop before any is waited for
            for thread in self._threads.values():
                thread.stop(timeout_s)


def refresh(store: Store, report: Report = lambda line: None, *, name: str = "") -> None:
    """Poll each site once, or the one of that name, and fetch the results of runs that are done."""
    try:
        sites = Sites.read().all
    except SiteError as error:  # what is known without them is still shown
        report(str(error))
        return
    for site in sites:
        if site.remote and name in ("", site.name):
            poller = SitePoller(store, site, report)
            poller.poll()
            poller.fetch()


def _jobs(kind: str, said: CommandResult | None) -> tuple[dict[str, scheduler.Job], str]:
    """Jobs of the user by name, and why they aren't known."""
    if said is None:
        return {}, ""
    try:
        return scheduler.jobs(kind, said), ""
    except UnreachableError as error:
        return {}, str(error)


def _copy_records(run: Run, folder: FolderFacts, beats: list[HeartbeatRecord]) -> bool:
    """Copy new records; returns True if that was all of them."""
    for beat in beats:
        _copy_heartbeat(run, beat)
    more = [_copy_tail(run, name, tail) for name, tail in folder.tails.items()]
    return not any(more)


def _copy_tail(run: Run, name: str, tail: Tail) -> bool:
    """Copy the bytes that a file has grown by; returns True if there are more."""
    if name not in COPIED:
        raise RunError(f"the site sent {name!r}, which was not asked for")
    content, path = base64.b64decode(tail.content), run.folder / name
    if not content:
        return False
    if tail.offset == size_of(path):
        append_bytes(path, content)
    elif tail.offset == 0:  # written anew there
        write_whole(path, content)
    return tail.offset + len(content) < tail.size


def _copy_heartbeat(run: Run, beat: HeartbeatRecord) -> None:
    """Write a heartbeat when more than its time is new, which is that of another clock."""
    if not 0 <= beat.rank < MOST_RANKS:
        raise ValueError(f"a rank is {beat.rank}")
    path, new = run.folder / "status" / f"rank-{beat.rank}.json", asdict(beat)
    old = read_json(path)
    if not isinstance(old, dict) or {**old, "time": beat.time} != new:
        write_whole(path, to_json(new))
