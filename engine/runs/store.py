"""The store: a folder of runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import StoreError
from engine.files import to_json, write_whole
from engine.options import did_you_mean
from engine.runs.description import field_of, title_of
from engine.runs.folder import Run, refuse_unwritable
from engine.spec import Spec

# The name of one visible folder, which a list in a link can hold: no separator, no comma, no control character.
RUN_ID = re.compile(r"[^./,\\\x00-\x1f][^/,\\\x00-\x1f]*")
MOST_BYTES = 255  # of a name, on the file systems there are


def check_run_id(name: str) -> str:
    """Return `name` if it can be the id of a run in a store.

    Raises
    ------
    StoreError
        If it is empty, hidden or too long, or leads to another folder.
    """
    if not RUN_ID.fullmatch(name) or len(name.encode(errors="replace")) > MOST_BYTES:
        shown = name if len(name) <= 40 else f"{name[:40]}…"
        raise StoreError(f"{shown!r} is not the id of a run", hint="the name of a folder in the store")
    return name


def default_store() -> Path:
    """$MESOSCOPE_STORE, else ~/.local/share/mesoscope/runs."""
    return Path(os.environ.get("MESOSCOPE_STORE") or Path.home() / ".local/share/mesoscope/runs")


@dataclass(frozen=True)
class Store:
    """A folder of runs."""

    folder: Path

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [Run(path) for path in self.folder.iterdir() if _is_run(path)]
        return sorted(found, key=lambda run: run.id, reverse=True)

    def run(self, name: str) -> Run:
        """The run of that id, or of an unmistakable beginning or title of it.

        Raises
        ------
        StoreError
            If no run, or more than one, is meant.
        """
        runs = self.runs()
        exact = [run for run in runs if run.id == name]
        meant = exact or [run for run in runs if run.id.startswith(name) or run.title == name]
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise StoreError(
                f"{name} means {len(meant)} runs ({', '.join(r.id for r in meant[:3])}, …)",
                action="give more of the id",
            )
        if not runs:
            raise StoreError(
                f"no run {name} in {self.folder}", hint="the store is empty", action="give --store, or train a run"
            )
        raise StoreError(f"no run {name} in {self.folder}", hint=did_you_mean(name, [r.id for r in runs[:10]]))

    def start_run(self, spec: Spec) -> Run | None:
        """The run that `training.start_from` names; raises StoreError if there is none or it has no weights."""
        if not spec.training.start_from:
            return None
        run = self.run(spec.training.start_from)
        if not run.best.exists():
            raise StoreError(
                f"training.start_from is {run.id}, which is {run.status().state} and has no trained weights",
                action="give a run that is done, or leave it empty",
            )
        return run

    def create(self, spec: Spec, request: dict[str, object]) -> Run:
        """A new run folder, complete or not there at all; raises StoreError if it can't be written."""
        text = spec.to_yaml()
        spec_sha256 = hashlib.sha256(text.encode()).hexdigest()
        labels = {"title": title_of(spec), "field": field_of(spec), "spec_sha256": spec_sha256}
        with refuse_unwritable(self.folder):
            run = Run(self.folder / _new_id(spec))
            while run.folder.exists():  # another of the same name in the same second
                run = Run(self.folder / _new_id(spec))
            staging_dir = self.folder / f".{run.id}"
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
            staging_dir.mkdir(mode=0o700)
            try:
                for name in ("status", "control", "checkpoints", "results"):
                    (staging_dir / name).mkdir(mode=0o700)
                write_whole(staging_dir / "request.json", to_json({**labels, **request}))
                write_whole(staging_dir / "spec.yaml", text)
                staging_dir.rename(run.folder)
            except OSError:
                shutil.rmtree(staging_dir, ignore_errors=True)
                raise
        return run


def _is_run(path: Path) -> bool:
    """Recognise a run folder, a damaged one too; hidden ones are being created, or hold what runs share."""
    if not RUN_ID.fullmatch(path.name):
        return False
    try:
        return any((path / name).exists() for name in ("spec.yaml", "request.json", "status"))
    except PermissionError:  # its state reports it
        return True


def _new_id(spec: Spec) -> str:
    """Time first, so that ids sort by age; then what a person would recognise."""
    words = (
        spec.launch.title or f"{spec.model.backbone}-{spec.model.upsampling}-{Path(spec.data.target.files()[0]).stem}"
    )
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:40]
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug or 'run'}-{secrets.token_hex(2)}"
