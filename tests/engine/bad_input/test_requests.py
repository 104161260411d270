"""Wrong requests through the command line: each says what was given, what is expected, and what to do.

A case prepares a request that is right but for one thing, and gives the message word by word. In it {here} stands
for the folder of the spec and its data.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tests.engine.bad_input.data_cases
import tests.engine.bad_input.option_cases  # noqa: F401 - both register their cases
from engine.cli import main
from tests.engine.bad_input.wrong_requests import CASES

CHECKOUT = Path(__file__).parents[3]
BEYOND_CHECK = ("launch_target_unknown",)  # it needs no data
PROCESSES = ("file_missing", "not_netcdf", "yaml_broken", "unknown_key", "no_common_times")


@pytest.mark.parametrize("name", CASES)
def test_refused_before_a_run_is_made(name, request_, store, refused):
    change, message = CASES[name]
    change(request_)
    assert refused("train", *request_.arguments, "--store", str(store)) == message.format(
        here=request_.here, store=store
    )
    assert not store.exists() or not list(store.iterdir())


def test_the_request_is_right_without_a_change(request_, store, capsys):
    with pytest.raises(AssertionError, match="was started"):
        main(["train", *request_.arguments, "--store", str(store)])
    request_.mos()
    assert main(["check", *request_.arguments]) == 0


@pytest.mark.parametrize("name", [name for name in CASES if name not in BEYOND_CHECK])
def test_check_says_the_same(name, request_, store, refused):
    change, message = CASES[name]
    change(request_)
    assert refused("check", *request_.arguments, "--store", str(store)) == message.format(
        here=request_.here, store=store
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_refused_by_a_real_process(name, flags, request_, store):
    change, message = CASES[name]
    change(request_)
    command = [sys.executable, "-m", "engine", "train", *request_.arguments, "--store", str(store), *flags]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=600)
    expected = message.format(here=request_.here, store=store)
    assert ended.returncode == 2
    assert ended.stderr == f"error: {expected}\n"
    assert (json.loads(ended.stdout) if flags else ended.stdout) == ({"error": expected} if flags else "")
    assert not store.exists()
