"""How ranks are started: commands and environments as pure values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import LaunchError, MesoscopeError
from engine.launch.ranks import command
from engine.launch.ranks.command import Ranks, controller, in_step, meeting, plan
from engine.parsing import parse_record
from engine.runs import Run, Store
from engine.runs.records import RunRequest
from engine.spec import Spec


@pytest.fixture
def gloo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "controller", lambda launcher: "--gloo")


@pytest.fixture
def mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "controller", lambda launcher: "--mpi")


def run_of(store: Path, processes: int, **how: Any) -> Run:
    plain = {"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}, "launch": {"processes": processes}}
    return Store(store).create(Spec.from_plain(plain), {"ranks": how} if how else {})


@pytest.mark.parametrize("by", ["horovodrun", "srun", "ssh"])
def test_one_process_is_started_as_it_is(by, tmp_path):
    made = plan(run_of(tmp_path, 1, by=by, hosts=["a:1"]), {})
    assert made.command[1:4] == ("-m", "engine", "work")
    assert not made.meets


def test_without_a_word_horovodrun_starts_the_ranks(tmp_path, gloo):
    run = run_of(tmp_path, 3)
    made = plan(run, {"SLURM_CPUS_PER_TASK": "4"})
    assert Path(made.command[0]).name == "horovodrun"
    assert made.command[1:4] == ("-np", "3", "--gloo")
    assert made.command[-4:] == ("-m", "engine", "work", str(run.folder))
    assert not made.meets


def test_with_gloo_srun_starts_ranks_that_meet(tmp_path, gloo):
    run = run_of(tmp_path, 4, by="srun", interface="ib0")
    made = plan(run, {"SLURM_CPUS_PER_TASK": "8"})
    assert made.meets
    assert made.command[0] == "srun"
    assert {"--ntasks=4", "--mpi=none", "--kill-on-bad-exit=1", "--export=ALL", "--cpus-per-task=8"} < set(made.command)
    assert made.command[-4:] == ("-m", "engine", "rank", str(run.folder))
    assert not any(word.startswith("--cpus-per-task") for word in plan(run, {}).command)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("MPI plugin types are...\n\tnone\n\tpmi2\n\tpmix\nspecific pmix plugin versions available: pmix_v4\n", "pmix"),
        ("srun: MPI types are...\nsrun: cray_shasta\nsrun: pmi2\nsrun: none\n", "pmi2"),
    ],
)
def test_with_mpi_alone_slurm_introduces_the_ranks(listed, expected, tmp_path, mpi, monkeypatch):
    program(tmp_path / "srun", f"cat >&2 <<'END'\n{listed}END\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    run = run_of(tmp_path / "runs", 4, by="srun")
    made = plan(run, {})
    assert not made.meets
    assert f"--mpi={expected}" in made.command
    assert made.command[-4:] == ("-m", "engine", "work", str(run.folder))


def test_slurm_without_a_way_for_mpi(tmp_path, mpi, monkeypatch):
    program(tmp_path / "srun", "echo none\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(LaunchError, match="srun offers neither pmix nor pmi2, which MPI needs"):
        plan(run_of(tmp_path / "runs", 4, by="srun"), {})


def elastic_run(store: Path, **how: Any) -> Run:
    launch = {"processes": 4, "min_processes": 2}
    plain = {"version": 1, "data": {"target": {"path": "/data/hr.nc"}, "scale": 4}, "launch": launch}
    return Store(store).create(Spec.from_plain(plain), {"ranks": how} if how else {})


def test_elastic_ranks_are_started_by_what_lets_the_others_live(tmp_path, gloo):
    run = elastic_run(tmp_path)
    made = plan(run, {})  # horovodrun would end all
    assert made.command[-4:] == ("-m", "engine", "hosts", str(run.folder))
    assert made.meets
    step = plan(elastic_run(tmp_path, by="srun"), {})
    assert {"--kill-on-bad-exit=0", "--no-kill"} < set(step.command)
    variables = meeting("10.0.0.1", 4711, "ib0", {}, elastic=True)
    assert (variables["HOROVOD_ELASTIC"], variables["HOROVOD_GLOO_TIMEOUT_SECONDS"]) == ("1", "30")


@pytest.mark.parametrize("by", ["horovodrun", "srun"])
def test_elastic_ranks_need_gloo(by, tmp_path, mpi, monkeypatch):
    monkeypatch.setattr(command, "process_management", lambda: "pmix")
    with pytest.raises(LaunchError, match="built without Gloo, which launch.min_processes needs: build it with Gloo"):
        plan(elastic_run(tmp_path, by=by), {})


def test_over_ssh_all_hosts_are_needed(tmp_path, gloo):
    run = run_of(tmp_path, 4, by="ssh", hosts=["a:2", "b:2"])
    made = plan(run, {})
    assert made.meets
    assert made.command[-4:] == ("-m", "engine", "hosts", str(run.folder))
    few = run_of(tmp_path, 5, by="ssh", hosts=["a:2", "b:2"])
    with pytest.raises(LaunchError, match="launch.processes is 5, but the hosts of the target take 4: ask for fewer"):
        plan(few, {})


def test_over_ssh_gloo_is_needed(tmp_path, mpi):
    with pytest.raises(LaunchError, match="built without Gloo, which several hosts over SSH need"):
        plan(run_of(tmp_path, 2, by="ssh", hosts=["a:2"]), {})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"by": "slurm"}, "ranks.by is 'slurm' in request.json: known are horovodrun, srun, ssh"),
        ({"by": "srun", "interface": "lo; rm -rf /"}, "ranks.interface is 'lo; rm -rf /' in request.json"),
        ({"by": "ssh", "hosts": ["-oProxyCommand=evil:1"]}, "ranks.hosts holds '-oProxyCommand=evil:1'"),
        ({"by": "ssh", "hosts": ["a"]}, "ranks.hosts holds 'a' in request.json: expected a host and its ranks"),
        ({"by": "ssh", "hosts": ["$(id):1"]}, "ranks.hosts holds '$(id):1'"),
        ({"by": "ssh", "hosts": [3]}, "hosts holds 3"),
    ],
)
def test_a_request_that_cannot_be_meant(request_, message):
    with pytest.raises(MesoscopeError) as caught:
        Ranks.of(parse_record(RunRequest, {"ranks": request_}, "request.json"))
    assert message in str(caught.value)


def task(procid: int, node: int, local: int, layout: str, **more: str) -> dict[str, str]:
    return {
        "SLURM_PROCID": str(procid),
        "SLURM_NODEID": str(node),
        "SLURM_LOCALID": str(local),
        "SLURM_STEP_NUM_TASKS": "7",
        "SLURM_STEP_TASKS_PER_NODE": layout,
        "SLURMD_NODENAME": f"gpu{node}",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
        **more,
    }


def test_a_rank_has_its_share_of_the_cores_and_the_interface_to_the_others():
    given = in_step(task(0, 0, 0, "2(x3),1", SLURM_CPUS_PER_TASK="8", SLURM_CPUS_ON_NODE="16"))
    assert (given["TF_NUM_INTRAOP_THREADS"], given["OMP_NUM_THREADS"]) == ("8", "8")
    assert (given["HOROVOD_GLOO_IFACE"], given["NCCL_SOCKET_IFNAME"]) == ("lo", "lo")
    assert in_step(task(0, 0, 0, "2(x3),1", SLURM_CPUS_ON_NODE="16"))["OMP_NUM_THREADS"] == "8"
    chosen = in_step(task(0, 0, 0, "1", OMP_NUM_THREADS="3", HOROVOD_GLOO_IFACE="ib0", NCCL_SOCKET_IFNAME="ib1"))
    assert (chosen["OMP_NUM_THREADS"], chosen["HOROVOD_GLOO_IFACE"], chosen["NCCL_SOCKET_IFNAME"]) == (
        "3",
        "ib0",
        "ib1",
    )


def test_ranks_are_told_where_they_meet():
    variables = meeting("10.0.0.1", 4711, "ib0", {})
    assert (variables["HOROVOD_GLOO_RENDEZVOUS_ADDR"], variables["HOROVOD_GLOO_RENDEZVOUS_PORT"]) == (
        "10.0.0.1",
        "4711",
    )
    assert (variables["HOROVOD_CONTROLLER"], variables["HOROVOD_CPU_OPERATIONS"]) == ("gloo", "gloo")
    assert (variables["HOROVOD_GLOO_IFACE"], variables["HOROVOD_GLOO_TIMEOUT_SECONDS"]) == ("ib0", "300")
    patient = meeting("10.0.0.1", 4711, "", {"HOROVOD_GLOO_TIMEOUT_SECONDS": "900"})
    assert patient["HOROVOD_GLOO_TIMEOUT_SECONDS"] == "900"
    assert "HOROVOD_GLOO_IFACE" not in patient  # each rank finds it out


@pytest.mark.parametrize(
    ("built", "expected"),
    [("    [X] MPI\n    [X] Gloo\n", "--gloo"), ("    [X] MPI\n    [ ] Gloo\n", "--mpi")],
)
def test_the_controller_that_horovod_was_built_with(built, expected, tmp_path):
    assert controller(horovodrun(tmp_path, built)) == expected


def test_the_library_of_the_installed_horovod_says_that_it_has_gloo():
    script = Path(command.__file__).with_name("horovod_build.py")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert ended.stdout == "Gloo"  # as packaging/horovod builds it
    assert controller(command.horovodrun()) == "--gloo"


def test_horovod_without_a_controller_or_without_horovodrun(tmp_path):
    broken = horovodrun(tmp_path, "    [X] TensorFlow\n    [ ] MPI\n    [ ] Gloo\n")
    with pytest.raises(LaunchError) as caught:
        controller(broken)
    assert str(caught.value) == (f"{broken} was built without Gloo and MPI: build Horovod with one of them")
    with pytest.raises(LaunchError, match="doesn't work .*: install Horovod \\(make install\\), or use one process"):
        controller(tmp_path / "nothing")


def horovodrun(folder: Path, built: str) -> Path:
    """A launcher that says what it was built with."""
    return program(folder / "horovodrun", f"cat <<'END'\nHorovod v0.28.1:\n\nAvailable Controllers:\n{built}END\n")


def program(path: Path, lines: str) -> Path:
    path.write_text(f"#!/bin/sh\n{lines}")
    path.chmod(0o755)
    return path
