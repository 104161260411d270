"""Hand a run over to a target, cancel it there, start it again.

What can't be undone, the start there, is asked for with a token: asked twice it happens once. When the answer is lost,
nothing is guessed: the next poll (see poll.py) finds its state.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from engine.errors import LaunchError, RequestError, SiteError, StoreError, UnreachableError
from engine.files import read_json, to_json
from engine.launch.local import identity
from engine.launch.remote import scheduler, staging
from engine.launch.remote.client import ask, run_engine
from engine.launch.remote.protocol import (
    DescribeSite,
    FindMissingInputs,
    ImportCheckpoint,
    LaunchOnSite,
    PlaceInput,
    StartRun,
    StopRun,
)
from engine.launch.remote.ssh import COMMAND_S
from engine.launch.remote.upload_heartbeat import UploadHeartbeat
from engine.launch.sites import Site
from engine.runs import Run, RunState, Stage, Store, describe_error
from engine.spec import Spec

ROOM_BYTES = 64 * 2**20  # for a run folder's first files
READ_BYTES_PER_S = 20e6  # at least so fast what came in is read and unpacked there


def start(run: Run, target: Site) -> None:
    """Send what is missing on the site, and start the run; the caller holds the launch lock.

    Raises
    ------
    SiteError, UnreachableError, LaunchError
        If the run could not be submitted; it is then failed with this reason, and can be resumed.
    """
    token = secrets.token_hex(8)
    run.update_request(
        stage=Stage.SENDING, token=token, job=None, time=time.time(), reason="", sender=asdict(identity(os.getpid()))
    )
    with UploadHeartbeat(run, token) as heartbeat, _refusal_noted(run, token):
        heartbeat.check()
        given = _prepare(run, target, token, heartbeat)
        heartbeat.check()
        run.update_request(stage=Stage.ASKED, reason="")
    with _refusal_noted(run, token):
        try:
            begun = ask(target, given)
        except UnreachableError as error:
            run.update_request(reason=f"{error}: whether it was submitted shows at the next poll")
            return
        _note_begun(run, target, begun)


@contextlib.contextmanager
def _refusal_noted(run: Run, token: str) -> Iterator[None]:
    """Whatever goes wrong is noted: a run must not stay "submitting" for good."""
    try:
        yield
    except Exception as error:
        remedy = ": resume submits it again" if isinstance(error, UnreachableError) else ""
        with contextlib.suppress(StoreError):  # it must not hide the error that is on its way up
            if run.request.token == token:  # else another process submits it
                run.update_request(stage=Stage.REFUSED, reason=f"{describe_error(error)}{remedy}")
        raise


def withdraw(run: Run) -> None:
    """Cancel a run that was not submitted yet; one that is just being submitted stops before its start."""
    run.ask_to_cancel()
    if not run.is_uploading:
        run.update_request(stage=Stage.REFUSED, reason="cancelled before it was submitted")


def cancel(run: Run, target: Site, *, now: bool = False) -> None:
    """Ask a run to stop; a job that waits is taken from the queue, and with `now` one that runs is ended."""
    run.ask_to_cancel()
    job, state = run.request.job, run.status().state
    waits = state is RunState.QUEUED
    command = scheduler.cancel_command(target.kind, str(job)) if target.scheduled and job and (now or waits) else None
    said = ask(target, StopRun(run.id, tuple(command) if command else None, now, scheduler.TIMEOUT_S)).said
    if said and said.rc != 0:
        raise LaunchError(f"{target.name} didn't cancel job {job}: {said.err.strip() or 'no reason given'}")


def _prepare(run: Run, target: Site, token: str, heartbeat: UploadHeartbeat) -> StartRun:
    """Upload engine, inputs, and what the run starts from, where the site lacks them; returns the request to start."""
    run.update_request(reason="connects, and sends the engine if it is new there")
    there = ask(target, DescribeSite())
    if there.free_bytes < ROOM_BYTES:
        raise SiteError(
            f"the disk of {target.name} is full ({there.folder})", action="free some space there, then resume"
        )
    home = there.folder
    if run.spec.launch.upload:
        run.update_request(reason="reads the inputs for their checksums")
    inputs = staging.inputs_of(run.spec, home)
    _send_inputs(run, target, inputs.files, home, heartbeat)
    _send_start(run, target, home)
    return _start_request(run, target, inputs.spec, home, token)


def _send_inputs(run: Run, target: Site, files: dict[str, Path], home: str, heartbeat: UploadHeartbeat) -> None:
    """Send the inputs that the site lacks."""
    wanted = ask(target, FindMissingInputs(tuple(files))).names if files else ()
    heartbeat.expect(sum(staging.size_of(files[name]) for name in wanted))
    for name in wanted:
        path = files[name]
        run.update_request(reason=f"sends {path.name}")
        incoming = _send(target, heartbeat.count(staging.content_of(path)), home)
        patience_s = COMMAND_S + staging.size_of(path) / READ_BYTES_PER_S
        ask(target, PlaceInput(incoming, name, path.is_dir()), patience_s)
    heartbeat.expect(0)


def _send(target: Site, content: Iterable[bytes], home: str) -> str:
    """Under a new name in the folder for what comes in, which is returned."""
    name = staging.incoming_name()
    target.connection.send(content, f"{home}/incoming/{name}")
    return name


def _send_start(run: Run, target: Site, home: str) -> None:
    """The run that `training.start_from` names: its weights, normalizer and spec."""
    start = Store(run.folder.parent).start_run(run.spec)
    if start is None:
        return
    networks = (start.best_of(number) for number in range(start.spec.training.ensemble))
    names = ["spec.yaml", "checkpoints/scaling.nc", *(f"checkpoints/{path.name}" for path in networks)]
    files = {name: _send(target, staging.content_of(start.folder / name), home) for name in names}
    ask(target, ImportCheckpoint(start.id, files))


def _start_request(run: Run, target: Site, spec: Spec, home: str, token: str) -> StartRun:
    """The spec as the site reads it, and the scheduler's command."""
    checksum, _ = staging.engine_archive()
    engine, folder = f"{home}/engine/{checksum}", f"{home}/runs/{run.id}"
    run.update_request(reason="the data are checked there")
    _check_data(target, home, engine, spec)
    ranks = {
        "by": "srun" if target.kind == "slurm" else "ssh" if target.hosts else "horovodrun",
        "interface": target.interface,
        "hosts": list(target.hosts),
        "warning_s": target.warning_s,
    }
    request = {**read_json(run.request_file), "token": token, "stage": "sent", "ranks": ranks, "kind": target.kind}
    texts = {"request.json": to_json(request), "spec.yaml": spec.to_yaml()}
    if target.scheduled:
        texts[scheduler.SCRIPT] = scheduler.job_script(target, spec.launch, token, folder, engine)
    command = tuple(scheduler.submit_command(target.kind)) if target.scheduled else None
    return StartRun(run.id, token, texts, command, scheduler.TIMEOUT_S)


def _check_data(target: Site, home: str, engine: str, spec: Spec) -> None:
    """The spec against the data as the target has them; nothing is queued that would fail at once."""
    done = run_engine(target, engine, f"check - --json --store {home}/runs", spec.to_yaml())
    with contextlib.suppress(json.JSONDecodeError):
        answer = json.loads(done.out[done.out.index("{") :] if "{" in done.out else "")
        if done.rc == 2:
            raise RequestError(f"on {target.name}: {answer['error']}")
        if done.rc == 0:
            return
    said = done.err.strip().splitlines()
    raise SiteError(
        f"the engine doesn't run on {target.name} ({said[-1] if said else f'exit code {done.rc}'})",
        action=f"engine targets check {target.name} says what is missing",
    )


def _note_begun(run: Run, target: Site, begun: LaunchOnSite) -> None:
    """Record the job's id, or why there is none; what isn't certain is left to the next poll."""
    if not target.scheduled or begun.said is None:
        run.update_request(stage=Stage.SENT, job=begun.pid)
    elif job := scheduler.submitted(target.kind, begun.said):
        run.update_request(stage=Stage.SENT, job=job)
    else:
        said = begun.said.err.strip() or begun.said.out.strip() or "nothing"
        run.update_request(reason=f"{target.name} said: {said}")
