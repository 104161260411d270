"""Inputs that take long to upload, are cut off, cancelled, or find a full disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading

import pytest

from engine.errors import LaunchError, MesoscopeError, SiteError, UnreachableError
from engine.launch import api
from engine.launch.remote import upload_heartbeat
from engine.launch.remote.client import ask
from engine.launch.remote.protocol import DescribeSite
from engine.launch.sites import Sites
from tests.engine.launch.engine_processes import CHECKOUT, wait
from tests.engine.launch.faults.place import Place

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


class Upload:
    """A run whose input of 20 MB is on its way, in a thread, and gets stuck when 3 MB of it are there."""

    def __init__(self, host: Place):
        self.host = host
        ask(Sites.read().named("ssh"), DescribeSite())  # which uploads the engine
        host.server.cut()  # a session of before has the programs of before
        stuck = f"touch {host.folder}/stuck; while [ ! -e {host.folder}/on ]; do sleep 0.1; done"
        host.program("cat", incoming(f"head -c 3000000; {stuck}"))
        self.run = host.create("ssh", "launch.upload=true")
        (host.folder / "hr.nc").write_bytes(os.urandom(20_000_000))
        self.error: MesoscopeError | None = None
        self._thread = threading.Thread(target=self._start)
        self._thread.start()
        wait((host.folder / "stuck").exists, "the beginning of the upload")

    def _start(self) -> None:
        try:
            api.start(self.run)
        except MesoscopeError as error:
            self.error = error

    def go_on(self) -> None:
        (self.host.folder / "on").touch()

    def end(self) -> MesoscopeError | None:
        self._thread.join()
        return self.error


def incoming(lines: str) -> str:
    """What the `cat` of what comes in does first; any other is the real one."""
    return f'case "$(readlink /proc/$$/fd/1)" in */incoming/in-*) {lines};; esac; exec "$real" "$@"'


def test_an_upload_tells_how_much_of_it_has_gone(host, monkeypatch):
    monkeypatch.setattr(upload_heartbeat, "BEAT_S", 0.05)
    upload = Upload(host)
    words = re.compile(r"submitting to ssh: sends hr\.nc, (\d+\.\d) of 20\.0 MB \((\d+) %\)")

    def uploaded() -> tuple[float, int] | None:
        found = words.fullmatch(upload.run.status().reason)
        return (float(found[1]), int(found[2])) if found and float(found[1]) >= 3 else None

    megabytes, percent = wait(uploaded, "3 MB")
    assert megabytes < 12  # the rest waits here, but for what is in pipes and windows
    assert abs(percent - 5 * megabytes) <= 1  # of 20 MB; both are rounded
    shown = [sys.executable, "-m", "engine", "show", upload.run.id, "--store", str(host.store.folder)]
    assert words.search(subprocess.run(shown, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout)
    upload.go_on()
    assert upload.end() is None
    assert not upload.run.upload_file.exists()
    host.finish(upload.run)


def test_a_connection_that_is_cut_while_inputs_are_sent(host):
    upload = Upload(host)
    host.server.cut()
    error = upload.end()
    assert isinstance(error, UnreachableError)
    assert "resume submits it again" in upload.run.status().reason
    upload.go_on()
    api.resume(upload.run)
    host.finish(upload.run)
    (copy,) = (host.folder / "there" / "data").glob("*/hr.nc")
    assert copy.read_bytes() == (host.folder / "hr.nc").read_bytes()


def test_an_upload_that_is_cancelled_ends_in_its_midst(host):
    upload = Upload(host)
    api.cancel(upload.run)
    upload.go_on()
    assert isinstance(upload.end(), LaunchError)
    state = upload.run.status()
    assert (state.state, state.reason) == ("cancelled", "cancelled before it was submitted")
    assert not list((host.folder / "there" / "data").iterdir())


def test_a_disk_that_fills_up_with_what_is_sent(host):
    host.program("cat", incoming('echo "cat: write error: No space left on device" >&2; exit 1'))
    with pytest.raises(SiteError, match="No space left on device.*free some space there, then resume"):
        host.submit("ssh", "launch.upload=true")
