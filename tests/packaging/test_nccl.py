"""How Horovod is built for GPUs: with NCCL where its header and CUDA's compiler are, and what is said where not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[2] / "packaging" / "horovod" / "nccl.py"


@pytest.fixture
def nccl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The program as a module, on a machine with a compiler in tmp_path/cuda and nothing else."""
    spec = importlib.util.spec_from_file_location("nccl", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SYSTEM", ())
    monkeypatch.setattr(module.sysconfig, "get_path", lambda name: str(tmp_path / "packages"))
    monkeypatch.setattr(module.shutil, "which", lambda name, path=None: str(tmp_path / "cuda" / "bin" / name))
    monkeypatch.delenv("HOROVOD_NCCL_HOME", raising=False)
    return module


@pytest.mark.parametrize("place", ["packages/nvidia/nccl", "mine"])
def test_nccl_and_the_compiler_are_there(nccl, place, tmp_path, monkeypatch):
    home = tmp_path / place
    (home / "include").mkdir(parents=True)
    (home / "include" / "nccl.h").touch()
    if place == "mine":
        monkeypatch.setenv("HOROVOD_NCCL_HOME", str(home))
    cuda = str(tmp_path / "cuda")
    variables = {"HOROVOD_GPU_OPERATIONS": "NCCL", "HOROVOD_NCCL_HOME": str(home), "HOROVOD_CUDA_HOME": cuda}
    assert nccl.nccl_variables() == (variables, f"Horovod is built with NCCL of {home} and CUDA of {cuda}")


def test_without_the_compiler(nccl, monkeypatch):
    monkeypatch.setattr(nccl.shutil, "which", lambda name, path=None: None)
    meaning = "Horovod is built with Gloo: NCCL needs CUDA's compiler nvcc, which was not found"
    assert nccl.nccl_variables() == ({}, meaning)


def test_without_nccl(nccl):
    meaning = "Horovod is built with Gloo: NCCL's header nccl.h was not found (set HOROVOD_NCCL_HOME)"
    assert nccl.nccl_variables() == ({}, meaning)


def test_variables_go_to_standard_output_and_the_meaning_beside_it():
    done = subprocess.run([sys.executable, "-B", str(PROGRAM)], capture_output=True, text=True, check=True, timeout=600)
    assert done.stderr.startswith("Horovod is built with ")
    assert ("HOROVOD_GPU_OPERATIONS=NCCL" in done.stdout) == ("NCCL of" in done.stderr)
