"""The page of an address that names none: what its user most likely wants to see."""

from __future__ import annotations

from app.services.first_example import TAG, is_being_made
from engine.errors import RecordError
from engine.runs import Run, Store


def first_page(store: Store) -> str:
    """Compare where a run is done or the example will be, Runs while the newest one is in training, else Data."""
    runs = store.runs()
    if runs and runs[0].status().state.is_active and not _is_example(runs[0]):
        return "runs"
    if newest_done(store) or is_being_made(store) or (runs and _is_example(runs[0])):
        return "compare"
    return "runs" if runs else "data"


def newest_done(store: Store) -> str | None:
    """Id of the run that Compare begins with."""
    return next((run.id for run in store.runs() if run.done_file.exists() and run.results.is_file()), None)


def _is_example(run: Run) -> bool:
    try:
        return TAG in run.notes.tags
    except (RecordError, OSError):
        return False
