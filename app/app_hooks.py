"""Starts and stops the one run watcher of the server process, and begins the example of the first start.

Imports the pages before the first visit, and gives back what a closed tab leaves free.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `panel serve app` doesn't import from the checkout

import app.shell  # noqa: F401
from app.services.first_example import begin_example
from app.services.memory import release_free_memory
from app.services.watcher import stop_all, watcher_of
from engine.runs import Store, default_store

RELEASE_S = 1.0  # after the end of a session, so that callbacks of other parts have run


def on_server_loaded(server_context: Any) -> None:
    begin_example(Store(default_store()))
    watcher_of(Store(default_store()))


def on_session_destroyed(session_context: Any) -> None:
    asyncio.get_running_loop().call_later(RELEASE_S, release_free_memory)


def on_server_unloaded(server_context: Any) -> None:
    stop_all()
