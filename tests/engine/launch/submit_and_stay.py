"""Submits a run and stays, as the dashboard does: `submit_and_stay.py SPEC STORE` prints the run's folder."""

import sys
import time
from pathlib import Path

from engine.launch import api
from engine.runs import Store
from engine.spec import Spec

run = api.submit(Spec.read(Path(sys.argv[1])), Store(Path(sys.argv[2])))
sys.stdout.write(f"{run.folder}\n")
sys.stdout.flush()
time.sleep(3600)
