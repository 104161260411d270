"""State of a run on a site, from one observation there: a pure function. What can't be derived from it is "unknown"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.launch.remote.protocol import FolderFacts
from engine.launch.remote.scheduler import Job, submitted
from engine.launch.sites import Site
from engine.runs import LaunchEvent, RunState, RunStatus
from engine.runs.records import HeartbeatRecord, LaunchRecord
from engine.runs.state import FROM_CHECKPOINT, RESUBMIT, SILENCE_S, phase_of, status_at_end


@dataclass(frozen=True)
class Observation:
    """One poll of a run.

    folder : None if it has no folder there; beats : heartbeats of its ranks; now : the site's clock.
    scheduler_error : why the jobs aren't known.
    was_seen_before : an earlier poll saw this launch; records : of this launch.
    """

    site: Site
    now: float
    token: str
    folder: FolderFacts | None
    beats: Sequence[HeartbeatRecord] = ()
    job: Job | None = None
    scheduler_error: str = ""
    was_seen_before: bool = False
    records: Sequence[LaunchRecord] = ()

    @property
    def is_done(self) -> bool:
        return self.folder is not None and self.folder.done

    @property
    def has_arrived(self) -> bool:
        """True if the launch is known on the site."""
        return self.folder is not None and self.folder.begun.token == self.token


def status_on_site(observation: Observation) -> RunStatus:
    """State of the run; not confirmed where it ended without a record of its end."""
    folder, name = observation.folder, observation.site.name
    if folder is None:
        reason = f"its folder on {name} is gone" if observation.was_seen_before else f"it never arrived at {name}"
        return _ended(f"{reason}: {RESUBMIT}")
    status = _status(observation, folder)
    if status.state is RunState.FAILED and folder.full:  # on a full disk, ranks can't say what is wrong
        return replace(
            status, reason=f"the disk of {name} is full: free some space there, then resume ({status.reason})"
        )
    return status


def _status(observation: Observation, folder: FolderFacts) -> RunStatus:
    if folder.trouble is not None:
        return RunStatus(RunState.UNKNOWN, f"it can't be read on {observation.site.name} ({folder.trouble})")
    if folder.done:
        return RunStatus(RunState.RUNNING, "results wait to be fetched")
    if observation.records and observation.records[-1].event is LaunchEvent.ENDED:
        return status_at_end(observation.records[-1])
    if not (observation.records or observation.job) and (not_started := _not_started(observation, folder)):
        return not_started
    return _scheduled(observation) if observation.site.scheduled else _started(observation, folder)


def _not_started(observation: Observation, folder: FolderFacts) -> RunStatus | None:
    """State of a launch that never started there, as far as can be known; else None."""
    name, said = observation.site.name, folder.begun.said
    if folder.busy:
        return RunStatus(RunState.QUEUED, f"starting on {name}")
    if not observation.has_arrived or (said is None and folder.begun.pid is None):
        if observation.scheduler_error:
            return RunStatus(RunState.UNKNOWN, observation.scheduler_error)
        reason = "its start there was cut off" if observation.has_arrived else f"it never arrived at {name}"
        return _ended(f"{reason}: {RESUBMIT}")
    if said and not observation.scheduler_error and not submitted(observation.site.kind, said):
        reason = said.err.strip() or said.out.strip() or f"exit code {said.rc}"
        return _ended(f"{name} refused the job ({reason}): fix it, then resume")
    return None


def _scheduled(observation: Observation) -> RunStatus:
    phase = phase_of(observation.beats)
    if observation.job and observation.job.waiting:
        reason = observation.job.reason
        meaning = MEANINGS.get(reason.strip("()").partition(",")[0])
        return RunStatus(RunState.QUEUED, f"{reason}: {meaning}" if meaning else reason or "waits in the queue")
    if observation.job:
        return RunStatus(RunState.RUNNING, phase or "starting")
    if observation.scheduler_error:
        if _has_recent_sign(observation):
            return RunStatus(RunState.RUNNING, phase)
        return RunStatus(RunState.UNKNOWN, observation.scheduler_error)
    if not observation.records:
        return _ended("the job left the queue before it began: see the log and the scheduler's records")
    return _ended(f"the job ended without a word: {FROM_CHECKPOINT}")


def _started(observation: Observation, folder: FolderFacts) -> RunStatus:
    if folder.alive or _has_recent_sign(observation):
        phase = phase_of(observation.beats)
        return RunStatus(RunState.RUNNING if phase else RunState.QUEUED, phase or "starting")
    if folder.alive is None:
        return RunStatus(RunState.UNKNOWN, f"no sign of life from {folder.begun.host or observation.site.name}")
    return _ended(f"its launcher was killed: {FROM_CHECKPOINT}")


def _ended(reason: str) -> RunStatus:
    return RunStatus(RunState.FAILED, reason, is_confirmed=False)


def _has_recent_sign(observation: Observation) -> bool:
    return any(beat.end is None and observation.now - beat.time < SILENCE_S for beat in observation.beats)


# Slurm's manual, squeue(1), JOB REASON CODES.
MEANINGS = {
    "Priority": "other jobs come first",
    "Resources": "waits for nodes to become free",
    "PartitionNodeLimit": "asks for more nodes than the partition has",
    "PartitionTimeLimit": "asks for more time than the partition allows",
    "PartitionDown": "the partition is down",
    "ReqNodeNotAvail": "nodes that it needs are down or reserved",
    "BeginTime": "waits before it is started again",
    "AssocGrpCpuLimit": "the account's limit of cores is reached",
    "QOSMaxCpuPerUserLimit": "your limit of cores is reached",
    "JobHeldUser": "held by you: scontrol release lets it go",
    "JobHeldAdmin": "held by an administrator: ask them",
    "launch failed requeued held": "it failed to start and is held: ask an administrator",
}
