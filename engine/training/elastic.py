"""Rounds of an elastic training, the rank's side: which ranks train together, from one loss of a rank to the next.

Horovod's core can leave its peers and join others within a process. Its own elastic driver isn't used, for it unpickles
what anyone sends who reaches its port. Here plain text goes over the server at which ranks meet anyway, and
engine/launch/ranks/elastic.py decides.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request

from engine.errors import RunError

WHERE = "MESOSCOPE_ROUNDS"  # address:port of the server that keeps the rounds; without it nobody may be lost
LOOK_S = 0.2
SILENT_S = 60.0  # of the server, which ends with the supervisor
ASK_S = 10.0


def kept() -> bool:
    """True if this rank may continue without those that are lost."""
    return WHERE in os.environ


def meet(number: int, rank: int) -> None:
    """Wait until it is known who takes part in a round, and find this rank's place in HOROVOD_*.

    Parameters
    ----------
    rank : by which this process was known in the first round.

    Raises
    ------
    RunError
        If this rank was taken for lost, or the server is gone.
    """
    _ask(f"arrived-{number}/{rank}", os.environ["HOROVOD_HOSTNAME"].encode())
    last_answer = time.monotonic()
    while time.monotonic() - last_answer < SILENT_S:
        try:
            place = json.loads(_ask(f"place-{number}/{rank}"))
        except urllib.error.HTTPError:  # not known yet
            last_answer = time.monotonic()
        except OSError:
            pass
        else:
            if not place:
                raise RunError(f"rank {rank} was taken for lost: the others go on without it")
            os.environ.update({name: str(value) for name, value in place.items() if name.startswith("HOROVOD_")})
            return
        time.sleep(LOOK_S)
    raise RunError(
        f"nobody answers at {os.environ[WHERE]}, where ranks meet", hint="its supervisor ended", action="resume the run"
    )


def _ask(key: str, value: bytes | None = None) -> bytes:
    """Read a key, or write it."""
    request = urllib.request.Request(f"http://{os.environ[WHERE]}/{key}", value, method="PUT" if value else "GET")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business here
    with direct.open(request, timeout=ASK_S) as answer:
        content: bytes = answer.read()
    return content
