"""Hand runs over to a place to run, take them back, and continue them: what the app and the command line call."""

from __future__ import annotations

import platform
import secrets
from importlib.metadata import PackageNotFoundError, version

from engine.errors import SiteError, StoreError
from engine.launch import local
from engine.launch.remote import submit as remote
from engine.launch.sites import Site, site_of
from engine.runs import LaunchEvent, Run, RunState, Stage, Store, describe_inputs
from engine.spec import Spec

VERSIONED = ("tensorflow", "keras", "horovod", "numpy", "xarray")


def submit(spec: Spec, store: Store) -> Run:
    """Create a run and start it, detached.

    Raises
    ------
    SiteError, StoreError, LaunchError, UnreachableError
        If the target is unknown or refuses, the store can't be written or hasn't the run to start from, no process
        starts, or the target can't be reached.
    """
    run = create(spec, store)
    start(run)
    return run


def create(spec: Spec, store: Store) -> Run:
    """A run folder for this spec, not started yet; raises SiteError or StoreError, as `submit` does."""
    target = site_of(spec.launch.site)
    target.accept(spec.launch)
    store.start_run(spec)
    return store.create(spec, request_of(spec, target))


def start(run: Run) -> None:
    """Start a run that was created and not started yet; raises what `submit` raises."""
    with run.launch_lock():
        if (run.launches() or run.request.is_submitted) and not (state := run.status().state).is_final:
            raise StoreError(f"run {run.id} is {state}: it has just been started from elsewhere")
        _start(run)


def resume(run: Run) -> Run:
    """Start a run again from its last checkpoint, once however often it is asked for at the same time.

    Raises
    ------
    StoreError
        If it is active, done or damaged.
    """
    with run.launch_lock():  # from the check to the record of the launch
        status = run.status()
        if status.state.may_be_active:
            raise StoreError(f"run {run.id} is {status.state}", action="cancel it first, or wait for its end")
        if status.state is RunState.DONE:
            raise StoreError(
                f"run {run.id} is done", action=f"train a new one with training.start_from={run.id} to go on"
            )
        if status.state is RunState.DAMAGED:
            raise StoreError(f"run {run.id} is damaged: {status.reason}")
        run.withdraw_cancel()
        _start(run)
    return run


def _start(run: Run) -> None:
    """Start a run while its launch lock is held."""
    try:
        site = _site(run)
    except SiteError as error:
        if run.is_remote:  # it was created when the targets file still had its site
            run.update_request(stage=Stage.REFUSED, reason=str(error))
        raise
    if site.remote:
        remote.start(run, site)
    else:
        local.start(run, site.nice)


def cancel(run: Run, *, now: bool = False) -> None:
    """Ask a run to stop after the step it is in; with `now`, end its processes at once."""
    state = run.status().state
    if state is RunState.DAMAGED:  # its ranks may well live
        run.ask_to_cancel()
        return
    if not state.may_be_active:
        raise StoreError(f"run {run.id} is {state}: there is nothing to cancel")
    if run.is_remote:
        if run.request.is_submitted:
            remote.cancel(run, _site(run), now=now)
        else:
            remote.withdraw(run)
        return
    run.ask_to_cancel()
    if not run.launches():
        run.record_launch(LaunchEvent.ENDED, rc=None, cancelled=True, reason="cancelled before it began")
    elif now:
        local.stop(run)


def _site(run: Run) -> Site:
    return site_of(run.request.target)


def request_of(spec: Spec, target: Site) -> dict[str, object]:
    """Who was asked to run it, with what versions, on what data."""
    return {
        "target": target.name,
        "kind": target.kind,
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
