"""Stands in for a training on a target: begins, beats and ends as one does, without TensorFlow.

It goes on until a file `go` lies beside the site folder, and then has results: `python fake_training.py RUN_FOLDER`.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil

from engine.files import append_line, to_json, write_whole
from engine.runs import Heartbeat, RankEnd, Run

RESULTS = {"checkpoints/best.npz": 300_000, "results/test.nc": 500_000, "results/empty.txt": 0}
STEP_S = 0.02


def main(run: Run, go: Path) -> None:
    started = psutil.Process().create_time()
    me = {"pid": os.getpid(), "pid_started": started, "host": socket.gethostname(), "token": run.request.token}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    run.record_launch("started", **me)
    with Heartbeat(run, 0, 1) as heartbeat:
        heartbeat.phase("training")
        number = len(run.progress()[0])
        while not (number and go.exists()):
            if run.cancel_file.exists():
                heartbeat.end(RankEnd.STOPPED, reason="cancelled")
                run.record_launch("ended", rc=0, cancelled=True, reason="cancelled", **me)
                return
            append_line(run.folder / "progress.jsonl", {"seq": number, "time": time.time(), "epoch": 1, "step": number})
            number += 1
            time.sleep(STEP_S)
        for name, size in RESULTS.items():
            write_whole(run.folder / name, os.urandom(size))
        run.write_manifest()
        write_whole(run.folder / "DONE", to_json({"time": time.time()}))
        heartbeat.end(RankEnd.DONE)
    run.record_launch("ended", rc=0, reason="done", **me)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    main(Run(folder), folder.parents[2] / "go")
