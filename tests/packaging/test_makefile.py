"""Messages of `make` when something is missing: one line that says how to fix it, before anything is made."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE_PROGRAMS = ["make", "sh", "test", "env", "touch", "echo"]

# A Python that says it is another version.
DISGUISED = """#!{python}
import collections, sys
sys.version_info = collections.namedtuple("Version", "major minor")({major}, {minor})
exec(sys.argv[2])
"""

# A Python without ensurepip, as Debian has it without python3-venv.
WITHOUT_VENV = """#!{python}
import sys
sys.modules["ensurepip"] = None
exec(sys.argv[2])
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that set-up reads, in a folder of its own, and `bin` with what make itself needs."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "packaging", folder / "packaging")
    for name in ["Makefile", "requirements.lock", "requirements-gpu.lock"]:
        shutil.copy(ROOT / name, folder)
    (folder / "bin").mkdir()
    for name in MAKE_PROGRAMS:
        program = shutil.which(name)
        assert program, name
        (folder / "bin" / name).symlink_to(program)
    return folder


def make(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(checkout)} | environment
    command = ["make", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=600)


def assert_refused(result: subprocess.CompletedProcess[str], checkout: Path, message: str) -> None:
    """One line of ours, then make's own; nothing was made."""
    ours, makes = result.stderr.splitlines()
    assert ours == message
    assert makes.startswith("make: *** [Makefile:")
    assert makes.endswith("Error 1")
    assert result.returncode == 2
    assert not (checkout / ".venv").exists()


def script(checkout: Path, text: str, **values: object) -> Path:
    path = checkout / "python"
    path.write_text(text.format(python=sys.executable, **values))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("major", "minor"), [(3, 9), (3, 10), (3, 14)])
def test_python_of_the_wrong_version(checkout: Path, major: int, minor: int) -> None:
    python = script(checkout, DISGUISED, major=major, minor=minor)
    assert_refused(
        make(checkout, "install", f"PYTHON={python}"),
        checkout,
        f"Mesoscope needs Python 3.11, 3.12 or 3.13, but {python} is {major}.{minor}: "
        "install one of them, or name it: make PYTHON=/path/to/python3.11",
    )


def test_no_python_at_all(checkout: Path) -> None:
    assert_refused(
        make(checkout, "install", PATH=str(checkout / "bin")),
        checkout,
        "Mesoscope needs Python 3.11, 3.12 or 3.13, but found none: "
        "install one of them, or name it: make PYTHON=/path/to/python3.11",
    )


def test_python_without_venv(checkout: Path) -> None:
    python = script(checkout, WITHOUT_VENV)
    assert_refused(
        make(checkout, "install", f"PYTHON={python}"),
        checkout,
        f"{python} lacks its venv module: install it (Debian/Ubuntu: apt-get install python3-venv), "
        "or name another: make PYTHON=/path/to/python3.11",
    )


def test_no_compiler(checkout: Path) -> None:
    assert_refused(
        make(checkout, "install", f"PYTHON={sys.executable}", PATH=str(checkout / "bin")),
        checkout,
        "Horovod needs a C++ compiler, but none of c++, g++, clang++ was found: install one "
        "(Debian/Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++) or set CXX.",
    )


def test_port_in_use(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert_refused(
            make(checkout, "serve", f"PORT={port}", f"PYTHON={sys.executable}"),
            checkout,
            f"Port {port} is in use or not allowed: choose another one, for example make serve PORT=5007",
        )


@pytest.mark.parametrize("port", ["abc", "99999", "-1"])
def test_port_that_is_none(checkout: Path, port: str) -> None:
    assert_refused(
        make(checkout, "serve", f"PORT={port}", f"PYTHON={sys.executable}"),
        checkout,
        f"Port {port} is in use or not allowed: choose another one, for example make serve PORT=5007",
    )


def test_a_second_set_up_does_nothing_until_versions_change(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "installed").touch()
    assert "Nothing to be done" in make(checkout, "install").stdout
    (checkout / ".venv" / "installed").touch()
    later = (checkout / ".venv" / "installed").stat().st_mtime + 1
    os.utime(checkout / "requirements.lock", (later, later))
    commands = make(checkout, "--dry-run", "install", f"PYTHON={sys.executable}").stdout
    assert "--no-deps --require-hashes --requirement requirements.lock" in commands
    assert "./packaging/horovod" in commands


def test_gpus_take_the_wheels_with_cuda_and_a_horovod_for_them(checkout: Path) -> None:
    commands = make(checkout, "--dry-run", "install", "GPU=1", f"PYTHON={sys.executable}").stdout
    assert "--no-deps --require-hashes --requirement requirements-gpu.lock" in commands
    assert "`.venv/bin/python -B packaging/horovod/nccl.py`" in commands
    assert "touch .venv/installed .venv/installed-gpu" in commands
    assert "gpu" not in make(checkout, "--dry-run", "install", f"PYTHON={sys.executable}").stdout


def test_help_names_each_command(checkout: Path) -> None:
    listed = {line.split()[0] for line in make(checkout).stdout.splitlines()}
    assert listed == {"help", "install", "serve", "test", "lint", "bench", "screenshots", "lock", "clean"}
