"""Commands and processes on a site, of the standard library alone: their output, and whether they live."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from engine.launch.remote.protocol import CommandResult


def run(words: Sequence[str], timeout_s: float, *, cwd: Path = Path("/")) -> CommandResult:
    """Run a command and return its output; it is ended, with all that it started, if it isn't done in time."""
    try:
        process = subprocess.Popen(
            [os.path.expanduser(words[0]), *words[1:]],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return CommandResult(None, "", f"{words[0]} can't be run: {error.strerror}")
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # what it started holds on to its output
        process.communicate()
        return CommandResult(None, "", f"{words[0]} didn't answer within {timeout_s:g} s")
    return CommandResult(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def detach(words: Sequence[str], log: IO[bytes], *, cwd: Path, variables: Mapping[str, str]) -> int:
    """Start a process that outlives this one, and return its id."""
    return subprocess.Popen(
        words,
        cwd=cwd,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    ).pid


def start_ticks(pid: int) -> int | None:
    """Start of a process in clock ticks since the host was booted: with the process id, its identity."""
    try:
        return int(_stat(pid)[19])
    except (OSError, ValueError, IndexError):
        return None


def is_alive(pid: int, started: int | None) -> bool:
    """True if that very process exists: a process id that was given again doesn't count."""
    if started is not None and start_ticks(pid) != started:
        return False
    try:
        return _stat(pid)[0] != "Z"
    except (OSError, IndexError):
        return False


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on, which is the third; see proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
