"""A thread that repeats an action: until it is stopped, whatever the action does."""

from __future__ import annotations

import threading

import pytest

from engine.periodic import PeriodicThread

TIMEOUT_S = 60.0


class Action:
    """Counts its calls; the errors given are raised in turn, None for none."""

    def __init__(self, *errors: Exception | None):
        self.errors, self.calls = list(errors), 0
        self.is_through = threading.Event()

    def __call__(self) -> None:
        self.calls += 1
        error = self.errors.pop(0) if self.errors else None
        if not self.errors:
            self.is_through.set()
        if error:
            raise error


def test_an_action_is_repeated_until_the_end_and_no_longer():
    action = Action(None, None, None)
    with PeriodicThread("a test", 0.001, action):
        assert action.is_through.wait(TIMEOUT_S)
    calls = action.calls
    assert calls >= 3
    assert not [thread for thread in threading.enumerate() if thread.name == "a test"]
    assert action.calls == calls


def test_nothing_happens_before_the_first_interval():
    action = Action()
    with PeriodicThread("a test", 3600.0, action):
        pass
    assert action.calls == 0


def test_errors_are_logged_once_each_and_end_nothing(caplog):
    action = Action(OSError("full"), OSError("full"), None, OSError("full"), ValueError("odd"), None)
    with PeriodicThread("a test", 0.001, action):
        assert action.is_through.wait(TIMEOUT_S)
    assert [(record.getMessage(), bool(record.exc_info)) for record in caplog.records] == [
        ("a test failed (OSError('full')): it is tried again", False),
        ("a test failed (OSError('full')): it is tried again", False),  # after one that succeeded
        ("a test failed (ValueError('odd')): it is tried again", True),
    ]


def test_an_action_may_stop_its_own_thread():
    done = threading.Event()

    def action() -> None:
        thread.stop()
        done.set()

    thread = PeriodicThread("a test", 0.001, action)
    thread.start()
    assert done.wait(TIMEOUT_S)
    thread.stop()


def test_a_stop_waits_no_longer_than_it_is_told():
    begun, go_on = threading.Event(), threading.Event()

    def action() -> None:
        begun.set()
        go_on.wait(TIMEOUT_S)

    thread = PeriodicThread("a test", 0.001, action)
    thread.start()
    assert begun.wait(TIMEOUT_S)
    thread.stop(timeout_s=0.0)
    assert [each for each in threading.enumerate() if each.name == "a test"]
    go_on.set()
    thread.stop()
    with pytest.raises(RuntimeError, match="started once"):
        thread.start()
