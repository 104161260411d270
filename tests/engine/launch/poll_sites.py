"""Looks at targets as the dashboard does, as a process of its own: `python -m tests.engine.launch.poll_sites STORE`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from engine.launch.remote.poll import SitePollers
from engine.runs import Store

if __name__ == "__main__":
    SitePollers(Store(Path(sys.argv[1]))).start()
    signal.pause()
