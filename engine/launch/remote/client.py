"""Requests to the agent on a site: one command over SSH each, which starts the uploaded engine there.

The engine is uploaded with the first request of each version; its checksum names its folder there.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.errors import RecordError, RunError, SiteError, UnreachableError
from engine.launch.remote.bootstrap import MARK
from engine.launch.remote.protocol import A, DescribeSite, Request, answer_kind
from engine.launch.remote.ssh import COMMAND_S, Completed
from engine.launch.remote.staging import engine_archive
from engine.launch.sites import Site
from engine.parsing import parse_record

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")


def ask(site: Site, request: Request[A], patience_s: float = COMMAND_S) -> A:
    """Send a request to the agent on a site, and return its answer.

    Parameters
    ----------
    patience_s : for the answer.

    Raises
    ------
    UnreachableError
        If the host didn't answer.
    SiteError
        If it refused the login or the request, or its environment doesn't work.
    RunError
        If the answer lacks something, or holds something else.
    """
    answer = exchange(site, request, patience_s)
    with checking_answer(site):
        return parse_record(answer_kind(request), answer, "the answer")


def exchange(site: Site, request: Request[Any], patience_s: float) -> dict[str, object]:
    """Send a request, after the engine if the site lacks it; returns the answer as it came, which isn't checked yet."""
    checksum, content = engine_archive()
    given = {
        "folder": site.folder,
        "checksum": checksum,
        "kind": type(request).__name__,
        "fields": asdict(request),
        "is_first": isinstance(request, DescribeSite),
    }
    answer = _run(site, given, patience_s)
    if "lacks_engine" in answer:
        archive = base64.b64encode(zlib.compress(content)).decode()
        answer = _run(site, {**given, "archive": archive}, patience_s)
    if "error" in answer:
        action = "free some space there, then resume" if answer.get("full") else ""
        raise SiteError(f"{site.name} said: {answer['error']}", action=action)
    return answer


def _run(site: Site, given: dict[str, object], patience_s: float) -> dict[str, object]:
    """Run the bootstrap on the site, and return what it answers."""
    source = f"{BOOTSTRAP.read_text(encoding='utf-8')}\nmain(**json.loads({json.dumps(given)!r}))\n"
    done = run_script(site, f"exec {site.python_word} -", source, patience_s)
    for line in reversed(done.out.splitlines()):
        if line.startswith(MARK):
            with contextlib.suppress(json.JSONDecodeError):
                answer = json.loads(line.removeprefix(MARK))
                if isinstance(answer, dict):
                    return answer
            raise UnreachableError(f"{site.name} gave an answer that was cut off or isn't ours")
    if done.rc == 0 or done.rc > 128:  # cut off in its middle
        raise UnreachableError(f"{site.name} gave no answer")
    said = done.err.strip().splitlines()
    raise SiteError(
        f"{site.name}: {site.python} can't be run there (exit code {done.rc}: {said[-1] if said else 'silent'})",
        action="fix prelude or python in the targets file",
    )


def run_engine(site: Site, engine: str, words: str, given: str = "") -> Completed:
    """Run a command of the engine in its folder on the site, with `given` for its standard input."""
    return run_script(site, f"cd '{engine}' && exec {site.python_word} -m engine {words}", given)


def run_script(site: Site, command: str, given: str, patience_s: float = COMMAND_S) -> Completed:
    """Run a line of bash in the site's environment, with `given` for its standard input; the prelude reads none of it.

    Raises
    ------
    UnreachableError, SiteError
        If the host can't be reached, or refused the login.
    """
    end = f"end-{secrets.token_hex(16)}"
    script = f"umask 077\n{{ :\n{site.prelude}\n}} </dev/null\n{command} <<'{end}'\n{given}\n{end}\n"
    return site.connection.shell(script, patience_s)


@contextlib.contextmanager
def checking_answer(site: Site) -> Iterator[None]:
    """Turn an answer that lacks something, or holds something else, into a fault of the site."""
    try:
        yield
    except RecordError as error:
        raise RunError(f"{site.name} gave an answer that isn't understood ({error.problem})") from error
    except ValueError as error:
        raise RunError(f"{site.name} gave an answer that isn't understood ({error})") from error
