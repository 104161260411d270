"""Supervise fake ranks: `supervise_fake_ranks.py FOLDER ACT…` (see fake_ranks.py); LAUNCH is the token, if any."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from engine.launch.ranks import command
from engine.launch.supervision import supervisor
from engine.runs import Run

actor = (sys.executable, str(Path(__file__).with_name("fake_ranks.py")))
command.plan = lambda run, environment: command.Plan((*actor, *sys.argv[1:]))
sys.exit(supervisor.supervise(Run(Path(sys.argv[1])), os.environ.get("LAUNCH", "")))
