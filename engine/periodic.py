"""A thread that repeats an action until it is stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Self

logger = logging.getLogger(__name__)


class PeriodicThread:
    """Repeats an action every `interval_s` seconds, the first time after one interval, as a context or until `stop`.

    An error of the action is logged, once until it changes, and the next repetition comes all the same.
    """

    def __init__(self, name: str, interval_s: float, action: Callable[[], object]):
        self.name, self.interval_s, self.action = name, interval_s, action
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=name, daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """Make no further repetition, and wait for the end of the present one, at most so long."""
        self._stopping.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _repeat(self) -> None:
        last = ""
        while not self._stopping.wait(self.interval_s):
            try:
                self.action()
            except Exception as error:
                if last != (last := repr(error)):
                    is_ours = not isinstance(error, OSError)  # a full disk, say, isn't
                    logger.error("%s failed (%s): it is tried again", self.name, last, exc_info=is_ours)
            else:
                last = ""
