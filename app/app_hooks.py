"""Starts and stops the one run watcher of the server process, and begins the example of the first start.

Imports the pages before the first visit.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `panel serve app` doesn't know the checkout

import app.shell  # noqa: F401
from app.services.first_example import begin_example
from app.services.watcher import stop_all, watcher_of
from engine.runs import Store, default_store


def on_server_loaded(server_context: Any) -> None:
    begin_example(Store(default_store()))
    watcher_of(Store(default_store()))


def on_server_unloaded(server_context: Any) -> None:
    stop_all()
