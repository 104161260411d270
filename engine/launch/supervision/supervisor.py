"""The process that watches over the ranks of a run: `python -m engine supervise FOLDER`.

It starts the ranks, records how they begin and end, and starts them again if one died and `launch.restarts` allows it.
SIGTERM ends the ranks. SIGUSR1, which Slurm sends some time before a job's end, pauses them with a checkpoint, and the
job is queued again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from engine.errors import LaunchError, StoreError
from engine.launch.local import ROOT, identity
from engine.launch.marked_processes import end_marked, mark_of
from engine.launch.ranks import command
from engine.launch.ranks.addresses import seen_by
from engine.launch.ranks.elastic import ElasticCoordinator
from engine.launch.ranks.ssh_ranks import is_here
from engine.launch.supervision.exit_reason import ExitReason, exit_reason
from engine.launch.supervision.launch_token import LaunchToken
from engine.launch.supervision.requeue import requeue
from engine.runs import ExitKind, LaunchEvent, Run, describe_error
from engine.runs.state import FROM_CHECKPOINT
from engine.training.checkpoints import position_of
from engine.training.elastic import WHERE

PAUSED = "the job's time is nearly up"
WARNING_S = 120.0  # between Slurm's signal and the end, unless the request has another
SHARE = 0.75  # of that time, for the ranks to stop by themselves
SETTLE_S = 2.0  # Slurm ends all processes of a job at once: its signal may come here after a rank's death
SCONTROL_S = 60.0


def supervise(run: Run, token: str = "") -> int:
    """Start the ranks, wait for their end, and record it; returns their exit code.

    token : of the launch that this process is, as its job was given it; one that comes late does nothing.
    """
    launch_token = LaunchToken(run, token)
    if refusal := launch_token.refusal():
        launch_token.log(f"comes late ({refusal}): it does nothing")
        return 0
    with launch_token.watched(lambda: os.kill(os.getpid(), signal.SIGTERM)):
        return _supervise(run, launch_token)


def _supervise(run: Run, launch_token: LaunchToken) -> int:
    run.withdraw_pause()
    supervisor = Supervisor(run, launch_token)
    supervisor.listen()
    began_at = _position(run)
    supervisor.record(LaunchEvent.STARTED, requeues=int(os.environ.get("SLURM_RESTART_COUNT", 0)))
    end = supervisor.attempt()
    while end.kind is ExitKind.DIED and supervisor.may_restart():
        supervisor.restart(end)
        end = supervisor.attempt()
    end = supervisor.pause(end, began_at) if supervisor.paused(end) else end
    if end.kind is ExitKind.REPLACED:
        launch_token.log(end.reason)
    elif end.kind is not ExitKind.PAUSED:  # else the job is queued again, and another process goes on
        supervisor.record(LaunchEvent.ENDED, **end.facts())
    return 1 if end.rc is None else end.rc


class Supervisor:
    """One launch of a run: starts its ranks, and reacts to signals."""

    def __init__(self, run: Run, launch_token: LaunchToken):
        self.run, self.launch_token = run, launch_token
        self.job = os.environ.get("SLURM_JOB_ID")
        self.facts = (
            asdict(identity(os.getpid())) | {"token": run.request.token} | ({"job": self.job} if self.job else {})
        )
        self.mark = mark_of(run.folder, os.getpid())
        self.has_ranks = False
        self.end_asked = threading.Event()
        self.pause_asked = False
        self.paused_at = 0.0  # of time.monotonic
        self.warning_s = requested.warning_s if (requested := run.request.ranks) and requested.warning_s else WARNING_S

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGUSR1, self._pause)
        signal.signal(signal.SIGALRM, lambda *_: self._end_ranks())

    def record(self, event: LaunchEvent, **facts: Any) -> None:
        self.run.record_launch(event, **facts, **self.facts)

    def attempt(self) -> ExitReason:
        """Start the ranks, and wait for their end."""
        if self.run.cancel_file.exists():
            return ExitReason(ExitKind.CANCELLED, "cancelled")
        self.run.forget_heartbeats()
        with open(self.run.log, "ab") as log, contextlib.ExitStack() as stack:
            log_from = log.tell()
            try:
                command, environment, coordinator = stack.enter_context(self._prepared())
                self.has_ranks = True  # before the first starts: a signal may come at any moment
                ranks = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env={**environment, **self.mark},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except (OSError, LaunchError) as error:
                return ExitReason(ExitKind.FAILED, describe_error(error))
            if self.end_asked.is_set():
                self._end_ranks()
            rc = ranks.wait()
        end_marked(self.mark)  # those that outlive their launcher
        self.has_ranks = False
        if self.launch_token.replaced:  # the ranks that beat now may be those of the other launch
            return ExitReason(ExitKind.REPLACED, "has ended its ranks: the run was submitted again", rc)
        if coordinator and coordinator.too_few:
            return self._classify(ExitReason(ExitKind.DIED, coordinator.too_few, rc))
        return self._classify(exit_reason(self.run, rc, log_from))

    def may_restart(self) -> bool:
        stopping = self.pause_asked or self.end_asked.is_set() or self.run.cancel_file.exists()
        return not stopping and self._restarts() < self.run.spec.launch.restarts

    def restart(self, end: ExitReason) -> None:
        """Record that the ranks start again, and say so in the log."""
        number = self._restarts() + 1
        self.record(LaunchEvent.RESTARTED, number=number, reason=end.reason)
        self._log(f"{end.reason}; restart {number} of {self.run.spec.launch.restarts}")

    def report_loss(self, ranks: list[int], left: int, why: str) -> None:
        """Record that others go on without these ranks, and say so in the log."""
        self.record(LaunchEvent.LOST, ranks=ranks, left=left, reason=why)
        self._log(f"{why}: {left} of {self.run.spec.launch.processes} go on from the last checkpoint")

    def paused(self, end: ExitReason) -> bool:
        """True if the ranks ended for the pause: stopped, or ended because they took too long to."""
        return self.pause_asked and end.kind in (ExitKind.STOPPED, ExitKind.DIED) and not self.run.cancel_file.exists()

    def pause(self, end: ExitReason, began_at: tuple[int, int]) -> ExitReason:
        """Have Slurm queue the job again; without it, or where it refuses, or for nothing, that is the end."""
        reached = _position(self.run)
        if reached <= began_at:
            reason = f"{PAUSED}, and no step was done since the job began: raise launch.time_limit, then resume"
            return ExitReason(ExitKind.FAILED, reason, 1)
        self.record(LaunchEvent.PAUSED, reason=PAUSED, epoch=reached[0] + 1, step=reached[1])
        if not self.job:
            return ExitReason(ExitKind.STOPPED, f"{PAUSED}: {FROM_CHECKPOINT}", end.rc)
        refusal = requeue(self.job, self.paused_at + self.warning_s, self.end_asked, self._log)
        if refusal and not self.end_asked.is_set():
            return ExitReason(
                ExitKind.STOPPED, f"{PAUSED}, and Slurm didn't queue the job again ({refusal}): {FROM_CHECKPOINT}", 0
            )
        return ExitReason(ExitKind.PAUSED, PAUSED, 0)

    def _classify(self, end: ExitReason) -> ExitReason:
        """Distinguish ranks that died from ranks that were ended from outside, together with this process."""
        if end.kind is ExitKind.DIED and self.job:
            self.end_asked.wait(SETTLE_S)
        if end.kind in (ExitKind.DIED, ExitKind.FAILED) and self.end_asked.is_set():
            return ExitReason(ExitKind.FAILED, f"it was ended from outside (SIGTERM): {FROM_CHECKPOINT}", end.rc)
        return end

    @contextlib.contextmanager
    def _prepared(self) -> Iterator[tuple[tuple[str, ...], dict[str, str], ElasticCoordinator | None]]:
        """The ranks' command and environment; while they live, the servers at which they meet, if they need them."""
        run = self.run
        plan = command.plan(run, os.environ)
        if not plan.meets:
            share = os.environ.get("SLURM_CPUS_PER_TASK") or (os.cpu_count() or 1) // run.spec.launch.processes
            yield plan.command, {**command.threads(int(share)), **os.environ}, None  # what is set stays
            return
        from engine.launch.ranks.rendezvous import rendezvous  # Horovod, which the dashboard does without

        how, elastic = command.Ranks.of(run.request), run.spec.launch.is_elastic
        address = seen_by(_other_hosts(how), how.interface)
        with rendezvous(address) as keys:
            meeting_variables = command.meeting(address, keys.port, how.interface, os.environ, elastic=elastic)
            if not elastic:
                yield plan.command, {**os.environ, **meeting_variables}, None
                return
            coordinator = ElasticCoordinator(run, keys, partial(rendezvous, address), self.report_loss, self._end_ranks)
            with coordinator.coordinating():
                yield plan.command, {**os.environ, **meeting_variables, WHERE: f"{address}:{keys.port}"}, coordinator

    def _log(self, words: str) -> None:
        with open(self.run.log, "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {words}\n")

    def _restarts(self) -> int:
        """Count the restarts of this launch, a job's requeues included."""
        mark = ("job",) if self.job else ("host", "pid", "pid_started")
        mine = [
            record for record in self.run.launches() if all(getattr(record, key) == self.facts[key] for key in mark)
        ]
        return sum(record.event is LaunchEvent.RESTARTED for record in mine)

    def _end(self, *_: object) -> None:
        self.end_asked.set()
        self._end_ranks()

    def _pause(self, *_: object) -> None:
        if self.pause_asked:
            return
        self.pause_asked = True
        self.paused_at = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, SHARE * self.warning_s)
        with contextlib.suppress(StoreError):  # on a full disk, say: the ranks are ended later
            self.run.ask_to_pause(PAUSED)

    def _end_ranks(self) -> None:
        if self.has_ranks:
            end_marked(self.mark)


def _position(run: Run) -> tuple[int, int]:
    """Epochs done, those of all networks before counted in full, and steps of the next one, of the last checkpoint."""
    begun = [path for number in run.spec.trainings if (path := run.last_of(number)).exists()]
    if not begun:
        return 0, 0
    epoch, step = position_of(begun[-1])
    return (len(begun) - 1) * run.spec.training.epochs + epoch, step


def _other_hosts(how: command.Ranks) -> list[str]:
    """Names of the other hosts of this run."""
    if how.by != "srun":
        return [host.name for host in how.hosts if not is_here(host.name)]
    command = ["scontrol", "show", "hostnames"]  # those of this job
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=SCONTROL_S, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise LaunchError(f"the nodes of the job can't be found out ({error}): is this a job of Slurm?") from error
    return [name for name in listed.split() if name != os.environ.get("SLURMD_NODENAME")]
