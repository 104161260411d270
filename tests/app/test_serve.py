"""Arguments of `mesoscope`, as they are handed to `panel serve`."""

import subprocess
import sys

import psutil
import pytest

from app.serve import APP, make_parser, panel_command


def command(*words: str, **environment: str) -> list[str]:
    return panel_command(make_parser().parse_args(words), environment)[3:]


def values(given: list[str], option: str) -> list[str]:
    return [given[place + 1] for place, word in enumerate(given) if word == option]


def test_without_arguments_only_this_machine_can_open_it():
    assert panel_command(make_parser().parse_args([]), {})[:3] == ["panel", "serve", str(APP)]
    assert values(command(), "--address") == ["127.0.0.1"]
    assert values(command(), "--allow-websocket-origin") == ["localhost:5006", "127.0.0.1:5006"]


def test_origins_replace_the_default():
    given = command("--origin", "hpc.example.org", "--origin", "hpc.example.org:8443")
    assert values(given, "--allow-websocket-origin") == ["hpc.example.org", "hpc.example.org:8443"]


@pytest.mark.parametrize("origin", ["*", "*.example.org", "https://hpc.example.org"])
def test_an_origin_is_one_host(origin, capsys):
    with pytest.raises(SystemExit):
        command("--origin", origin)
    assert "expected one as browsers show it" in capsys.readouterr().err


def test_a_prefix_is_handed_on_or_stripped():
    assert command("--prefix", "/node/gpu1/1234/")[-4:] == [
        "--prefix", "/node/gpu1/1234", "--root-path", "/node/gpu1/1234/",
    ]  # fmt: skip
    stripped = command("--root-path", "/user/ada/mesoscope")
    assert (values(stripped, "--prefix"), values(stripped, "--root-path")) == ([], ["/user/ada/mesoscope/"])


def test_a_password_comes_from_the_environment_with_a_cookie_for_this_path_alone():
    given = command("--prefix", "/node/gpu1/1234", MESOSCOPE_PASSWORD="Secret1")
    assert values(given, "--basic-auth") == ["Secret1"]
    assert values(given, "--cookie-path") == ["/node/gpu1/1234/"]
    assert len(*values(given, "--cookie-secret")) == 64
    assert "--basic-auth" not in command()


def test_a_unix_socket_has_neither_port_nor_origin():
    given = command("--unix-socket", "/run/user/1/mesoscope")
    assert given == ["--unix-socket", "/run/user/1/mesoscope"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_behind_a_socket_it_ends_with_the_proxy_that_started_it():
    child = "from app.serve import end_with_parent; import time; end_with_parent(); print(flush=True); time.sleep(600)"
    parent = (
        f"import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=-1); "
        "c.stdout.readline(); print(c.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        started = psutil.Process(int(process.stdout.readline()))
        process.kill()
        started.wait(timeout=600)
