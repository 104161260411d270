"""Places to run, as an administrator's file declares them: what it doesn't name can't be used.

The file is $MESOSCOPE_TARGETS, else ~/.config/mesoscope/targets.yaml, else /etc/mesoscope/targets.yaml; without one,
runs go to this machine.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import param

from engine.errors import SiteError, SpecError
from engine.launch.machine import Machine
from engine.launch.remote.ssh import Connection
from engine.options import Choice, Options, Text, Value, Whole, Words, did_you_mean, parts_of
from engine.spec import LaunchOptions, load_yaml

VERSION = 1
WORD = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"
SCHEDULERS = ("slurm", "pbs")


@dataclass(frozen=True)
class Limits:
    """The most that one run may ask for; 0 is no limit, and on this machine what it has.

    memory_gib : of all processes of a run on this machine.
    """

    EXPECTED: ClassVar[str] = "a mapping {nodes: …, processes: …, minutes: …, memory_gib: …} of whole numbers"
    nodes: int = 0
    processes: int = 0
    minutes: int = 0
    memory_gib: int = 0

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        parts = parts_of(cls, value, where)
        for name, number in parts.items():
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise SpecError(f"{where}.{name} is {number!r}", hint="expected a whole number from 0 on")
        return cls(**parts)

    def plain(self) -> dict[str, int]:
        return asdict(self)


class Site(Options):
    """One place to run; `name` is how a spec names it."""

    SECTION = "target"

    kind = Choice(["local", "ssh", *SCHEDULERS], default="local", doc="This machine, a host over SSH, or a scheduler.")
    host = Text("", regex=r"^$|^[A-Za-z0-9_][A-Za-z0-9._@-]{0,252}$", doc="Host alias. Empty: the scheduler is here.")
    ssh_config = Text("", regex=r"^$|^[/~][^\n\"]*$", doc="An ssh_config in place of the user's own.")
    folder = Text("~/mesoscope", regex=r"^(~|/)[A-Za-z0-9._/@+-]*$", doc="Folder there for engine, data and runs.")
    python = Text(
        "python3", regex=r"^(~/)?[A-Za-z0-9._/@+-]+$", doc="Python with TensorFlow and Horovod, after the prelude."
    )
    prelude = Text("", doc="Lines of bash that make the environment, as `module load` or `conda activate`.")
    partitions = Words(regex=WORD, doc="Partitions (queues) that may be chosen; the first is the default.")
    accounts = Words(regex=WORD, doc="Accounts that may be chosen; the first is the default.")
    hosts = Words(regex=r"^[A-Za-z0-9_][A-Za-z0-9._-]*:[0-9]{1,3}$", doc="For ssh: hosts and processes, as node1:4.")
    interface = Text("", regex=r"^$|^[A-Za-z0-9._-]{1,15}$", doc="Network interface between nodes, as ib0.")
    threads = Whole(1, bounds=(1, 256), unit="cores", doc="CPU cores per process where launch.threads is 0.")
    warning_s = Whole(120, bounds=(10, 3600), unit="s", doc="Before the time limit, for a checkpoint and a requeue.")
    nice = Whole(10, bounds=(0, 19), doc="For local: lowers the priority of runs, so that the dashboard answers.")
    limits = Value(Limits, default=Limits(), doc="The most that one run may ask for.")

    def check(self) -> None:
        if ".." in self.folder.split("/"):
            raise SpecError(f"target.folder is {self.folder}", hint="expected a path without '..'")
        if self.kind == "ssh" and not self.host:
            raise SpecError("target.host is missing", hint="expected the alias of a host, as in ~/.ssh/config")
        if self.kind == "local" and self.host:
            raise SpecError(
                f"target.kind is local, but target.host is {self.host}", action="set kind to ssh, slurm or pbs"
            )
        if "\0" in self.prelude:
            raise SpecError("target.prelude holds a NUL byte", hint="expected lines of bash")

    @classmethod
    def called(cls, name: Any, given: Any) -> Self:
        """A target of that name; raises SpecError."""
        if not isinstance(name, str) or not re.fullmatch(WORD, name):
            raise SpecError(f"a target has the name {name!r}", hint=f"expected a word matching {WORD}")
        if not isinstance(given, Mapping) or not all(isinstance(word, str) for word in given):
            raise SpecError(f"targets.{name} is {given!r}", hint="expected a mapping with kind, host and folder")
        try:
            target = cls(**given)
        except SpecError as error:
            raise SpecError(f"targets.{name}: {error}") from None
        with param.edit_constant(target):
            target.name = name
        return target

    @property
    def scheduled(self) -> bool:
        return self.kind in SCHEDULERS

    @property
    def remote(self) -> bool:
        """True if its runs have a folder of their own there."""
        return self.kind != "local"

    @property
    def connection(self) -> Connection:
        return Connection(self.host, os.path.expanduser(self.ssh_config))

    @property
    def python_word(self) -> str:
        """`python` as a word of bash; a home folder stands for the one there."""
        return re.sub(r"^~/", '"$HOME"/', self.python)

    @property
    def most_processes(self) -> int:
        """Processes that one run may have; 0: no limit."""
        return self.limits.processes or (0 if self.remote else Machine.here().most_processes)

    def accept(self, launch: LaunchOptions) -> None:
        """Raise SiteError for what the file doesn't allow, or this machine hasn't got."""
        if launch.processes > self.most_processes and not (self.remote or self.limits.processes):
            raise SiteError(
                f"launch.processes is {launch.processes}, but this machine has {Machine.here().text}, and takes at "
                f"most {self.most_processes} processes of a run",
                option="launch.processes",
                action=f"set it to at most {self.most_processes}, or raise limits.processes of {self.name} in the "
                "targets file",
            )
        asked = {"nodes": launch.nodes, "processes": launch.processes, "minutes": launch.time_limit}
        for name, number in asked.items():
            most, option = getattr(self.limits, name), {"minutes": "time_limit"}.get(name, name)
            if most and number > most:
                raise SiteError(
                    f"launch.{option} is {number}, but target {self.name} allows at most {most}",
                    option=f"launch.{option}",
                )
        for option, allowed in (("partition", self.partitions), ("account", self.accounts)):
            word = getattr(launch, option)
            if word and word not in allowed:
                raise SiteError(
                    f"launch.{option} is {word!r}, which target {self.name} doesn't allow",
                    option=f"launch.{option}",
                    hint=did_you_mean(word, allowed) if allowed else "it names none: leave it empty",
                )
        if not self.scheduled and launch.nodes > 1:
            raise SiteError(
                f"launch.nodes is {launch.nodes}, but target {self.name} is no cluster",
                option="launch.nodes",
                action="set launch.nodes=1",
            )

    def accept_memory(self, launch: LaunchOptions, process_bytes: int) -> None:
        """Raise SiteError if the processes of a run, of so many bytes each, don't fit into this machine's memory."""
        most = self.limits.memory_gib * 2**30 or Machine.here().memory_bytes
        if launch.processes * process_bytes > most:
            raise SiteError(
                f"the run needs about {launch.processes * process_bytes / 2**30:.1f} GiB of memory "
                f"(launch.processes {launch.processes}, {process_bytes / 2**30:.1f} GiB each), but {self.name} has "
                f"{most / 2**30:.1f} GiB",
                option="launch.processes",
                action="ask for fewer processes, set data.patch_size, a smaller training.batch_size or model, or raise "
                f"limits.memory_gib of {self.name} in the targets file",
            )

    def minutes(self, launch: LaunchOptions) -> int:
        """The job's time limit: as asked for, else the most that is allowed; 0 is the scheduler's own."""
        return launch.time_limit or self.limits.minutes


LOCAL = Site.called("local", {})


@dataclass(frozen=True)
class Sites:
    """All places to run, in the order of the file."""

    all: tuple[Site, ...]

    @classmethod
    def read(cls) -> Self:
        """Read a site of the administrator's file; raises SiteError if it can't be used."""
        path = targets_file()
        if path is None:
            return cls((LOCAL,))
        try:
            if path.stat().st_mode & stat.S_IWOTH:
                raise SiteError(f"{path} can be changed by everybody", action=f"chmod o-w {path}")
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise SiteError(f"{path} can't be read ({error})", action="fix it, or unset MESOSCOPE_TARGETS") from None
        except SpecError as error:
            raise SiteError(f"{path}: {error}") from None

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        plain = load_yaml(text, where)
        if not isinstance(plain, Mapping) or plain.get("version") != VERSION:
            raise SpecError(f"expected version: {VERSION}, and targets: a mapping from names to kind, host and folder")
        if odd := [word for word in plain if word not in ("version", "targets")]:
            raise SpecError(f"{odd[0]} is not known: {did_you_mean(str(odd[0]), ['version', 'targets'])}")
        named = plain.get("targets")
        if not isinstance(named, Mapping) or not named:
            raise SpecError("targets names none", hint="expected a mapping, as local: {kind: local}")
        return cls(tuple(Site.called(name, given) for name, given in named.items()))

    @property
    def names(self) -> list[str]:
        return [target.name for target in self.all]

    def named(self, name: str) -> Site:
        """Raises SiteError if there is none of that name."""
        for target in self.all:
            if target.name == name:
                return target
        raise SiteError(
            f"launch.site is {name!r}, which is not known",
            option="launch.site",
            hint=did_you_mean(name, self.names),
        )


def site_of(name: str) -> Site:
    """The target of that name; raises SiteError. Where the file can't be used, this machine can be."""
    try:
        targets = Sites.read()
    except SiteError:
        if name != LOCAL.name:
            raise
        return LOCAL
    return targets.named(name)


def targets_file() -> Path | None:
    """The administrator's file, if there is one."""
    if given := os.environ.get("MESOSCOPE_TARGETS"):
        return Path(given)
    homes = (Path.home() / ".config" / "mesoscope", Path("/etc/mesoscope"))
    return next((path for home in homes if (path := home / "targets.yaml").is_file()), None)
