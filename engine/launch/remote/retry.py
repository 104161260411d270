"""Times at which a site is asked again."""

from __future__ import annotations

import time
from typing import Protocol

POLL_INTERVAL_S = 5.0
LONGEST_INTERVAL_S = 60.0  # between polls of a site that doesn't answer


class Try(Protocol):
    """Last try of something: when, and how many have failed in a row."""

    @property
    def tried(self) -> float: ...
    @property
    def failures(self) -> int: ...


def is_due(last: Try, interval_s: float = 0.0) -> bool:
    """True if it is time for another try, which comes the later the more have failed."""
    if last.failures:
        interval_s = min(POLL_INTERVAL_S * 2**last.failures, LONGEST_INTERVAL_S)
    return not 0 <= time.time() - last.tried < interval_s


def is_poll_due(last: Try) -> bool:
    """True if it is time to poll a site again."""
    return is_due(last, POLL_INTERVAL_S)
