"""Runs: the folder that is the only contract between engine and app, and the store that holds them.

The state of a run is derived from its files and its launcher's process, never stored.
"""

from engine.runs.description import describe_inputs, field_of, title_of
from engine.runs.failure import describe_error
from engine.runs.folder import Run, process_alive
from engine.runs.heartbeat import Heartbeat
from engine.runs.records import ExitKind, LaunchEvent, RankEnd, RunNotes, RunState, RunStatus, Stage
from engine.runs.store import Store, check_run_id, default_store

__all__ = [
    "ExitKind",
    "Heartbeat",
    "LaunchEvent",
    "RankEnd",
    "Run",
    "RunNotes",
    "RunState",
    "RunStatus",
    "Stage",
    "Store",
    "check_run_id",
    "default_store",
    "describe_error",
    "describe_inputs",
    "field_of",
    "process_alive",
    "title_of",
]
