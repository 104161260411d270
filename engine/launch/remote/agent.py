"""What is done on a target. This file travels by standard input and runs there alone: standard library only.

A request is one JSON object, so is the answer, on a line of its own behind MARK. Nothing here knows the scheduler:
commands are given, and what they said is given back. Every path is made of the target's folder and of
names that were checked.
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

MARK = "mesoscope-answer:"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
FOLDERS = ("runs", "engine", "data", "incoming")
PARTS = ("status", "control", "checkpoints", "results")
APPENDED = ("progress.jsonl", "log.txt", "status/launcher.jsonl")
MOST_BYTES = 1 << 20  # of one file in one answer; the next look goes on from there
MOST_IN_ALL = 8 << 20
FULL_BYTES = 1 << 20  # a disk with less room than this is full
KEPT_S = 86_400  # so long a file that came in, and was never put in its place, is kept
COMMAND_S = 30  # for a scheduler to answer


def greet(folder, engine):
    """Make the folders; tell what is there."""
    for part in ("", *FOLDERS):
        os.makedirs(os.path.join(folder, part), mode=0o700, exist_ok=True)
    _clear_incoming(os.path.join(folder, "incoming"))
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


def unpack(folder, archive, checksum):
    """The engine's source, from an archive that came in; whole or not at all."""
    source, place = _inside(folder, "incoming", archive), _inside(folder, "engine", checksum)
    _check_sum(source, checksum)
    if not os.path.isdir(place):
        nursery = f"{place}.{os.getpid()}"
        os.mkdir(nursery, 0o700)
        try:
            _extract(source, nursery)
            os.rename(nursery, place)
        except (OSError, ValueError):
            shutil.rmtree(nursery, ignore_errors=True)
            if not os.path.isdir(place):  # somebody else was faster otherwise
                raise
    os.unlink(source)
    return {}


def wanting(folder, names):
    """Which of the inputs, named by checksum and file name, are not there yet."""
    return {"names": [name for name in names if not os.path.exists(_inside(folder, "data", *name.split("/")))]}


def place(folder, incoming, name, packed=False):
    """An input that came in goes to its place once its checksum is right; 'checksum/file'.

    packed: it is a folder, which came as an archive.
    """
    checksum, _ = name.split("/")
    source, goal = _inside(folder, "incoming", incoming), _inside(folder, "data", *name.split("/"))
    if packed:
        _place_folder(source, goal, checksum)
        return {}
    _check_sum(source, checksum)
    os.makedirs(os.path.dirname(goal), mode=0o700, exist_ok=True)
    os.replace(source, goal)
    return {}


def _place_folder(archive, goal, checksum):
    nursery = f"{archive}.d"
    os.mkdir(nursery, 0o700)
    try:
        _extract(archive, nursery)
        if tree_sum(nursery) != checksum:
            raise ValueError("a folder arrived damaged: its checksum is not the one it was sent with")
        os.makedirs(os.path.dirname(goal), mode=0o700, exist_ok=True)
        try:
            os.rename(nursery, goal)
        except OSError:
            if not os.path.isdir(goal):  # else somebody else was faster
                raise
    finally:
        shutil.rmtree(nursery, ignore_errors=True)
        _remove(archive)


def _extract(archive, folder):
    """Plain files alone, all below the folder."""
    try:
        with tarfile.open(archive) as content:
            for member in content.getmembers():
                if not member.isfile() or ".." in member.name.split("/") or member.name.startswith("/"):
                    raise ValueError(f"the archive holds {member.name}, which is no plain file")
            content.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise ValueError(f"an archive arrived damaged ({error})") from None


def adopt(folder, run, files):
    """Files of another run that this one starts from, which came in: {place in the run folder: name in incoming}."""
    home = _inside(folder, "runs", run)
    for goal, incoming in files.items():
        path = _inside(home, *goal.split("/"))
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.replace(_inside(folder, "incoming", incoming), path)
    return {}


def begin(folder, run, token, texts, command, environment):
    """Write the run's texts and start the command: once for each token, however often or late this is asked."""
    home = _inside(folder, "runs", run)
    _make_parts(home)
    with _alone(home):
        last = _begun(home)
        if token in last.get("past", []):
            raise ValueError("this launch was given up before it arrived")
        if last.get("token") == token:
            return last
        if os.path.exists(os.path.join(home, "DONE")):
            raise ValueError(f"run {run} is done there")
        if _alive_here(last):
            raise ValueError(f"run {run} is active there (process {last['pid']}): cancel it first")
        for name in ("cancel", "pause"):
            _remove(os.path.join(home, "control", name))
        for name in os.listdir(os.path.join(home, "status")):
            if name.startswith("rank-"):
                _remove(os.path.join(home, "status", name))
        for name, text in texts.items():
            _write(_inside(home, *name.split("/")), text)
        begun = {"token": token, "time": time.time(), "past": _past(last)}
        _note(home, begun)  # before the start: a look at this moment sees that it is on its way
        begun.update(_start(home, command, environment))
        with contextlib.suppress(OSError):  # a full disk, now that it has begun: it is found by its token
            _note(home, begun)
        return begun


def give_up(folder, run, token, arrived):
    """Never begin with that token, even if the request still arrives; tells what has begun.

    arrived: cross it out though its start was asked for, as of a job that a scheduler may yet start.
    """
    home = _inside(folder, "runs", run)
    _make_parts(home)
    with _alone(home):
        begun = _begun(home)
        if (arrived or begun.get("token") != token) and token not in begun.get("past", []):
            begun["past"] = [*begun.get("past", []), token]
            _note(home, begun)
        return begun


def crossed_out(home, token):
    """Whether the launch with that token must not begin any more; for one that was started late."""
    return token in _begun(home).get("past", [])


def _start(home, command, environment):
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
    return {"pid": process.pid, "pid_started": _began(process.pid), "host": socket.gethostname()}


def look(folder, runs, listing):
    """What has changed in runs, {id: {"offsets": {file: bytes}, "cancel": bool}}, and what the scheduler lists."""
    said = None
    if listing:
        said = _run(["/bin/bash", "-c", listing.replace("{user}", shlex.quote(getpass.getuser()))], "/")
    if runs and not os.path.isdir(os.path.join(folder, "runs")):
        raise ValueError(f"{folder}/runs isn't there: mount its file system again, or put the folder back")
    homes = {run: _inside(folder, "runs", run) for run in runs}
    here = {run: home for run, home in homes.items() if os.path.isdir(home)}
    most = min(MOST_BYTES, MOST_IN_ALL // (len(APPENDED) * max(1, len(here))))
    return {"now": time.time(), "listing": said, "runs": {run: _seen(here[run], runs[run], most) for run in here}}


def _seen(home, known, most):
    """What is to be seen of a run; one that can't be read doesn't hide the others."""
    try:
        return _look_at(home, known, most)
    except OSError as error:
        return {"trouble": f"{error.strerror}: {error.filename}"}


def _look_at(home, known, most):
    cancel = os.path.join(home, "control", "cancel")
    if known.get("cancel") and not os.path.exists(cancel):
        with contextlib.suppress(OSError):  # on a full disk, say, its name alone can be written
            open(cancel, "ab").close()
    busy = _busy(home)  # these three before the rest: what is read after them is complete
    done = os.path.exists(os.path.join(home, "DONE"))
    begun = _begun(home)
    beats = []
    for name in sorted(os.listdir(os.path.join(home, "status"))):
        if name.startswith("rank-") and name.endswith(".json"):
            beats.append(_read_json(os.path.join(home, "status", name)))
    return {
        "busy": busy,
        "full": shutil.disk_usage(home).free < FULL_BYTES,
        "done": done,
        "begun": begun,
        "beats": [beat for beat in beats if beat],
        "alive": _alive_here(begun) if begun.get("host") in (None, socket.gethostname()) else None,
        "tails": {name: _tail(os.path.join(home, name), known["offsets"].get(name, 0), most) for name in APPENDED},
    }


def stop(folder, run, command, now):
    """Ask a run to stop; with `now`, end its processes, or run the scheduler's command for it."""
    home = _inside(folder, "runs", run)
    if os.path.isdir(home):
        _write(os.path.join(home, "control", "cancel"), json.dumps({"time": time.time()}))
    if command:
        return {"said": _run(command, "/")}
    if now and os.path.isdir(home):
        begun = _begun(home)
        if _alive_here(begun):
            os.kill(begun["pid"], 15)  # the supervisor ends its ranks
    return {}


def listing(folder, run):
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


def ask(command, timeout_s=COMMAND_S):
    """What a command says."""
    return {"said": _run(command, os.path.expanduser("~"), timeout_s=timeout_s)}


def _inside(folder, *names):
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a file here: expected letters, digits, dot, dash and underscore")
    return os.path.join(folder, *names)


def tree_sum(folder):
    """The sha256 of a folder: of the paths of its files, in order, and of their contents."""
    total = hashlib.sha256()
    for name in files_below(folder):
        total.update(f"{len(os.fsencode(name))} ".encode() + os.fsencode(name))
        total.update(_sha256(os.path.join(folder, name)).encode())
    return total.hexdigest()


def files_below(folder):
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


def _raise(error):
    raise error


def _sha256(path):
    checksum = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    return checksum.hexdigest()


def _check_sum(path, wanted):
    if _sha256(path) != wanted:
        os.unlink(path)
        raise ValueError("a file arrived damaged: its checksum is not the one it was sent with")


@contextlib.contextmanager
def _alone(home):
    """One at a time in a run folder, over all who ask."""
    with open(os.path.join(home, "status", ".begin"), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _busy(home):
    """Whether somebody is just starting the run."""
    try:
        with open(os.path.join(home, "status", ".begin"), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _begun(home):
    """What was noted of the newest launch: its token, how it was started, and the tokens of those before."""
    return _read_json(os.path.join(home, "status", "begun.json"))


def _note(home, begun):
    _write(os.path.join(home, "status", "begun.json"), json.dumps(begun))


def _past(last):
    return [*last.get("past", []), *([last["token"]] if "token" in last else [])]


def _make_parts(home):
    for part in ("", *PARTS):
        os.makedirs(os.path.join(home, part), mode=0o700, exist_ok=True)


def _clear_incoming(folder):
    """Files that were sent and never used: their sender was cut off."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(path).st_mtime > KEPT_S:
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def _run(command, cwd, variables=None, timeout_s=COMMAND_S):
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


def _tail(path, offset, most):
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


def _read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def _write(path, text):
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


def _remove(path):
    with contextlib.suppress(OSError):
        os.unlink(path)


def _began(pid):
    """When a process began, in clock ticks since the machine did: with its id, its identity."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _alive(pid, began):
    if pid is None or (began is not None and _began(pid) != began):
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _alive_here(begun):
    same_host = begun.get("host") == socket.gethostname()
    return same_host and _alive(begun.get("pid"), begun.get("pid_started"))


VERBS = {
    verb.__name__: verb for verb in (greet, unpack, wanting, place, adopt, begin, give_up, look, stop, listing, ask)
}


def main(request):
    os.umask(0o077)
    try:
        folder = os.path.expanduser(request["folder"])
        if request["verb"] == "ask":
            answer = ask(**request["given"])
        else:
            answer = VERBS[request["verb"]](folder, **request["given"])
    except (OSError, ValueError) as error:
        answer = {"error": f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)}
        answer["full"] = isinstance(error, OSError) and error.errno in (28, 122)
    sys.stdout.write("\n" + MARK + json.dumps(answer) + "\n")
