"""Have Slurm queue a job of its own again, asked for as often as there is time when its controller doesn't answer."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable

from engine.runs import describe_error

AGAIN_S = 1.0
ANSWER_S = 10.0  # at least so long an answer is waited for, though the time is up

# slurm_errno.c: the controller can't be reached, or its answer was lost. All else is an answer.
UNREACHED = re.compile(
    r"Unable to contact slurm controller|Communication .*failure|Socket timed out|Zero Bytes were transmitted"
    r"|Unexpected message received"  # which is what scontrol makes of any of these when it requests a requeue
    r"|Connection (refused|timed out|reset by peer)|backup controller in standby mode|No answer within"
)


def requeue(job: str, until: float, ended: threading.Event, report: Callable[[str], None]) -> str:
    """Returns why Slurm didn't, in its own words, or ''.

    Parameters
    ----------
    until : of `time.monotonic`; a controller that is away is asked again as long.
    ended : set when the job is asked to end.
    report : called with the reason why it takes time.
    """
    refusal = _request_requeue(job, until)
    if UNREACHED.search(refusal) and time.monotonic() < until:
        report(
            f"Slurm doesn't answer ({refusal}): it is asked for {until - time.monotonic():.0f} s to queue the job again"
        )
    while UNREACHED.search(refusal) and time.monotonic() < until and not ended.wait(AGAIN_S):
        refusal = _request_requeue(job, until)
    return refusal


def _request_requeue(job: str, until: float) -> str:
    """Ask scontrol to queue the job again; returns its refusal, '' if it did."""
    timeout_s = max(until - time.monotonic(), ANSWER_S)
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return f"No answer within {timeout_s:.0f} s"
    except OSError as error:
        return describe_error(error)
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[-1] if done.returncode else ""
