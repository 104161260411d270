"""Build back end: the released Horovod 0.28.1, made to compile against TensorFlow 2.21.

The release no longer compiles because the headers of `xla_mpi_ops.cc` moved within TensorFlow. That file
holds XLA operations for GPUs only, so it is taken out; nothing else of the release is changed. A wheel is
kept in the user's cache and used again as long as all it depends on is the same.

By default the build is for the CPU, with Gloo. Horovod's own variables are passed through: for GPUs set
`HOROVOD_GPU_OPERATIONS=NCCL`, for MPI `HOROVOD_WITH_MPI=1`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RELEASE = "horovod==0.28.1"
RELEASE_SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
REMOVED_SOURCE = "xla_mpi_ops.cc"
OPTIONS = {
    "HOROVOD_WITH_TENSORFLOW": "1",
    "HOROVOD_WITHOUT_PYTORCH": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITH_GLOO": "1",
    "CMAKE_POLICY_VERSION_MINIMUM": "3.5",  # the bundled Gloo asks for a CMake that CMake itself has dropped
}


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Put Horovod's wheel for the installed TensorFlow into `wheel_directory` and return its name.

    Raises
    ------
    SystemExit
        If TensorFlow, a C++ compiler or make is missing; the message says how to fix it.
    """
    environment = _environment()
    cache = _cache_folder(environment)
    wheel = next(cache.glob("*.whl"), None)
    if wheel is None:
        check_tools()
        wheel = _build_into(cache, environment)
    shutil.copy(wheel, wheel_directory)
    return wheel.name


def check_tools() -> None:
    """Refuse, with one line that says how to fix it, if a C++ compiler or make is missing.

    Raises
    ------
    SystemExit
        If one of them is missing.
    """
    compilers = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    if not any(shutil.which(name) for name in compilers):
        raise SystemExit(
            f"Horovod needs a C++ compiler, but none of {', '.join(compilers)} was found: "
            "install one (Debian/Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++) or set CXX."
        )
    if not shutil.which("make"):
        raise SystemExit("Horovod needs make, but it was not found: install it (Debian/Ubuntu: apt-get install make).")


def _environment() -> dict[str, str]:
    """Horovod's build options under the user's own; this Python's `cmake` comes before the system's."""
    environment = OPTIONS | os.environ
    if "HOROVOD_WITH_MPI" not in environment:
        environment.setdefault("HOROVOD_WITHOUT_MPI", "1")
    environment.setdefault("MAKEFLAGS", f"-j{min(os.cpu_count() or 1, 8)}")
    environment["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), environment.get("PATH", os.defpath)])
    return environment


def _cache_folder(environment: dict[str, str]) -> Path:
    """A folder of its own for each combination of what the compiled library depends on."""
    try:
        tensorflow = version("tensorflow")
    except PackageNotFoundError:
        raise SystemExit(
            "Horovod is built for the TensorFlow that is installed, but there is none: "
            "install TensorFlow first, then Horovod with pip's --no-build-isolation."
        ) from None
    options = [
        f"{k}={v}" for k, v in sorted(environment.items()) if k.startswith("HOROVOD_") or k in ("CXX", "CXXFLAGS")
    ]
    here = Path(__file__).parent
    parts = [
        (here / "build_horovod.py").read_text(),
        (here / "pyproject.toml").read_text(),
        tensorflow,
        sysconfig.get_config_var("SOABI") or sys.version,
        platform.platform(terse=True) if sys.platform == "darwin" else "-".join(platform.libc_ver()),
        platform.machine(),
        *options,
    ]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "mesoscope" / "horovod" / key


def _build_into(cache: Path, environment: dict[str, str]) -> Path:
    with tempfile.TemporaryDirectory(prefix="horovod-") as temporary:
        source = _source(Path(temporary))
        built = Path(temporary) / "wheel"
        command = [sys.executable, "setup.py", "bdist_wheel", "--dist-dir", str(built)]
        subprocess.run(command, cwd=source, env=environment, check=True)
        wheel = next(built.glob("*.whl"))
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = cache / f"{wheel.name}.{os.getpid()}"
        shutil.copy(wheel, unfinished)
        return unfinished.replace(cache / wheel.name)


def _source(folder: Path) -> Path:
    """Fetch the release with pip, which checks its sha256, unpack it and take out what no longer compiles."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{RELEASE} --hash=sha256:{RELEASE_SHA256}\n")
    options = ["--no-deps", "--no-binary=:all:", "--no-build-isolation", "--require-hashes"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        *options,
        "--dest",
        str(folder),
        "--requirement",
        str(requirement),
    ]
    subprocess.run(command, check=True)
    shutil.unpack_archive(next(folder.glob("horovod-*.tar.gz")), folder)
    source = folder / RELEASE.replace("==", "-")
    _remove_line(source / "horovod" / "tensorflow" / "CMakeLists.txt", REMOVED_SOURCE)
    return source


def _remove_line(file: Path, word: str) -> None:
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if word not in line]
    if len(kept) != len(lines) - 1:
        raise SystemExit(f"{file.name} has {len(lines) - len(kept)} lines with {word}, but exactly one was expected.")
    file.write_text("".join(kept))
