"""Hand runs over to a place to run, take them back, and continue them: what the app and the command line call."""

from __future__ import annotations

import platform
import secrets
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from engine.errors import StoreError, TargetError
from engine.launch import local
from engine.options import did_you_mean
from engine.runs import Run, Store, describe_inputs
from engine.spec import Spec

TARGETS = ("local",)
VERSIONED = ("tensorflow", "keras", "horovod", "numpy", "xarray")


def submit(spec: Spec, store: Store) -> Run:
    """Create a run and start it, detached.

    Raises
    ------
    TargetError, StoreError, LaunchError
        If the target is unknown, the store can't be written or hasn't the run to start from, or no process starts.
    """
    run = create(spec, store)
    local.start(run)
    return run


def create(spec: Spec, store: Store) -> Run:
    """A run folder for this spec, not started yet; raises TargetError or StoreError, as `submit` does."""
    target = spec.launch.target
    if target not in TARGETS:
        raise TargetError(f"launch.target is {target!r}, which is not known: {did_you_mean(target, TARGETS)}")
    store.start_run(spec)
    return store.create(spec, request_of(spec))


def resume(run: Run) -> Run:
    """Start a run again from its last checkpoint; raises StoreError if it is active or done."""
    state = run.state()
    if state.active or state.word == "unknown":
        raise StoreError(f"run {run.id} is {state.word}: cancel it first, or wait for its end")
    if state.word == "done":
        raise StoreError(f"run {run.id} is done: train a new one with training.start_from={run.id} to go on")
    run.withdraw_cancel()
    local.start(run)
    return run


def cancel(run: Run, *, now: bool = False) -> None:
    """Ask a run to stop after the step it is in; with `now`, end its processes at once."""
    state = run.state()
    if not state.active and state.word != "unknown":
        raise StoreError(f"run {run.id} is {state.word}: there is nothing to cancel")
    run.ask_to_cancel()
    if not run.launches():
        run.record_launch("ended", rc=None, cancelled=True, reason="cancelled before it began")
    elif now:
        local.stop(run)


def request_of(spec: Spec) -> dict[str, Any]:
    """Who was asked to run it, with what versions, on what data."""
    return {
        "target": spec.launch.target,
        "job": None,
        "token": secrets.token_hex(8),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in VERSIONED}},
        "inputs": describe_inputs(spec),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
