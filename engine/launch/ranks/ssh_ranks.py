"""Ranks on several hosts over SSH, which share the run folder and the engine's; Gloo, without horovodrun.

`python -m engine hosts FOLDER` starts `python -m engine host FOLDER` on each, which starts the ranks there. Host keys
are checked. Variables of the ranks go in by standard input: when it closes, they end.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from engine.launch.local import GRACE_S, ROOT, environment
from engine.launch.ranks import command
from engine.launch.ranks.addresses import interface_towards
from engine.launch.ranks.topology import Host, fill_hosts, places_on_host
from engine.runs import Run

SSH = ("ssh", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ServerAliveInterval=15", "--")
HERE = "MESOSCOPE_HOST"  # of one host: its name, its number, and how many ranks each host has

Processes = Mapping[str, "subprocess.Popen[bytes]"]


def start_hosts(run: Run) -> int:
    """Start the ranks on all hosts of the request, or on this one; returns the first exit code that isn't 0."""
    wanted = run.spec.launch.processes
    hosts = fill_hosts(command.Ranks.of(run.request).hosts or (Host("localhost", wanted),), wanted)
    processes = {f"host {host.name}": _start_host(run, hosts, number) for number, host in enumerate(hosts)}
    return together(processes, _continue_without if run.spec.launch.is_elastic else _release_host)


def start_ranks(run: Run) -> int:
    """Start the ranks of this host, and end them when standard input closes."""
    here = json.loads(os.environ[HERE])
    places = places_on_host(**here)
    interface = os.environ.get("HOROVOD_GLOO_IFACE") or interface_towards(os.environ["HOROVOD_GLOO_RENDEZVOUS_ADDR"])
    common = {**command.threads((os.cpu_count() or 1) // len(places)), "NCCL_SOCKET_IFNAME": interface, **os.environ}
    processes = {
        f"rank {place.rank}": subprocess.Popen(
            command.engine("work", run),
            cwd=ROOT,
            env={**common, **place.variables(), "HOROVOD_GLOO_IFACE": interface},
            stdin=subprocess.DEVNULL,
        )
        for place in places
    }
    threading.Thread(target=_end_with_input, args=(processes,), daemon=True).start()
    return together(processes, _continue_without if run.spec.launch.is_elastic else _end)


def script(run: Run, variables: Mapping[str, str]) -> str:
    """Script for bash on a host: variables of the ranks, and their command, which keeps the rest of the input."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*lines, f"cd {shlex.quote(str(ROOT))} && exec {shlex.join(command.engine('host', run))}", ""])


def is_here(name: str) -> bool:
    """True if a host's name is that of this host, which needs no SSH."""
    here = socket.gethostname()
    return name in ("localhost", here, here.partition(".")[0])


def together(processes: Processes, end: Callable[[Any], None]) -> int:
    """Wait for all processes; when the first fails, say which, and end the others; returns its exit code."""
    first = 0
    with ThreadPoolExecutor(len(processes)) as pool:
        waiting = {pool.submit(process.wait): name for name, process in processes.items()}
        for ended in as_completed(waiting):
            if first or not (first := ended.result()):
                continue
            how = f"signal {signal.Signals(-first).name}" if first < 0 else f"exit code {first}"
            sys.stdout.write(f"{waiting[ended]} was the first to end: {how}\n")
            sys.stdout.flush()
            for process in processes.values():
                end(process)
    return first


def _start_host(run: Run, hosts: Sequence[Host], number: int) -> subprocess.Popen[bytes]:
    host = hosts[number]
    here = {"name": host.name, "node": number, "layout": [each.ranks for each in hosts]}
    kept = environment(os.environ, 1)
    variables = {name: kept[name] for name in kept if name in os.environ or name not in command.threads(1)}
    command = ["bash", "-s"] if is_here(host.name) else [*SSH, host.name, "bash", "-s"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):  # its exit status gives the reason
        process.stdin.write(script(run, {**variables, HERE: json.dumps(here)}).encode())
        process.stdin.flush()
    return process


def _continue_without(process: subprocess.Popen[bytes]) -> None:
    """Elastic ranks go on without those that have ended."""


def _release_host(host: subprocess.Popen[bytes]) -> None:
    """Close the input of a host, which then ends its ranks."""
    with contextlib.suppress(BrokenPipeError):
        if host.stdin:
            host.stdin.close()


def _end_with_input(processes: Processes) -> None:
    """Wait for the end of standard input, then end the ranks."""
    while os.read(0, 4096):
        pass
    for process in processes.values():
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a rank; kill it if it is still there after GRACE_S."""
    process.terminate()
    timer = threading.Timer(GRACE_S, process.kill)
    timer.daemon = True
    timer.start()
