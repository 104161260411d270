"""One choice of versions in pyproject.toml, requirements.lock, environment.yml and packaging/horovod."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# What conda-forge calls otherwise than the Python package index.
CONDA_NAMES = {"eccodes": "python-eccodes", "eccodeslib": "eccodes", "playwright": "playwright-python"}


def locked(file: str = "requirements.lock") -> dict[str, str]:
    text = (ROOT / file).read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))


def in_conda() -> dict[str, str]:
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pairs = (line.split("=", 1) for line in lines if not line.startswith("python>"))
    return {canonicalize_name(name): version for name, version in pairs}


def names(lines: list[str]) -> list[str]:
    return [canonicalize_name(Requirement(line).name) for line in lines]


@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *EXTRAS["dev"], *EXTRAS["horovod"]])
def test_the_lock_holds_what_the_project_asks_for(line: str) -> None:
    requirement = Requirement(line)
    assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-gpu.lock"])
def test_each_locked_package_has_hashes_and_nothing_names_a_host(file: str) -> None:
    text = (ROOT / file).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked(file))
    assert [entry.split("==")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash=)", text, re.MULTILINE)


def test_gpus_change_no_version() -> None:
    added = {name: version for name, version in locked("requirements-gpu.lock").items() if name not in locked()}
    assert locked("requirements-gpu.lock").items() - added.items() <= locked().items()
    assert {"nvidia-cudnn-cu12", "nvidia-nccl-cu12"} <= set(added)
    assert all(name.startswith("nvidia-") for name in added)


@pytest.mark.parametrize(
    ("name", "parts"),
    [(name, 3) for name in names(PROJECT["dependencies"])] + [(name, 2) for name in names(EXTRAS["dev"])],
)
def test_conda_users_get_the_locked_version(name: str, parts: int) -> None:
    # conda's `=1.7.5` is met by 1.7.5 and 1.7.5.x, so the first parts decide.
    expected = ".".join(locked()[name].split(".")[:parts])
    assert in_conda()[CONDA_NAMES.get(name, name)] == expected


def test_conda_users_get_nothing_else() -> None:
    wanted = {CONDA_NAMES.get(name, name) for name in names(PROJECT["dependencies"] + EXTRAS["dev"])}
    assert set(in_conda()) == wanted | {"horovod"}


def test_horovod_is_the_same_everywhere() -> None:
    package = tomllib.loads((ROOT / "packaging/horovod/pyproject.toml").read_text())
    assert package["project"]["version"] == in_conda()["horovod"] == "0.28.1"
    assert set(names(package["project"]["dependencies"])) <= set(locked())
    for line in package["build-system"]["requires"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)])


def test_python_is_the_same_everywhere() -> None:
    python = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][0]
    assert python == f"python{PROJECT['requires-python']}"
