"""Full disks, and files that arrive damaged or cut short."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import SiteError
from engine.launch import api
from tests.engine.launch.daemons import path_of
from tests.engine.launch.site_runs import (
    go,
    poll_until,
    poll_until_ended,
    remote_folder,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_a_disk_that_is_full(host, tmp_path):
    """A real training, for it is what writes."""
    there = tmp_path / "there"
    there.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(there)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        reason = f"a small disk can't be mounted, which takes root: {mounted.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    try:
        host.declare(python=sys.executable)
        run = host.submit("ssh", "training.epochs=40")
        poll_until(run, lambda state: run.latest(), "training")
        ballast = fill(there)
        state = poll_until(run, lambda state: not state.state.is_active, "the end")
        assert state.state == "failed"
        assert "is full: free some space there, then resume" in state.reason
        with pytest.raises(SiteError, match="free some space there, then resume"):
            api.resume(run)
        assert "free some space there, then resume" in run.status().reason
        ballast.unlink()
        api.resume(run)
        assert poll_until_ended(run).state == "done"
    finally:
        subprocess.run(["umount", "--lazy", str(there)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return path


def damaging_sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> Path:
    """An sftp here that, so many times, leaves the end of what it has fetched away; each leaves a file `cut.N`."""
    programs = tmp_path / "here_programs"
    programs.mkdir(exist_ok=True)
    text = f"""\
#!/bin/bash
batch=$(cat)
{path_of("sftp")} "$@" <<< "$batch"
rc=$?
part=$(sed -n 's/.*"\\([^"]*[.]part\\)"$/\\1/p' <<< "$batch")
number=$(ls {programs} | grep -c '^cut')
if [ -s "$part" ] && [ "$number" -lt {times} ]; then truncate -s -1000 "$part"; touch {programs}/cut.$number; fi
exit $rc
"""
    (programs / "sftp").write_text(text)
    (programs / "sftp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return programs


def test_a_result_that_is_cut_short_is_fetched_again(host, monkeypatch):
    run = host.training("ssh")
    programs = damaging_sftp(host.folder, monkeypatch, times=1)
    host.finish(run)
    assert (programs / "cut.0").exists()


def test_a_result_that_never_comes_whole_is_said_and_not_taken(host, monkeypatch):
    run = host.training("ssh")
    with monkeypatch.context() as context:
        damaging_sftp(host.folder, context, times=2)
        go(host.folder)
        state = poll_until(run, lambda state: "damaged twice" in state.reason, "a damaged result")
        assert state.state == "running"
        assert not (run.folder / "DONE").exists()
        assert not run.best.exists()
    host.finish(run)


def test_a_long_log_is_here_to_its_end(host):
    """What is written last is longer than what one look brings."""
    run = host.training("ssh")
    with open(remote_folder(host.folder, run) / "log.txt", "ab") as log:
        log.write(b"x" * 5_000_000 + b"\n")
    host.finish(run)
    assert run.log.stat().st_size > 5_000_000
