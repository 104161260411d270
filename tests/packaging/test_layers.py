"""Layers: the import contracts of pyproject.toml, and the modules that a fresh process loads."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHERE_RANKS_MEET = "engine.launch.ranks.rendezvous"  # imports Horovod; only a supervisor's process imports it
REACHED_BY_THE_APP = ["engine.spec", "engine.runs", "engine.launch", "engine.data"]


def test_the_layers_hold() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr


def test_nothing_the_dashboard_imports_brings_tensorflow() -> None:
    # import-linter doesn't see what a package's __init__ brings along: look at a real process.
    modules = [name for package in ("app", *REACHED_BY_THE_APP) for name in _modules(package)]
    loaded = _loaded_after_importing(modules)
    assert set(modules) <= loaded
    assert WHERE_RANKS_MEET not in loaded
    assert loaded & {"tensorflow", "keras", "horovod"} == set()


def test_the_engine_without_a_screen_brings_no_panel() -> None:
    loaded = _loaded_after_importing([name for package in REACHED_BY_THE_APP for name in _modules(package)])
    assert loaded & {"panel", "holoviews", "geoviews", "bokeh"} == set()


def _modules(package: str) -> list[str]:
    """The package and all modules below it, except entries of the server, which act when imported, and Horovod's."""
    folder = ROOT / package.replace(".", "/")
    below = pkgutil.walk_packages([str(folder)], f"{package}.") if folder.is_dir() else []
    left_out = {"app.main", "app.app_hooks", WHERE_RANKS_MEET}
    return [package] + [module.name for module in below if module.name not in left_out]


def _loaded_after_importing(modules: list[str]) -> set[str]:
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(list(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))
