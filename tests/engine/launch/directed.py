"""A supervisor whose ranks are played: `directed.py FOLDER ACT…` (see actor.py); LAUNCH is its token, if it has one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from engine.launch import ranks, supervisor
from engine.runs import Run

actor = (sys.executable, str(Path(__file__).with_name("actor.py")))
ranks.plan = lambda run, environment: ranks.Plan((*actor, *sys.argv[1:]))
sys.exit(supervisor.supervise(Run(Path(sys.argv[1])), os.environ.get("LAUNCH", "")))
