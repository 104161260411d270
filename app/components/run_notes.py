"""Title, tags and note that a user gives a run; archive it, or delete it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import panel_material_ui as pmui

from app.components.cards import titled_card
from app.services.watcher import RunSnapshot, watcher_of
from app.session import Session
from app.theme import OUTLINED
from engine.errors import MesoscopeError
from engine.runs import Run, RunNotes
from engine.runs.trash import delete

FILLED: dict[str, object] = {"size": "small", "sizing_mode": "stretch_width", "margin": (6, 0)}


class RunNotesCard:
    """Writes the notes of the run that is shown; `refuse` is called with the reason where they can't be written."""

    def __init__(self, session: Session, refuse: Callable[[str], object]):
        self.session, self._refuse = session, refuse
        self._run: Run | None = None
        self._notes = RunNotes()
        self._is_showing = False
        self.title = pmui.TextInput(label="Title", **FILLED)
        self.tags = pmui.TextInput(label="Tags", placeholder="paper, alps", **FILLED)
        self.note = pmui.TextAreaInput(label="Note", rows=3, max_rows=12, auto_grow=True, **FILLED)
        self.archive = pmui.Button(label="Archive", icon="archive", **OUTLINED)
        self.delete = pmui.Button(label="Delete", icon="delete", color="error", **OUTLINED)
        for line in (self.title, self.tags, self.note):
            line.param.watch(lambda _: self._typed(), "value")
        self.archive.on_click(lambda _: self._write(replace(self._notes, archived=not self._notes.archived)))
        self.delete.on_click(self._delete)
        buttons = pmui.FlexBox(self.archive, self.delete, gap="8px", margin=(6, 0, 0, 0))
        self.view = titled_card("Notes", self.title, self.tags, self.note, buttons)

    def show(self, seen: RunSnapshot) -> None:
        """Show the notes of a run; what is being typed for the same run stays."""
        is_same = self._run is not None and self._run.id == seen.id
        self.delete.disabled = seen.status.state.may_be_active
        if is_same and seen.notes == self._notes:
            return
        self._run, self._notes, self._is_showing = seen.run, seen.notes, True
        self.title.param.update(value=seen.notes.title, placeholder=seen.title)
        self.tags.value, self.note.value = ", ".join(seen.notes.tags), seen.notes.note
        self.archive.label = "Take out of the archive" if seen.notes.archived else "Archive"
        self._is_showing = False

    def _typed(self) -> None:
        if not self._is_showing:
            tags = tuple(dict.fromkeys(filter(None, map(str.strip, self.tags.value.split(",")))))
            self._write(replace(self._notes, title=self.title.value.strip(), tags=tags, note=self.note.value.strip()))

    def _write(self, notes: RunNotes) -> None:
        if self._run is None or notes == self._notes:
            return
        try:
            _ = self._run.notes  # damaged ones are refused, not replaced
            self._run.write_notes(notes)
        except MesoscopeError as error:
            self._refuse(str(error))
        else:
            watcher_of(self.session.store).nudge()

    async def _delete(self, _: object) -> None:
        """Move the run to the trash; the list offers to restore it."""
        run = self._run
        if run is None:
            return
        try:
            await asyncio.to_thread(delete, run)
        except MesoscopeError as error:
            self._refuse(str(error))
            return
        left = [other for other in self.session.runs if other != run.id]
        self.session.param.update(run="", runs=left)
        watcher_of(self.session.store).nudge()
