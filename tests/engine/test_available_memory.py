"""Free memory: the smallest of what machine, control group and limits leave, from files as the kernel writes them."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from engine import available_memory
from engine.launch.local import ROOT


def group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_a_group_of_version_2_and_those_around_it(tmp_path):
    stat = "anon 300\nfile 500\nactive_file 100\ninactive_file 400\n"
    group(tmp_path / "job_7", {"memory.max": "2000\n", "memory.current": "1500\n", "memory.stat": stat})
    group(tmp_path / "job_7" / "step_0", {"memory.max": "max\n", "memory.current": "900\n", "memory.stat": stat})
    left = list(available_memory._available_in_groups(tmp_path, "0::/job_7/step_0\n"))
    assert left == [2000 - 1500 + 400]  # read files are given back when asked


def test_a_group_of_version_1(tmp_path):
    files = {"memory.limit_in_bytes": "1000\n", "memory.usage_in_bytes": "1200\n"}
    group(tmp_path / "memory" / "slurm" / "job", files)
    lines = "5:cpu,cpuacct:/slurm/job\n4:memory:/slurm/job\n0::/\n"
    assert list(available_memory._available_in_groups(tmp_path, lines)) == [0]  # never less than nothing


def test_a_group_seen_from_within_its_container(tmp_path):
    """The path is that of the host, and not there; the container's own group is mounted as the top."""
    group(tmp_path, {"memory.max": "5000", "memory.current": "1000"})
    assert list(available_memory._available_in_groups(tmp_path, "0::/docker/abc\n")) == [4000]


def test_without_groups_the_machine_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(available_memory, "GROUPS", tmp_path)
    available = psutil.virtual_memory().available
    assert available_memory.free_memory() == pytest.approx(available, rel=0.2)
    assert available_memory.free_memory(4) == pytest.approx(available / 4, rel=0.2)


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_limits_of_the_process_count(kind):
    code = (
        "import resource, numpy as np\n"
        "from engine.available_memory import free_memory\n"
        f"resource.setrlimit(resource.{kind}, (2**30, 2**30))\n"
        "before, held = free_memory(), np.ones(2**27, np.uint8)\n"
        "print(before, free_memory(), free_memory(2))"
    )
    limit = getattr(resource, kind)
    assert resource.getrlimit(limit)[0] == resource.RLIM_INFINITY
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    before, after, of_two = map(int, output.split())
    assert 2**27 < before < 2**30
    assert before - after == pytest.approx(2**27, rel=0.01)  # an array of 128 MiB
    assert of_two == after  # each process has limits of its own
