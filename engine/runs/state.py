"""State of a run, derived from the facts of its folder: a pure function. What can't be found out is "unknown"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.runs.records import (
    ExitKind,
    FetchRecord,
    HeartbeatRecord,
    LastPoll,
    LaunchEvent,
    LaunchRecord,
    RunRequest,
    RunState,
    RunStatus,
    SiteContact,
    Stage,
    UploadRecord,
)

SILENCE_S = 60.0  # a rank on another host without a sign of life for so long is in an unknown state
SENDER_SILENCE_S = 180.0  # an upload by another host without a sign of life for so long has ended
SITE_SILENCE_S = 120.0  # a site that nobody could poll for so long: its runs are in an unknown state
RESUBMIT = "resume submits it again"
FROM_CHECKPOINT = "resume continues from the last checkpoint"


@dataclass(frozen=True)
class RunFacts:
    """Facts of one run as of now.

    now, created, done_at : seconds since the epoch; done_at is that of DONE, read after all others.
    this_host : name of the host that reads the folder.
    is_launcher_alive, are_ranks_alive, is_sender_alive : of processes on this host.
    upload, last_poll, contact, fetch : of runs on a site only.
    """

    now: float
    this_host: str
    created: float
    done_at: float | None = None
    request: RunRequest = field(default_factory=RunRequest)
    is_cancel_asked: bool = False
    launches: tuple[LaunchRecord, ...] = ()
    heartbeats: tuple[HeartbeatRecord, ...] = ()
    is_launcher_alive: bool = False
    are_ranks_alive: bool = False
    is_sender_alive: bool = False
    upload: UploadRecord | None = None
    last_poll: LastPoll | None = None
    contact: SiteContact = field(default_factory=SiteContact)
    fetch: FetchRecord = field(default_factory=FetchRecord)


def derive_status(facts: RunFacts) -> RunStatus:
    """State of a run, local or on a site, with its reason."""
    if facts.done_at is not None:
        return RunStatus(RunState.DONE, since=facts.done_at)
    if facts.request.kind != "local":
        return _on_site(facts)
    if not facts.launches:
        return RunStatus(RunState.QUEUED, "not started yet", facts.created)
    last = facts.launches[-1]
    for record in facts.launches:
        if record.event is LaunchEvent.ENDED and record.is_of_process(last):
            return status_at_end(record)
    if last.event is LaunchEvent.PAUSED and last.job:
        return RunStatus(RunState.QUEUED, f"{last.reason}: queued again", last.time)
    if last.host == facts.this_host:
        return _on_this_host(facts, last)
    return _on_another_host(facts, last)


def status_at_end(record: LaunchRecord) -> RunStatus:
    """State of a run whose launcher recorded its end."""
    state = RunState.CANCELLED if record.cancelled else RunState.FAILED
    return RunStatus(state, record.reason or f"exit code {record.rc}", record.time, exit=record.kind)


def is_uploading(facts: RunFacts) -> bool:
    """True if a process is submitting the run to its site, as far as can be seen from here."""
    request = facts.request
    if not request.sender or request.stage is not Stage.SENDING:
        return False
    if request.sender.host == facts.this_host:
        return facts.is_sender_alive
    return facts.now - _last_sign_of_sender(facts) < SENDER_SILENCE_S


def phase_of(heartbeats: Iterable[HeartbeatRecord]) -> str:
    """Phase that the first rank reports."""
    first = min(heartbeats, key=lambda heartbeat: heartbeat.rank, default=None)
    return first.phase if first else ""


def _on_this_host(facts: RunFacts, last: LaunchRecord) -> RunStatus:
    if not (facts.is_launcher_alive or facts.are_ranks_alive):
        reason = f"its launcher was killed: {FROM_CHECKPOINT}"
        return RunStatus(RunState.FAILED, reason, last.time, exit=ExitKind.DIED)
    phase = phase_of(facts.heartbeats)
    return RunStatus(RunState.RUNNING if phase else RunState.QUEUED, phase or "starting", last.time)


def _on_another_host(facts: RunFacts, last: LaunchRecord) -> RunStatus:
    last_sign = max((heartbeat.time for heartbeat in facts.heartbeats), default=last.time)
    if facts.now - last_sign < SILENCE_S:
        return RunStatus(RunState.RUNNING, since=last.time)
    return RunStatus(RunState.UNKNOWN, f"no sign of life from {last.host or 'its host'}", last_sign)


def _on_site(facts: RunFacts) -> RunStatus:
    """State from the submission, or from the last poll as long as that is not too old."""
    request, poll = facts.request, facts.last_poll
    asked = facts.created if request.time is None else request.time
    if request.stage in (None, Stage.SENDING):
        return _submitting(facts)
    if request.stage is Stage.REFUSED:
        state = RunState.CANCELLED if facts.is_cancel_asked else RunState.FAILED
        return RunStatus(state, request.reason, asked)
    current = poll if poll and poll.token == request.token else None
    if current and current.word.is_final:
        return RunStatus(current.word, current.reason, current.since)
    last_contact = max(facts.contact.time, asked)
    if facts.now - last_contact > SITE_SILENCE_S:
        reason = facts.contact.why or f"{request.target} has not been polled since"
        return RunStatus(RunState.UNKNOWN, reason, last_contact)
    if current:
        fetching = facts.fetch.reason if current.done else ""
        return RunStatus(current.word, fetching or current.reason, current.since)
    state = RunState.QUEUED if request.stage is Stage.SENT else RunState.UNKNOWN
    return RunStatus(state, request.reason or "submitted", asked)


def _submitting(facts: RunFacts) -> RunStatus:
    request = facts.request
    if not request.sender:
        return RunStatus(RunState.QUEUED, "not started yet", facts.created)
    if is_uploading(facts):
        upload = _current_upload(facts)
        details = ", ".join(filter(None, [request.reason, upload.how_far if upload else ""]))
        reason = f"submitting to {request.target}{': ' if details else ''}{details}"
        return RunStatus(RunState.QUEUED, reason, request.time)
    if request.sender.host == facts.this_host:
        return RunStatus(RunState.FAILED, f"its submission was interrupted: {RESUBMIT}", request.time)
    reason = f"its submission by {request.sender.host} gave no more sign of life: {RESUBMIT}"
    return RunStatus(RunState.FAILED, reason, _last_sign_of_sender(facts))


def _current_upload(facts: RunFacts) -> UploadRecord | None:
    """Sign of life of the present upload; None if there is none, or it is of an earlier one."""
    return facts.upload if facts.upload and facts.upload.token == facts.request.token else None


def _last_sign_of_sender(facts: RunFacts) -> float:
    """Time by the sender's own clock."""
    upload = _current_upload(facts)
    asked = facts.created if facts.request.time is None else facts.request.time
    return max(asked, upload.time if upload else asked)
