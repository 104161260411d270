"""When to ask a site again, and what to make of an answer that lacks something."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from engine.errors import RunError
from engine.launch.sites import Site
from engine.runs import RecordError

POLL_INTERVAL_S = 5.0
LONGEST_INTERVAL_S = 60.0  # between polls of a site that doesn't answer


class Try(Protocol):
    """Last try of something: when, and how many have failed in a row."""

    @property
    def tried(self) -> float: ...
    @property
    def failures(self) -> int: ...


def is_due(last: Try, interval_s: float = 0.0) -> bool:
    """Tell whether it is time for another try, which comes the later the more have failed."""
    if last.failures:
        interval_s = min(POLL_INTERVAL_S * 2**last.failures, LONGEST_INTERVAL_S)
    return not 0 <= time.time() - last.tried < interval_s


def is_poll_due(last: Try) -> bool:
    """Tell whether it is time to poll a site again."""
    return is_due(last, POLL_INTERVAL_S)


@contextmanager
def checking_answer(site: Site) -> Iterator[None]:
    """Turn an answer that lacks something, or holds something else, into a fault of the site."""
    try:
        yield
    except (RecordError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{site.name} gave an answer that isn't understood ({type(error).__name__}: {error})") from error
