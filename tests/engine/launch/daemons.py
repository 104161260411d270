"""Daemons for tests: started with a log, ended by process id, and nothing left of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.engine.launch.engine_processes import TIMEOUT_S, wait

GONE = (psutil.NoSuchProcess, psutil.AccessDenied)


class Processes:
    """The daemons of a server by name, each with a log in the folder; all of them end with the context."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *problem: object) -> None:
        for name in reversed(list(self._running)):  # what others need was started first
            self.end(name, kill=True)
        kill_all(traces_of(self.folder))

    def start(self, program: str, *words: str, name: str = "", environment: Mapping[str, str] | None = None) -> None:
        name = name or program
        assert not self.live(name), f"{name} runs already"
        with self.log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                [path_of(program), *words],
                cwd=self.folder,
                env=outer(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl+C is for the tests alone
            )

    def live(self, name: str) -> psutil.Process | None:
        process = self._running.get(name)
        return psutil.Process(process.pid) if process and process.poll() is None else None

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Return once a daemon is ready; fail with its last words where it has ended."""
        wait(lambda: not self.live(name) or ready(), f"the start of {name}")
        assert self.live(name), f"{name} ended:\n{self.log(name).read_text()[-2000:]}"

    def end(self, name: str, *, kill: bool = False) -> None:
        """End a daemon: by its own leave, or at once with all that it has started."""
        process = self._running.pop(name, None)
        if process is None:
            return
        if process.poll() is None and kill:
            started = children_of([psutil.Process(process.pid)])
            process.kill()
            kill_all(started)
        elif process.poll() is None:
            process.terminate()
        process.wait(timeout=TIMEOUT_S)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.err"


def path_of(program: str) -> str:
    """Path of a program, or "": ordinary users seldom have the folders of daemons on their PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def outer(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the tests, without that of a job in which they may run, and some more."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    return {**plain, **(environment or {})}


def output(words: Sequence[str], *, environment: Mapping[str, str] | None = None, code: int = 0, text: str = "") -> str:
    """Standard output of a command, once it has ended as it should."""
    ended = subprocess.run(words, env=outer(environment), input=text, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert ended.returncode == code, f"{words} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def traces_of(folder: Path) -> list[psutil.Process]:
    """All live processes that have a folder in their command line or environment, steps of its jobs, and below."""
    found = [process for process in psutil.process_iter() if process.pid != os.getpid() and _belongs(process, folder)]
    return list(dict.fromkeys([*found, *children_of(found)]))


def steps_of(folder: Path, node: str) -> list[psutil.Process]:
    """Processes of the steps of a node's jobs: no children of the node's daemon, but they write to its log."""
    return [step for step in psutil.process_iter() if str(folder / f"{node}.log") in _logs_of_step(step)]


def children_of(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """All that some processes have started, and what those have."""
    found = []
    for process in processes:
        with suppress(*GONE):
            found += process.children(recursive=True)
    return found


def name_of(process: psutil.Process) -> str:
    with suppress(*GONE):
        return process.name()
    return ""


def lives(process: psutil.Process) -> bool:
    """True unless it has ended, or is a zombie that its parent has yet to reap."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Return once none of them lives."""
    processes = list(processes)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait(lambda: not any(lives(process) for process in processes), f"the end of {processes}")


def _belongs(process: psutil.Process, folder: Path) -> bool:
    with suppress(*GONE):
        words = [*process.cmdline(), *process.environ().values(), *_logs_of_step(process)]
        return lives(process) and any(str(folder) in word for word in words)
    return False


def _logs_of_step(process: psutil.Process) -> list[str]:
    with suppress(*GONE):
        return [file.path for file in process.open_files()] if process.name() == "slurmstepd" else []
    return []
