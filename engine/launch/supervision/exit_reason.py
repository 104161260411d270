"""How the ranks of a run ended, from what they told last and what their launcher said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.runs import Run

# What horovodrun, srun and `hosts` say of the rank that ended first.
FIRST_TO_END = re.compile(
    r"first process to do so was:\s+Process name: (?P<horovodrun>\d+)"
    r"|^srun: error: \S+: tasks? (?P<srun>[\d,-]+): "
    r"|^rank (?P<hosts>\d+) was the first to end",
    re.MULTILINE,
)
LOST_PEER = re.compile(r"Horovod|[Gg]loo|ncclSystemError|Connection (closed|reset) by peer")
FROM_CHECKPOINT = "resume continues from the last checkpoint"


@dataclass(frozen=True)
class End:
    """An end of all ranks: `word` is done, stopped, cancelled, failed (and said why), or died (said nothing)."""

    word: str
    reason: str
    rc: int | None = None

    def facts(self) -> dict[str, Any]:
        """For the launcher's record."""
        cancelled = {"cancelled": True} if self.word in ("stopped", "cancelled") else {}
        return {"rc": self.rc, **cancelled, "reason": self.reason}


def ending(run: Run, rc: int, log_from: int = 0) -> End:
    """Why the ranks ended; of several, what the one says that ended first.

    log_from : where the log of this launch begins, in bytes.
    """
    if (run.folder / "DONE").exists():
        return End("done", "done", 0)  # whatever became of ranks that were lost on the way
    beats = run.heartbeats()
    stopped = [beat for beat in beats if beat.get("end") == "stopped"]
    whoever_is_left = run.spec.launch.is_elastic and len(stopped) == len(
        beats
    )  # the code is that of a rank that was lost
    if stopped and (rc == 0 or whoever_is_left):
        return End("stopped", f"{stopped[0].get('reason', 'stopped')}: resume continues from here", rc)
    if run.cancel_file.exists():
        return End("cancelled", "cancelled", rc)
    return _culprit(beats, first_to_end(_log(run, log_from)), rc)


def first_to_end(log: str) -> list[int]:
    """The rank, or ranks, that ended before the others, by the launcher's own words; [] if it said none."""
    found = FIRST_TO_END.search(log)
    return _numbers(next(word for word in found.groups() if word)) if found else []


def _culprit(beats: list[dict[str, Any]], first: Sequence[int], rc: int) -> End:
    """A rank that lost its peers says so, but isn't what went wrong: look for one that failed, or fell silent."""
    told = [beat for beat in beats if beat.get("end") == "failed" and not LOST_PEER.search(beat["reason"])]
    silent = [beat for beat in beats if "end" not in beat]
    for suspects in ([beat for beat in beats if beat["rank"] in first], beats):
        if failed := [beat for beat in suspects if beat in told]:
            return End("failed", failed[0]["reason"], rc)
        if dead := [str(beat["rank"]) for beat in suspects if beat in silent]:
            died = f"rank {', '.join(dead)} died without a word (killed, or out of memory)"
            return End("died", f"{died}: {FROM_CHECKPOINT}", rc)
    if lost := [beat for beat in beats if beat.get("end") == "failed"]:
        return End("failed", lost[0]["reason"], rc)
    return End("failed", f"it ended with exit code {rc} before it began: see the log", rc)


def _numbers(ranges: str) -> list[int]:
    """Slurm's "0-2,5" → [0, 1, 2, 5]."""
    bounds = [part.split("-") for part in ranges.split(",")]
    return [number for each in bounds for number in range(int(each[0]), int(each[-1]) + 1)]


def _log(run: Run, log_from: int) -> str:
    with open(run.log, "rb") as log:
        log.seek(log_from)
        return log.read().decode(errors="replace")
