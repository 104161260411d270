"""Reason for the end of the ranks, from their last heartbeats and the output of their launcher."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.runs import ExitKind, RankEnd, Run
from engine.runs.records import HeartbeatRecord
from engine.runs.state import FROM_CHECKPOINT

# What horovodrun, srun and `hosts` say of the rank that ended first.
FIRST_TO_END = re.compile(
    r"first process to do so was:\s+Process name: (?P<horovodrun>\d+)"
    r"|^srun: error: \S+: tasks? (?P<srun>[\d,-]+): "
    r"|^rank (?P<hosts>\d+) was the first to end",
    re.MULTILINE,
)
LOST_PEER = re.compile(r"Horovod|[Gg]loo|ncclSystemError|Connection (closed|reset) by peer")


@dataclass(frozen=True)
class ExitReason:
    """End of all ranks of a launch: its kind, the reason, and the exit code, where there is one."""

    kind: ExitKind
    reason: str
    rc: int | None = None

    def facts(self) -> dict[str, int | bool | str | None]:
        """Return the keys of a LaunchRecord."""
        cancelled = {"cancelled": True} if self.kind in (ExitKind.STOPPED, ExitKind.CANCELLED) else {}
        return {"rc": self.rc, "kind": self.kind, **cancelled, "reason": self.reason}


def exit_reason(run: Run, rc: int, log_from: int = 0) -> ExitReason:
    """Find out why the ranks ended; of several reasons, that of the rank that ended first.

    log_from : where the log of this launch begins, in bytes.
    """
    if run.done_file.exists():
        return ExitReason(ExitKind.DONE, "done", 0)  # whatever became of ranks that were lost on the way
    heartbeats = run.heartbeats()
    stopped = [heartbeat for heartbeat in heartbeats if heartbeat.end is RankEnd.STOPPED]
    # Of elastic ranks, the exit code may be that of a rank that was lost.
    all_left_stopped = run.spec.launch.is_elastic and len(stopped) == len(heartbeats)
    if stopped and (rc == 0 or all_left_stopped):
        return ExitReason(ExitKind.STOPPED, f"{stopped[0].reason or 'stopped'}: resume continues from here", rc)
    if run.cancel_file.exists():
        return ExitReason(ExitKind.CANCELLED, "cancelled", rc)
    with open(run.log, "rb") as log:
        log.seek(log_from)
        first = first_to_end(log.read().decode(errors="replace"))
    return _reason_of_ranks(heartbeats, first, rc)


def first_to_end(log: str) -> list[int]:
    """The rank, or ranks, that ended before the others, by the launcher's own words; [] if it said none."""
    found = FIRST_TO_END.search(log)
    if not found:
        return []
    ranges = next(word for word in found.groups() if word)  # Slurm's "0-2,5" means 0, 1, 2, 5
    bounds = [part.split("-") for part in ranges.split(",")]
    return [number for each in bounds for number in range(int(each[0]), int(each[-1]) + 1)]


def _reason_of_ranks(heartbeats: list[HeartbeatRecord], first: Sequence[int], rc: int) -> ExitReason:
    """Find a rank that failed or died; one that only lost its peers isn't what went wrong."""
    failed = [heartbeat for heartbeat in heartbeats if heartbeat.end is RankEnd.FAILED]
    own_failures = [heartbeat for heartbeat in failed if not LOST_PEER.search(heartbeat.reason or "")]
    for suspects in ([heartbeat for heartbeat in heartbeats if heartbeat.rank in first], heartbeats):
        if found := [heartbeat for heartbeat in suspects if heartbeat in own_failures]:
            return ExitReason(ExitKind.FAILED, found[0].reason or "", rc)
        if dead := [str(heartbeat.rank) for heartbeat in suspects if heartbeat.end is None]:
            died = f"rank {', '.join(dead)} died without a word (killed, or out of memory)"
            return ExitReason(ExitKind.DIED, f"{died}: {FROM_CHECKPOINT}", rc)
    if failed:
        return ExitReason(ExitKind.FAILED, failed[0].reason or "", rc)
    return ExitReason(ExitKind.FAILED, f"it ended with exit code {rc} before it began: see the log", rc)
