"""Deleted runs: they move to the store's .trash, whole, and can be restored."""

from __future__ import annotations

import contextlib
from pathlib import Path

from engine.errors import StoreError
from engine.runs.folder import Run, refuse_unwritable
from engine.runs.store import Store, check_run_id


def delete(run: Run) -> None:
    """Move a run to the trash of its store; what it left on a site stays there.

    Raises
    ------
    StoreError
        If it is or may be active, is gone, or its store can't be written.
    """
    if not run.folder.is_dir():
        raise StoreError(f"run {run.id} is gone")
    trash = _trash_of(run.folder.parent)
    has_lock = (run.folder / "status").is_dir()  # else nobody can start it either
    with refuse_unwritable(run.folder.parent), run.launch_lock() if has_lock else contextlib.nullcontext():
        if (state := run.status().state).may_be_active:
            raise StoreError(f"run {run.id} is {state}", action="cancel it first, or wait for its end")
        trash.mkdir(mode=0o700, exist_ok=True)
        run.folder.rename(trash / run.id)


def restore(store: Store, run_id: str) -> Run:
    """Move a deleted run back; raises StoreError if it isn't in the trash, or a run of that id is in the store."""
    deleted, folder = _trash_of(store.folder) / check_run_id(run_id), store.folder / run_id
    if not deleted.is_dir():
        raise StoreError(f"run {run_id} is not in the trash of {store.folder}")
    if folder.exists():
        raise StoreError(f"run {run_id} is in {store.folder} already")
    with refuse_unwritable(store.folder):
        deleted.rename(folder)
    return Run(folder)


def deleted_runs(store: Store) -> list[Run]:
    """Runs in the trash, the newest first."""
    return sorted(map(Run, _trash_of(store.folder).glob("[!.]*")), key=lambda run: run.id, reverse=True)


def _trash_of(store_folder: Path) -> Path:
    return store_folder / ".trash"
