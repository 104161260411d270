"""Actions on a site. This file is sent by standard input and runs there alone: standard library only.

A request is one JSON object, so is the answer, on a line of its own behind MARK. Nothing here knows the scheduler:
commands are given, and what they said is given back. Every path is made of the site's folder and of
names that were checked.

Starting it from the uploaded engine would cost the same. CPU time of an empty poll (median of ten, warm file cache):
56 ms from standard input, 50 ms from a file, 60 ms with engine.files and engine.errors, 150 ms with engine.runs;
`python -m engine --help` takes 170 ms. It is sent all the same: code that receives and unpacks the engine has to be
sent anyway, and this file always has its caller's version.
"""

import base64
import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from typing import Any, NoReturn

MARK = "mesoscope-answer:"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
FOLDERS = ("runs", "engine", "data", "incoming")
PARTS = ("status", "control", "checkpoints", "results")
APPENDED = ("progress.jsonl", "log.txt", "status/launcher.jsonl")
MOST_BYTES = 1 << 20  # of one file in one answer; the next look goes on from there
MOST_IN_ALL = 8 << 20
FULL_BYTES = 1 << 20  # a disk with less room than this is full
Answer = dict[str, Any]  # a JSON object
KEPT_S = 86_400  # so long a file that came in, and was never put in its place, is kept
COMMAND_S = 30  # for a scheduler to answer


def describe_site(folder: str, engine: str) -> Answer:
    """Make the folders, and describe the site."""
    for part in ("", *FOLDERS):
        os.makedirs(os.path.join(folder, part), mode=0o700, exist_ok=True)
    _remove_old_uploads(os.path.join(folder, "incoming"))
    probe = os.path.join(folder, "incoming", f".probe.{os.getpid()}")
    try:
        with open(probe, "wb") as file:
            file.write(b"\0" * 4096)
    finally:
        _remove(probe)
    return {
        "folder": folder,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "free_bytes": shutil.disk_usage(folder).free,
        "engine": bool(engine) and os.path.isdir(_inside(folder, "engine", engine)),
    }


def install_engine(folder: str, archive: str, checksum: str) -> Answer:
    """The engine's source, from an archive that came in; whole or not at all."""
    source, place = _inside(folder, "incoming", archive), _inside(folder, "engine", checksum)
    _verify(source, checksum)
    if not os.path.isdir(place):
        staging_dir = f"{place}.{os.getpid()}"
        os.mkdir(staging_dir, 0o700)
        try:
            _extract(source, staging_dir)
            os.rename(staging_dir, place)
        except (OSError, ValueError):
            shutil.rmtree(staging_dir, ignore_errors=True)
            if not os.path.isdir(place):  # somebody else was faster otherwise
                raise
    os.unlink(source)
    return {}


def missing_inputs(folder: str, names: list[str]) -> Answer:
    """Which of the inputs, named by checksum and file name, are not there yet."""
    return {"names": [name for name in names if not os.path.exists(_inside(folder, "data", *name.split("/")))]}


def place_input(folder: str, incoming: str, name: str, packed: bool = False) -> Answer:
    """An input that came in goes to its place once its checksum is right; 'checksum/file'.

    packed: it is a folder, which came as an archive.
    """
    checksum, _ = name.split("/")
    source, goal = _inside(folder, "incoming", incoming), _inside(folder, "data", *name.split("/"))
    if packed:
        _place_folder(source, goal, checksum)
        return {}
    _verify(source, checksum)
    os.makedirs(os.path.dirname(goal), mode=0o700, exist_ok=True)
    os.replace(source, goal)
    return {}


def _place_folder(archive: str, goal: str, checksum: str) -> None:
    staging_dir = f"{archive}.d"
    os.mkdir(staging_dir, 0o700)
    try:
        _extract(archive, staging_dir)
        if tree_sum(staging_dir) != checksum:
            raise ValueError("a folder arrived damaged: its checksum is not the one it was sent with")
        os.makedirs(os.path.dirname(goal), mode=0o700, exist_ok=True)
        try:
            os.rename(staging_dir, goal)
        except OSError:
            if not os.path.isdir(goal):  # else somebody else was faster
                raise
    finally:
        shutil.rmtree(staging_dir, ignore_errors=True)
        _remove(archive)


def _extract(archive: str, folder: str) -> None:
    """Plain files alone, all below the folder."""
    try:
        with tarfile.open(archive) as content:
            for member in content.getmembers():
                if not member.isfile() or ".." in member.name.split("/") or member.name.startswith("/"):
                    raise ValueError(f"the archive holds {member.name}, which is no plain file")
            content.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise ValueError(f"an archive arrived damaged ({error})") from None


def import_checkpoint(folder: str, run: str, files: dict[str, str]) -> Answer:
    """Files of another run that this one starts from, which came in: {place in the run folder: name in incoming}."""
    home = _inside(folder, "runs", run)
    for goal, incoming in files.items():
        path = _inside(home, *goal.split("/"))
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.replace(_inside(folder, "incoming", incoming), path)
    return {}


def start_run(
    folder: str, run: str, token: str, texts: dict[str, str], command: list[str], environment: dict[str, Any]
) -> Answer:
    """Write the run's texts and start the command: once for each token, however often or late this is asked."""
    home = _inside(folder, "runs", run)
    _make_folders(home)
    with _launch_lock(home):
        last = _launch_record(home)
        if token in last.get("past", []):
            raise ValueError("this launch was revoked before it arrived")
        if last.get("token") == token:
            return last
        if os.path.exists(os.path.join(home, "DONE")):
            raise ValueError(f"run {run} is done there")
        if _is_alive_here(last):
            raise ValueError(f"run {run} is active there (process {last['pid']}): cancel it first")
        for name in ("cancel", "pause"):
            _remove(os.path.join(home, "control", name))
        for name in os.listdir(os.path.join(home, "status")):
            if name.startswith("rank-"):
                _remove(os.path.join(home, "status", name))
        for name, text in texts.items():
            _write(_inside(home, *name.split("/")), text)
        launch = {"token": token, "time": time.time(), "past": _past_tokens(last)}
        _write_launch_record(home, launch)  # before the start: a look at this moment sees that it is on its way
        launch.update(_start(home, command, environment))
        with contextlib.suppress(OSError):  # a full disk, now that it has launch: it is found by its token
            _write_launch_record(home, launch)
        return launch


def revoke(folder: str, run: str, token: str, arrived: bool) -> Answer:
    """Never begin with that token, even if the request still arrives; tells what has launch.

    arrived: cross it out though its start was asked for, as of a job that a scheduler may yet start.
    """
    home = _inside(folder, "runs", run)
    _make_folders(home)
    with _launch_lock(home):
        launch = _launch_record(home)
        if (arrived or launch.get("token") != token) and token not in launch.get("past", []):
            launch["past"] = [*launch.get("past", []), token]
            _write_launch_record(home, launch)
        return launch


def is_revoked(home: str, token: str) -> bool:
    """Tell whether the launch with that token must not begin any more; for one that was started late."""
    return token in _launch_record(home).get("past", [])


def _start(home: str, command: list[str], environment: dict[str, Any]) -> Answer:
    """A scheduler's command is waited for; the launch of processes of our own is let go."""
    variables = {**os.environ, **environment["variables"]}
    if environment["wait"]:
        return {"said": _run([word.replace("{run}", home) for word in command], home, variables)}
    with open(os.path.join(home, "log.txt"), "ab") as log:
        words = [sys.executable if word == "{python}" else word.replace("{run}", home) for word in command]
        process = subprocess.Popen(
            words,
            cwd=environment["cwd"],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return {"pid": process.pid, "pid_started": _start_ticks(process.pid), "host": socket.gethostname()}


def poll(folder: str, runs: dict[str, dict[str, Any]], listing: str | None) -> Answer:
    """Report the changes in runs, and the scheduler's list of jobs.

    runs : {id: {"offsets": {file: bytes}, "cancel": bool}}
    """
    said = None
    if listing:
        said = _run(["/bin/bash", "-c", listing.replace("{user}", shlex.quote(getpass.getuser()))], "/")
    if runs and not os.path.isdir(os.path.join(folder, "runs")):
        raise ValueError(f"{folder}/runs isn't there: mount its file system again, or put the folder back")
    homes = {run: _inside(folder, "runs", run) for run in runs}
    here = {run: home for run, home in homes.items() if os.path.isdir(home)}
    most = min(MOST_BYTES, MOST_IN_ALL // (len(APPENDED) * max(1, len(here))))
    return {
        "now": time.time(),
        "listing": said,
        "runs": {run: _observe_safely(here[run], runs[run], most) for run in here},
    }


def _observe_safely(home: str, known: dict[str, Any], most: int) -> Answer:
    """Observe a run; one that can't be read doesn't hide the others."""
    try:
        return _observe(home, known, most)
    except OSError as error:
        return {"trouble": f"{error.strerror}: {error.filename}"}


def _observe(home: str, known: dict[str, Any], most: int) -> Answer:
    cancel = os.path.join(home, "control", "cancel")
    if known.get("cancel") and not os.path.exists(cancel):
        with contextlib.suppress(OSError):  # on a full disk, say, its name alone can be written
            open(cancel, "ab").close()
    busy = _is_starting(home)  # these three before the rest: what is read after them is complete
    done = os.path.exists(os.path.join(home, "DONE"))
    launch = _launch_record(home)
    beats = []
    for name in sorted(os.listdir(os.path.join(home, "status"))):
        if name.startswith("rank-") and name.endswith(".json"):
            beats.append(_read_json(os.path.join(home, "status", name)))
    return {
        "busy": busy,
        "full": shutil.disk_usage(home).free < FULL_BYTES,
        "done": done,
        "begun": launch,
        "beats": [beat for beat in beats if beat],
        "alive": _is_alive_here(launch) if launch.get("host") in (None, socket.gethostname()) else None,
        "tails": {name: _tail(os.path.join(home, name), known["offsets"].get(name, 0), most) for name in APPENDED},
    }


def stop_run(folder: str, run: str, command: list[str] | None, now: bool) -> Answer:
    """Ask a run to stop; with `now`, end its processes, or run the scheduler's command for it."""
    home = _inside(folder, "runs", run)
    if os.path.isdir(home):
        _write(os.path.join(home, "control", "cancel"), json.dumps({"time": time.time()}))
    if command:
        return {"said": _run(command, "/")}
    if now and os.path.isdir(home):
        launch = _launch_record(home)
        if _is_alive_here(launch):
            os.kill(launch["pid"], 15)  # the supervisor ends its ranks
    return {}


def list_results(folder: str, run: str) -> Answer:
    """Results and checkpoints of a run that is done: [{name, bytes, sha256}]."""
    home, files = _inside(folder, "runs", run), []
    for part in ("checkpoints", "results"):
        if os.path.islink(home) or os.path.islink(os.path.join(home, part)):
            raise ValueError(f"{part} is a link: results are plain files in the run's folder")
        for name in sorted(os.listdir(os.path.join(home, part))):
            path = os.path.join(home, part, name)
            if name.startswith("."):
                continue
            if not NAME.fullmatch(name) or not stat.S_ISREG(os.lstat(path).st_mode):
                raise ValueError(
                    f"{part}/{name} is a link, a folder or has a name that isn't ours: results are plain files"
                )
            files.append({"name": f"{part}/{name}", "bytes": os.path.getsize(path), "sha256": _sha256(path)})
    return {"folder": home, "files": files}


def run_command(command: list[str], timeout_s: float = COMMAND_S) -> Answer:
    """Run a command and return its output."""
    return {"said": _run(command, os.path.expanduser("~"), timeout_s=timeout_s)}


def _inside(folder: str, *names: str) -> str:
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a file here: expected letters, digits, dot, dash and underscore")
    return os.path.join(folder, *names)


def tree_sum(folder: str) -> str:
    """The sha256 of a folder: of the paths of its files, in order, and of their contents."""
    total = hashlib.sha256()
    for name in files_below(folder):
        total.update(f"{len(os.fsencode(name))} ".encode() + os.fsencode(name))
        total.update(_sha256(os.path.join(folder, name)).encode())
    return total.hexdigest()


def files_below(folder: str) -> list[str]:
    """The paths of a folder's files, below it and in order of their bytes; a link in it leads to a file in it."""
    found, root = [], os.path.realpath(folder)
    for home, folders, names in os.walk(folder, onerror=_raise):
        for name in (*folders, *names):
            path = os.path.join(home, name)
            if os.path.islink(path) and not os.path.realpath(path).startswith(root + os.sep):
                raise ValueError(f"{path} is a link that leads out of {folder}")
            if name in names and not os.path.isfile(path):
                raise ValueError(f"{path} is no plain file")
            if name in folders and os.path.islink(path):
                raise ValueError(f"{path} is a link to a folder")
        found += [os.path.relpath(os.path.join(home, name), folder) for name in names]
    return sorted(found, key=os.fsencode)


def _raise(error: OSError) -> NoReturn:
    raise error


def _sha256(path: str) -> str:
    checksum = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    return checksum.hexdigest()


def _verify(path: str, checksum: str) -> None:
    if _sha256(path) != checksum:
        os.unlink(path)
        raise ValueError("a file arrived damaged: its checksum is not the one it was sent with")


@contextlib.contextmanager
def _launch_lock(home: str) -> Iterator[None]:
    """One at a time in a run folder, over all who ask."""
    with open(os.path.join(home, "status", ".begin"), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_starting(home: str) -> bool:
    """Tell whether another process is just starting the run."""
    try:
        with open(os.path.join(home, "status", ".begin"), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _launch_record(home: str) -> Answer:
    """Record of the newest launch: its token, how it was started, and the tokens of those before."""
    return _read_json(os.path.join(home, "status", "begun.json"))


def _write_launch_record(home: str, launch: Answer) -> None:
    _write(os.path.join(home, "status", "begun.json"), json.dumps(launch))


def _past_tokens(last: Answer) -> list[str]:
    return [*last.get("past", []), *([last["token"]] if "token" in last else [])]


def _make_folders(home: str) -> None:
    for part in ("", *PARTS):
        os.makedirs(os.path.join(home, part), mode=0o700, exist_ok=True)


def _remove_old_uploads(folder: str) -> None:
    """Files that were sent and never used: their sender was cut off."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(path).st_mtime > KEPT_S:
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def _run(command: list[str], cwd: str, variables: dict[str, str] | None = None, timeout_s: float = COMMAND_S) -> Answer:
    try:
        process = subprocess.Popen(
            [os.path.expanduser(command[0]), *command[1:]],
            cwd=cwd,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return {"rc": None, "out": "", "err": f"{command[0]} can't be run: {error.strerror}"}
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # what it started holds on to its output
        process.communicate()
        return {"rc": None, "out": "", "err": f"{command[0]} didn't answer within {timeout_s} s"}
    return {"rc": process.returncode, "out": out.decode(errors="replace"), "err": err.decode(errors="replace")}


def _tail(path: str, offset: int, most: int) -> Answer:
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except FileNotFoundError:
        return {"size": 0, "from": 0, "bytes": ""}
    with file:
        size = os.fstat(file.fileno()).st_size
        offset = offset if offset <= size else 0  # it was written anew
        file.seek(offset)
        content = file.read(min(most, size - offset))
    return {"size": size, "from": offset, "bytes": base64.b64encode(content).decode()}


def _read_json(path: str) -> Answer:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def _write(path: str, text: str) -> None:
    sibling = f"{path}.{os.getpid()}"
    try:
        with os.fdopen(os.open(sibling, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(sibling, path)
    except OSError:
        _remove(sibling)
        raise


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine did: with its id, its identity."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _is_alive(pid: int | None, started: int | None) -> bool:
    if pid is None or (started is not None and _start_ticks(pid) != started):
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _is_alive_here(launch: Answer) -> bool:
    same_host = launch.get("host") == socket.gethostname()
    return same_host and _is_alive(launch.get("pid"), launch.get("pid_started"))


VERBS = {
    verb.__name__: verb
    for verb in (
        describe_site,
        install_engine,
        missing_inputs,
        place_input,
        import_checkpoint,
        start_run,
        revoke,
        poll,
        stop_run,
        list_results,
    )
}


def main(request: dict[str, Any]) -> None:
    os.umask(0o077)
    try:
        folder = os.path.expanduser(request["folder"])
        if request["verb"] == "run_command":
            answer = run_command(**request["given"])
        else:
            answer = VERBS[request["verb"]](folder, **request["given"])
    except (OSError, ValueError) as error:
        answer = {"error": f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)}
        answer["full"] = isinstance(error, OSError) and error.errno in (28, 122)
    sys.stdout.write("\n" + MARK + json.dumps(answer) + "\n")
