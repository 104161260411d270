"""This machine as runs can use it: cores, GPUs, memory; and how much of it one run may take."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from engine.available_memory import total_memory

LEAST_PROCESSES = 4  # so that training on several processes can be tried on any machine
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds in a period, and the period
DEVICES = Path("/dev")


@dataclass(frozen=True)
class Machine:
    """Cores of this process, GPUs for which CUDA is installed, bytes of memory."""

    cores: int
    gpus: int
    memory_bytes: int

    @classmethod
    @functools.cache
    def here(cls) -> Self:
        return cls(_cores(), gpu_devices() if has_cuda() else 0, total_memory())

    @property
    def most_processes(self) -> int:
        """Processes of one run: one a GPU, else one a core, but a few on any machine."""
        return self.gpus or max(self.cores, LEAST_PROCESSES)

    @property
    def text(self) -> str:
        """'2 cores, no GPU in use, 23.4 GiB of memory'"""
        gpus = {0: "no GPU in use", 1: "1 GPU"}.get(self.gpus, f"{self.gpus} GPUs")
        return f"{self.cores} cores, {gpus}, {self.memory_bytes / 2**30:.1f} GiB of memory"


def has_cuda() -> bool:
    """True if the libraries of `tensorflow[and-cuda]` are installed."""
    try:
        return importlib.util.find_spec("nvidia.cudnn") is not None
    except ModuleNotFoundError:
        return False


def _cores() -> int:
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
    except (OSError, ValueError):
        return here
    return here if quota == "max" else min(here, max(1, int(quota) // int(period)))


def gpu_devices() -> int:
    """NVIDIA's devices, as far as CUDA_VISIBLE_DEVICES shows them."""
    found = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in DEVICES.glob("nvidia*"))
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return found
    return min(found, len([word for word in visible.split(",") if word not in ("", "-1")]))
