"""The example of the first start: a small demonstration set and a short training on it, in the background."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from engine.data.demo import write_demo
from engine.errors import MesoscopeError
from engine.launch import api
from engine.runs import Run, RunNotes, Store
from engine.runs.trash import deleted_runs
from engine.spec import Spec

SWITCH = "MESOSCOPE_EXAMPLE"
MARK = ".example"  # in the store: an example was begun once
TAG = "example"  # of its run
DAYS, SIZE = 40, (64, 96)  # the set is written in some seconds and has 3 MB
SETTINGS = (
    "launch.title='Example: NO₂ over an imaginary land'",
    "model.n_filters=16",
    "model.n_blocks=2",
    "training.epochs=30",
)
NOTE = (
    "Made when the dashboard was started for the first time, from synthetic data: a short training, to have something "
    "to look at. Delete it like any run; it doesn't come back."
)
log = logging.getLogger(__name__)
_making: set[Path] = set()  # stores whose example is not a run yet


def begin_example(store: Store) -> threading.Thread | None:
    """Make the example in a thread, if this is the first start; None if it isn't, or $MESOSCOPE_EXAMPLE is off."""
    if os.environ.get(SWITCH, "on").casefold() in ("off", "no", "0", "false") or not _is_first_start(store):
        return None
    _making.add(store.folder)
    thread = threading.Thread(target=_make, args=(store,), name="first example", daemon=True)
    thread.start()
    return thread


def is_being_made(store: Store) -> bool:
    """True from the first start until the example is a run, or failed to become one."""
    return store.folder in _making


def make_example(store: Store) -> Run:
    """Write the set beside the store and start the training, at the low priority of all runs here."""
    paths = write_demo(store.folder.parent / "example", days=DAYS, size=SIZE)
    spec = next(path for path in paths if path.name == "demo_mos.yaml")
    run = api.create(Spec.read(spec, SETTINGS), store)
    run.write_notes(RunNotes(tags=(TAG,), note=NOTE))
    api.start(run)
    return run


def _is_first_start(store: Store) -> bool:
    """True once for a store that never had a run, of all processes that ask."""
    if store.runs() or deleted_runs(store):
        return False
    try:
        store.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (store.folder / MARK).touch(exist_ok=False)
    except OSError:  # it is there, or the store can't be written, which every page shows
        return False
    return True


def _make(store: Store) -> None:
    try:
        make_example(store)
    except (MesoscopeError, OSError) as error:
        log.warning("The example of the first start was not made: %s", error)
    finally:
        _making.discard(store.folder)
