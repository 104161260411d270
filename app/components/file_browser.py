"""Choice of a file: by folders that are likely, by clicks, or by its path."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel_material_ui as pmui

from app.components.cards import titled_card
from app.session import Session, demo_folder

SMALL: dict[str, object] = {"size": "small", "sizing_mode": "stretch_width"}


class FileBrowser:
    """Sets the session's source; a click on a spec calls `open_spec`."""

    def __init__(self, session: Session, open_spec: Callable[[Path], None]):
        self.session, self._open_spec = session, open_spec
        self._root = pmui.Select(label="Folder", options=folders(), margin=0, **SMALL)
        self.browser = pmui.FileSelector(
            str(self._root.value), root_directory=str(self._root.value), file_pattern="*", size=9, margin=(8, 0),
            sx={"& .file-selector-selection": {"display": "none"}},
        )  # fmt: skip
        self._path = pmui.TextInput(
            label="Path", placeholder="file, glob, Zarr store or URL", value=session.source_path, margin=(8, 0, 0, 0),
            **SMALL,
        )  # fmt: skip
        self._select = pmui.TextInput(
            label="Level, member, …",
            placeholder="level: 850",
            value=session.source_select,
            margin=(12, 0, 0, 0),
            **SMALL,
        )
        self._root.param.watch(lambda event: self._enter(event.new, root_directory=event.new), "value")
        self.browser.param.watch(self._browse, "value")
        self._path.param.watch(lambda event: self._choose(event.new.strip()), "value")
        self._select.param.watch(lambda event: session.param.update(source_select=event.new.strip()), "value")
        session.param.watch(lambda event: self._path.param.update(value=event.new), "source_path")
        session.param.watch(lambda event: self._select.param.update(value=event.new), "source_select")
        self.view = titled_card("File", self._root, self.browser, self._path, self._select)

    def show_demonstration(self, field: Path) -> None:
        """Browse in the folder of the demonstration set, and choose a file of it."""
        self._root.param.update(options=folders(), value=str(demo_folder()))
        self.session.choose_source(str(field))

    def _choose(self, path: str) -> None:
        if path != self.session.source_path:
            self.session.choose_source(path)

    def _browse(self, event: Any) -> None:
        """A click chooses a file or Zarr store, enters a folder, or opens a spec."""
        added = [path for path in event.new if path not in event.old]
        if not added:
            return
        chosen = str(added[-1])
        if chosen.endswith((".yaml", ".yml")):
            self.browser.value = []
            self._open_spec(Path(chosen))
        elif Path(chosen).is_dir() and not chosen.rstrip("/").endswith(".zarr"):
            self._enter(chosen)
        else:
            self.browser.value = [chosen]
            self._choose(chosen)

    def _enter(self, folder: str, **more: str) -> None:
        self.browser.param.update(directory=folder, value=[], **more)


def folders() -> dict[str, str]:
    """Label → folder to browse in, the likeliest first: $MESOSCOPE_DATA, demonstration set, home, working folder."""
    named = [Path(folder) for folder in os.environ.get("MESOSCOPE_DATA", "").split(os.pathsep) if folder]
    found = {str(folder): str(folder) for folder in named if folder.is_dir()}
    if demo_folder().is_dir():
        found["Demonstration set"] = str(demo_folder())
    return found | {"Home": str(Path.home()), "Working folder": str(Path.cwd())}
