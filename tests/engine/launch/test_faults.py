"""What can go wrong between here and a target, with a real SSH server and a real Slurm: users see the truth, and
nothing is lost. Where the training itself doesn't matter, fake_training.py stands in for it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import LaunchError, MesoscopeError, SiteError, StoreError, UnreachableError
from engine.files import read_json
from engine.launch import api
from engine.launch.remote import scheduler, ssh, submit, upload_heartbeat
from engine.launch.remote.client import ask
from engine.launch.remote.protocol import DescribeSite, Revoke
from engine.launch.remote.upload_heartbeat import Sending
from engine.launch.sites import Sites
from engine.runs import Run, Store
from engine.spec import Spec
from tests.engine.launch.daemons import path_of
from tests.engine.launch.engine_processes import CHECKOUT, wait, write_spec
from tests.engine.launch.servers import NODES, Slurm, Sshd
from tests.engine.launch.site_runs import (
    assert_same_as_on_site,
    declare,
    fake_training_python,
    go,
    poll_run,
    poll_until,
    poll_until_ended,
    poller_of,
    remote_folder,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


class Place:
    """A target, and runs that go there."""

    def __init__(self, folder: Path, server: Sshd, store: Store, monkeypatch: pytest.MonkeyPatch):
        self.folder, self.server, self.store, self._monkeypatch = folder, server, store, monkeypatch
        self.declare()

    def declare(self, *lines: str, site: str = "", **more: Any) -> None:
        python = fake_training_python(self.folder, *lines, site=site)
        declare(self.folder, self._monkeypatch, self.server, **{"python": python, **more})

    def create(self, kind: str, *settings: str) -> Run:
        spec = Spec.read(write_spec(self.folder), [f"launch.site={kind}", *settings])
        return api.create(spec, self.store)

    def submit(self, kind: str, *settings: str) -> Run:
        run = self.create(kind, *settings)
        api.start(run)
        return run

    def training(self, kind: str, *settings: str) -> Run:
        """A run that was seen to train."""
        run = self.submit(kind, *settings)
        poll_until(run, lambda state: state.reason == "training" and run.latest(), "training")
        return run

    def finish(self, run: Run) -> None:
        """Let it end; all that it has there comes here."""
        go(self.folder)
        state = poll_until_ended(run)
        assert state.state == "done", state
        assert_same_as_on_site(self.folder, run)
        sequence = [record["seq"] for record in run.progress()[0]]
        assert sequence == list(range(len(sequence)))

    def program(self, name: str, text: str) -> None:
        """A program that takes the place of one of that name on the server; "$real" is that one."""
        programs = self.folder / "programs"
        programs.mkdir(exist_ok=True)
        (programs / name).write_text(f"#!/bin/bash\nreal={path_of(name)}\n{text}\n")
        (programs / name).chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        self.server.set_environment({**self.server.environment, "PATH": path})


@pytest.fixture
def place(tmp_path, login, store, monkeypatch) -> Place:
    monkeypatch.setattr("engine.launch.remote.retry.POLL_INTERVAL_S", 0.2)
    monkeypatch.setattr("engine.launch.remote.poll.GONE_S", 0.5)
    return Place(tmp_path, login, store, monkeypatch)


@pytest.fixture
def jobs(slurm) -> Callable[[], list[str]]:
    """Gives the names of all jobs that Slurm has been given since."""

    def all_jobs() -> list[str]:
        return slurm.command("squeue", "--noheader", "--states=all", "--format=%j").split()

    before = all_jobs()
    return lambda: [name for name in all_jobs() if name not in before]


@pytest.fixture
def host(tmp_path, sshd, store, monkeypatch) -> Place:
    """A target without a scheduler."""
    monkeypatch.setattr("engine.launch.remote.retry.POLL_INTERVAL_S", 0.2)
    monkeypatch.setattr("engine.launch.remote.poll.GONE_S", 0.5)
    return Place(tmp_path, sshd, store, monkeypatch)


# The server is away


def test_a_server_that_is_down_at_submission(host):
    run = host.create("ssh")
    host.server.stop()
    with pytest.raises(UnreachableError, match="Connection refused"):
        api.start(run)
    state = run.status()
    assert state.state == "failed"
    assert "target can't be reached" in state.reason
    assert "resume submits it again" in state.reason
    host.server.start()
    api.resume(run)
    host.finish(run)


def test_a_server_that_is_down_while_a_run_is_watched(host, monkeypatch):
    run = host.training("ssh")
    host.server.stop()
    assert poll_run(run).state == "running"  # as it was seen last
    monkeypatch.setattr("engine.runs.state.SITE_SILENCE_S", 0.0)
    state = poll_run(run)
    assert state.state == "unknown"
    assert "can't be reached" in state.reason
    assert state.since < run.last_poll_file.stat().st_mtime + 60  # of the last contact, not now
    monkeypatch.setattr("engine.runs.state.SITE_SILENCE_S", 120.0)
    host.server.start()
    assert poll_run(run).state == "running"
    host.finish(run)


def test_a_server_that_is_down_when_results_are_fetched(host):
    run = host.training("ssh")
    go(host.folder)
    watch = poller_of(run)
    wait(lambda: watch.poll(at_once=True) and (run.last_poll and run.last_poll.done), "the end there")
    host.server.stop()
    watch.fetch()
    state = run.status()
    assert state.state == "running"
    assert "results can't be fetched yet" in state.reason
    host.server.start()
    host.finish(run)


def test_a_connection_that_is_cut_while_a_run_is_followed(host):
    run = host.training("ssh")
    for _ in range(3):
        host.server.cut()
        assert poll_run(run).state == "running"
    host.finish(run)


def test_a_connection_that_hangs_is_given_up(host, monkeypatch):
    monkeypatch.setattr(ssh, "ALIVE_S", 1)
    run = host.training("ssh")
    sessions = host.server._sessions()
    for session in sessions:
        session.suspend()
    before = logins(host.server)
    poll_until(run, lambda state: logins(host.server) > before, "a new connection")
    assert run.status().state == "running"
    for session in sessions:
        session.kill()
    host.finish(run)


def test_a_folder_that_is_away_for_a_while_is_no_failure(host, monkeypatch):
    """Its file system isn't mounted, say."""
    run = host.training("ssh")
    monkeypatch.setattr("engine.runs.state.SITE_SILENCE_S", 0.0)
    monkeypatch.setattr("engine.launch.remote.poll.GONE_S", 0.0)
    host.declare(folder=str(host.folder / "away"))
    for _ in range(3):
        state = poll_run(run)
        assert state.state == "unknown"
        assert "runs isn't there: mount its file system again" in state.reason
    host.declare()
    monkeypatch.setattr("engine.runs.state.SITE_SILENCE_S", 120.0)
    assert poll_run(run).state == "running"
    host.finish(run)


# What is sent takes long


class Upload:
    """A run whose input of 20 MB is on its way, in a thread, and gets stuck when 3 MB of it are there."""

    def __init__(self, host: Place):
        self.host = host
        ask(Sites.read().named("ssh"), DescribeSite())  # which uploads the engine
        host.server.cut()  # a session of before has the programs of before
        stuck = f"touch {host.folder}/stuck; while [ ! -e {host.folder}/on ]; do sleep 0.1; done"
        host.program("cat", incoming(f"head -c 3000000; {stuck}"))
        self.run = host.create("ssh", "launch.upload=true")
        (host.folder / "hr.nc").write_bytes(os.urandom(20_000_000))
        self.error: MesoscopeError | None = None
        self._thread = threading.Thread(target=self._start)
        self._thread.start()
        wait((host.folder / "stuck").exists, "the beginning of the upload")

    def _start(self) -> None:
        try:
            api.start(self.run)
        except MesoscopeError as error:
            self.error = error

    def go_on(self) -> None:
        (self.host.folder / "on").touch()

    def end(self) -> MesoscopeError | None:
        self._thread.join()
        return self.error


def incoming(lines: str) -> str:
    """What the `cat` of what comes in does first; any other is the real one."""
    return f'case "$(readlink /proc/$$/fd/1)" in */incoming/in-*) {lines};; esac; exec "$real" "$@"'


def test_an_upload_tells_how_much_of_it_has_gone(host, monkeypatch):
    monkeypatch.setattr(upload_heartbeat, "BEAT_S", 0.05)
    upload = Upload(host)
    words = re.compile(r"submitting to ssh: sends hr\.nc, (\d+\.\d) of 20\.0 MB \((\d+) %\)")

    def uploaded() -> tuple[float, int] | None:
        found = words.fullmatch(upload.run.status().reason)
        return (float(found[1]), int(found[2])) if found and float(found[1]) >= 3 else None

    megabytes, percent = wait(uploaded, "3 MB")
    assert megabytes < 12  # the rest waits here, but for what is in pipes and windows
    assert abs(percent - 5 * megabytes) <= 1  # of 20 MB; both are rounded
    shown = [sys.executable, "-m", "engine", "show", upload.run.id, "--store", str(host.store.folder)]
    assert words.search(subprocess.run(shown, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout)
    upload.go_on()
    assert upload.end() is None
    assert not upload.run.upload_file.exists()
    host.finish(upload.run)


def test_a_connection_that_is_cut_while_inputs_are_sent(host):
    upload = Upload(host)
    host.server.cut()
    error = upload.end()
    assert isinstance(error, UnreachableError)
    assert "resume submits it again" in upload.run.status().reason
    upload.go_on()
    api.resume(upload.run)
    host.finish(upload.run)
    (copy,) = (host.folder / "there" / "data").glob("*/hr.nc")
    assert copy.read_bytes() == (host.folder / "hr.nc").read_bytes()


def test_an_upload_that_is_cancelled_ends_in_its_midst(host):
    upload = Upload(host)
    api.cancel(upload.run)
    upload.go_on()
    assert isinstance(upload.end(), LaunchError)
    state = upload.run.status()
    assert (state.state, state.reason) == ("cancelled", "cancelled before it was submitted")
    assert not list((host.folder / "there" / "data").iterdir())


def test_a_disk_that_fills_up_with_what_is_sent(host):
    host.program("cat", incoming('echo "cat: write error: No space left on device" >&2; exit 1'))
    with pytest.raises(SiteError, match="No space left on device.*free some space there, then resume"):
        host.submit("ssh", "launch.upload=true")


# What Slurm says gets lost


def test_a_lost_reply_to_a_submission_leaves_one_job(place, jobs):
    """The connection is cut after Slurm has taken the job and before it has said so."""
    place.program(
        "sbatch", f'"$real" "$@"; touch {place.folder}/taken; while [ ! -e {place.folder}/go ]; do sleep 0.1; done'
    )
    run = place.create("slurm")
    starter = threading.Thread(target=api.start, args=(run,))
    starter.start()
    wait((place.folder / "taken").exists, "a job that Slurm has taken")
    place.server.cut()
    starter.join()
    assert run.request.stage == "asked"
    assert run.request.job is None
    with pytest.raises(StoreError, match="cancel it first, or wait"):
        api.resume(run)
    poll_until(run, lambda state: state.state == "running", "a job that is found by its token")
    assert run.request.job
    place.finish(run)
    assert len(jobs()) == 1


def test_a_submission_that_failed_though_slurm_has_the_job(place, jobs):
    said = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    place.program("sbatch", f'"$real" "$@" >/dev/null; echo "{said}" >&2; exit 1')
    run = place.training("slurm")
    assert run.request.job
    place.finish(run)
    assert len(jobs()) == 1


def test_a_submission_that_never_answers(place, jobs, monkeypatch):
    monkeypatch.setattr(scheduler, "TIMEOUT_S", 1.0)
    place.program("sbatch", '"$real" "$@"; sleep 1000')
    run = place.training("slurm")
    place.finish(run)
    assert len(jobs()) == 1


def test_a_job_that_slurm_starts_long_after_its_submission_failed_does_nothing(place, slurm):
    """Once when the run is given up, and once beside the training of a retry."""
    place.declare(python=sys.executable)  # a real supervisor and a real training
    before, kept = dict(place.server.environment), place.folder / "kept.sh"
    said = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    place.program("sbatch", f'cp "${{@: -1}}" {kept}; echo "{said}" >&2; exit 1')
    run = place.submit("slurm", "training.epochs=60")
    state = poll_until_ended(run)
    assert (state.state, "refused the job" in state.reason) == ("failed", True)
    there = Run(remote_folder(place.folder, run))
    assert end_of_job(slurm, slurm.command("sbatch", "--parsable", str(kept)).strip()) == "COMPLETED"
    old = run.request.token
    assert f"launch {old} comes late (the launch was revoked before): it does nothing" in there.log.read_text()
    assert (there.launches(), there.heartbeats(), there.latest()) == ([], [], {})

    place.server.set_environment(before)
    place.server.cut()  # a session of before has the programs of before
    api.resume(run)
    poll_until(run, lambda state: run.latest(), "training")
    assert end_of_job(slurm, slurm.command("sbatch", "--parsable", str(kept)).strip()) == "COMPLETED"
    assert f"launch {old} comes late (the run was submitted again since): it does nothing" in there.log.read_text()
    assert poll_until_ended(run).state == "done"
    assert_same_as_on_site(place.folder, run)
    assert {record.token for record in run.launches()} == {run.request.token}
    assert len({(beat.host, beat.pid) for beat in there.heartbeats()}) == 1
    sequence = [record["seq"] for record in run.progress()[0]]
    assert sequence == list(range(1, len(sequence) + 1))


def end_of_job(slurm: Slurm, job: str) -> str:
    """Slurm's word for it."""
    wait(lambda: slurm.job(job) not in ("PENDING", "RUNNING", "COMPLETING"), f"the end of job {job}")
    return slurm.job(job)


def test_a_submission_that_slurm_refuses(place):
    place.declare(partitions=["main", "gone"])
    run = place.submit("slurm", "launch.partition=gone")
    state = poll_until_ended(run)
    assert state.state == "failed"
    assert "invalid partition specified" in state.reason
    assert "fix it, then resume" in state.reason
    place.declare(partitions=["main"])


def test_a_controller_that_is_down_is_no_end(place, slurm, jobs, monkeypatch):
    monkeypatch.setattr("engine.launch.remote.poll.GONE_S", 0.0)
    run = place.training("slurm")
    for node in NODES:
        slurm.drain(node)
    waiting = place.submit("slurm")
    poll_until(waiting, lambda state: state.state == "queued", "a place in the queue")
    slurm.stop_controller()
    assert poll_run(run).state == "running"  # its ranks give signs of life
    state = waiting.status()
    assert state.state == "unknown"
    assert "the scheduler doesn't answer" in state.reason
    slurm.start_controller()
    poll_until(waiting, lambda state: state.state.is_active, "an answer")
    for node in NODES:
        with suppress(AssertionError):  # Slurm doesn't always know, after its restart, that it was drained
            slurm.undrain(node)
    place.finish(run)
    place.finish(waiting)
    assert len(jobs()) == 2


def test_a_drained_cluster_says_why_a_run_waits_and_a_waiting_run_can_be_cancelled(place, slurm):
    for node in NODES:
        slurm.drain(node)
    run = place.submit("slurm")
    words = re.compile("ReqNodeNotAvail|Nodes required for job are DOWN, DRAINED")  # Slurm gives one or the other
    state = poll_until(run, lambda state: words.search(state.reason), "Slurm's reason")
    assert state.state == "queued"
    api.cancel(run)
    assert poll_until_ended(run).state == "cancelled"
    for node in NODES:
        slurm.undrain(node)
    api.resume(run)
    poll_until(run, lambda state: state.state == "running", "the resumed run")
    place.finish(run)


def test_a_run_that_was_cancelled_is_so_though_slurm_has_forgotten_it(place, slurm, monkeypatch):
    for node in NODES:
        slurm.drain(node)
    run = place.submit("slurm")
    poll_until(run, lambda state: state.state == "queued", "a place in the queue")
    monkeypatch.setattr("engine.launch.remote.scheduler.end_command", lambda *_: "false")
    api.cancel(run)
    assert poll_until_ended(run).state == "cancelled"


def test_a_job_that_somebody_else_cancels(place, slurm):
    run = place.training("slurm")
    slurm.command("scancel", run.request.job)
    state = poll_until_ended(run)
    assert state.state == "cancelled"
    assert f"job {run.request.job} was cancelled" in state.reason
    api.resume(run)
    poll_until(run, lambda state: state.reason == "training", "training")
    place.finish(run)


# What is sent gets damaged, or twice


def test_a_disk_that_is_full(host, tmp_path):
    """A real training, for it is what writes."""
    there = tmp_path / "there"
    there.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(there)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        reason = f"a small disk can't be mounted, which takes root: {mounted.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    try:
        host.declare(python=sys.executable)
        run = host.submit("ssh", "training.epochs=40")
        poll_until(run, lambda state: run.latest(), "training")
        ballast = fill(there)
        state = poll_until(run, lambda state: not state.state.is_active, "the end")
        assert state.state == "failed"
        assert "is full: free some space there, then resume" in state.reason
        with pytest.raises(SiteError, match="free some space there, then resume"):
            api.resume(run)
        assert "free some space there, then resume" in run.status().reason
        ballast.unlink()
        api.resume(run)
        assert poll_until_ended(run).state == "done"
    finally:
        subprocess.run(["umount", "--lazy", str(there)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return path


def damaging_sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> Path:
    """An sftp here that, so many times, leaves the end of what it has fetched away; each leaves a file `cut.N`."""
    programs = tmp_path / "here_programs"
    programs.mkdir(exist_ok=True)
    text = f"""\
#!/bin/bash
batch=$(cat)
{path_of("sftp")} "$@" <<< "$batch"
rc=$?
part=$(sed -n 's/.*"\\([^"]*[.]part\\)"$/\\1/p' <<< "$batch")
number=$(ls {programs} | grep -c '^cut')
if [ -s "$part" ] && [ "$number" -lt {times} ]; then truncate -s -1000 "$part"; touch {programs}/cut.$number; fi
exit $rc
"""
    (programs / "sftp").write_text(text)
    (programs / "sftp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return programs


def test_a_result_that_is_cut_short_is_fetched_again(host, monkeypatch):
    run = host.training("ssh")
    programs = damaging_sftp(host.folder, monkeypatch, times=1)
    host.finish(run)
    assert (programs / "cut.0").exists()


def test_a_result_that_never_comes_whole_is_said_and_not_taken(host, monkeypatch):
    run = host.training("ssh")
    with monkeypatch.context() as context:
        damaging_sftp(host.folder, context, times=2)
        go(host.folder)
        state = poll_until(run, lambda state: "damaged twice" in state.reason, "a damaged result")
        assert state.state == "running"
        assert not (run.folder / "DONE").exists()
        assert not run.best.exists()
    host.finish(run)


def test_a_long_log_is_here_to_its_end(host):
    """What is written last is longer than what one look brings."""
    run = host.training("ssh")
    with open(remote_folder(host.folder, run) / "log.txt", "ab") as log:
        log.write(b"x" * 5_000_000 + b"\n")
    host.finish(run)
    assert run.log.stat().st_size > 5_000_000


def test_two_who_watch_one_store_share_one_connection_and_write_each_line_once(host):
    run = host.submit("ssh")
    before = logins(host.server)
    watchers = [watching(host.store) for _ in range(2)]
    try:
        wait(lambda: len(run.progress()[0]) > 50, "progress")
        go(host.folder)
        wait(lambda: run.status().state == "done", "the end")
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.wait()
    host.finish(run)
    assert logins(host.server) == before


def logins(server: Sshd) -> int:
    return (server.folder / "sshd.err").read_text().count("Accepted publickey")


def watching(store: Store) -> subprocess.Popen[bytes]:
    """A dashboard, as far as it looks at targets."""
    return subprocess.Popen([sys.executable, "-m", "tests.engine.launch.poll_sites", str(store.folder)], cwd=CHECKOUT)


def test_a_dashboard_that_is_killed_and_started_again(place, slurm, jobs):
    for node in NODES:
        slurm.drain(node)
    run = place.submit("slurm")
    seen: list[Callable[[], bool]] = [
        lambda: run.status().state == "queued" and bool(run.last_poll),
        lambda: len(run.progress()[0]) > 5,
        lambda: (run.last_poll is not None and run.last_poll.done) or run.status().state == "done",
        lambda: run.status().state == "done",
    ]
    between = [lambda: [slurm.undrain(node) for node in NODES], lambda: go(place.folder), lambda: None, lambda: None]
    for condition, action in zip(seen, between, strict=True):
        watcher = watching(place.store)
        try:
            wait(condition, "what is to be seen")
        finally:
            watcher.kill()
            watcher.wait()
        action()
    place.finish(run)
    assert len(jobs()) == 1


def test_who_hands_a_run_over_is_killed(place, tmp_path):
    waits = f'case "$*" in "-m engine check"*) touch {tmp_path}/checking; exec sleep 1000;; esac'
    place.declare(waits)
    run = place.create("slurm")
    words = [sys.executable, "-m", "tests.engine.launch.start_run", str(run.folder)]
    starter = subprocess.Popen(words, cwd=CHECKOUT)
    wait((tmp_path / "checking").exists, "the hand-over")
    assert "submitting to" in run.status().reason
    starter.kill()
    starter.wait()
    state = run.status()
    assert (state.state, "submission was interrupted" in state.reason) == ("failed", True)
    place.server.cut()
    place.declare()
    api.resume(run)
    place.finish(run)


def test_who_was_taken_for_dead_does_not_go_on(host, tmp_path):
    """It was asleep, say, and somebody on another host has handed the run over again."""
    host.declare(f'case "$*" in "-m engine check"*) touch {tmp_path}/checking; while [ ! -e {tmp_path}/on ]; do '
                 'sleep 0.1; done;; esac')  # fmt: skip
    run = host.create("ssh")
    said: list[str] = []

    def start() -> None:
        with pytest.raises(LaunchError) as error:
            api.start(run)
        said.append(str(error.value))

    starter = threading.Thread(target=start)
    starter.start()
    wait((tmp_path / "checking").exists, "the hand-over")
    taken = {"token": "0" * 16, "stage": "sending", "sender": {"host": "another", "pid": 1, "pid_started": 1.0}}
    run.update_request(**taken)
    (tmp_path / "on").touch()
    starter.join()
    assert said == [f"run {run.id} is submitted by another process, which took this one for dead"]
    request = read_json(run.request_file)
    assert {name: request[name] for name in taken} == taken
    assert not remote_folder(tmp_path, run).exists()


def test_two_who_resume_at_once_start_it_once(host):
    run = host.create("ssh")
    host.server.stop()
    with pytest.raises(UnreachableError):
        api.start(run)
    host.server.start()
    said: list[str] = []

    def resume() -> None:
        try:
            api.resume(run)
            said.append("started")
        except MesoscopeError as error:
            said.append(str(error))

    both = [threading.Thread(target=resume) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(word == "started" for word in said) == [False, True], said
    host.finish(run)
    assert len([record for record in run.launches() if record.event == "started"]) == 1


def test_a_start_that_was_given_up_cannot_come_late(host):
    run = host.create("ssh")
    target = Sites.read().named("ssh")
    token = "0" * 16
    request = submit._prepare(run, target, token, Sending(run, token))
    assert ask(target, Revoke(run.id, token, arrived=False)).past == (token,)
    with pytest.raises(SiteError, match="this launch was revoked before it arrived"):
        ask(target, request)
    api.start(run)  # with a token of its own
    with pytest.raises(SiteError, match="this launch was revoked"):
        ask(target, request)
    host.finish(run)
    assert len([record for record in run.launches() if record.event == "started"]) == 1


def test_a_start_that_is_asked_for_twice_happens_once(host):
    run = host.create("ssh")
    target = Sites.read().named("ssh")
    request = submit._prepare(run, target, "0" * 16, Sending(run, "0" * 16))
    assert ask(target, request) == ask(target, request)
    with pytest.raises(SiteError, match="is active there"):
        ask(target, replace(request, token="1" * 16))
    go(host.folder)


def test_a_run_that_is_cancelled_before_it_is_handed_over(host):
    run = host.create("ssh")
    api.cancel(run)
    assert run.status().state == "cancelled"
    with pytest.raises(LaunchError, match="cancelled before it was submitted"):
        api.start(run)
    api.resume(run)
    host.finish(run)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off(hours, place, tmp_path):
    place.declare(site=f"import time\n_time = time.time\ntime.time = lambda: _time() + {3600 * hours}")
    run = place.training("slurm")
    there = read_json(remote_folder(tmp_path, run) / "status" / "rank-0.json")["time"]
    assert abs(there - 3600 * hours - run.last_poll.since) < 600  # the clock there is really off
    place.finish(run)
    waiting = run.status()
    assert waiting.since == pytest.approx((run.folder / "DONE").stat().st_mtime)
