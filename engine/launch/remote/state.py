"""What a run on a target is doing, from what was seen there: a pure function.

What can't be told from what was seen is "unknown". The clocks there are compared with each other only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.launch.remote.scheduler import Job, submitted
from engine.launch.sites import Site
from engine.runs import SILENCE_S, Run, State, end_of_launch


@dataclass(frozen=True)
class Seen:
    """One look at a run: its folder's facts (None: it has no folder there), its job, why the scheduler is silent."""

    facts: Mapping[str, Any] | None
    job: Job | None
    silence: str
    now: float  # the target's clock
    target: Site

    @property
    def done(self) -> bool:
        return bool(self.facts and self.facts.get("done"))

    def arrived(self, token: str) -> bool:
        """Whether the launch with that token is known there."""
        return bool(self.facts and "begun" in self.facts and self.facts["begun"].get("token") == token)


def judge(run: Run, seen: Seen) -> State:
    """The state; `since` is 0 where the run ended without a word, which a later look has to confirm."""
    state = _judged(run, seen)
    if state.word == "failed" and seen.facts and seen.facts["full"]:  # on a full disk, ranks can't say what is wrong
        full = f"the disk of {seen.target.name} is full: free some space there, then resume"
        return replace(state, reason=full if "disk is full" in state.reason else f"{full} ({state.reason})")
    return state


def _judged(run: Run, seen: Seen) -> State:
    token, name = run.request["token"], seen.target.name
    if seen.facts is None:
        known = run.look.get("token") == token
        why = f"its folder on {name} is gone" if known else f"it never arrived at {name}"
        return State("failed", f"{why}: resume hands it over again")
    if "trouble" in seen.facts:
        return State("unknown", f"it can't be looked at on {name} ({seen.facts['trouble']})")
    if seen.done:
        return State("running", "results wait to be fetched")
    records = [record for record in run.launches() if record.get("token") == token]
    if records and records[-1]["event"] == "ended":
        return end_of_launch(records[-1])
    if not records and not seen.job and (refused := _refused(seen, token)):
        return refused
    if seen.target.scheduled:
        return _scheduled(seen, records)
    return _started(seen)


def _refused(seen: Seen, token: str) -> State | None:
    """That it was never begun there, as far as can be known."""
    assert seen.facts is not None
    begun, name = seen.facts["begun"], seen.target.name
    if seen.facts["busy"]:
        return State("queued", f"is being started on {name}")
    said = begun.get("said")
    if not seen.arrived(token) or (said is None and "pid" not in begun):
        if seen.silence:
            return State("unknown", seen.silence)
        why = "its start there was cut off" if seen.arrived(token) else f"it never arrived at {name}"
        return State("failed", f"{why}: resume hands it over again")
    if said and not seen.silence and not submitted(seen.target.kind, said):
        why = said["err"].strip() or said["out"].strip() or f"exit code {said['rc']}"
        return State("failed", f"{name} refused the job ({why}): mend it, then resume")
    return None


def _scheduled(seen: Seen, records: list[dict[str, Any]]) -> State:
    if seen.job and seen.job.waiting:
        return State("queued", _waits(seen.job.reason))
    if seen.job:
        return State("running", _phase(seen) or "starting")
    if seen.silence:
        return State("running", _phase(seen)) if _heard(seen) else State("unknown", seen.silence)
    if not records:
        return State("failed", "the job left the queue before it began: the log and the scheduler's records tell more")
    return State("failed", "the job ended without a word: resume continues from the last checkpoint")


def _started(seen: Seen) -> State:
    assert seen.facts is not None
    if seen.facts["alive"] or _heard(seen):
        phase = _phase(seen)
        return State("running" if phase else "queued", phase or "starting")
    if seen.facts["alive"] is None:
        return State("unknown", f"no word from {seen.facts['begun'].get('host') or seen.target.name}")
    return State("failed", "its launcher was killed: resume continues from the last checkpoint")


def _heard(seen: Seen) -> bool:
    """Whether a rank gave a sign of life a moment ago."""
    assert seen.facts is not None
    return any("end" not in beat and seen.now - beat["time"] < SILENCE_S for beat in seen.facts["beats"])


def _phase(seen: Seen) -> str:
    assert seen.facts is not None
    first: Mapping[str, Any] = min(seen.facts["beats"], key=lambda beat: beat.get("rank", 0), default={})
    return str(first.get("phase", ""))


def _waits(reason: str) -> str:
    """The scheduler's own word, and what it means where that is known."""
    said = MEANINGS.get(reason.strip("()").partition(",")[0])
    return f"{reason}: {said}" if said else reason or "waits in the queue"


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
