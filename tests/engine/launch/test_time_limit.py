"""A time limit that a real Slurm keeps: it warns the job itself, as a run that was submitted asked it to."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from engine.launch.ranks.command import threads
from engine.runs import Run
from tests.engine.launch.engine_processes import CommandLine, rank_pid, same_weights, wait, write_spec
from tests.engine.launch.site_runs import declare, poll_until, poll_until_ended, remote_folder

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SETTINGS = ("training.epochs=60", "launch.threads=1")
WARNING_S = 10  # Slurm looks every 30 s, and warns where that is the last look before: 20 to 50 s after the start


def test_a_run_whose_time_is_up_is_queued_again_and_ends_as_if_it_had_had_more(
    login, slurm, store, tmp_path, monkeypatch
):
    declare(tmp_path, monkeypatch, login, warning_s=WARNING_S)
    path, engine = write_spec(tmp_path), CommandLine(store.folder)
    run = engine.submit(path, *SETTINGS, "launch.site=slurm", "launch.time_limit=1")
    there = Run(remote_folder(tmp_path, run))
    rank = psutil.Process(rank_pid(there))
    rank.suspend()  # however fast this machine is, it isn't done when the signal comes
    limit = slurm.command("squeue", "--noheader", "--format=%l").strip()
    wait(there.pause_file.exists, "Slurm's signal")
    rank.resume()
    poll_until(run, lambda state: state.state == "queued", "its return to the queue")
    undisturbed = trained(engine, path, monkeypatch)  # while the job waits
    assert poll_until_ended(run).state == "done", (run.status(), run.log.read_text())
    events = [record.event for record in run.launches()]
    assert (limit, events[:3]) == ("1:00", ["started", "paused", "started"])  # its end may come after the results
    assert {record.job for record in run.launches()} == {run.request.job}
    assert run.launches()[2].requeues == 1
    assert "stopped in epoch" in run.log.read_text()
    assert same_weights(run, undisturbed)


def trained(engine: CommandLine, path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same on this machine, with one thread as in the job."""
    with monkeypatch.context() as patch:
        for name, value in threads(1).items():
            patch.setenv(name, value)
        words = [word for setting in SETTINGS for word in ("--set", setting)]
        return Run(Path(engine.json("train", str(path), *words)["folder"]))
