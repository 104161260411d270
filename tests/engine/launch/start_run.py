"""Hands a run over, as a process of its own: `python -m tests.engine.launch.start_run RUN_FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.launch import api
from engine.runs import Run

if __name__ == "__main__":
    api.start(Run(Path(sys.argv[1])))
