"""Commands and files to a host by the system's OpenSSH, over one shared connection.

The user's own configuration, agent and jump hosts hold; host keys are always checked, and no question is ever asked.
Commands go in by standard input, so that nothing shows in a list of processes there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.errors import SiteError, UnreachableError

CONNECT_S = 15
ALIVE_S = 5  # between keep-alive messages; three without an answer end the connection
PERSIST_S = 300  # so long the shared connection waits for the next command
COMMAND_S = 120.0
LOST = 255  # ssh's own exit code
LONGEST_FOLDER = 40  # the path of a socket has 104 bytes at the most, of which ssh takes 58


@dataclass(frozen=True)
class Completed:
    """Result of a command: exit code, standard output and standard error."""

    rc: int
    out: str
    err: str


@dataclass(frozen=True)
class Connection:
    """One host by its alias, or this machine where `host` is empty; `config` replaces the user's own ssh_config."""

    host: str
    config: str = ""

    def shell(self, script: str, timeout_s: float = COMMAND_S) -> Completed:
        """Run a bash script there.

        Raises
        ------
        UnreachableError
            If the host can't be reached, or the connection was lost: whether the script ran isn't known.
        SiteError
            If the host's key is unknown or has changed, or the login is refused.
        """
        words = [*self._ssh("ssh"), self.host, "exec /bin/bash -s"] if self.host else ["/bin/bash", "-s"]
        return self._checked(_call(words, script, timeout_s))

    def send(self, content: Iterable[bytes], there: str) -> None:
        """Write a file there, block by block.

        Raises
        ------
        UnreachableError
            If the host can't be reached, or the connection was lost.
        SiteError
            If the login is refused, or the file can't be written.
        """
        writer = shlex.join(["/bin/sh", "-c", f"umask 077; exec cat > {shlex.quote(there)}"])
        words = [*self._ssh("ssh"), self.host, writer] if self.host else shlex.split(writer)
        done = self._checked(_call_with_input(words, content))
        if done.rc:
            raise SiteError(
                f"{self.host or 'this machine'} couldn't take a file ({_last_line(done.err)})",
                action="if its disk is full, free some space there, then resume",
            )

    def get(self, there: str, here: Path, timeout_s: float | None = None) -> None:
        """Fetch a file, going on where an earlier try was cut off."""
        if not self.host:
            shutil.copyfile(there, here)
            return
        again = "reget" if here.exists() and here.stat().st_size else "get"
        batch = f"{again} {_quoted(there)} {_quoted(str(here))}\n"
        done = self._checked(_call([*self._ssh("sftp"), "-b", "-", self.host], batch, timeout_s))
        if done.rc:
            raise UnreachableError(f"{self.host}: files could not be moved ({_last_line(done.err)})")

    def close(self) -> None:
        """End the shared connection, if there is one."""
        if self.host:
            subprocess.run([*self._ssh("ssh"), "-O", "exit", self.host], capture_output=True, check=False)

    def login_command(self) -> str:
        """Command to type in a terminal where a login needs input: later commands use that connection."""
        words = ["ssh", *self._config(), *_options(ControlMaster="yes", ControlPath=_socket(), ControlPersist="8h")]
        return shlex.join([*words, "-fN", self.host])

    def _ssh(self, program: str) -> list[str]:
        shared = {"ControlMaster": "auto", "ControlPath": _socket(), "ControlPersist": str(PERSIST_S)}
        careful = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "ForwardAgent": "no",
            "ClearAllForwardings": "yes",
        }
        awake = {
            "ConnectTimeout": str(CONNECT_S),
            "ServerAliveInterval": str(ALIVE_S),
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",
        }
        return [program, *self._config(), *_options(**shared, **careful, **awake)]

    def _config(self) -> list[str]:
        return ["-F", self.config] if self.config else []

    def _checked(self, done: Completed) -> Completed:
        """The same, unless ssh itself failed."""
        if done.rc != LOST:
            return done
        said = _last_line(done.err)
        if "Host key verification failed" in done.err:
            raise self._key_error(done.err)
        if "Permission denied" in done.err or "Too many authentication failures" in done.err:
            raise SiteError(
                f"{self.host} refused the login ({said})",
                action="set up a key or an agent for it; if it asks for a password or a one-time code, log in once in "
                f"a terminal and keep that connection: {self.login_command()}",
            )
        raise UnreachableError(f"{self.host} can't be reached ({said})")

    def _key_error(self, said: str) -> SiteError:
        """The host key is unknown or changed: its fingerprint, and what to do."""
        probe = [word if word != "LogLevel=ERROR" else "LogLevel=DEBUG1" for word in self._ssh("ssh")]
        debug_output = _call([*probe, "-o", "ControlPath=none", self.host, "true"], "", CONNECT_S + 5.0).err
        found = re.search(r"Server host key: (\S+) (SHA256:\S+)", debug_output)
        key = f"{found[1]} {found[2]}" if found else "of an unknown fingerprint"
        if "HAS CHANGED" in said or "HAS CHANGED" in debug_output:
            return SiteError(
                f"the host key of {self.host} has changed",
                action=f"it is now {key}. Somebody may be listening: ask its administrators; if they did it, remove "
                "the old key with ssh-keygen -R, and log in once in a terminal",
            )
        own = shlex.join(["ssh", *self._config(), self.host])
        return SiteError(
            f"the host key of {self.host} is not known here",
            action=f"it is {key}. Compare it with what its administrators say, then log in once in a terminal to "
            f"accept it: {own}",
        )


def _call(words: list[str], given: str, timeout_s: float | None) -> Completed:
    """Run a program; its output goes through files, for a shared connection holds on to pipes."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            ended = subprocess.run(words, input=given.encode(), stdout=out, stderr=err, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            raise UnreachableError(f"no answer within {timeout_s:.0f} s from {words[0]}") from None
        except OSError as error:
            raise SiteError(
                f"{words[0]} can't be started ({error.strerror})", action="install OpenSSH's client"
            ) from None
        out.seek(0)
        err.seek(0)
        return Completed(ended.returncode, out.read().decode(errors="replace"), err.read().decode(errors="replace"))


def _call_with_input(words: list[str], content: Iterable[bytes]) -> Completed:
    """Run a program that reads all of the content, unless it ends before; see `_call` for its output."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=out, stderr=err)
        except OSError as error:
            raise SiteError(
                f"{words[0]} can't be started ({error.strerror})", action="install OpenSSH's client"
            ) from None
        assert process.stdin
        try:
            with suppress(BrokenPipeError), process.stdin as pipe:
                for block in content:
                    pipe.write(block)
        except BaseException:  # the content's own: what was sent of it is of no use
            process.kill()
            raise
        finally:
            process.wait()
        err.seek(0)
        return Completed(process.returncode, "", err.read().decode(errors="replace"))


def _options(**named: str) -> list[str]:
    return [word for name, value in named.items() for word in ("-o", f"{name}={value}")]


def _socket() -> str:
    """Folder of the sockets of shared connections, which only this user may enter."""
    homes = [home for home in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()) if home]
    names = [Path(home) / f"mesoscope-{os.getuid()}" for home in homes]
    folder = next((name for name in names if len(str(name)) <= LONGEST_FOLDER), None)
    if folder is None:
        raise SiteError(
            f"{names[0]} is too long for a socket", action="set XDG_RUNTIME_DIR to a folder with a shorter name"
        )
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise SiteError(
            f"{folder} can't be made ({error.strerror})", action="set XDG_RUNTIME_DIR to a folder of mode 700"
        ) from None
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise SiteError(
            f"{folder} is not yours alone", action="remove it, or set XDG_RUNTIME_DIR to a folder of mode 700"
        )
    return str(folder / "%C")


def _quoted(path: str) -> str:
    """Quote for sftp, which reads backslashes and double quotes, and expands patterns."""
    if "\n" in path or "\r" in path:
        raise SiteError(f"{path!r} has a line break in its name", action="rename it")
    return '"' + re.sub(r'([\\"*?\[\]])', r"\\\1", path) + '"'


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
