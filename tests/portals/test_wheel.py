"""The wheel works outside the checkout: engine, assets, dashboard."""

from __future__ import annotations

import json
import subprocess
import urllib.request

import pytest

from tests.portals.installation import answers, free_port, process, wait_until

pytestmark = pytest.mark.slow


def test_the_engine_finds_its_specs(installation, tmp_path):
    def run(*arguments: str) -> str:
        command = installation.command("mesoscope-engine", *arguments)
        done = subprocess.run(
            command, cwd=tmp_path, env=installation.environment(tmp_path), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("demo", "demo")
    assert json.loads(run("check", "demo/demo_mos.yaml", "--json"))["grids"]["hr"]["shape"] == [96, 128]


def test_a_process_imports_the_wheel_and_not_the_checkout(installation, tmp_path):
    names = "import app, engine.assets; print(app.__file__, engine.assets.ASSETS)"
    (tmp_path / "app.py").write_text("raise SystemExit('a file of the user')")
    command = installation.command("mesoscope", "--help")
    environment = installation.environment(tmp_path)
    assert "--unix-socket" in subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    found = subprocess.check_output([command[0], "-P", "-c", names], cwd=tmp_path, env=environment, text=True)
    assert found.split() == [
        str(installation.folder / "app" / "__init__.py"),
        str(installation.folder / "engine/assets"),
    ]


def test_the_dashboard_is_served(installation, tmp_path):
    port, log = free_port(), tmp_path / "log"
    command = installation.command("mesoscope", "--port", str(port))
    with process(command, installation.environment(tmp_path), tmp_path, log) as server:
        wait_until(answers(f"http://127.0.0.1:{port}/"), server, log)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
            assert page.url == f"http://127.0.0.1:{port}/app"
            assert "<title>Mesoscope</title>" in page.read().decode()
