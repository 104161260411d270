"""The build back end of packaging/horovod, without compiling."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BACK_END = Path(__file__).parents[2] / "packaging" / "horovod" / "build_horovod.py"


@pytest.fixture
def back_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("build_horovod", BACK_END)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cache(back_end: ModuleType) -> Path:
    return back_end._cache_folder(back_end._environment())


def test_a_kept_wheel_is_used_without_a_compiler(
    back_end: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = cache(back_end) / "horovod-0.28.1-cp311-cp311-linux_x86_64.whl"
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"as it was built")
    monkeypatch.setattr(back_end.shutil, "which", lambda name: None)
    (tmp_path / "wheels").mkdir()
    assert back_end.build_wheel(str(tmp_path / "wheels")) == wheel.name
    assert (tmp_path / "wheels" / wheel.name).read_bytes() == b"as it was built"


def test_a_wheel_is_kept_for_one_tensorflow_one_machine_and_one_set_of_options(
    back_end: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {cache(back_end)}
    monkeypatch.setenv("HOROVOD_GPU_OPERATIONS", "NCCL")
    folders.add(cache(back_end))
    monkeypatch.setattr(back_end.platform, "machine", lambda: "another")
    folders.add(cache(back_end))
    monkeypatch.setattr(back_end, "version", lambda name: "2.20.0")
    folders.add(cache(back_end))
    assert len(folders) == 4
    assert cache(back_end) in folders


def test_the_users_options_go_before_ours(back_end: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert back_end._environment()["HOROVOD_WITHOUT_MPI"] == "1"
    monkeypatch.setenv("HOROVOD_WITH_MPI", "1")
    monkeypatch.setenv("HOROVOD_GPU_OPERATIONS", "NCCL")
    environment = back_end._environment()
    assert "HOROVOD_WITHOUT_MPI" not in environment
    assert environment["HOROVOD_GPU_OPERATIONS"] == "NCCL"


def test_no_compiler(back_end: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(SystemExit, match="none of no-such-compiler was found: install one"):
        back_end.build_wheel(str(tmp_path))


def test_no_make(back_end: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(back_end.shutil, "which", lambda name: None if name == "make" else name)
    with pytest.raises(SystemExit, match="Horovod needs make, but it was not found: install it"):
        back_end.build_wheel(str(tmp_path))


def test_no_tensorflow(back_end: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise back_end.PackageNotFoundError(name)

    monkeypatch.setattr(back_end, "version", missing)
    with pytest.raises(SystemExit, match="install TensorFlow first"):
        back_end.build_wheel(str(tmp_path))


def test_exactly_one_line_is_taken_out(back_end: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "CMakeLists.txt"
    file.write_text("one\ntwo xla_mpi_ops.cc\nthree\n")
    back_end._remove_line(file, "xla_mpi_ops.cc")
    assert file.read_text() == "one\nthree\n"
    with pytest.raises(SystemExit, match="has 0 lines with xla_mpi_ops.cc, but exactly one was expected"):
        back_end._remove_line(file, "xla_mpi_ops.cc")
