"""Mesoscope as `pip install` leaves it, in a folder of its own, and its commands as processes."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

CHECKOUT = Path(__file__).parents[2]
START_S = 120
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "MESOSCOPE_EXAMPLE")


@dataclass(frozen=True)
class Installation:
    """A folder that holds the packages of the wheel; what they depend on is that of the tests."""

    folder: Path

    @classmethod
    def of_checkout(cls, folder: Path) -> Installation:
        """Build the wheel of the checkout and install it."""
        wheels, site = folder / "wheels", folder / "site"
        options = ["--no-deps", "--no-index"]
        build = [*PIP, "wheel", *options, "--no-build-isolation", "--wheel-dir", str(wheels), str(CHECKOUT)]
        subprocess.run(build, check=True, stdin=subprocess.DEVNULL)
        (wheel,) = wheels.glob("*.whl")
        subprocess.run([*PIP, "install", *options, "--target", str(site), str(wheel)], check=True)
        return cls(site)

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Of a user with that home, where the commands of the wheel are found."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        path = os.pathsep.join([str(self.folder / "bin"), str(Path(sys.executable).parent), kept["PATH"]])
        return {**kept, "PATH": path, "HOME": str(home), "PYTHONPATH": str(self.folder), **more}

    def command(self, name: str, *arguments: str) -> list[str]:
        return [sys.executable, str(self.folder / "bin" / name), *arguments]


@contextmanager
def process(command: Sequence[str], environment: dict[str, str], folder: Path, log: Path) -> Iterator[subprocess.Popen]:
    """A process that is ended with SIGTERM, and killed if that isn't enough."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        started = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(timeout=30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait_until(true: Callable[[], bool], started: subprocess.Popen, log: Path) -> None:
    """Until it is true; fails with the log if the process ends or takes too long."""
    end = time.monotonic() + START_S
    while not true():
        assert started.poll() is None, log.read_text()
        assert time.monotonic() < end, f"nothing within {START_S} s:\n{log.read_text()}"
        time.sleep(0.2)


def answers(url: str) -> Callable[[], bool]:
    """True once something answers there, with whatever status."""

    def ask() -> bool:
        try:
            urllib.request.urlopen(url, timeout=30).close()
        except urllib.error.HTTPError as error:
            return error.code < 500
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    return ask


def websocket_answer(url: str, origin: str, cookies: str = "") -> int:
    """Status of a websocket's handshake below a page's address: 101 if it is opened."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Protocol": "bokeh, none",
        "Origin": origin,
        "Cookie": cookies,
    }
    connection.request("GET", f"{parts.path}/ws", headers=headers)
    with contextlib.closing(connection):
        return connection.getresponse().status


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
