"""What this machine has, and how much of it one run may take."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from engine.errors import SiteError
from engine.launch import machine
from engine.launch.machine import Machine
from engine.launch.site_check import check
from engine.launch.sites import Site
from engine.spec import LaunchOptions

GIB = 2**30


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, no GPU, 8 GiB."""
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls: Machine(2, 0, 8 * GIB)))


@pytest.mark.parametrize(("cores", "gpus", "most"), [(2, 0, 4), (64, 0, 64), (64, 8, 8), (8, 1, 1)])
def test_one_process_a_gpu_else_one_a_core_but_a_few_on_any_machine(cores, gpus, most):
    assert Machine(cores, gpus, GIB).most_processes == most


def test_a_run_that_would_stop_the_machine_is_refused_with_the_figures(small):
    with pytest.raises(SiteError) as refused:
        Site.called("local", {}).accept(LaunchOptions(processes=4096))
    assert str(refused.value) == (
        "launch.processes is 4096, but this machine has 2 cores, no GPU in use, 8.0 GiB of memory, and takes at most 4 "
        "processes of a run: set it to at most 4, or raise limits.processes of local in the targets file"
    )
    assert refused.value.option == "launch.processes"
    Site.called("local", {}).accept(LaunchOptions(processes=4))


def test_the_targets_file_raises_and_lowers_it(small):
    site = Site.called("local", {"limits": {"processes": 6}})
    site.accept(LaunchOptions(processes=6))
    with pytest.raises(SiteError, match="launch.processes is 7, but target local allows at most 6"):
        site.accept(LaunchOptions(processes=7))


def test_other_sites_are_not_measured_by_this_machine(small):
    Site.called("box", {"kind": "ssh", "host": "box"}).accept(LaunchOptions(site="box", processes=4096))


def test_a_run_that_does_not_fit_into_memory_is_refused_with_the_figures(small):
    site = Site.called("local", {})
    site.accept_memory(LaunchOptions(processes=4), 2 * GIB)
    with pytest.raises(SiteError) as refused:
        site.accept_memory(LaunchOptions(processes=4), 2 * GIB + 1)
    assert refused.value.problem == (
        "the run needs about 8.0 GiB of memory (launch.processes 4, 2.0 GiB each), but local has 8.0 GiB"
    )
    Site.called("local", {"limits": {"memory_gib": 12}}).accept_memory(LaunchOptions(processes=4), 3 * GIB)


@pytest.mark.parametrize(("quota", "cores"), [("150000 100000", 1), ("max 100000", 3), ("900000 100000", 3)])
def test_cores_are_those_of_the_process_and_of_its_container(quota, cores, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert machine._cores() == cores


@pytest.mark.parametrize(("visible", "gpus"), [(None, 2), ("1", 1), ("", 0), ("-1", 0), ("0,1,2,3", 2)])
def test_gpus_are_the_devices_that_may_be_seen(visible, gpus, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.gpu_devices() == gpus


@pytest.mark.slow
def test_the_check_of_this_machine_says_what_there_is_and_what_training_uses():
    found = {step.name: step for step in check(Site.called("local", {"limits": {"processes": 3}}))}
    assert list(found) == ["machine", "packages", "Horovod", "training"]
    assert all(step.works for step in found.values())
    assert found["machine"].found.startswith(Machine.here().text)
    assert found["machine"].found.endswith("a run may have 3 processes")
    if not machine.gpu_devices():
        assert found["training"].found.startswith("on the processor; with mixed_bfloat16")


def test_memory_is_that_of_the_machine_or_of_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import available_memory

    monkeypatch.setattr(available_memory, "GROUPS", tmp_path)
    assert available_memory.total_memory() == psutil.virtual_memory().total
    (tmp_path / "memory.max").write_text("5000\n")
    monkeypatch.setattr(available_memory, "_text", lambda path: "0::/\n" if path.name == "cgroup" else path.read_text())
    assert available_memory.total_memory() == 5000
