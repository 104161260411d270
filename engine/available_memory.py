"""Memory that a process may still take."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")
# Limit, use, and the name in memory.stat of what the kernel gives back when asked (read files), of versions 2 and 1.
GROUP_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
LIMITS = {"VmSize": resource.RLIMIT_AS, "VmData": resource.RLIMIT_DATA}  # what each counts, in /proc/self/status


def free_memory(processes: int = 1) -> int:
    """Bytes that this process may still take, when `processes` equal ones share the machine and its control group.

    The smallest of what the machine has, what the control group leaves (a Slurm job has one) and what the process's own
    limits leave (`ulimit -v`, `ulimit -d`).
    """
    shared = min([psutil.virtual_memory().available, *_available_in_groups(GROUPS, _text(Path("/proc/self/cgroup")))])
    return min([shared // processes, *_available_within_limits(_text(Path("/proc/self/status")))])


def total_memory() -> int:
    """Bytes that this machine has, or its control group allows if that is less."""
    groups = _control_groups(GROUPS, _text(Path("/proc/self/cgroup")))
    limits = [_text(folder / names[0]).strip() for folder, names in groups]
    return min([psutil.virtual_memory().total, *(int(limit) for limit in limits if limit.isdigit())])


def _available_in_groups(root: Path, lines: str) -> Iterator[int]:
    """Bytes that each control group leaves."""
    for folder, names in _control_groups(root, lines):
        yield from _available_in_group(folder, *names)


def _control_groups(root: Path, lines: str) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Control groups that the process is in, those around them included; `lines` are of /proc/self/cgroup."""
    for line in lines.splitlines():
        _, controllers, name = line.split(":", 2)
        kind = "memory" if "memory" in controllers.split(",") else controllers
        if kind in GROUP_FILES:
            top = root / kind
            group = top / name.lstrip("/")
            for folder in (group, *group.parents):
                yield folder, GROUP_FILES[kind]
                if folder == top:
                    break


def _available_in_group(folder: Path, limit: str, used: str, given_back: str) -> Iterator[int]:
    most, now = (_text(folder / name).strip() for name in (limit, used))
    if most.isdigit() and now.isdigit():  # "max": no limit
        found = re.search(rf"^{given_back} (\d+)", _text(folder / "memory.stat"), re.MULTILINE)
        yield max(0, int(most) - int(now) + (int(found[1]) if found else 0))


def _available_within_limits(status: str) -> Iterator[int]:
    for word, kind in LIMITS.items():
        most, _ = resource.getrlimit(kind)
        found = re.search(rf"^{word}:\s+(\d+) kB", status, re.MULTILINE)
        if found and most != resource.RLIM_INFINITY:
            yield max(0, most - 1024 * int(found[1]))


def _text(path: Path) -> str:
    """Text of a file of the kernel; empty where there is none, as on other systems."""
    try:
        return path.read_text()
    except OSError:
        return ""
