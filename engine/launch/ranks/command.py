"""Command that starts the ranks of a run, and their environment.

`request.json` may hold `"ranks": {"by": …, "interface": …, "hosts": […]}`. `horovodrun` starts them on this machine,
`srun` on all nodes of a Slurm job, without SSH between these, `ssh` on hosts that share the run folder.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from engine.errors import LaunchError
from engine.launch.ranks.addresses import interface_towards
from engine.launch.ranks.topology import Host, place_in_step
from engine.options import did_you_mean
from engine.runs import Run
from engine.runs.records import RanksRequest, RunRequest

INTERFACE = re.compile(r"[A-Za-z0-9._-]{0,15}")
GLOO_TIMEOUT_S = 300  # the first rank waits so long for the last: 512 of them import from one file system
LOSS_S = 30  # elastic ranks, which meet only when all are there, take the others for lost after such a silence


@dataclass(frozen=True)
class Ranks:
    """Start of the ranks, as checked from request.json."""

    by: str = "horovodrun"
    interface: str = ""
    hosts: tuple[Host, ...] = ()

    @classmethod
    def of(cls, request: RunRequest) -> Self:
        """Check the ranks of the request; raises LaunchError."""
        given = request.ranks or RanksRequest()
        if given.by not in PLANS:
            raise LaunchError(f"ranks.by is {given.by!r} in request.json: {did_you_mean(given.by, list(PLANS))}")
        if not INTERFACE.fullmatch(given.interface):
            raise LaunchError(
                f"ranks.interface is {given.interface!r} in request.json", hint="expected a name as ib0 or eth0"
            )
        return cls(given.by, given.interface, tuple(map(Host.parse, given.hosts)))


@dataclass(frozen=True)
class Plan:
    """One command that runs as long as the ranks, and whether they need variables with the place to meet."""

    command: tuple[str, ...]
    meets: bool = False


def plan(run: Run, environment: Mapping[str, str]) -> Plan:
    """The ranks' command, in the environment that the supervisor finds: one process is started as it is.

    Raises
    ------
    LaunchError
        If the request can't be meant, or Horovod isn't built for it.
    """
    how = Ranks.of(run.request)
    if run.spec.launch.processes == 1:
        return Plan(engine("work", run))
    return PLANS[how.by](run, how, environment)


def by_horovodrun(run: Run, how: Ranks, environment: Mapping[str, str]) -> Plan:
    """Elastic ranks aren't started by it, for it ends all when one dies, but as over SSH: on this host alone."""
    launcher = horovodrun()
    found = controller(launcher)
    if run.spec.launch.is_elastic:
        need_gloo(found, "launch.min_processes needs")
        return Plan(engine("hosts", run), meets=True)
    return Plan((str(launcher), "-np", str(run.spec.launch.processes), found, *engine("work", run)))


def by_srun(run: Run, how: Ranks, environment: Mapping[str, str]) -> Plan:
    """Start ranks with srun: with Gloo they meet at a server of the supervisor's, with MPI alone by Slurm."""
    found, elastic = controller(horovodrun()), run.spec.launch.is_elastic
    if elastic:
        need_gloo(found, "launch.min_processes needs")
    gloo = found == "--gloo"
    options = [
        f"--ntasks={run.spec.launch.processes}",
        f"--mpi={'none' if gloo else process_management()}",
        *(["--kill-on-bad-exit=0", "--no-kill"] if elastic else ["--kill-on-bad-exit=1"]),
        "--wait=0",  # the chief evaluates when the others have ended
        "--distribution=block",
        "--export=ALL",  # also where the job was submitted with --export=NONE
        "--label",
    ]
    if cores := environment.get("SLURM_CPUS_PER_TASK"):  # which srun doesn't take from the job since Slurm 22.05
        options.append(f"--cpus-per-task={cores}")
    return Plan(("srun", *options, *engine("rank" if gloo else "work", run)), meets=gloo)


def by_ssh(run: Run, how: Ranks, environment: Mapping[str, str]) -> Plan:
    """Over all hosts of the request, this one included; Gloo only."""
    wanted, given = run.spec.launch.processes, sum(host.ranks for host in how.hosts)
    if given < wanted:
        raise LaunchError(
            f"launch.processes is {wanted}, but the hosts of the target take {given}",
            action="ask for fewer, or add hosts",
        )
    need_gloo(controller(horovodrun()), "several hosts over SSH need")
    return Plan(engine("hosts", run), meets=True)


PLANS = {"horovodrun": by_horovodrun, "srun": by_srun, "ssh": by_ssh}


def meeting(
    address: str, port: int, interface: str, given: Mapping[str, str], *, elastic: bool = False
) -> dict[str, str]:
    """Variables that give ranks with Gloo the place where they meet and the interface; a user's time limit stays."""
    variables = {
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_TIMEOUT_SECONDS": given.get(
            "HOROVOD_GLOO_TIMEOUT_SECONDS", str(LOSS_S if elastic else GLOO_TIMEOUT_S)
        ),
        "PYTHONUNBUFFERED": "1",
    }
    variables |= {"HOROVOD_ELASTIC": "1"} if elastic else {}
    return {**variables, "HOROVOD_GLOO_IFACE": interface} if interface else variables


def in_step(outer: Mapping[str, str]) -> dict[str, str]:
    """The environment of a rank that srun has started: what was set before stays."""
    place, cores = place_in_step(outer), outer.get("SLURM_CPUS_PER_TASK") or outer.get("SLURM_CPUS_ON_NODE", "1")
    share = 1 if "SLURM_CPUS_PER_TASK" in outer else place.local_size
    interface = outer.get("HOROVOD_GLOO_IFACE") or interface_towards(outer["HOROVOD_GLOO_RENDEZVOUS_ADDR"])
    usual = {**threads(int(cores) // share), "NCCL_SOCKET_IFNAME": interface}
    kept = {name: outer[name] for name in usual if name in outer}
    return {**usual, **kept, **place.variables(), "HOROVOD_GLOO_IFACE": interface}


def threads(cores: int) -> dict[str, str]:
    """TensorFlow's and OpenMP's threads."""
    return {"TF_NUM_INTRAOP_THREADS": str(max(1, cores)), "OMP_NUM_THREADS": str(max(1, cores))}


def controller(launcher: Path) -> str:
    """--gloo, or --mpi where Horovod was built without Gloo (as conda-forge does)."""
    parts = _parts_of_library(launcher) or _parts_of_launcher(launcher)
    if not parts & {"Gloo", "MPI"}:
        raise LaunchError(f"{launcher} was built without Gloo and MPI", action="build Horovod with one of them")
    return "--gloo" if "Gloo" in parts else "--mpi"


def _parts_of_library(launcher: Path) -> set[str]:
    """Ask the library of the Python beside a launcher, which is quick; empty if it can't be loaded like that."""
    python = launcher.with_name(Path(sys.executable).name)
    if not python.exists():
        return set()
    script = Path(__file__).with_name("horovod_build.py")
    return set(subprocess.run([python, script], capture_output=True, text=True).stdout.split())


def _parts_of_launcher(launcher: Path) -> set[str]:
    try:
        return built(subprocess.run([launcher, "--check-build"], capture_output=True, text=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LaunchError(
            f"{launcher} doesn't work ({error})", action="install Horovod (make install), or use one process"
        ) from error


def need_gloo(found: str, what: str) -> None:
    if found != "--gloo":
        raise LaunchError(f"Horovod was built without Gloo, which {what}", action="build it with Gloo, or do without")


def built(answer: str) -> set[str]:
    """Parts that Horovod was built with, from the output of its --check-build."""
    return set(re.findall(r"\[X\]\s+(\w+)", answer))


def process_management() -> str:
    """Plugin of srun by which MPI finds its ranks: pmix, else pmi2."""
    try:
        ended = subprocess.run(["srun", "--mpi=list"], capture_output=True, text=True)
    except OSError as error:
        raise LaunchError(f"srun can't be started ({error.strerror}): is this a node of a Slurm cluster?") from error
    offered = re.findall(r"\b(pmix|pmi2)\b", ended.stdout + ended.stderr)
    if not offered:
        raise LaunchError("srun offers neither pmix nor pmi2, which MPI needs", action="build Horovod with Gloo")
    return "pmix" if "pmix" in offered else "pmi2"


def horovodrun() -> Path:
    return Path(sys.executable).with_name("horovodrun")


def engine(command: str, run: Run) -> tuple[str, ...]:
    return (sys.executable, "-m", "engine", command, str(run.folder))
