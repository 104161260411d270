"""Controllers that the installed Horovod was built with: prints Gloo, MPI or both, asked of its library.

A script for a process of its own. `horovodrun --check-build` gives the same answer, but imports TensorFlow several
times for it, which takes longer than all the rest of a launch.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path

TENSORFLOW_LIBRARIES = ("libtensorflow_framework*", "libtensorflow_cc*")  # Horovod's library takes symbols from them


def main() -> None:
    for pattern in TENSORFLOW_LIBRARIES:
        load(folder_of("tensorflow"), pattern)
    horovod = load(folder_of("horovod") / "tensorflow", "mpi_lib*")
    built = {"Gloo": horovod.horovod_gloo_built(), "MPI": horovod.horovod_mpi_built()}
    sys.stdout.write(" ".join(name for name, value in built.items() if value))


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    return Path(spec.origin).parent


def load(folder: Path, pattern: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(min(folder.glob(pattern))), ctypes.RTLD_GLOBAL)


if __name__ == "__main__":
    main()
