"""A script under srun, as a supervisor starts ranks: in a job, `srun_script.py RANKS SCRIPT WORD…`."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys

from engine.launch.ranks.command import in_step, meeting


def main(ranks: str, script: str, *words: str) -> int:
    if "HOROVOD_GLOO_RENDEZVOUS_ADDR" in os.environ:  # in the step
        os.environ |= in_step(os.environ)
        sys.argv = [script, *words]
        runpy.run_path(script, run_name="__main__")
        return 0
    from engine.launch.ranks.rendezvous import rendezvous

    command = ["srun", f"--ntasks={ranks}", "--export=ALL", sys.executable, __file__, ranks, script, *words]
    with rendezvous("127.0.0.1") as keys:
        return subprocess.run(command, env={**os.environ, **meeting("127.0.0.1", keys.port, "lo", {})}).returncode


sys.exit(main(*sys.argv[1:]))
