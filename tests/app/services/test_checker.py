"""The check in a process of its own: its answer, its refusal, its failure, and its end."""

import asyncio
import sys

import psutil
import pytest

from app.services.checker import Answer, check, command_in
from engine.errors import MesoscopeError, RequestError
from engine.spec import Spec

SPEC = Spec.from_plain({"version": 1, "data": {"target": {"path": "hr.nc"}, "scale": 4}})
HANG = "import pathlib, sys, time; [pathlib.Path(begun).touch() for begun in sys.argv[1:]]; time.sleep(600)"


def script(code):
    return (sys.executable, "-c", code)


def run(code, **limits):
    return asyncio.run(check(SPEC, script(code), **limits))


def test_the_spec_goes_in_and_the_answer_comes_out():
    answer = run("import json, sys; print(json.dumps({'parameters': len(sys.stdin.read())}))")
    assert answer == Answer(parameters=len(SPEC.to_yaml()))


def test_the_run_to_start_from_is_looked_for_in_the_store_of_the_page(tmp_path):
    spec = SPEC.replace(training={"start_from": "none"})
    assert command_in(tmp_path)[-2:] == ("--store", str(tmp_path))
    with pytest.raises(RequestError):
        asyncio.run(check(spec, command_in(tmp_path)))


def test_a_refusal_is_in_the_engine_s_words():
    with pytest.raises(RequestError, match="^the target has one time step$"):
        run("""print('{"error": "the target has one time step"}'); raise SystemExit(2)""")


def test_a_crash_says_its_last_line():
    with pytest.raises(MesoscopeError, match="the check failed with exit code 1: ValueError: no such thing"):
        run("raise ValueError('no such thing')")


def test_silence_is_a_failure():
    with pytest.raises(MesoscopeError, match="the check failed with exit code 0: it said nothing"):
        run("pass")


def hanging():
    """Processes of this one that hang as these tests want it; servers of other tests may live beside them."""
    alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if HANG in child.cmdline()]


def test_a_check_that_hangs_is_ended():
    with pytest.raises(MesoscopeError, match=r"took longer than 0\.5 s and was ended"):
        run(HANG, time_limit_s=0.5)
    assert not hanging()


def test_cancelling_ends_the_process(tmp_path):
    begun = tmp_path / "begun"

    async def cancelled():
        task = asyncio.ensure_future(check(SPEC, (*script(HANG), str(begun))))
        while not begun.exists():
            assert not task.done()
            await asyncio.sleep(0.01)
        assert hanging()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not hanging()
