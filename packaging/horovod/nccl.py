"""Prints the variables with which Horovod is built for GPUs with NCCL, or says why it is built with Gloo alone."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

SYSTEM = ("/usr", "/usr/local")


def nccl_variables() -> tuple[dict[str, str], str]:
    """Variables of a build with NCCL, {} where it can't be built, and a line that says which build it is."""
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if not nvcc:
        return {}, "Horovod is built with Gloo: NCCL needs CUDA's compiler nvcc, which was not found"
    homes = [os.environ.get("HOROVOD_NCCL_HOME"), f"{sysconfig.get_path('purelib')}/nvidia/nccl", *SYSTEM]
    home = next((home for home in homes if home and Path(home, "include", "nccl.h").exists()), None)
    if not home:
        return {}, "Horovod is built with Gloo: NCCL's header nccl.h was not found (set HOROVOD_NCCL_HOME)"
    cuda = str(Path(nvcc).resolve().parents[1])
    variables = {"HOROVOD_GPU_OPERATIONS": "NCCL", "HOROVOD_NCCL_HOME": home, "HOROVOD_CUDA_HOME": cuda}
    return variables, f"Horovod is built with NCCL of {home} and CUDA of {cuda}"


if __name__ == "__main__":
    found, meaning = nccl_variables()
    sys.stderr.write(f"{meaning}\n")
    sys.stdout.write(" ".join(f"{name}={value}" for name, value in found.items()) + "\n")
