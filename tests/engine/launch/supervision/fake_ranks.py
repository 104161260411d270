"""Plays the ranks of a run, for a supervisor: `fake_ranks.py FOLDER ACT…`; the n-th start plays the n-th act.

An act is a list of words: `save=EPOCH` writes a checkpoint, `fails=TEXT` fails for that reason, `stops` waits for a
pause or a cancel and stops as ranks do, `stays` waits for its end, `spreads` starts one process after another as
horovodrun does, each in a session of its own, until it is ended, `killed` ends itself by SIGKILL, `done` is done,
`yields` waits for another launch and ends with the heartbeat of that one's rank, which is in other.json.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from engine.files import read_json, to_json, write_whole
from engine.runs import Heartbeat, RankEnd, Run

LOOK_S = 0.02


def main(run: Run, acts: list[str]) -> int:
    number = len(list(run.folder.glob("start-*")))
    (run.folder / f"start-{number}").touch()
    with Heartbeat(run, 0, 1) as heartbeat:
        for word in acts[min(number, len(acts) - 1)].split(","):
            play(run, heartbeat, *word.split("="))
        return 1 if heartbeat.record.end is RankEnd.FAILED else 0


def play(run: Run, heartbeat: Heartbeat, word: str, more: str = "") -> None:
    if word == "save":
        with open(run.last, "wb") as file:
            np.savez(file, state=np.array(f'{{"epoch": {more}, "step": 0}}'))
    elif word == "fails":
        heartbeat.end(RankEnd.FAILED, reason=more)
    elif word == "stops":
        while not (run.pause_file.exists() or run.cancel_file.exists()):
            time.sleep(LOOK_S)
        heartbeat.end(
            RankEnd.STOPPED, reason="cancelled" if run.cancel_file.exists() else read_json(run.pause_file)["reason"]
        )
    elif word == "stays":
        time.sleep(3600)
    elif word == "spreads":
        for number in itertools.count():
            stays = [sys.executable, "-c", "import time; time.sleep(3600)", str(run.folder)]
            subprocess.Popen(stays, start_new_session=True)
            (run.folder / f"spread-{number}").touch()
    elif word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "yields":
        while run.request.token == "a-token":
            time.sleep(LOOK_S)
        heartbeat._thread.stop()
        write_whole(heartbeat.path, (run.folder / "other.json").read_bytes())
        os._exit(0)
    elif word == "done":
        heartbeat.end(RankEnd.DONE)
        write_whole(run.folder / "DONE", to_json({"time": time.time()}))


if __name__ == "__main__":
    sys.exit(main(Run(Path(sys.argv[1])), sys.argv[2:]))
