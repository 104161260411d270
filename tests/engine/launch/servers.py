"""A real sshd and a real Slurm of two nodes on this machine's loopback, for root and for ordinary users.

Each server lives in a short folder of its own (the path of a socket has at most 108 bytes) and leaves nothing behind.
"""

from __future__ import annotations

import os
import pwd
import random
import shlex
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.engine.launch.daemons import Processes, children_of, kill_all, name_of, output, path_of, steps_of, traces_of
from tests.engine.launch.engine_processes import wait

# The programs of a server, and the packages that hold them.
SSH = {"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
SLURM = {"munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm"}
NODES = ("node1", "node2")
PORTS = range(20_000, 32_000)  # below those that clients get by chance: still free after a restart
MIN_JOB_AGE_S = 300  # Slurm's default
# How long a credential is good for, and so how long a requeued job waits before it starts again.
CREDENTIAL_S = 15


@contextmanager
def sshd(environment: Mapping[str, str] | None = None) -> Iterator[Sshd]:
    """An SSH server that lets in who runs the test, by a key of its own; its commands see the environment."""
    with _folder() as folder, Processes(folder) as processes:
        server = Sshd(folder, processes, port=_free_ports(1)[0])
        for name in ("host_key", "client_key"):
            _make_key(folder / name)
        shutil.copy(folder / "client_key.pub", folder / "authorized_keys")
        server.config.write_text(_client_config(server))
        server.trust()
        server.set_environment(environment or {})
        server.start()
        yield server


@contextmanager
def slurm(min_job_age_s: int = MIN_JOB_AGE_S) -> Iterator[Slurm]:
    """A Slurm of two idle nodes; ended jobs leave the queue after `min_job_age_s`, or 10 s where that is less."""
    with _folder() as folder, Processes(folder) as processes:
        cluster = Slurm(folder, processes)
        cluster.conf.write_text(_slurm_conf(folder, min_job_age_s))
        _start_munge(cluster)
        cluster.restore()
        yield cluster


@dataclass(frozen=True)
class Sshd:
    """An SSH server, the configuration of its client, and what can happen to it."""

    folder: Path
    processes: Processes
    port: int
    alias: str = "target"
    environment: dict[str, str] = field(default_factory=dict)  # of the server's commands: see set_environment

    @property
    def config(self) -> Path:
        """For `ssh -F`."""
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def command(self, *words: str, code: int = 0) -> str:
        """Standard output of a command on the server, once that has ended as it should."""
        return output(["ssh", "-F", str(self.config), self.alias, shlex.join(words)], code=code)

    def set_environment(self, environment: Mapping[str, str]) -> None:
        """Set more variables for the commands of new connections; PATH and HOME replace the usual ones."""
        self.environment.clear()
        self.environment.update(environment)
        (self.folder / "sshd_config").write_text(_server_config(self))
        self._read_again()

    def new_host_key(self) -> None:
        """The server shows another key than the one that its clients know."""
        _make_key(self.folder / "host_key")
        self._read_again()

    def trust(self) -> None:
        """Clients know the host key that the server has now, and no other."""
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {(self.folder / 'host_key.pub').read_text()}")

    def start(self) -> None:
        """Listen, at the same port and with the same keys as before."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it
        self.processes.start("sshd", "-D", "-e", "-f", str(self.folder / "sshd_config"))
        self.processes.wait("sshd", lambda: _greets(self.port))

    def stop(self) -> None:
        """No listener and no sessions any more; commands get no signal."""
        sessions = self._sessions()
        self.processes.end("sshd")
        kill_all(sessions)

    def cut(self) -> None:
        """No sessions any more, as when the network is cut: commands get no signal, and the listener stays."""
        kill_all(self._sessions())

    def restore(self) -> None:
        """As at the beginning, whatever was done: no sessions, a host key that is known, no command left."""
        self.stop()
        kill_all(traces_of(self.folder))
        self.trust()
        self.set_environment({})
        self.start()

    def _read_again(self) -> None:
        """Let new connections see what is in the files now; sessions stay as they are."""
        if listener := self.processes.live("sshd"):
            before = self._times_opened()
            listener.send_signal(signal.SIGHUP)
            self.processes.wait("sshd", lambda: self._times_opened() > before and _greets(self.port))

    def _times_opened(self) -> int:
        return self.processes.log("sshd").read_text().count("Server listening on ")

    def _sessions(self) -> list[psutil.Process]:
        listener = self.processes.live("sshd")
        started = children_of([listener] if listener else [])
        return [process for process in started if name_of(process).startswith("sshd")]


@dataclass(frozen=True)
class Slurm:
    """A controller, two nodes with two CPUs each, one partition, and what can happen to them."""

    folder: Path
    processes: Processes

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that Slurm's commands need."""
        return {"SLURM_CONF": str(self.conf)}

    def command(self, *words: str, code: int = 0, text: str = "") -> str:
        """Standard output of one of Slurm's commands, once that has ended as it should; `text` is its input."""
        return output(words, environment=self.environment, code=code, text=text)

    def submit(self, script: str, *options: str) -> str:
        """The number of a job that runs bash lines; what it prints is in `folder / "NUMBER.out"`."""
        place = [f"--chdir={self.folder}", f"--output={self.folder}/%j.out"]
        return self.command("sbatch", "--parsable", *place, *options, text=f"#!/bin/bash\n{script}\n").strip()

    def job(self, number: str, what: str = "%T") -> str:
        """Output of squeue for a job in the given format, by default its state."""
        return self.command("squeue", "--noheader", "--states=all", f"--jobs={number}", f"--format={what}").strip()

    def start_controller(self) -> None:
        """With the state it had before."""
        self.processes.start("slurmctld", "-D", environment=self.environment)
        self.processes.wait("slurmctld", self._answers)

    def stop_controller(self) -> None:
        """Jobs go on; Slurm's commands fail."""
        self.processes.end("slurmctld")

    def start_node(self, node: str) -> None:
        self.processes.start("slurmd", "-D", "-N", node, name=node, environment=self.environment)

    def kill_node(self, node: str, *, noticed: bool = True) -> None:
        """End all that runs on a node as if by loss of power; `noticed`: the controller knows that it's down."""
        self.processes.end(node, kill=True)
        steps = steps_of(self.folder, node)
        kill_all([*steps, *children_of(steps)])
        if noticed:
            self.command("scontrol", "update", f"nodename={node}", "state=down", "reason=killed")

    def drain(self, node: str, reason: str = "maintenance") -> None:
        """No new jobs for a node; those on it go on."""
        self.command("scontrol", "update", f"nodename={node}", "state=drain", f"reason={reason}")

    def undrain(self, node: str) -> None:
        self.command("scontrol", "update", f"nodename={node}", "state=resume")

    def wait_idle(self) -> None:
        """Return once no job waits or runs and both nodes could take one."""
        wait(
            lambda: self._states() == dict.fromkeys(NODES, "idle") and not self._queue(),
            "an idle cluster",
            is_costly=True,
        )

    def restore(self) -> None:
        """As at the beginning, whatever was done: a controller, two idle nodes, no job."""
        if not self.processes.live("slurmctld"):
            self.start_controller()
        for node in NODES:
            if not self.processes.live(node):
                self.start_node(node)
            if self._states()[node].startswith(("down", "drain")):
                with suppress(AssertionError):  # a node that was down may have come back by itself
                    self.undrain(node)
        if self._queue():
            user = _user()
            self.command("scancel", f"--user={user}", "--signal=KILL", "--full")
            self.command("scancel", f"--user={user}")
        self.wait_idle()

    def _states(self) -> dict[str, str]:
        lines = self.command("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        return dict(line.split() for line in lines)

    def _queue(self) -> str:
        return self.command("squeue", "--noheader")

    def _answers(self) -> bool:
        with suppress(AssertionError):
            return bool(self.command("scontrol", "ping"))
        return False


def missing(programs: Mapping[str, str]) -> list[str]:
    """The packages of those programs that aren't installed."""
    return sorted({package for program, package in programs.items() if not path_of(program)})


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ms"))
    try:
        folder.chmod(0o711)  # munge wants its socket to be reachable for all
        yield folder
    finally:
        shutil.rmtree(folder)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as taken:
        ports: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            with suppress(OSError):
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
            if len(ports) == number:
                return ports
    raise AssertionError(f"fewer than {number} ports of {PORTS} are free")


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _make_key(path: Path) -> None:
    path.unlink(missing_ok=True)
    output([path_of("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path)])


def _greets(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        return connection.recv(4) == b"SSH-"
    return False


def _server_config(server: Sshd) -> str:
    # The first variable shows which processes were started through this server.
    shown = {"MESOSCOPE_TEST_SERVER": str(server.folder), **server.environment}
    settings = " ".join(f'"{name}={value}"' for name, value in shown.items())
    return f"""\
ListenAddress 127.0.0.1
Port {server.port}
HostKey {server.folder}/host_key
AuthorizedKeysFile {server.folder}/authorized_keys
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
MaxStartups 100
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
SetEnv {settings}
"""


def _client_config(server: Sshd) -> str:
    return f"""\
Host {server.alias}
    HostName 127.0.0.1
    Port {server.port}
    User {_user()}
    IdentityFile {server.folder}/client_key
    IdentitiesOnly yes
    UserKnownHostsFile {server.known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    BatchMode yes
"""


def _start_munge(cluster: Slurm) -> None:
    """The daemon by which Slurm's parts know each other."""
    files = {name: cluster.folder / f"munge.{name}" for name in ("key", "socket", "pid", "log", "seed")}
    files["key"].touch(mode=0o600)
    files["key"].write_bytes(os.urandom(1024))
    words = [
        f"--key-file={files['key']}",
        f"--socket={files['socket']}",
        f"--pid-file={files['pid']}",
        f"--log-file={files['log']}",
        f"--seed-file={files['seed']}",
    ]
    cluster.processes.start("munged", "--foreground", *words)
    cluster.processes.wait("munged", files["socket"].exists)


def _slurm_conf(folder: Path, min_job_age_s: int) -> str:
    controller, *ports = _free_ports(1 + len(NODES))
    (folder / "state").mkdir()
    for node in NODES:
        (folder / "spool" / node).mkdir(parents=True)
    nodes = "\n".join(
        f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=2000"
        for node, port in zip(NODES, ports, strict=True)
    )
    return f"""\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={controller}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={CREDENTIAL_S}
SlurmUser={_user()}
SlurmdUser={_user()}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=2
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
ReturnToService=2
MinJobAge={min_job_age_s}
OverTimeLimit=0
KillWait=5
JobRequeue=1
{nodes}
PartitionName=main Nodes={",".join(NODES)} Default=YES MaxTime=60 State=UP
"""
